"""In which order the hosts of a domain and the addresses of a host are tried (RFC 5321, section 5.1)."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from postreeve.dns.answer import Mx
from postreeve.mail.domain import parse_domain
from postreeve.queue.route import Identity
from postreeve.queue.settings import Family

MAX_HOSTS: Final = 10
"""Hosts looked up in one attempt, whatever an MX record set says."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one host to try. `ours` is set, and nothing else, when one of them is ourselves."""

    wanted: tuple[str, ...] = ()
    only_other_family: bool = False
    """There are addresses, but none of the family that the settings allow."""
    ours: str = ""


def in_order(records: Iterable[Mx], seed: int) -> list[Mx]:
    """By preference, equals in an order that depends on `seed`; names in lower case."""
    key = seed.to_bytes(8, "big", signed=True)
    named = [Mx(record.preference, record.host.lower()) for record in records]
    if len(named) == 1:
        return named
    return sorted(
        named, key=lambda mx: (mx.preference, hashlib.blake2b(mx.host.encode(), digest_size=8, key=key).digest())
    )


def before_ourselves(hosts: list[Mx], identity: Identity) -> list[Mx]:
    """Without ourselves and all that are no better than we are: that way mail would loop (RFC 5321, section 5.1)."""
    ours = [mx.preference for mx in hosts if identity.is_named(mx.host)]
    return [mx for mx in hosts if not ours or mx.preference < ours[0]]


def is_host_name(name: str) -> bool:
    """True for what can have addresses; MX records that hold an address or worse are of no use."""
    domain = parse_domain(name)
    return domain is not None and not domain.is_literal


def addresses_to_try(texts: Iterable[str], port: int, family: Family, identity: Identity) -> Addresses:
    """What to connect to, IPv6 and IPv4 in turn (RFC 8305, section 4): a broken family costs one time-out, not all."""
    six: list[str] = []
    four: list[str] = []
    for text in texts:
        address = usable_address(text)
        if address is None:
            continue
        name = str(address)
        if identity.is_at(name, port):
            return Addresses(ours=name)
        (six if address.version == 6 else four).append(name)
    if family is Family.IPV4:
        return Addresses(tuple(four), only_other_family=bool(six) and not four)
    if family is Family.IPV6:
        return Addresses(tuple(six), only_other_family=bool(four) and not six)
    both = [name for pair in zip(six, four, strict=False) for name in pair]
    return Addresses((*both, *six[len(four) :], *four[len(six) :]))


def usable_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `text` spells; None for no address and for those no server can have."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return None if address.is_unspecified or address.is_multicast else address
