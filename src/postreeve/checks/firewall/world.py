"""Who is meant by everybody: the addresses that mail comes from. Rules often drop the others, and may."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from postreeve.checks.firewall.reach import Fate
from postreeve.firewall.flow import WORLD, Family, Network
from postreeve.firewall.interval import ALL_ADDRESSES, Intervals, intersect, of_networks, subtract

_SPECIAL: Final = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
"""RFC 6890: nobody sends mail from these over the Internet."""
GLOBAL: Final[dict[Family, Intervals]] = {
    Family.IPV4: subtract(ALL_ADDRESSES[Family.IPV4], of_networks(_SPECIAL)),
    Family.IPV6: of_networks([ipaddress.IPv6Network("2000::/3")]),
}
MOST: Final = 0.9
"""Of all addresses: who lets fewer pass loses mail; block lists of single hosts and networks stay far below."""


def is_world(peers: Iterable[Network], family: Family) -> bool:
    """True when everybody is among them."""
    return WORLD[family] in peers


def is_open(fate: Fate, family: Family) -> bool:
    """To strangers."""
    return fate.share(GLOBAL[family]) >= MOST


def is_half_open(fate: Fate, family: Family) -> bool:
    """To a part of the Internet that no office has."""
    return fate.share(GLOBAL[family]) > 0.05


def wanted(peers: Iterable[Network], family: Family) -> Intervals:
    """The addresses that must get through."""
    mine = [one for one in peers if one.version == family.value]
    return GLOBAL[family] if WORLD[family] in mine else of_networks(mine)


def missing(fate: Fate, peers: Iterable[Network], family: Family) -> Intervals:
    """Who should get through and is refused for sure."""
    return intersect(fate.refused, wanted(peers, family))


def words(ranges: Intervals, family: Family, most: int = 3) -> str:
    """Some of the networks."""
    from postreeve.firewall.interval import to_networks

    found = [str(one) for one in to_networks(ranges[:most], family)]
    return ", ".join(found[:most]) + (" and others" if len(found) > most or len(ranges) > most else "")
