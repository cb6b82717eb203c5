"""Does this certificate speak for this host? By the rules of today, and by those of older clients.

PURE. RFC 9525: only subjectAltName counts, a wildcard is the whole left-most label and stands for one label, an address
is compared as an address. OpenSSL still looks at the common name where there is no DNS name at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import Enum

import idna


class NameMatch(Enum):
    """What the comparison came to."""

    RIGHT = "right"
    COMMON_NAME_ONLY = "common name only"
    """Some clients take it (OpenSSL), others refuse it (Go)."""
    WRONG = "wrong"


def match_name(host: str, names: Iterable[str], common_name: str) -> NameMatch:
    """Compare a host name or IP address with a certificate's subjectAltName and common name."""
    wanted = normal_name(host)
    names = tuple(names)
    if is_address(wanted):
        address = ipaddress.ip_address(wanted)
        is_right = any(is_address(one) and ipaddress.ip_address(one) == address for one in names)
        return NameMatch.RIGHT if is_right else NameMatch.WRONG
    hosts = [one for one in names if not is_address(one)]
    if any(_fits(wanted, one) for one in hosts):
        return NameMatch.RIGHT
    if not hosts and common_name and _fits(wanted, common_name):
        return NameMatch.COMMON_NAME_ONLY
    return NameMatch.WRONG


def normal_name(host: str) -> str:
    """A name as certificates have it: lower case, A-labels, no final dot, no brackets or zone of an address."""
    bare = host.strip().strip("[]").partition("%")[0].rstrip(".").lower()
    if bare.isascii():
        return bare
    try:
        return idna.encode(bare, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return bare


def is_address(name: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _fits(host: str, pattern: str) -> bool:
    pattern = pattern.lower().rstrip(".")
    if pattern == host:
        return True
    # RFC 9525, section 6.3: the wildcard is the complete left-most label and matches exactly one.
    first, _, rest = host.partition(".")
    return bool(first) and pattern.startswith("*.") and "." in rest and pattern[2:] == rest
