"""What two rulesets decide differently, by evaluation and not by their text.

Addresses and ports fall into atoms, ranges that no rule of either side cuts; within an atom all packets fare the same,
so one of each is enough to be sure about all. The result does not depend on how either side is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from typing import Final

from postreeve.firewall.flow import Direction, Family, Flow, Network, Ports, Protocol, State, Verdict
from postreeve.firewall.interval import (
    ALL_ADDRESSES,
    ALL_PORTS,
    ALL_TYPES,
    Intervals,
    contains,
    tidy,
    to_networks,
)
from postreeve.firewall.reach import Corner, is_about, peers_of, ranges_of
from postreeve.firewall.ruleset import Hook, Ruleset

_STATES: Final = (State.NEW, State.ESTABLISHED)
_PROTOCOLS: Final = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)


class Kind(Enum):
    """What became of what passes."""

    ADDED = "added"
    """Passes now, by a rule of which nothing passed before."""
    WIDENED = "widened"
    """Passes now, by a rule of which a part passed before."""
    REMOVED = "removed"
    """Is refused now; of the rule that let it pass nothing passes any more."""
    NARROWED = "narrowed"
    """Is refused now; another part of the rule that let it pass still passes."""
    REWORDED = "reworded"
    """Is refused as before, but silently in place of an answer, or the other way round."""
    UNKNOWN = "unknown"
    """Cannot be told on one of the sides."""


@dataclass(frozen=True, slots=True)
class Change:
    """Packets that fare differently: from these peers to these ports (or with these types of ICMP)."""

    kind: Kind
    corner: Corner
    peers: tuple[Network, ...]
    ranges: tuple[Ports, ...]
    before: Verdict | None
    after: Verdict | None
    rule_before: Flow | None
    rule_after: Flow | None
    """The rules that decided; None is a default."""

    @property
    def direction(self) -> Direction:
        """Seen from the host."""
        return Direction.OUT if self.corner.hook is Hook.OUT else Direction.IN


@dataclass(frozen=True, slots=True)
class _Rule:
    peers: Intervals
    ranges: Intervals
    verdict: Verdict | None
    flow: Flow | None


_Layers = tuple[tuple[_Rule, ...], ...]
_Fate = tuple[Verdict | None, Flow | None]
_Kept = set[tuple[bool, str, Corner]]


def compare(before: Ruleset, after: Ruleset) -> tuple[Change, ...]:
    """Every difference, the same one of several interfaces, accounts or states once."""
    kept: _Kept = set()
    raw: list[Change] = []
    for corner in _corners((before, after)):
        raw += _compare_at(corner, before, after, kept)
    named = [replace(change, kind=_kind(change, kept)) for change in raw]
    return tuple(_fold(named))


def _corners(both: tuple[Ruleset, Ruleset]) -> Iterator[Corner]:
    flows = [flow for ruleset in both for layer in ruleset.layers for flow in layer.policy.flows]
    interfaces = sorted({""} | {flow.interface for flow in flows})
    users = sorted({""} | {flow.user for flow in flows})
    sets = sorted({""} | {flow.peer_set for flow in flows})
    rates = (True, False) if any(flow.rate for flow in flows) else (True,)
    hooks = [hook for hook in Hook if hook is not Hook.FORWARD or any(flow.container for flow in flows)]
    for hook, family, protocol, state, interface, user, peer_set, rate in product(
        hooks, Family, _PROTOCOLS, _STATES, interfaces, users, sets, rates
    ):
        is_tcp = protocol is Protocol.TCP
        if (user and hook is not Hook.OUT) or (hook is Hook.FORWARD and not (is_tcp and state is State.NEW)):
            continue
        yield Corner(hook, family, protocol, state, interface, user, peer_set, rate)


def _compare_at(corner: Corner, before: Ruleset, after: Ruleset, kept: _Kept) -> Iterator[Change]:
    old, new = _layers(before, corner), _layers(after, corner)
    rules = [rule for layers in (old, new) for layer in layers for rule in layer]
    every = ALL_TYPES if corner.protocol is Protocol.ICMP else ALL_PORTS
    columns = list(_atoms((rule.peers for rule in rules), ALL_ADDRESSES[corner.family]))
    found: dict[tuple[_Fate, _Fate], dict[tuple[int, int], list[tuple[int, int]]]] = {}
    for row in _atoms((rule.ranges for rule in rules), every):
        old_row, new_row = _at_row(old, row[0]), _at_row(new, row[0])
        for column in columns:
            fates = (_fate(old_row, column[0]), _fate(new_row, column[0]))
            if fates[0][0] is fates[1][0]:
                _keep(corner, fates, kept)
            else:
                found.setdefault(fates, {}).setdefault(row, []).append(column)
    for (was, now), rows in found.items():
        by_peers: dict[Intervals, list[tuple[int, int]]] = {}
        for row, peers in rows.items():
            by_peers.setdefault(tidy(peers), []).append(row)
        for ranges, chosen in by_peers.items():
            yield Change(
                Kind.UNKNOWN,
                corner,
                to_networks(ranges, corner.family),
                tuple(Ports(first, last) for first, last in tidy(chosen)),
                was[0],
                now[0],
                was[1],
                now[1],
            )


def _keep(corner: Corner, fates: tuple[_Fate, _Fate], kept: _Kept) -> None:
    """Which rules let something pass on both sides."""
    if fates[0][0] is Verdict.ACCEPT:
        kept |= {(bool(side), flow.ident, _alike(corner)) for side, (_, flow) in enumerate(fates) if flow is not None}


def _alike(corner: Corner) -> Corner:
    """Where a rule counts as one: what it lets pass from loopback, or under way, widens nothing elsewhere."""
    return replace(corner, family=Family.IPV4, protocol=Protocol.TCP)


def _layers(ruleset: Ruleset, corner: Corner) -> _Layers:
    return tuple(
        (
            *(
                _Rule(peers_of(flow), ranges_of(flow, corner), None if flow.unknown else flow.verdict, flow)
                for flow in layer.policy.flows
                if is_about(flow, corner)
            ),
            _Rule(
                ALL_ADDRESSES[corner.family],
                ALL_PORTS,
                layer.policy.default_out if corner.hook is Hook.OUT else layer.policy.default_in,
                None,
            ),
        )
        for layer in ruleset.of(corner.hook)
    )


def _atoms(many: Iterable[Intervals], every: Intervals) -> Iterator[tuple[int, int]]:
    """The ranges that lie between two neighbouring borders."""
    first, last = every[0]
    starts = {first} | {
        border for ranges in many for low, high in ranges for border in (low, high + 1) if first <= border <= last
    }
    ordered = sorted(starts)
    yield from zip(ordered, [*(one - 1 for one in ordered[1:]), last], strict=True)


def _at_row(layers: _Layers, number: int) -> _Layers:
    return tuple(tuple(rule for rule in layer if contains(rule.ranges, number)) for layer in layers)


def _fate(layers: _Layers, address: int) -> _Fate:
    """As `ruleset.pass_through` has it."""
    passed: _Fate = (Verdict.ACCEPT, None)
    unsure: _Fate | None = None
    for layer in layers:
        rule = next(rule for rule in layer if contains(rule.peers, address))
        if rule.verdict is None:
            unsure = unsure or (None, rule.flow)
        elif rule.verdict is not Verdict.ACCEPT:
            return rule.verdict, rule.flow
        elif rule.flow is not None:
            passed = (Verdict.ACCEPT, rule.flow)
    return unsure or passed


def _kind(change: Change, kept: _Kept) -> Kind:
    if change.before is None or change.after is None:
        return Kind.UNKNOWN
    if change.after is Verdict.ACCEPT:
        rule = change.rule_after
        return Kind.WIDENED if rule is not None and (True, rule.ident, _alike(change.corner)) in kept else Kind.ADDED
    if change.before is Verdict.ACCEPT:
        rule = change.rule_before
        return (
            Kind.NARROWED if rule is not None and (False, rule.ident, _alike(change.corner)) in kept else Kind.REMOVED
        )
    return Kind.REWORDED


def _fold(changes: list[Change]) -> Iterator[Change]:
    """A change that is there with the general corner ("" everywhere) is told once."""
    seen: set[tuple[object, ...]] = set()
    for change in sorted(changes, key=_generality):
        corner = change.corner
        what = (change.kind, corner.hook, corner.family, corner.protocol, change.peers, change.ranges)
        fate = (change.before, change.after, change.rule_before, change.rule_after)
        if (*what, *fate) not in seen:
            seen.add((*what, *fate))
            yield change


def _generality(change: Change) -> tuple[object, ...]:
    corner = change.corner
    named = bool(corner.interface) + bool(corner.user) + bool(corner.peer_set) + (not corner.is_within_rate)
    place = (list(Hook).index(corner.hook), corner.family.value, _PROTOCOLS.index(corner.protocol))
    return (named, corner.state is not State.NEW, *place, str(change.ranges), str(change.peers))
