"""Flows cut out of flows, and flows renamed for notations without names: what `reduce` is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Protocol, State, Verdict, tidy_peers
from postreeve.firewall.interval import intersect, of_networks, of_ports, subtract, to_networks, to_ports

LOOPBACK: Final = "lo"
STEP: Final = 10
"""Between the numbers of rules that have no other name."""


def implied(*, is_stateful: bool = True) -> tuple[Flow, ...]:
    """What a layer lets pass without a rule; readers put it back."""
    flows: list[Flow] = []
    for family in Family:
        for direction in Direction:
            name = f"{direction.value}-{{}}-ipv{family.value}"
            world = (WORLD[family],)
            flow = Flow(name, direction, family, Protocol.ANY, Verdict.ACCEPT, world, state=State.ANY)
            because = "it never passes this layer"
            flows.append(replace(flow, ident=name.format("loopback"), interface=LOOPBACK, because=because))
            if is_stateful:
                because = "the layer knows the connections it let begin"
                name = name.format("established")
                flows.append(replace(flow, ident=name, state=State.ESTABLISHED, because=because))
    return tuple(flows)


def is_everything(flow: Flow) -> bool:
    return flow.protocol is Protocol.ANY and flow.peers == (WORLD[flow.family],)


def overlap(one: Flow, other: Flow) -> bool:
    if (one.direction, one.family) != (other.direction, other.family):
        return False
    if Protocol.ANY not in (one.protocol, other.protocol):
        if one.protocol is not other.protocol or not intersect(of_ports(one.ports), of_ports(other.ports)):
            return False
        if one.icmp_types and other.icmp_types and not set(one.icmp_types) & set(other.icmp_types):
            return False
    return bool(intersect(of_networks(one.peers), of_networks(other.peers)))


def cut(flow: Flow, hole: Flow) -> Iterator[Flow]:
    """The flow without the hole, as far as that is a matter of addresses and ports; else with it."""
    if not overlap(flow, hole):
        yield flow
        return
    mine, theirs = of_networks(flow.peers), of_networks(hole.peers)
    outside = subtract(mine, theirs)
    if outside:
        yield replace(flow, peers=to_networks(outside, flow.family))
    inside = replace(flow, peers=to_networks(intersect(mine, theirs), flow.family))
    if hole.protocol is Protocol.ANY:
        return
    if flow.protocol is Protocol.ANY:
        yield inside
    elif flow.protocol is Protocol.ICMP:
        types = tuple(one for one in flow.icmp_types if one not in hole.icmp_types)
        if hole.icmp_types and (types or not flow.icmp_types):
            yield replace(inside, icmp_types=types)
    else:
        ports = subtract(of_ports(flow.ports), of_ports(hole.ports))
        if ports:
            yield replace(inside, ports=to_ports(ports))


def in_order(flows: Iterable[Flow]) -> list[Flow]:
    return sorted(flows, key=lambda flow: (flow.direction is Direction.OUT, flow.ident))


def pieces(flow: Flow) -> Iterator[Flow]:
    """One range of ports, one type each."""
    if flow.ports:
        yield from (replace(flow, ports=(one,)) for one in flow.ports)
    elif flow.icmp_types:
        yield from (replace(flow, icmp_types=(one,)) for one in flow.icmp_types)
    else:
        yield flow


def number(flows: Iterable[Flow]) -> list[Flow]:
    """One rule each, with one peer, known by its number."""
    numbers = dict.fromkeys(Direction, 0)
    found: list[Flow] = []
    for flow in flows:
        for piece in pieces(flow):
            for peer in piece.peers:
                numbers[flow.direction] += STEP
                ident = f"{flow.direction.value}-{numbers[flow.direction]}"
                found.append(replace(piece, ident=ident, peers=(peer,)))
    return found


def name_all_by_content(flows: Iterable[Flow]) -> list[Flow]:
    """Flows that differ in nothing but their peers are one."""
    found: dict[str, Flow] = {}
    for flow in flows:
        for piece in pieces(flow):
            ident = name_by_content(piece)
            other = found.get(ident)
            if other is not None:
                peers = tidy_peers((*other.peers, *piece.peers))
                because = "; ".join(dict.fromkeys(one for one in (other.because, piece.because) if one))
                piece = replace(other, peers=peers, because=because)
            found[ident] = replace(piece, ident=ident)
    return list(found.values())


def name_by_content(flow: Flow) -> str:
    """The name of a flow in a notation that has no room for one."""
    what = [str(one) for one in (*flow.ports, *flow.icmp_types)]
    refuses = [] if flow.verdict is Verdict.ACCEPT else ["no"]
    return "-".join((flow.direction.value, *refuses, flow.protocol.value, *what, f"ipv{flow.family.value}"))


def fold_rest(flows: Iterable[Flow], direction: Direction, default: Verdict) -> tuple[tuple[Flow, ...], Verdict]:
    """The flows of a direction up to what is about everything, and the default that this makes.

    What comes behind such a flow is never reached. Where the families end differently, the later end is the default.
    """
    kept: list[Flow] = []
    ends: dict[Family, Flow] = {}
    for flow in flows:
        if flow.direction is not direction or flow.family in ends:
            continue
        if is_everything(flow) and flow.state is not State.ESTABLISHED and not (flow.unknown or flow.interface):
            ends[flow.family] = flow
        kept.append(flow)
    if len(ends) == len(Family):
        default = list(ends.values())[-1].verdict
    return tuple(flow for flow in kept if flow not in ends.values() or flow.verdict is not default), default
