"""What a ruleset does with all addresses at once: which of them reach a port, which do not, and by which rule.

Addresses are painted by the rules in their order, each address once, by the first rule that fits; so thousands of
rules about addresses cost no more than sorting them. A flow that was not understood paints "unknown".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from postreeve.checks.firewall.scene import Cloud, Scene
from postreeve.firewall.flow import Direction, Family, Flow, Network, Protocol, State, Verdict
from postreeve.firewall.interval import (
    ALL_ADDRESSES,
    Intervals,
    intersect,
    of_networks,
    subtract,
    tidy,
)
from postreeve.firewall.ruleset import Hook, Layer

INNER: Final = ("lo", "docker", "br-", "veth", "virbr", "cni", "cali", "flannel", "wg", "tun", "tap", "tailscale")
ANYBODY: Final = "somebody-else"
"""An account that no rule names."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Which packets: everything but the address. `user` is only asked for what leaves."""

    hook: Hook
    family: Family
    protocol: Protocol
    port: int
    state: State = State.NEW
    icmp_type: int = 0
    interface: str = ""
    user: str = ANYBODY


@dataclass(frozen=True, slots=True)
class Refusal:
    """Addresses that a layer refuses by one rule; `flow` is None for the layer's default."""

    layer: str
    flow: Flow | None
    verdict: Verdict
    addresses: Intervals
    cloud: Cloud | None = None

    @property
    def words(self) -> str:
        """The layer, and the rule as it stands there."""
        what = f"rule: {self.flow.quote or self.flow.ident}" if self.flow else "its default, as no rule lets them pass"
        return f"{self.layer}: {what}"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of the packets; every address is in one of the three."""

    accepted: Intervals
    refused: Intervals
    unknown: Intervals
    refusals: tuple[Refusal, ...] = ()
    accepting: tuple[Flow, ...] = ()
    """The rules that let some of them pass, in every layer."""
    unknowns: tuple[Flow, ...] = ()

    def share(self, of: Intervals) -> float:
        """How much of `of` passes, 0.0 to 1.0."""
        whole = size(of)
        return size(intersect(self.accepted, of)) / whole if whole else 0.0

    def worst(self, among: Intervals) -> Refusal | None:
        """Who refuses most of these."""
        found = [(size(intersect(one.addresses, among)), one) for one in self.refusals]
        return max(found, key=lambda pair: pair[0])[1] if found and max(found, key=lambda pair: pair[0])[0] else None


def size(ranges: Intervals) -> int:
    """How many addresses."""
    return sum(last - first + 1 for first, last in ranges)


@dataclass(slots=True)
class View:
    """A scene with the answers that were found; ask through it."""

    scene: Scene
    _flows: dict[tuple[object, ...], list[Flow]] = field(default_factory=dict)
    _fates: dict[tuple[Ask, str], Fate] = field(default_factory=dict)
    _interfaces: tuple[str, ...] | None = None

    def outside(self) -> tuple[str, ...]:
        """The interfaces that strangers may come in by; "" is one that no rule names."""
        if self._interfaces is None:
            named = {flow.interface for layer in self.scene.host.layers for flow in layer.policy.flows}
            found = sorted(one for one in named if one and not one.startswith(INNER))
            own = self.scene.interfaces
            self._interfaces = tuple(one if one in found else "" for one in own) if own else ("", *found[:8])
        return self._interfaces

    def host(self, ask: Ask) -> Fate:
        """By the rules of the machine itself, by the interface that lets most pass."""
        return self._best(ask, "host")

    def all(self, ask: Ask) -> Fate:
        """By every layer, those of the cloud included."""
        return self._best(ask, "all")

    def cloud(self, ask: Ask, cloud: Cloud) -> Fate:
        """By one layer of the cloud."""
        hook = Hook.OUT if ask.hook is Hook.OUT else Hook.IN
        here = Ask(hook, ask.family, ask.protocol, ask.port, ask.state, ask.icmp_type)
        layer = Layer(f"{cloud.provider.value} {cloud.name}", hook, 0, cloud.policy)
        return combine([self._paint(layer, here, cloud)])

    def _best(self, ask: Ask, which: str) -> Fate:
        key = (ask, which)
        if key not in self._fates:
            names = (ask.interface,) if ask.interface else self.outside()
            fates = [self._fate(ask, name, which) for name in names]
            self._fates[key] = max(fates, key=lambda fate: (size(fate.accepted), size(fate.unknown)))
        return self._fates[key]

    def _fate(self, ask: Ask, interface: str, which: str) -> Fate:
        parts = [self._paint(layer, ask, None, interface) for layer in self.scene.host.of(ask.hook)]
        if which == "all":
            hook = Hook.OUT if ask.hook is Hook.OUT else Hook.IN
            plain = Ask(hook, ask.family, ask.protocol, ask.port, ask.state, ask.icmp_type)
            around = [
                self._paint(Layer(f"{one.provider.value} {one.name}", hook, 0, one.policy), plain, one)
                for one in self.scene.clouds
            ]
            parts = around + parts if hook is Hook.IN else parts + around
        return combine(parts) if parts else Fate(ALL_ADDRESSES[ask.family], (), ())

    def _paint(self, layer: Layer, ask: Ask, cloud: Cloud | None, interface: str = "") -> Fate:
        flows = [
            flow
            for flow in self.about(layer, ask)
            if flow.interface in ("", interface) and flow.user in ("", ask.user if ask.hook is Hook.OUT else "")
        ]
        is_out = ask.hook is Hook.OUT
        default = layer.policy.default_out if is_out else layer.policy.default_in
        return paint(layer.name, flows, default, ask.family, self.scene.host.sets, cloud)

    def about(self, layer: Layer, ask: Ask) -> list[Flow]:
        """The flows of a layer that may be about these packets, of whatever interface and account."""
        side = Direction.OUT if ask.hook is Hook.OUT else Direction.IN
        key = (id(layer.policy), side, ask.family, ask.protocol, ask.state, ask.hook is Hook.FORWARD)
        if key not in self._flows:
            self._flows[key] = [flow for flow in layer.policy.flows if _is_about(flow, ask, side)]
        return [flow for flow in self._flows[key] if _is_of_port(flow, ask)]


def _is_about(flow: Flow, ask: Ask, side: Direction) -> bool:
    if flow.direction is not side or flow.family is not ask.family:
        return False
    if flow.protocol not in (Protocol.ANY, ask.protocol) or flow.state not in (State.ANY, ask.state):
        return False
    is_forwarded = ask.hook is Hook.FORWARD
    return (flow.container is not None) == is_forwarded or (is_forwarded and bool(flow.peer_set))


def _is_of_port(flow: Flow, ask: Ask) -> bool:
    if flow.protocol is Protocol.ICMP:
        return not flow.icmp_types or ask.icmp_type in flow.icmp_types
    if flow.container is not None:
        return flow.container.published == ask.port
    return not flow.ports or any(one.first <= ask.port <= one.last for one in flow.ports)


def paint(
    name: str,
    flows: Iterable[Flow],
    default: Verdict,
    family: Family,
    sets: object,
    cloud: Cloud | None = None,
) -> Fate:
    """The fate of every address in one layer."""
    contents = sets if isinstance(sets, dict) else {}
    ranges = [
        (flow, of_networks(_of_family(contents.get(flow.peer_set, ()), family) if flow.peer_set else flow.peers))
        for flow in flows
    ]
    painted = _cover(ranges, ALL_ADDRESSES[family][0])
    accepted, unknown, refused = [], [], []
    by_rule: dict[int, list[tuple[int, int]]] = {}
    who: dict[int, Flow | None] = {}
    for first, last, flow in painted:
        if flow is not None and flow.unknown:
            unknown.append((first, last))
        elif (flow.verdict if flow else default) is Verdict.ACCEPT:
            accepted.append((first, last))
        else:
            refused.append((first, last))
        by_rule.setdefault(id(flow), []).append((first, last))
        who[id(flow)] = flow
    refusals = tuple(
        Refusal(
            name,
            flow,
            flow.verdict if flow else default,
            tuple(by_rule[key]) if len(by_rule[key]) == 1 else tidy(by_rule[key]),
            cloud,
        )
        for key, flow in who.items()
        if not (flow and flow.unknown) and (flow.verdict if flow else default) is not Verdict.ACCEPT
    )
    used = [flow for flow in who.values() if flow is not None]
    return Fate(
        tidy(accepted),
        tidy(refused),
        tidy(unknown),
        refusals,
        tuple(one for one in used if one.verdict is Verdict.ACCEPT and not one.unknown),
        tuple(one for one in used if one.unknown),
    )


def _of_family(networks: Iterable[Network], family: Family) -> list[Network]:
    return [one for one in networks if one.version == family.value]


def _cover(rules: list[tuple[Flow, Intervals]], every: tuple[int, int]) -> Iterator[tuple[int, int, Flow | None]]:
    """Each address by the first rule that has it: atoms between borders, and a chain that leaps over painted ones."""
    first, last = every
    borders = {first}
    for _, ranges in rules:
        for low, high in ranges:
            borders.add(low)
            if high < last:
                borders.add(high + 1)
    starts = sorted(borders)
    count = len(starts)
    owner: list[Flow | None] = [None] * count
    free = list(range(count + 1))

    def find(place: int) -> int:
        root = place
        while free[root] != root:
            root = free[root]
        while free[place] != root:
            free[place], place = root, free[place]
        return root

    for flow, ranges in rules:
        if find(0) == count:
            break
        for low, high in ranges:
            place = find(bisect_left(starts, low))
            while place < count and starts[place] <= high:
                owner[place] = flow
                free[place] = place + 1
                place = find(place + 1)
    for place, start in enumerate(starts):
        yield start, starts[place + 1] - 1 if place + 1 < count else last, owner[place]


def combine(fates: list[Fate]) -> Fate:
    """Of layers that packets pass one after the other: who is refused by one is refused."""
    refused = tidy(one for fate in fates for one in fate.refused)
    unknown = subtract(tidy(one for fate in fates for one in fate.unknown), refused)
    accepted = fates[0].accepted
    for fate in fates[1:]:
        accepted = intersect(accepted, fate.accepted)
    return Fate(
        accepted,
        refused,
        unknown,
        tuple(one for fate in fates for one in fate.refusals),
        tuple(one for fate in fates for one in fate.accepting),
        tuple(one for fate in fates for one in fate.unknowns),
    )
