"""The model: a Policy is an ordered list of Flows, the first that fits a packet decides, else the direction's default.

Every flow is of one family, so that no rule is silently half a rule, and names its peers: the world is written out
(0.0.0.0/0, ::/0), an empty set of peers is an error. Directions are those of the host that the policy protects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from postreeve.mail.error import PostreeveError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Direction(Enum):
    """Seen from the host."""

    IN = "in"
    OUT = "out"


class Family(Enum):
    """The values are IP versions."""

    IPV4 = 4
    IPV6 = 6


class Protocol(Enum):
    """ICMP means ICMPv6 in a flow of IPv6. ANY is every protocol there is."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ANY = "any"


class Verdict(Enum):
    """What becomes of a packet. REJECT answers (RST or ICMP), DROP is silent."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


class State(Enum):
    """Which packets of a connection a flow is about."""

    NEW = "new"
    """The first of a connection; what follows is taken by a flow of ESTABLISHED."""
    ESTABLISHED = "established"
    """Everything that belongs to a connection under way, ICMP errors about it included."""
    ANY = "any"


WORLD: Final[dict[Family, Network]] = {
    Family.IPV4: ipaddress.IPv4Network("0.0.0.0/0"),
    Family.IPV6: ipaddress.IPv6Network("::/0"),
}


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """Destination ports first … last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Rate:
    """New connections by one source address (IPv6: one /64) above which a flow no longer fits."""

    connections: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Container:
    """A published port: connections to `published` of the host are sent on to `port` of `address` behind it (DNAT)."""

    address: str
    port: int
    published: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One rule. `ident` is stable and unique within a policy ("in-relay-25-ipv4").

    `because` is why it is there, `without` what breaks when it is not. `unknown` quotes what a reader could not
    understand: such a flow is undecidable, neither open nor closed.
    """

    ident: str
    direction: Direction
    family: Family
    protocol: Protocol
    verdict: Verdict
    peers: tuple[Network, ...]
    """The other ends, sorted, none within another; () only together with `peer_set`."""
    ports: tuple[Ports, ...] = ()
    """Of TCP and UDP, sorted, not touching; () means all."""
    icmp_types: tuple[int, ...] = ()
    """Of ICMP; () means all."""
    state: State = State.NEW
    interface: str = ""
    """"lo" or the name of an interface; "" means every one."""
    user: str = ""
    """OUT: only what this account sends; "" means everybody."""
    peer_set: str = ""
    """A named set of addresses that is filled while the firewall runs ("bans"), in place of `peers`."""
    rate: Rate | None = None
    """IN: beyond it the flow does not fit, and the next one is looked at."""
    container: Container | None = None
    because: str = ""
    without: str = ""
    unknown: str = ""
    quote: str = field(default="", compare=False)
    """The rule as it stood where it was read, for findings."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All flows of a host, or of one layer around it. `sets` are the named sets that flows refer to."""

    name: str
    flows: tuple[Flow, ...]
    default_in: Verdict
    default_out: Verdict
    sets: tuple[str, ...] = ()


class PolicyError(PostreeveError):
    """A policy that makes no sense, and which flow of it; never rendered, never made wider instead."""


class CannotExpress(PostreeveError):
    """A target has no way to say something: which flow, what, and the nearest alternative."""

    def __init__(self, target: str, flow: str, what: str, alternative: str) -> None:
        super().__init__(f"{target} cannot express {what} ({flow}): {alternative}")
        self.target = target
        self.flow = flow
        self.what = what
        self.alternative = alternative


class NotUnderstood(PostreeveError):
    """A ruleset that is not what it claims to be, or is cut off: what, and where."""


def family_of(network: Network) -> Family:
    """Of a network or an address."""
    return Family(network.version)


def tidy_peers(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Sorted by address, merged where they touch, none within another; all must be of one family."""
    found = list(networks)
    if len({one.version for one in found}) > 1:
        raise PolicyError("peers of both families in one flow")
    four = [one for one in found if isinstance(one, ipaddress.IPv4Network)]
    six = [one for one in found if isinstance(one, ipaddress.IPv6Network)]
    return (*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six))


def tidy_ports(ports: Iterable[Ports]) -> tuple[Ports, ...]:
    """Sorted, merged where they touch or overlap."""
    merged: list[Ports] = []
    for one in sorted(ports):
        if not 0 <= one.first <= one.last <= 65_535:
            raise PolicyError(f"{one.first}-{one.last} is no range of ports")
        if merged and one.first <= merged[-1].last + 1:
            merged[-1] = Ports(merged[-1].first, max(merged[-1].last, one.last))
        else:
            merged.append(one)
    return tuple(merged)


def canonical(policy: Policy) -> Policy:
    """The same policy in the one order that all targets can give back: what comes in before what goes out.

    Among what comes in, rules of published ports come behind the others, but never pass a rule of a named set, which
    is about both.
    """
    rank: dict[str, tuple[int, int, int]] = {}
    turn = 0
    for flow in policy.flows:
        if flow.direction is Direction.OUT:
            rank[flow.ident] = (1, 0, 0)
        elif flow.peer_set:
            turn += 2
            rank[flow.ident] = (0, turn - 1, 0)
        else:
            rank[flow.ident] = (0, turn, int(flow.container is not None))
    return replace(policy, flows=tuple(sorted(policy.flows, key=lambda flow: rank[flow.ident])))
