"""ufw: commands for the machine's own manager, in order, and an application profile.

ufw lets loopback, connections under way and some ICMP pass before any rule of anybody (its before.rules); `fit` counts
that as said. It has no words for accounts, ICMP, named sets or refusals of connections under way. Its `limit` is no
rate of ours: it counts IPv6 by single addresses, all limited ports in one list, refuses instead of looking further,
and on port 25 would lose mail; so it is never written.

Ours are put before the rules of others and known by their comment; a rule that somebody has written in the same words
before stays theirs, at its place. `deny` is silent, `reject` answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from postreeve.firewall.check import check
from postreeve.firewall.flow import WORLD, CannotExpress, Direction, Family, Flow, Policy, Protocol, State, Verdict
from postreeve.firewall.reduce import LeftOut, Reduced
from postreeve.firewall.render.iptables import MAX_MULTIPORT

MARK: Final = "postreeve"
ACTIONS: Final = {Verdict.ACCEPT: "allow", Verdict.DROP: "deny", Verdict.REJECT: "reject"}
GIVEN_ICMP: Final = {
    (Direction.IN, Family.IPV4): (0, 3, 8, 11, 12),
    (Direction.IN, Family.IPV6): (1, 2, 3, 4, *range(128, 137), 141, 142, *range(143, 150), *range(151, 154)),
    # Errors and answers belong to connections under way; to begin a ping is not among it.
    (Direction.OUT, Family.IPV4): (0, 3, 11, 12),
    (Direction.OUT, Family.IPV6): (1, 2, 3, 4, *range(128, 137), 141, 142, 143, 148, 149, *range(151, 154)),
}
"""What the before.rules of ufw 0.36 let pass, multicast listener reports from the link only."""
_UNSAFE: Final = re.compile(r"[^\x20-\x26\x28-\x7e]")


@dataclass(frozen=True, slots=True)
class Files:
    """`commands` for sh; `profile` for /etc/ufw/applications.d/postreeve."""

    commands: str
    profile: str


def render(policy: Policy) -> Files:
    """Raises PolicyError for what makes no sense, CannotExpress for the first flow that `fit` would leave out."""
    fitted = fit(policy)
    if fitted.left_out:
        lost = fitted.left_out[0]
        raise CannotExpress("ufw", lost.flow.ident, lost.why, lost.alternative)
    flows = [flow for flow in fitted.policy.flows if flow not in given()]
    lines = [
        "#!/bin/sh",
        f"# {_safe(policy.name)}: which packets may pass, and why, for ufw. It replaces its own rules only.",
        "set -eu",
        *_forget(),
        f"ufw default {ACTIONS[policy.default_in]} incoming",
        f"ufw default {ACTIONS[policy.default_out]} outgoing",
        "# each goes before those that are there: the last one here is asked first",
    ]
    for flow in reversed(flows):
        because = f"{flow.because}; without it: {flow.without}" if flow.without else flow.because
        lines += [f"# {_safe(because)}", *reversed([f"ufw prepend {rule}" for rule in _rules(flow)])]
    return Files("\n".join(lines) + "\n", _profile(policy, flows))


def render_removal() -> str:
    """A script for sh that takes our rules away, and leaves the defaults as they are."""
    return "\n".join(("#!/bin/sh", "# Removes the rules of postreeve from ufw.", "set -eu", *_forget())) + "\n"


def _forget() -> Iterator[str]:
    """By the files, which tell the families apart and are there when ufw is switched off, too."""
    yield "forget() {"
    yield f"    rules=$(grep '^### tuple ### .* comment={f'{MARK} '.encode().hex()}' \"$1\") || return 0"
    yield "    printf '%s\\n' \"$rules\" | while read -r _ _ _ action protocol port to _ source side _; do"
    yield "        on="
    yield '        case $side in *_*) on="on ${side#*_}" side=${side%%_*} ;; esac'
    yield '        case $protocol in any) protocol= ;; *) protocol="proto $protocol" ;; esac'
    yield '        case $port in any) port= ;; *) port="port $port" ;; esac'
    yield "        # shellcheck disable=SC2086"
    yield "        ufw --force delete $action $side $on $protocol from $source to $to $port </dev/null"
    yield "    done"
    yield "}"
    yield "forget /etc/ufw/user.rules"
    yield "forget /etc/ufw/user6.rules"


def given() -> tuple[Flow, ...]:
    """What ufw lets pass before all rules."""
    flows = []
    for family in Family:
        for direction in Direction:
            name = f"{direction.value}-{{}}-ipv{family.value}"
            world = (WORLD[family],)
            base = Flow(name.format("loopback"), direction, family, Protocol.ANY, Verdict.ACCEPT, world)
            base = replace(base, state=State.ANY, because="ufw lets it pass by itself")
            flows.append(replace(base, interface="lo"))
            flows.append(replace(base, ident=name.format("established"), state=State.ESTABLISHED))
            types = GIVEN_ICMP[direction, family]
            flows.append(replace(base, ident=name.format("icmp"), protocol=Protocol.ICMP, icmp_types=types))
    return tuple(flows)


def fit(policy: Policy) -> Reduced:
    """The policy as ufw can hold it, and what of it is lost.

    An accept that it cannot say in full becomes wider, a refusal that it cannot say in full is not in it,
    except that a refusal of every state becomes one of new connections.
    """
    check(policy)
    left: list[LeftOut] = []
    flows = [found for flow in policy.flows if not _is_given(flow, policy) and (found := _fit(flow, left)) is not None]
    taken = {flow.ident for flow in given()}
    flows = [replace(flow, ident=f"{flow.ident}.rule") if flow.ident in taken else flow for flow in flows]
    return Reduced(replace(policy, flows=(*given(), *flows), sets=()), tuple(left))


def _is_given(flow: Flow, policy: Policy) -> bool:
    if flow.verdict is not Verdict.ACCEPT or flow.user or flow.peer_set or flow.container or flow.rate:
        return False
    if flow.interface == "lo" or flow.state is State.ESTABLISHED:
        return True
    if flow.protocol is not Protocol.ICMP or flow.interface:
        return False
    if flow.direction is Direction.OUT and policy.default_out is Verdict.ACCEPT and flow.peers == (WORLD[flow.family],):
        before = policy.flows[: policy.flows.index(flow)]
        return not any(
            one.verdict is not Verdict.ACCEPT and one.protocol in (Protocol.ICMP, Protocol.ANY)
            for one in before
            if one.direction is Direction.OUT and one.family is flow.family
        )
    return bool(flow.icmp_types) and set(flow.icmp_types) <= set(GIVEN_ICMP[flow.direction, flow.family])


def _fit(flow: Flow, left: list[LeftOut]) -> Flow | None:
    is_accept = flow.verdict is Verdict.ACCEPT
    for is_lost, why, alternative in (
        (flow.interface == "lo", "a rule about loopback", "leave it out: ufw lets loopback pass"),
        (flow.peer_set, f"the set {flow.peer_set}", "keep bans in the table that the server fills beside ufw"),
        (flow.container, "a port published for a container", "use iptables or nftables: the engine goes past ufw"),
        (flow.protocol is Protocol.ICMP, "a rule about ICMP", _icmp_line(flow)),
        (flow.state is State.ESTABLISHED, "a refusal of connections under way", "end them with conntrack -D"),
    ):
        if is_lost:
            left.append(LeftOut(flow, why, alternative))
            return None
    for value, why, alternative in (
        (flow.user, f"the account {flow.user}", "let every account do it, or use nftables or iptables"),
        (flow.rate, "a rate", "`ufw limit`, which counts all limited ports together and refuses (never on port 25)"),
    ):
        if value:
            left.append(LeftOut(flow, why, alternative))
            if not is_accept:
                return None
    if flow.state is State.ANY and not is_accept:
        alternative = "refuse new connections, and end the others with conntrack -D"
        left.append(LeftOut(flow, "a refusal of packets of connections under way", alternative))
    return replace(flow, user="", rate=None, state=State.NEW)


def _icmp_line(flow: Flow) -> str:
    file, chain, protocol = ("before", "ufw-before", "icmp --icmp-type")
    if flow.family is Family.IPV6:
        file, chain, protocol = ("before6", "ufw6-before", "icmpv6 --icmpv6-type")
    side = "input" if flow.direction is Direction.IN else "output"
    kind = next((one for one in flow.icmp_types if one not in GIVEN_ICMP[flow.direction, flow.family]), "any")
    verdict = flow.verdict.name
    return f"write `-A {chain}-{side} -p {protocol} {kind} -j {verdict}` into /etc/ufw/{file}.rules"


def _rules(flow: Flow) -> Iterator[str]:
    """The world is written with its family, since `any` would be of both."""
    action = ACTIONS[flow.verdict]
    side = f" {flow.direction.value}" + (f" on {flow.interface}" if flow.interface else "")
    protocol = "" if flow.protocol is Protocol.ANY else f" proto {flow.protocol.value}"
    own = WORLD[flow.family]
    for peer in flow.peers:
        source, destination = (peer, own) if flow.direction is Direction.IN else (own, peer)
        for ports in _portions(flow):
            yield f"{action}{side}{protocol} from {source} to {destination}{ports} comment '{MARK} {flow.ident}'"


def _portions(flow: Flow) -> Iterator[str]:
    words: list[str] = []
    room = MAX_MULTIPORT
    for one in flow.ports:
        cost = 1 if one.first == one.last else 2
        if cost > room:
            yield f" port {','.join(words)}"
            words, room = [], MAX_MULTIPORT
        words.append(str(one.first) if cost == 1 else f"{one.first}:{one.last}")
        room -= cost
    yield f" port {','.join(words)}" if words else ""


def _profile(policy: Policy, flows: list[Flow]) -> str:
    """One section for each thing that comes in; it opens nothing until a rule names it."""
    lines = [f"# {_safe(policy.name)}: names for `ufw allow from ... to any app ...`"]
    seen: set[str] = set()
    for flow in flows:
        name = re.sub(r"^in-|-ipv[46]$", "", flow.ident)
        if flow.direction is not Direction.IN or flow.verdict is not Verdict.ACCEPT or not flow.ports or name in seen:
            continue
        seen.add(name)
        ports = ",".join(str(one).replace("-", ":") for one in flow.ports)
        lines += ["", f"[{MARK} {name}]", f"title={MARK} {name}"]
        lines += [f"description={_safe(flow.because)}", f"ports={ports}/{flow.protocol.value}"]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    return _UNSAFE.sub(" ", text)
