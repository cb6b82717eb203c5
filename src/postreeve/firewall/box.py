"""What a rule is about, as a box: a range in every dimension of a packet, so that boxes can be cut by each other.

Readers of rulesets with chains need this: the condition of a jump is met by every rule of the chain it leads to, and
what returns from a chain is no longer there for the rules behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from postreeve.firewall.flow import (
    Container,
    Direction,
    Family,
    Flow,
    Network,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)
from postreeve.firewall.interval import (
    ALL_ADDRESSES,
    ALL_PORTS,
    ALL_TYPES,
    Intervals,
    intersect,
    of_networks,
    of_ports,
    subtract,
    tidy,
    to_networks,
    to_ports,
)

ALL_PROTOCOLS: Final = frozenset(Protocol)
"""Within a box ANY stands for the protocols that have no name here: GRE, ESP, SCTP ..."""
BOTH_STATES: Final = frozenset({State.NEW, State.ESTABLISHED})
_WITH_PORTS: Final = frozenset({Protocol.TCP, Protocol.UDP})


@dataclass(frozen=True, slots=True)
class Box:
    """Packets of one family. `ports` is about TCP and UDP only, `types` about ICMP only; the others have all."""

    family: Family
    peers: Intervals
    protocols: frozenset[Protocol] = ALL_PROTOCOLS
    ports: Intervals = ALL_PORTS
    types: Intervals = ALL_TYPES
    states: frozenset[State] = BOTH_STATES
    interface: str = ""
    other_than: frozenset[str] = frozenset()
    """Interfaces that it is not about; empty where `interface` is named."""
    user: str = ""
    peer_set: str = ""
    rate: Rate | None = None
    container: Container | None = None


def whole(family: Family) -> Box:
    """Every packet of a family."""
    return Box(family, ALL_ADDRESSES[family])


def of_flow(flow: Flow) -> Box:
    """What a flow is about."""
    protocols = ALL_PROTOCOLS if flow.protocol is Protocol.ANY else frozenset({flow.protocol})
    return Box(
        flow.family,
        ALL_ADDRESSES[flow.family] if flow.peer_set else of_networks(flow.peers),
        protocols,
        of_ports(flow.ports),
        tidy((one, one) for one in flow.icmp_types) or ALL_TYPES,
        BOTH_STATES if flow.state is State.ANY else frozenset({flow.state}),
        flow.interface,
        frozenset(),
        flow.user,
        flow.peer_set,
        flow.rate,
        flow.container,
    )


def is_empty(box: Box) -> bool:
    """True when no packet is in it."""
    if not (box.peers and box.protocols and box.states):
        return True
    return not (live_protocols(box))


def live_protocols(box: Box) -> frozenset[Protocol]:
    """The protocols of which it has packets at all."""
    return frozenset(
        one
        for one in box.protocols
        if (one in _WITH_PORTS and box.ports) or (one is Protocol.ICMP and box.types) or one is Protocol.ANY
    )


def with_protocols(box: Box, protocols: frozenset[Protocol]) -> Box:
    """Narrowed to some protocols."""
    return replace(box, protocols=box.protocols & protocols)


def with_ports(box: Box, protocols: frozenset[Protocol], ports: Intervals) -> Box:
    """Narrowed to destination ports of TCP or UDP."""
    return replace(box, protocols=box.protocols & protocols & _WITH_PORTS, ports=intersect(box.ports, ports))


def with_types(box: Box, types: Intervals) -> Box:
    """Narrowed to types of ICMP."""
    return replace(box, protocols=box.protocols & frozenset({Protocol.ICMP}), types=intersect(box.types, types))


def with_interface(box: Box, names: frozenset[str]) -> Iterator[Box]:
    """Narrowed to one of these interfaces."""
    for name in sorted(names):
        if box.interface in ("", name) and name not in box.other_than:
            yield replace(box, interface=name, other_than=frozenset())


def without_interface(box: Box, names: frozenset[str]) -> Iterator[Box]:
    """Narrowed to every interface but these."""
    if box.interface:
        if box.interface not in names:
            yield box
    else:
        yield replace(box, other_than=box.other_than | names)


def cut(box: Box, hole: Box) -> list[Box]:
    """What is left of `box` without `hole`, in pieces that do not overlap.

    Accounts, sets and rates cannot be turned round: where `hole` has one that `box` lacks, all of `box` is left,
    which for a rule that comes later means that it fits more packets than in truth; callers who must know ask
    `may_cut` first.
    """
    if box.family is not hole.family or not may_cut(box, hole):
        return [box]
    if hole.interface and box.interface and hole.interface != box.interface:
        return [box]
    pieces: list[Box] = []

    def keep(piece: Box) -> None:
        if not is_empty(piece):
            pieces.append(piece)

    rest = box
    if hole.interface and not box.interface:
        if hole.interface in box.other_than:
            return [box]
        pieces += without_interface(rest, frozenset({hole.interface}))
        rest = replace(rest, interface=hole.interface, other_than=frozenset())
    keep(replace(rest, peers=subtract(rest.peers, hole.peers)))
    rest = replace(rest, peers=intersect(rest.peers, hole.peers))
    keep(replace(rest, states=rest.states - hole.states))
    rest = replace(rest, states=rest.states & hole.states)
    keep(replace(rest, protocols=rest.protocols - hole.protocols))
    rest = replace(rest, protocols=rest.protocols & hole.protocols)
    keep(with_ports(rest, _WITH_PORTS, subtract(rest.ports, hole.ports)))
    keep(with_types(rest, subtract(rest.types, hole.types)))
    return pieces


def may_cut(box: Box, hole: Box) -> bool:
    """True when what is left of `box` without `hole` can be said in boxes."""
    if (hole.user and hole.user != box.user) or (hole.peer_set and hole.peer_set != box.peer_set):
        return False
    if hole.other_than and not (box.interface or hole.other_than <= box.other_than):
        return False
    return (hole.rate is None or hole.rate == box.rate) and hole.container in (None, box.container)


def to_flows(box: Box, direction: Direction, ident: str, verdict: Verdict, quote: str, unknown: str) -> Iterator[Flow]:
    """The flows that say the same as a box: one, or one for each protocol. `other_than` is left to the caller."""
    protocols = live_protocols(box)
    if not box.peers or not box.states or not protocols:
        return
    state = State.ANY if len(box.states) == 2 else next(iter(box.states))
    peers: tuple[Network, ...] = () if box.peer_set else to_networks(box.peers, box.family)
    is_plain = box.ports == ALL_PORTS and box.types == ALL_TYPES
    chosen: Iterable[Protocol] = (
        (Protocol.ANY,)
        if protocols == ALL_PROTOCOLS and is_plain
        else [one for one in (Protocol.TCP, Protocol.UDP, Protocol.ICMP) if one in protocols]
    )
    names = [ident] if len(list(chosen)) == 1 else [f"{ident}-{one.value}" for one in chosen]
    for name, protocol in zip(names, chosen, strict=True):
        ports: tuple[Ports, ...] = to_ports(box.ports) if protocol in _WITH_PORTS else ()
        types = () if protocol is not Protocol.ICMP or box.types == ALL_TYPES else _numbers(box.types)
        yield Flow(
            name,
            direction,
            box.family,
            protocol,
            verdict,
            peers,
            ports,
            types,
            state,
            box.interface,
            box.user,
            box.peer_set,
            box.rate,
            box.container,
            unknown=unknown,
            quote=quote,
        )


def _numbers(ranges: Intervals) -> tuple[int, ...]:
    return tuple(number for first, last in ranges for number in range(first, last + 1))
