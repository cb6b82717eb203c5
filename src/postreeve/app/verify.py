"""Three ways to tell what becomes of a connection, beside what should: rules read, the kernel tried, hosts dialled.

The evaluator asks every layer in the order in which packets meet them, and then the listener; the kernel has the rules
of the host in a scratch namespace; dials have the network as it is. What a way cannot tell is unknown, with the reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from postreeve.app.reach import Way
from postreeve.checks.firewall.scene import Cloud, Provider, Scene
from postreeve.checks.machine import Outside
from postreeve.checks.path import DialOutcome
from postreeve.enforce.matrix import Answer, Case, expect, is_usual, make_cases
from postreeve.firewall.flow import Direction, Family, Flow, Policy, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide
from postreeve.firewall.ruleset import pass_through

_ANSWERS: Final = {
    DialOutcome.OPEN: Answer.OPEN,
    DialOutcome.REFUSED: Answer.RESET,
    DialOutcome.RESET: Answer.RESET,
    DialOutcome.PROHIBITED: Answer.RESET,
    DialOutcome.UNREACHABLE: Answer.RESET,
    DialOutcome.TIMED_OUT: Answer.SILENT,
}
_REFUSALS: Final = {Verdict.DROP: Answer.SILENT, Verdict.REJECT: Answer.RESET, None: Answer.UNKNOWN}
_EPHEMERAL: Final = 40_000
_TARGETS: Final = {
    Provider.AWS_GROUP: "aws --id GROUP",
    Provider.AWS_ACL: "aws-acl --id ACL",
    Provider.GCP: "gcp",
    Provider.AZURE: "azure",
    Provider.DIGITALOCEAN: "digitalocean --id TAG",
    Provider.HETZNER: "hetzner --id FIREWALL",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, who gave it, and what changes it."""

    answer: Answer
    cause: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One connection, and the three ways beside the intention. What a way did not try is unknown."""

    case: Case
    intended: Answer
    rules: Told
    kernel: Told
    live: Told

    @property
    def differing(self) -> tuple[tuple[str, Told], ...]:
        """The ways that say something else than what is intended, or than each other."""
        ways = (("rules", self.rules), ("kernel", self.kernel), ("live", self.live))
        return tuple((name, told) for name, told in ways if not self._agrees(told.answer))

    def _agrees(self, answer: Answer) -> bool:
        if Answer.UNKNOWN in (answer, self.intended):
            return True
        if self.case.protocol is Protocol.UDP and Answer.OPEN not in (answer, self.intended):
            return True
        return answer is self.intended


UNTRIED: Final = Told(Answer.UNKNOWN)


def choose_cases(policy: Policy, scene: Scene, user: str, ways: Iterable[Way]) -> list[Case]:
    """Every class of peer against every port that matters, and each way out by itself."""
    bound = {one.port for one in scene.bound or () if not ipaddress.ip_address(one.address).is_loopback}
    published = {one.published for one in scene.host.published}
    found = dict.fromkeys(make_cases(policy, bound | published))
    for way in ways:
        if is_usual(way.address):
            found[case_of(way, user)] = None
    return list(found)


def case_of(way: Way, user: str) -> Case:
    """The connection that a way out stands for."""
    return Case(Direction.OUT, Protocol.TCP, way.address, way.port, way.name, user or "root")


def evaluate(scene: Scene, case: Case) -> Told:
    """By the rules of every layer, in order, there and back; the one that refuses first is named."""
    back = Direction.OUT if case.direction is Direction.IN else Direction.IN
    unsure: Told | None = None
    for direction in (case.direction, back):
        packet = _packet(scene, case, direction, is_first=direction is case.direction)
        for told in _along(scene, packet, case):
            if told.answer is Answer.UNKNOWN:
                unsure = unsure or told
            elif told.answer is not Answer.OPEN:
                # Whoever refuses an answer to a connection leaves its client without one.
                return told if direction is case.direction else replace(told, answer=Answer.SILENT)
    return unsure or Told(Answer.OPEN)


def _packet(scene: Scene, case: Case, direction: Direction, *, is_first: bool) -> Packet:
    is_published = case.direction is Direction.IN and diverted(scene, case) is not None
    return Packet(
        direction,
        case.protocol,
        case.peer,
        case.port if is_first else _EPHEMERAL,
        state=State.NEW if is_first else State.ESTABLISHED,
        interface=scene.interfaces[0] if scene.interfaces else "eth0",
        user=case.user if direction is Direction.OUT and is_first else "root",
        is_published=is_published,
    )


def diverted(scene: Scene, case: Case) -> str | None:
    """Where a port is sent on to (DNAT), past our listener."""
    for one in scene.host.published:
        try:
            version = ipaddress.ip_address(one.address).version
        except ValueError:
            version = case.family.value
        if one.published == case.port and version == case.family.value and case.protocol is Protocol.TCP:
            return f"{one.address} port {one.port}"
    return None


def _along(scene: Scene, packet: Packet, case: Case) -> Iterator[Told]:
    is_in = packet.direction is Direction.IN
    clouds = scene.clouds if is_in else tuple(reversed(scene.clouds))
    around = _around(clouds, packet, case)
    if is_in:
        yield from around
    yield _of_host(scene, packet)
    if not is_in:
        yield from around


def _around(clouds: Sequence[Cloud], packet: Packet, case: Case) -> list[Told]:
    """Of each layer; security groups of one machine add up, so one that lets it pass is enough."""
    asked = [one for one in clouds if one.is_stateless or packet.state is State.NEW]
    told = [(one.provider is Provider.AWS_GROUP, _of_cloud(one, packet, case)) for one in asked]
    is_let_in = any(is_group and one.answer is Answer.OPEN for is_group, one in told)
    return [one for is_group, one in told if not (is_group and is_let_in)]


def _of_host(scene: Scene, packet: Packet) -> Told:
    if packet.is_published and packet.state is State.ESTABLISHED:
        return Told(Answer.OPEN)
    if packet.family in scene.blind:
        return Told(Answer.UNKNOWN, f"the rules for IPv{packet.family.value} were not read")
    found = pass_through(scene.host, packet)
    if found.verdict is Verdict.ACCEPT:
        return Told(Answer.OPEN)
    name = found.layer.name if found.layer else "the host"
    fix = "postreeve firewall apply" if "postreeve" in name else "postreeve firewall audit --live"
    return Told(_REFUSALS[found.verdict], _quote(f"the host, {name}", found.flow), fix)


def _of_cloud(cloud: Cloud, packet: Packet, case: Case) -> Told:
    decision = decide(cloud.policy, replace(packet, interface="", user="root", is_published=False))
    if decision.verdict is Verdict.ACCEPT:
        return Told(Answer.OPEN)
    name = f"{cloud.provider.value} {cloud.name}"
    target = _TARGETS.get(cloud.provider)
    fix = f"postreeve firewall render --target {target}" if target else f"let port {case.port} pass in {name}"
    # Clouds drop, whatever their rules are called.
    answer = Answer.UNKNOWN if decision.verdict is None else Answer.SILENT
    return Told(answer, _quote(name, decision.flow), fix)


def _quote(layer: str, flow: Flow | None) -> str:
    if flow is None:
        return f"{layer}: by its default, as no rule lets it pass"
    if flow.unknown:
        return f"{layer}: cannot be told by this rule: {flow.quote or flow.ident}"
    quote = flow.quote or flow.ident
    # A quote of nftables begins with its chain, which the layer is called by.
    return f"{layer}: {quote.removeprefix(layer.removeprefix('the host, ') + ': ')}"


def after_listener(scene: Scene, case: Case, told: Told) -> Told:
    """What passes all rules meets a listener, or is reset."""
    is_ours = case.direction is Direction.IN and case.protocol is Protocol.TCP and scene.bound is not None
    if told.answer is not Answer.OPEN or not is_ours or diverted(scene, case):
        return told
    if any(_serves(one.address, case.family) for one in scene.bound or () if one.port == case.port):
        return told
    where = f"nothing listens on port {case.port} by IPv{case.family.value}: the rules let it pass to nobody"
    return Told(Answer.RESET, where, f"ss -ltnp 'sport = :{case.port}'")


def _serves(text: str, family: Family) -> bool:
    address = ipaddress.ip_address(text)
    return not address.is_loopback and (address.version == family.value or text == "::")


def dialled(outcome: DialOutcome, way: Way) -> Told:
    """Of a way out."""
    answer = _ANSWERS.get(outcome, Answer.UNKNOWN)
    who = "what lies on the way (a provider, a router, the other end)"
    match answer:
        case Answer.SILENT:
            cause = f"{way}: nobody answered; where the rules here let it leave, it is dropped by {who}"
        case Answer.RESET:
            cause = f"{way}: {outcome.value}, by {who} or by a rule here"
        case _:
            cause = f"{way}: {outcome.value}"
    return Told(answer, cause, f"postreeve probe {_bracketed(way)}")


def _bracketed(way: Way) -> str:
    return f"[{way.address}]:{way.port}" if way.address.version == 6 else f"{way.address}:{way.port}"


def seen_from_outside(seen: Sequence[Outside]) -> dict[tuple[Family, int], Told]:
    """By family and port."""
    found = {}
    for one in seen:
        answer = _ANSWERS.get(DialOutcome(one.outcome), Answer.UNKNOWN)
        cause = f"from outside, {one.address} port {one.port}: {one.outcome}"
        found[Family(ipaddress.ip_address(one.address).version), one.port] = Told(
            answer, cause, "postreeve firewall audit --live, and the firewall around this machine as a FILE"
        )
    return found


def make_rows(
    policy: Policy,
    scene: Scene,
    cases: Sequence[Case],
    kernel: Sequence[Answer] | str,
    ways: Mapping[Case, Told],
    outside: Mapping[tuple[Family, int], Told],
) -> list[Row]:
    """All of it; `kernel` is its answers, or why there are none."""
    rows = []
    for number, case in enumerate(cases):
        rules = after_listener(scene, case, evaluate(scene, case))
        goal = diverted(scene, case) if case.direction is Direction.IN else None
        if isinstance(kernel, str):
            tried = Told(Answer.UNKNOWN, kernel)
        elif goal:
            tried = Told(Answer.UNKNOWN, f"sent on to {goal}, which the scratch namespace has not")
        else:
            said = Told(kernel[number], "the kernel, with the rules in force", "postreeve firewall apply")
            tried = after_listener(scene, case, said)
        live = ways.get(case, UNTRIED)
        if case.direction is Direction.IN and case.peer_class == "strangers" and case.protocol is Protocol.TCP:
            live = outside.get((case.family, case.port), UNTRIED)
        intended = _intend(policy, case, is_published=goal is not None)
        is_planned = _is_container(policy, case.port)
        if goal and not is_planned and intended is Answer.OPEN and rules.answer is Answer.OPEN:
            # Open, but somebody else answers.
            rules = Told(Answer.RESET, f"the host sends it on to {goal} (DNAT), past the listener", "nft list ruleset")
        rows.append(Row(case, intended, rules, tried, live))
    return rows


def _is_container(policy: Policy, port: int) -> bool:
    return any(flow.container is not None and flow.container.published == port for flow in policy.flows)


def _intend(policy: Policy, case: Case, *, is_published: bool) -> Answer:
    if not (is_published and _is_container(policy, case.port)):
        return expect(policy, case)
    verdict = decide(policy, Packet(case.direction, case.protocol, case.peer, case.port, is_published=True)).verdict
    return Answer.OPEN if verdict is Verdict.ACCEPT else _REFUSALS[verdict]
