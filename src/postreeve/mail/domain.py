"""A domain name or an address literal, normalised once.

Comparison and lookup use `ascii` (lower case A-labels, no trailing dot); people see `display` (U-labels).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna

MAX_DOMAIN_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

# RFC 5321, section 4.1.2: sub-domain = Let-dig [Ldh-str]. Underscores are accepted as the peers do: hosts have them.
_ASCII_DOMAIN: Final = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


@dataclass(frozen=True, slots=True)
class Domain:
    """A mail domain in its comparable form.

    `ascii` is lower-case A-labels for a name, or the literal with brackets (`[192.0.2.1]`, `[ipv6:2001:db8::1]`).
    Equal domains compare equal whatever form they came in.
    """

    ascii: str

    def __str__(self) -> str:
        return self.ascii

    @property
    def is_literal(self) -> bool:
        """True for an address literal (RFC 5321, section 4.1.3)."""
        return self.ascii.startswith("[")

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address of a literal, None for a name."""
        if not self.is_literal:
            return None
        return ipaddress.ip_address(self.ascii[1:-1].removeprefix("ipv6:"))

    @property
    def unicode(self) -> str:
        """The name in U-labels, for people; the ASCII form where a label cannot be decoded."""
        if self.is_literal or "xn--" not in self.ascii:
            return self.ascii
        try:
            return idna.decode(self.ascii)
        except UnicodeError:
            return self.ascii

    def is_within(self, parent: Domain) -> bool:
        """True when this is `parent` or a name below it."""
        return self.ascii == parent.ascii or self.ascii.endswith("." + parent.ascii)


def parse_domain(text: str) -> Domain | None:
    """The domain that `text` names, or None when it names none.

    Accepts names in A-labels or U-labels (RFC 5890, RFC 6531), one trailing dot, and address literals. An IPv4 address
    without its brackets is no domain: taken for a name, it could reach an address that policy never judged.
    """
    # Before the cache: it must never hold what a stranger made long.
    return None if not text or len(text) > MAX_DOMAIN_OCTETS + 1 else _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Domain | None:
    if text[0] == "[":
        return _parse_literal(text)
    name = text[:-1] if text[-1] == "." else text
    if name.isascii():
        name = name.lower()
    else:
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except UnicodeError:
            return None
    if len(name) > MAX_DOMAIN_OCTETS or _ASCII_DOMAIN.fullmatch(name) is None:
        return None
    return None if name.rpartition(".")[2].isdigit() else Domain(name)


def _parse_literal(text: str) -> Domain | None:
    """RFC 5321, section 4.1.3: IPv4-address-literal or IPv6-address-literal; no general literals.

    An IPv4-mapped IPv6 address is the IPv4 address: one host, one spelling, for every list it is looked up in.
    """
    if text[-1] != "]":
        return None
    inner = text[1:-1]
    is_v6 = inner[:5].lower() == "ipv6:"
    try:
        address = ipaddress.ip_address(inner[5:] if is_v6 else inner)
    except ValueError:
        return None
    if (address.version == 6) != is_v6 or "%" in inner:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return Domain(f"[ipv6:{address}]" if mapped is None else f"[{mapped}]")
    return Domain(f"[{address}]")
