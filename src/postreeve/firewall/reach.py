"""For one kind of packet: from where it is let in, or to where it is let out, by all layers together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from postreeve.firewall.flow import Direction, Family, Flow, Policy, Protocol, State, Verdict
from postreeve.firewall.interval import (
    ALL_ADDRESSES,
    ALL_PORTS,
    ALL_TYPES,
    Intervals,
    contains,
    intersect,
    of_networks,
    of_ports,
    subtract,
    tidy,
)
from postreeve.firewall.ruleset import Hook, Layer, Ruleset


@dataclass(frozen=True, slots=True)
class Corner:
    """The dimensions without ranges. "" stands for every other interface, account or set than those named."""

    hook: Hook
    family: Family
    protocol: Protocol
    state: State
    interface: str = ""
    user: str = ""
    peer_set: str = ""
    is_within_rate: bool = True


@dataclass(frozen=True, slots=True)
class Reach:
    """The peers whose packets pass, those whose packets are refused, and those of which it cannot be told."""

    accepted: Intervals
    refused: Intervals
    unknown: Intervals


def find_reach(ruleset: Ruleset, corner: Corner, value: int) -> Reach:
    """Of packets to this destination port (or with this type of ICMP)."""
    accepted = ALL_ADDRESSES[corner.family]
    refused: Intervals = ()
    for layer in ruleset.of(corner.hook):
        here = _of_layer(layer, corner, value)
        accepted = intersect(accepted, here.accepted)
        refused = tidy((*refused, *here.refused))
    rest = subtract(subtract(ALL_ADDRESSES[corner.family], accepted), refused)
    return Reach(accepted, refused, rest)


def find_decider(
    ruleset: Ruleset, corner: Corner, value: int, address: int
) -> tuple[Verdict | None, Layer, Flow | None]:
    """What is done with one packet, in which layer, by which rule (None = its default). There must be a layer."""
    last: tuple[Verdict | None, Layer, Flow | None] | None = None
    for layer in ruleset.of(corner.hook):
        flow = next((one for one in _rules(layer, corner, value) if contains(peers_of(one), address)), None)
        verdict = _default(layer.policy, corner) if flow is None else None if flow.unknown else flow.verdict
        if last is None or verdict is not Verdict.ACCEPT:
            last = (verdict, layer, flow)
        if verdict not in (Verdict.ACCEPT, None):
            break
    if last is None:
        raise LookupError(corner.hook.value)
    return last


def _of_layer(layer: Layer, corner: Corner, value: int) -> Reach:
    rest = ALL_ADDRESSES[corner.family]
    found: dict[Verdict | None, list[tuple[int, int]]] = {}
    # Rules in a row with the same verdict are one, however long a list of addresses they are.
    for verdict, flows in groupby(_rules(layer, corner, value), lambda one: None if one.unknown else one.verdict):
        peers = tidy(pair for flow in flows for pair in peers_of(flow))
        found.setdefault(verdict, []).extend(intersect(rest, peers))
        rest = subtract(rest, peers)
        if not rest:
            break
    found.setdefault(_default(layer.policy, corner), []).extend(rest)
    accepted, unknown = tidy(found.pop(Verdict.ACCEPT, [])), tidy(found.pop(None, []))
    return Reach(accepted, tidy(pair for pairs in found.values() for pair in pairs), unknown)


def _default(policy: Policy, corner: Corner) -> Verdict:
    return policy.default_out if corner.hook is Hook.OUT else policy.default_in


def _rules(layer: Layer, corner: Corner, value: int) -> Iterator[Flow]:
    for flow in layer.policy.flows:
        if is_about(flow, corner) and _has(flow, corner, value):
            yield flow


def _has(flow: Flow, corner: Corner, value: int) -> bool:
    if corner.protocol is Protocol.ICMP:
        return not flow.icmp_types or value in flow.icmp_types
    return not flow.ports or any(value in one for one in flow.ports)


def peers_of(flow: Flow) -> Intervals:
    """All, where the corner says that the packet's peer is in the flow's set."""
    return ALL_ADDRESSES[flow.family] if flow.peer_set else of_networks(flow.peers)


def ranges_of(flow: Flow, corner: Corner) -> Intervals:
    """Destination ports, or types of ICMP."""
    if corner.protocol is Protocol.ICMP:
        return tidy((one, one) for one in flow.icmp_types) or ALL_TYPES
    return of_ports(flow.ports) if flow.ports else ALL_PORTS


def is_about(flow: Flow, corner: Corner) -> bool:
    """True when the flow fits packets of the corner, as far as it is not about ranges."""
    direction = Direction.OUT if corner.hook is Hook.OUT else Direction.IN
    if flow.direction is not direction or flow.family is not corner.family:
        return False
    if (corner.hook is Hook.FORWARD) != (flow.container is not None) and not (
        corner.hook is Hook.FORWARD and flow.peer_set
    ):
        return False
    return (
        flow.protocol in (Protocol.ANY, corner.protocol)
        and flow.state in (State.ANY, corner.state)
        and flow.interface in ("", corner.interface)
        and flow.user in ("", corner.user)
        and flow.peer_set in ("", corner.peer_set)
        and (flow.rate is None or corner.is_within_rate)
    )
