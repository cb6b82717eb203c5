"""Rules against rules: those that never count, those that a later layer overrules, those that nobody can judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.command import remove
from postreeve.checks.firewall.entrance import ask_for, entrances, families_of
from postreeve.checks.firewall.reach import INNER, Ask, View, size
from postreeve.checks.firewall.scene import Manager
from postreeve.checks.firewall.world import GLOBAL, wanted
from postreeve.firewall.flow import Direction, Flow, Network, Protocol, State, Verdict, tidy_ports
from postreeve.firewall.interval import intersect
from postreeve.firewall.ruleset import Hook, Layer

_MOST_CANDIDATES: Final = 64
_MOST_PORTS: Final = 256
_MOST_TOLD: Final = 10
_Key = tuple[Network, int]


@dataclass(slots=True)
class _Shelf:
    """Earlier rules by a network and a port that they are about; port -1 is every one."""

    rules: dict[_Key, list[Flow]] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)

    def put(self, flow: Flow) -> None:
        for peer in flow.peers:
            self.lengths.add(peer.prefixlen)
            for port in _ports(flow):
                self.rules.setdefault((peer, port), []).append(flow)

    def covering(self, flow: Flow) -> Flow | None:
        """An earlier rule that leaves nothing for this one."""
        if not flow.peers:
            return None
        first = flow.peers[0]
        ports = (-1,) if not flow.ports else (-1, flow.ports[0].first)
        for length in sorted(self.lengths):
            if length > first.prefixlen:
                break
            network = first.supernet(new_prefix=length) if length < first.prefixlen else first
            for port in ports:
                for one in self.rules.get((network, port), ())[:_MOST_CANDIDATES]:
                    if _covers(one, flow):
                        return one
        return None


def _ports(flow: Flow) -> Iterator[int]:
    wide = sum(one.last - one.first + 1 for one in flow.ports)
    if not flow.ports or wide > _MOST_PORTS:
        yield -1
        return
    for one in flow.ports:
        yield from range(one.first, one.last + 1)


def _covers(one: Flow, other: Flow) -> bool:
    return (
        one.protocol in (Protocol.ANY, other.protocol)
        and one.state in (State.ANY, other.state)
        and one.interface in ("", other.interface)
        and one.user in ("", other.user)
        and one.rate is None
        and one.container == other.container
        and (not one.ports or (bool(other.ports) and tidy_ports((*one.ports, *other.ports)) == one.ports))
        and (not one.icmp_types or (bool(other.icmp_types) and set(other.icmp_types) <= set(one.icmp_types)))
        and all(any(_within(peer, mine) for mine in one.peers) for peer in other.peers)
    )


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and (
        int(outer.network_address) <= int(inner.network_address)
        and int(inner.broadcast_address) <= int(outer.broadcast_address)
    )


def shadowed(view: View) -> Iterator[Seen]:
    """FW013."""
    for layer in view.scene.host.layers:
        yield from _shadowed_in(view, layer)
    for cloud in view.scene.clouds:
        yield from _shadowed_in(view, Layer(f"{cloud.provider.value} {cloud.name}", Hook.IN, 0, cloud.policy))
        for pair in cloud.undecided:
            yield Seen(
                f"{cloud.provider.value} {cloud.name}",
                ("two rules of one priority contradict each other, and the one that refuses wins", pair),
                "give the rule that should win the smaller number for its priority",
            )
    yield from _overruled(view)


def _shadowed_in(view: View, layer: Layer) -> Iterator[Seen]:
    shelves: dict[tuple[object, object], _Shelf] = {}
    dead: dict[str, tuple[Flow, Flow]] = {}
    alive: set[str] = set()
    for flow in layer.policy.flows:
        shelf = shelves.setdefault((flow.direction, flow.family), _Shelf())
        quote = flow.quote or flow.ident
        before = None if flow.peer_set or flow.unknown else shelf.covering(flow)
        if before is None:
            alive.add(quote)
        elif quote != (before.quote or before.ident):
            dead.setdefault(quote, (flow, before))
        if not flow.unknown and not flow.peer_set:
            shelf.put(flow)
    told = [pair for quote, pair in dead.items() if quote not in alive and _is_worth_telling(*pair)]
    # Rules that contradict each other first: what they were meant for does not happen.
    told.sort(key=lambda pair: _agree(*pair))
    for flow, before in told[:_MOST_TOLD]:
        clash = "it says the same" if _agree(flow, before) else "it says the opposite"
        what = flow.because and f" ({flow.because})"
        yield Seen(
            f"{layer.name}: {flow.ident}",
            (f"rule: {flow.quote or flow.ident}{what}", f"{clash} earlier: {before.quote or before.ident}"),
            remove(view.scene, flow) + ("" if _agree(flow, before) else "   # or move it before the other"),
        )
    if len(told) > _MOST_TOLD:
        rest = len(told) - _MOST_TOLD
        yield Seen(layer.name, (f"{rest:,} more rules never count",), "postreeve firewall audit --json")


def _is_worth_telling(flow: Flow, before: Flow) -> bool:
    """What says the same again is only noise where it names ports; what says the opposite is a mistake anywhere."""
    if flow.state is State.ESTABLISHED or flow.interface == "lo" or flow.quote.startswith(":"):
        return False
    return bool(flow.ports) if _agree(flow, before) else bool(flow.ports or flow.protocol is Protocol.ANY)


def _agree(one: Flow, other: Flow) -> bool:
    """To refuse with an answer and without is the same to mail."""
    return (one.verdict is Verdict.ACCEPT) == (other.verdict is Verdict.ACCEPT)


def _overruled(view: View) -> Iterator[Seen]:
    """An accept is final in its own layer only."""
    seen: set[tuple[str, object, int]] = set()
    layers = view.scene.host.of(Hook.IN)
    if len(layers) < 2:
        return
    for layer in layers:
        for flow in layer.policy.flows:
            if flow.verdict is not Verdict.ACCEPT or not flow.ports or flow.unknown or flow.state is State.ESTABLISHED:
                continue
            port = flow.ports[0].first
            key = (layer.name, flow.family, port)
            if key in seen or flow.protocol is not Protocol.TCP or len(seen) > 256:
                continue
            seen.add(key)
            fate = view.host(Ask(Hook.IN, flow.family, Protocol.TCP, port))
            world = intersect(wanted(flow.peers, flow.family) or GLOBAL[flow.family], GLOBAL[flow.family])
            other = fate.worst(world)
            if world and other is not None and other.layer != layer.name and not fate.unknown:
                if size(intersect(fate.accepted, world)) > 0 or (other.flow and other.flow.peer_set):
                    continue
                yield Seen(
                    f"port {port}, IPv{flow.family.value}",
                    (
                        f"accepted in {layer.name}: {flow.quote or flow.ident}",
                        f"refused in {other.words}: an accept is final in its own chain only",
                    ),
                    "let it pass in both, or take one of the two tables away",
                )


def undecidable(view: View) -> Iterator[Seen]:
    """FW028."""
    scene = view.scene
    layers = [(layer.name, layer.policy.flows) for layer in scene.host.layers]
    layers += [(f"{one.provider.value} {one.name}", one.policy.flows) for one in scene.clouds]
    for name, flows in layers:
        found = list(dict.fromkeys(f"{flow.quote or flow.ident}: {flow.unknown}" for flow in flows if flow.unknown))
        if found:
            is_hidden = any("iptables" in one for one in found)
            fix = "postreeve firewall audit --live   # asks iptables-save, which shows what nft hides"
            yield Seen(name, some(found), fix if is_hidden and not scene.is_live else "postreeve firewall verify")
    if scene.host.unread:
        yield Seen("not read at all", some(list(scene.host.unread)), "postreeve firewall verify")
    for entrance in entrances(scene):
        for family in families_of(scene, entrance):
            fate = view.all(ask_for(entrance, family))
            doubtful = intersect(fate.unknown, wanted(entrance.peers, family))
            if doubtful:
                yield Seen(
                    f"{entrance.name} port {entrance.port}, IPv{family.value}",
                    (
                        "whether it is open cannot be told from the rules",
                        *some([f"{one.quote or one.ident}: {one.unknown}" for one in fate.unknowns], 2),
                    ),
                    "postreeve firewall verify",
                )


def unnamed(view: View) -> Iterator[Seen]:
    """FW024."""
    scene = view.scene
    for cloud in scene.clouds:
        if cloud.undescribed:
            yield Seen(
                f"{cloud.provider.value} {cloud.name}",
                some(list(cloud.undescribed)),
                "describe each with what it is for, or have them written: postreeve firewall render",
            )
    if scene.manager in (Manager.UFW, Manager.FIREWALLD):
        return
    for layer in scene.host.of(Hook.IN):
        found = [
            flow.quote
            for flow in layer.policy.flows
            if flow.quote
            and flow.ports
            and flow.verdict is Verdict.ACCEPT
            and flow.direction is Direction.IN
            and "comment" not in flow.quote
            and not flow.interface.startswith(INNER)
        ]
        if found:
            fix = "postreeve firewall apply   # writes rules that say what they are for"
            yield Seen(layer.name, some(list(dict.fromkeys(found)), 3), fix)


CHECKS: Final = (
    Check(
        "FW013",
        Level.WARNING,
        "A rule never counts",
        "Rules that an earlier one covers, accepts that a later chain overrules, contradictions of equal priority.",
        shadowed,
    ),
    Check(
        "FW024",
        Level.NOTE,
        "Rules without a word about what they are for",
        "Comments and descriptions of rules that open ports.",
        unnamed,
    ),
    Check(
        "FW028",
        Level.WARNING,
        "Rules that cannot be judged",
        "Matches and statements that are not understood; doors whose fate depends on them count neither way.",
        undecidable,
    ),
)
