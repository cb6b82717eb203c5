"""The part of a host's policy that a layer around it can hold, and everything else with why it stays with the host.

A layer must never refuse what the host accepts, else mail is lost where nobody looks. So an accept that it cannot say
in full (an account, a rate, an interface) becomes wider there, a refusal that it cannot say in full is not in it at
all, and both are named. A default that rejects becomes one that drops: what leaves was answered by the host before.

What a layer gives anyway is in the reduced policy under the names that `implied` uses, and in no rule: loopback never
passes it, and a stateful one lets packets of connections under way pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from postreeve.firewall.carve import (
    LOOPBACK,
    cut,
    fold_rest,
    implied,
    in_order,
    is_everything,
    name_all_by_content,
    number,
    overlap,
)
from postreeve.firewall.check import check
from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
    Direction,
    Family,
    Flow,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
)
from postreeve.firewall.interval import ALL_PORTS, of_ports
from postreeve.firewall.row import Row, to_flows, to_rows

EPHEMERAL: Final = Ports(1_024, 65_535)
"""Where answers go to; a list without memory lets all of it pass."""
MAX_PIECES: Final = 64
"""More networks than that make no readable exception."""
MAX_EXCEPTIONS: Final = 512
"""Everything but one address of IPv6 takes 128 networks."""


class Order(Enum):
    """Which of two rules counts that fit a packet."""

    FIRST = "first"
    ALLOWS = "allows"
    """There are only rules that allow."""
    DENY_WINS = "deny wins"


class Icmp(Enum):
    """How closely a target looks at ICMP."""

    TYPES = "types"
    WHOLE = "whole"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Means:
    """What a target can say. `icmp` is by family: IPv4, IPv6."""

    target: str
    order: Order
    icmp: tuple[Icmp, Icmp] = (Icmp.TYPES, Icmp.TYPES)
    has_any: bool = True
    """A rule may be about every protocol."""
    is_stateful: bool = True
    has_names: bool = True
    """A rule has room for the name of its flow; otherwise flows are cut to one range of ports and named after it."""
    is_open_when_silent: bool = False
    """Everything may leave as long as no rule is about what leaves."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a flow is not in the layer, why, and what comes nearest."""

    flow: Flow
    why: str
    alternative: str


@dataclass(frozen=True, slots=True)
class Reduced:
    """`policy` is within the target's means; `left_out` stays with the host."""

    policy: Policy
    left_out: tuple[LeftOut, ...]


def reduce(policy: Policy, means: Means) -> Reduced:
    """Raises PolicyError for a policy that makes no sense. Reducing again changes nothing and leaves nothing out."""
    check(policy)
    work = _Work(means)
    fitted = [fit for flow in policy.flows for fit in work.fit(flow)]
    defaults = {Direction.IN: _silent(policy.default_in), Direction.OUT: _silent(policy.default_out)}
    match means.order:
        case Order.FIRST:
            single = fitted if means.has_names else number(fitted)
            flows, defaults = _settle(single, defaults, is_terse=not means.has_names)
        case Order.ALLOWS:
            flows, defaults = in_order(work.only_allow(fitted, defaults)), dict.fromkeys(Direction, Verdict.DROP)
            if means.is_open_when_silent:
                flows, defaults[Direction.OUT] = _fall_silent(flows)
                flows = in_order(named for flow in flows for named in work.by_protocol(flow))
        case Order.DENY_WINS:
            flows = work.let_deny_win(fitted)
    if not means.has_names:
        flows = number(flows) if means.order is Order.FIRST else in_order(name_all_by_content(flows))
    elif means.order is Order.ALLOWS:
        flows = list(to_flows(_once(row for flow in flows for row in to_rows(flow))))
    kept = (*implied(is_stateful=means.is_stateful), *flows)
    reduced = Policy(policy.name, kept, defaults[Direction.IN], defaults[Direction.OUT])
    check(reduced)
    return Reduced(reduced, tuple(dict.fromkeys(work.left_out)))


def require(policy: Policy, means: Means) -> tuple[Policy, tuple[Flow, ...]]:
    """The policy as the target says it, and those of its flows that take rules; CannotExpress if anything is lost."""
    reduced = reduce(policy, means)
    if reduced.left_out:
        lost = reduced.left_out[0]
        raise CannotExpress(means.target, lost.flow.ident, lost.why, lost.alternative)
    given = set(implied(is_stateful=means.is_stateful))
    return reduced.policy, tuple(flow for flow in reduced.policy.flows if flow not in given)


@dataclass(slots=True)
class _Work:
    """Collects what is left out on the way."""

    means: Means
    left_out: list[LeftOut] = field(default_factory=list)

    def leave(self, flow: Flow, why: str, alternative: str = "leave it to the host") -> None:
        self.left_out.append(LeftOut(flow, why, alternative))

    def fit(self, flow: Flow) -> Iterator[Flow]:
        """The flow in words that the target has, or nothing."""
        if flow.interface == LOOPBACK:
            if flow.verdict is not Verdict.ACCEPT:
                self.leave(flow, "a rule about loopback, which never passes this layer")
        elif flow.state is State.ESTABLISHED:
            yield from self._under_way(flow)
        elif flow.peer_set:
            self.leave(flow, f"the set {flow.peer_set}, which is filled while the server runs")
        else:
            for step in self._without_qualifiers(flow):
                yield from self.by_protocol(self._in_its_state(step))

    def _under_way(self, flow: Flow) -> Iterator[Flow]:
        is_all = flow.protocol is Protocol.ANY and flow.peers == (WORLD[flow.family],) and not flow.interface
        if flow.verdict is not Verdict.ACCEPT:
            self.leave(flow, "a refusal of packets of connections under way")
        elif not self.means.is_stateful:
            why = f"which packets belong to a connection: everything to ports {EPHEMERAL} passes instead"
            self.leave(flow, why, "keep the firewall of the host, which knows its connections")
            yield from self._answers(flow)
        elif not is_all or flow.user:
            self.leave(flow, "some connections under way only: it lets the packets of all pass")

    def _answers(self, flow: Flow) -> Iterator[Flow]:
        plain = replace(flow, state=State.ANY, user="", interface="")
        for protocol in (Protocol.TCP, Protocol.UDP) if flow.protocol is Protocol.ANY else (flow.protocol,):
            has_ports = protocol in (Protocol.TCP, Protocol.UDP)
            ident = _suffixed(flow.ident, protocol.value) if flow.protocol is Protocol.ANY else flow.ident
            answers = replace(plain, ident=ident, protocol=protocol, ports=(EPHEMERAL,) if has_ports else ())
            yield from self.by_protocol(answers)

    def _without_qualifiers(self, flow: Flow) -> Iterator[Flow]:
        # Packets to a published port pass here with the port that was dialled.
        plain = replace(flow, user="", rate=None, interface="", container=None, quote="")
        if of_ports(plain.ports) == ALL_PORTS:
            plain = replace(plain, ports=())
        for value, what in (
            (flow.user, f"the account {flow.user}"),
            (flow.rate, "a rate of connections"),
            (flow.interface, f"the interface {flow.interface}"),
        ):
            if value:
                self.leave(flow, what, "this layer lets everybody, the host looks closer")
        # To refuse more than was meant would cut what the host accepts.
        if plain.verdict is Verdict.ACCEPT or not (flow.user or flow.rate or flow.interface):
            yield plain

    def _in_its_state(self, flow: Flow) -> Flow:
        if flow.verdict is Verdict.REJECT:
            self.leave(flow, "an answer to what it refuses", "it drops silently, the host answers")
            flow = replace(flow, verdict=Verdict.DROP)
        if not self.means.is_stateful:
            return replace(flow, state=State.ANY)
        if flow.state is State.ANY and flow.verdict is not Verdict.ACCEPT:
            self.leave(flow, "a refusal of packets of connections under way")
        return replace(flow, state=State.NEW)

    def by_protocol(self, flow: Flow) -> Iterator[Flow]:
        if flow.protocol is Protocol.ANY and not self.means.has_any:
            self.leave(flow, "every protocol", "name TCP, UDP and ICMP, as this layer does")
            for protocol in (Protocol.TCP, Protocol.UDP, Protocol.ICMP):
                named = replace(flow, ident=_suffixed(flow.ident, protocol.value), protocol=protocol)
                yield from self.by_protocol(named)
        elif flow.protocol is Protocol.ICMP:
            yield from self._icmp(flow)
        else:
            yield flow

    def _icmp(self, flow: Flow) -> Iterator[Flow]:
        version = "ICMP" if flow.family is Family.IPV4 else "ICMPv6"
        match self.means.icmp[0 if flow.family is Family.IPV4 else 1]:
            case Icmp.NONE:
                self.leave(flow, f"{version}, for which it has no rules", "see what the platform does with it")
            case Icmp.WHOLE if flow.icmp_types:
                self.leave(flow, f"types of {version}", "this layer lets all of them, the host looks closer")
                if flow.verdict is Verdict.ACCEPT:
                    yield replace(flow, icmp_types=())
            case _:
                yield flow

    def only_allow(self, flows: list[Flow], defaults: dict[Direction, Verdict]) -> list[Flow]:
        """Allows that mean the same in any order: what was refused before is cut out of each."""
        rest = [flow for d in Direction if defaults[d] is Verdict.ACCEPT for flow in self._rest(d)]
        allowed: list[Flow] = []
        denied: list[Flow] = []
        for flow in (*flows, *rest):
            if flow.verdict is not Verdict.ACCEPT:
                denied.append(flow)
                continue
            allowed += self._carve(flow, denied, "a refusal of a part of what it allows")
        everything = {(one.direction, one.family) for one in allowed if is_everything(one)}
        # A rule about everything has one name, since a new group has it without any.
        whole = {place: f"{place[0].value}-rest-ipv{place[1].value}" for place in everything}
        return [
            replace(one, ident=whole.get((one.direction, one.family), one.ident))
            for one in allowed
            if is_everything(one) or (one.direction, one.family) not in everything
        ]

    def _rest(self, direction: Direction) -> Iterator[Flow]:
        for family in Family:
            ident = f"{direction.value}-rest-ipv{family.value}"
            because = "nothing else is refused"
            flow = Flow(ident, direction, family, Protocol.ANY, Verdict.ACCEPT, (WORLD[family],), because=because)
            # Where everything may leave without a rule, no rule has to say so.
            silent = self.means.is_open_when_silent and direction is Direction.OUT
            yield from (flow,) if silent else self.by_protocol(flow)

    def let_deny_win(self, flows: list[Flow]) -> list[Flow]:
        """Refusals first, each without what was accepted before it; then what is accepted."""
        accepted: list[Flow] = []
        refused: list[Flow] = []
        for flow in flows:
            if flow.verdict is Verdict.ACCEPT:
                accepted.append(flow)
            else:
                refused += self._carve(flow, accepted, "a refusal of what it has allowed before")
        return [*in_order(refused), *in_order(accepted)]

    def _carve(self, flow: Flow, holes: list[Flow], what: str) -> list[Flow]:
        """The flow without the holes. One that cannot be cut out stays in an accept, and takes a refusal away."""
        most = MAX_PIECES if flow.verdict is Verdict.ACCEPT else MAX_EXCEPTIONS
        pieces = [flow]
        for hole in holes:
            if not any(overlap(piece, hole) for piece in pieces):
                continue
            carved = [part for piece in pieces for part in cut(piece, hole)]
            is_clean = not any(overlap(part, hole) for part in carved)
            if is_clean and sum(len(part.peers) for part in carved) <= most:
                pieces = carved
            elif flow.verdict is Verdict.ACCEPT:
                self.leave(hole, what)
            else:
                self.leave(flow, what)
                return []
        return [
            replace(one, ident=_suffixed(flow.ident, str(n), ".") if n > 1 else flow.ident)
            for n, one in enumerate(pieces, 1)
        ]


def _silent(verdict: Verdict) -> Verdict:
    return Verdict.ACCEPT if verdict is Verdict.ACCEPT else Verdict.DROP


def _suffixed(ident: str, suffix: str, mark: str = "-") -> str:
    return f"{ident[: 62 - len(suffix)]}{mark}{suffix}"


def _fall_silent(flows: list[Flow]) -> tuple[list[Flow], Verdict]:
    """Without a word about what leaves where all of it may."""
    out = [flow for flow in flows if flow.direction is Direction.OUT]
    if {flow.family for flow in out if is_everything(flow)} == set(Family):
        return [flow for flow in flows if flow.direction is Direction.IN], Verdict.ACCEPT
    return flows, Verdict.DROP


def _once(rows: Iterable[Row]) -> Iterator[Row]:
    """One rule of each meaning; the first keeps its name."""
    seen: set[Row] = set()
    for row in rows:
        meaning = replace(row, ident="")
        if meaning not in seen:
            seen.add(meaning)
            yield row


def _settle(
    flows: list[Flow], defaults: dict[Direction, Verdict], *, is_terse: bool
) -> tuple[list[Flow], dict[Direction, Verdict]]:
    """The flows with what their last ones say about everything as the default."""
    while True:
        inward, default_in = fold_rest(flows, Direction.IN, defaults[Direction.IN])
        outward, default_out = fold_rest(flows, Direction.OUT, defaults[Direction.OUT])
        defaults = {Direction.IN: default_in, Direction.OUT: default_out}
        settled = _tersely((*inward, *outward), defaults) if is_terse else [*inward, *outward]
        if settled == flows:
            return settled, defaults
        flows = settled


def _tersely(flows: tuple[Flow, ...], defaults: Mapping[Direction, Verdict]) -> list[Flow]:
    """Without refusals of what the default refuses anyway: such a list is short of numbers."""
    return [
        flow
        for place, flow in enumerate(flows)
        if flow.verdict is Verdict.ACCEPT
        or defaults[flow.direction] is Verdict.ACCEPT
        or any(overlap(flow, later) for later in flows[place + 1 :] if later.verdict is Verdict.ACCEPT)
    ]
