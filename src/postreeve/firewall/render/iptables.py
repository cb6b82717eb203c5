"""iptables and ip6tables: three chains of our own, filled in one transaction per family by `restore --noflush`.

A chain that a restore file declares is emptied first, so that loading twice changes nothing; what nobody can say in
such a file is "jump there unless you do already". `hook` adds the jumps that a saved ruleset lacks, in the same
transaction; the script of `Files` does so by `-C`. Banned addresses live in sets of ipset, which outlive a reload.

An accept is final for INPUT and OUTPUT. In FORWARD our chain only narrows (RETURN): what passes is still judged by the
container engine. A default of accept leaves the packet to the rules after ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from postreeve.firewall.check import check
from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
    Container,
    Direction,
    Family,
    Flow,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)

CHAIN_IN: Final = "POSTREEVE-IN"
CHAIN_OUT: Final = "POSTREEVE-OUT"
CHAIN_FORWARD: Final = "POSTREEVE-FWD"
CHAINS: Final = (CHAIN_IN, CHAIN_OUT, CHAIN_FORWARD)
SET_PREFIX: Final = "postreeve-"
REST: Final = "rest-of-published-"
"""Begins the comment of the rule that closes a published port for everybody else."""
MAX_BANS: Final = 1_048_576
MAX_MULTIPORT: Final = 15
UNITS: Final = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400}

_MAX_SET_NAME: Final = 31
_MAX_INTERFACE: Final = 15
_ANY_ICMP: Final = 255
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Files:
    """Input of `ipset -exist restore`, then of `iptables-restore --noflush` and `ip6tables-restore --noflush`."""

    ipset: str
    ipv4: str
    ipv6: str

    @property
    def script(self) -> str:
        """All of it for sh, the jumps included; it may run again and again."""
        return "\n".join((*_PROLOGUE, *_here("ipset -exist restore", self.ipset), *self._loads())) + "\n"

    def _loads(self) -> Iterator[str]:
        for command, text in (("iptables", self.ipv4), ("ip6tables", self.ipv6)):
            rules = text.removesuffix("COMMIT\n")
            yield f"{{ cat <<'END'\n{rules}END"
            yield f"hooks {command}; echo COMMIT; }} | {command}-restore -w 5 --noflush"


_PROLOGUE: Final = (
    "#!/bin/sh",
    "# Loads the rules of postreeve: its own chains and sets, and the jumps to them. Needs iptables and ipset.",
    "set -eu",
    "hooks() {",
    "    forward=FORWARD",
    '    if "$1" -w 5 -n -L DOCKER-USER >/dev/null 2>&1; then forward=DOCKER-USER; fi',
    f"    for pair in INPUT:{CHAIN_IN} OUTPUT:{CHAIN_OUT} $forward:{CHAIN_FORWARD}; do",
    '        "$1" -w 5 -C "${pair%:*}" -j "${pair#*:}" 2>/dev/null || echo "-I ${pair%:*} 1 -j ${pair#*:}"',
    "    done",
    "}",
)


def render(policy: Policy) -> Files:
    """Raises PolicyError for a policy that makes no sense, CannotExpress for what iptables has no word for."""
    check(policy)
    return Files(_sets(policy), _family(policy, Family.IPV4), _family(policy, Family.IPV6))


def render_removal() -> str:
    """A script for sh that takes away our jumps, chains and sets, whether they are there or not."""
    lines = ["#!/bin/sh", "# Removes the rules of postreeve and nothing else.", "set -u"]
    lines += ["for command in iptables ip6tables; do", f"    for chain in {' '.join(CHAINS)}; do"]
    lines += [
        "        for from in INPUT OUTPUT FORWARD DOCKER-USER; do",
        '            while "$command" -w 5 -D "$from" -j "$chain" 2>/dev/null; do :; done',
        "        done",
        '        "$command" -w 5 -F "$chain" 2>/dev/null && "$command" -w 5 -X "$chain"',
        "    done",
        "done",
        f"ipset -n list 2>/dev/null | grep '^{SET_PREFIX}' | while read -r name; do ipset destroy \"$name\"; done",
        "exit 0",
    ]
    return "\n".join(lines) + "\n"


def hook(text: str, saved: str) -> str:
    """One of the two texts with the jumps that `saved` (iptables-save of the same family) lacks or has too late."""
    lines = _filter_lines(saved)
    forward = "DOCKER-USER" if any(line.startswith(":DOCKER-USER ") for line in lines) else "FORWARD"
    wanted = (("INPUT", CHAIN_IN), ("OUTPUT", CHAIN_OUT), (forward, CHAIN_FORWARD))
    jumps: list[str] = []
    for chain, target in wanted:
        rules = [line for line in lines if line.startswith(f"-A {chain} ")]
        jump = f"-A {chain} -j {target}"
        if rules[:1] == [jump]:
            continue
        jumps += [f"-D {chain} -j {target}"] * rules.count(jump)
        jumps.append(f"-I {chain} 1 -j {target}")
    return text.removesuffix("COMMIT\n") + "".join(f"{line}\n" for line in jumps) + "COMMIT\n"


def unhook(saved: str) -> str:
    """Input of `iptables-restore --noflush` that removes our jumps and chains from the ruleset `saved`, in one step."""
    lines = _filter_lines(saved)
    jumps = [line for line in lines if line.startswith("-A ") and line.rpartition(" -j ")[2] in CHAINS]
    there = [chain for chain in CHAINS if any(line.startswith(f":{chain} ") for line in lines)]
    words = [f"-D{line[2:]}" for line in jumps]
    words += [f"-F {chain}" for chain in there] + [f"-X {chain}" for chain in there]
    return "".join(f"{line}\n" for line in ("*filter", *words, "COMMIT"))


def _filter_lines(saved: str) -> list[str]:
    table, lines = "", []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter":
            lines.append(line.strip())
    return lines


def _here(command: str, text: str) -> Iterator[str]:
    if text:
        yield f"{command} <<'END'\n{text}END"


def _sets(policy: Policy) -> str:
    kinds = {flow.peer_set: flow.family for flow in policy.flows if flow.peer_set}
    lines = []
    for name in policy.sets:
        if len(SET_PREFIX + name) > _MAX_SET_NAME:
            alternative = f"a name of at most {_MAX_SET_NAME - len(SET_PREFIX)} characters"
            raise CannotExpress("ipset", name, "a set of that name", alternative)
        word = "inet6" if kinds.get(name, Family.IPV4) is Family.IPV6 else "inet"
        # Networks, not addresses: IPv6 is banned by prefix.
        lines.append(f"create {SET_PREFIX}{name} hash:net family {word} maxelem {MAX_BANS} timeout 0\n")
    return "".join(lines)


def _family(policy: Policy, family: Family) -> str:
    tool = "iptables" if family is Family.IPV4 else "ip6tables"
    lines = [
        f"# {_safe(policy.name)}: which packets of IPv{family.value} may pass, and why.",
        f"# Load with: {tool}-restore --noflush FILE; it empties and fills its own chains only.",
        "*filter",
        *(f":{chain} - [0:0]" for chain in CHAINS),
    ]
    flows = [flow for flow in policy.flows if flow.family is family]
    for chain, direction, default in (
        (CHAIN_IN, Direction.IN, policy.default_in),
        (CHAIN_OUT, Direction.OUT, policy.default_out),
    ):
        for flow in flows:
            if flow.direction is direction and flow.container is None:
                lines += _rules(chain, flow, _verdict(flow.verdict, flow.protocol, family))
        lines += _default(chain, default, family)
    lines += _guard(flows, policy.default_in, family)
    return "\n".join((*lines, "COMMIT")) + "\n"


def _default(chain: str, default: Verdict, family: Family) -> Iterator[str]:
    if default is Verdict.ACCEPT:
        yield "# everything else is left to the rules after these"
        yield f"-A {chain} -j RETURN"
    else:
        yield f"-A {chain} -j {_verdict(default, Protocol.ANY, family)}"


def _guard(flows: list[Flow], default: Verdict, family: Family) -> Iterator[str]:
    """What goes to containers passes FORWARD, never INPUT: the published ports get their own rules there."""
    containers: dict[int, Container] = {}
    for flow in flows:
        verdict = _verdict(flow.verdict, flow.protocol, family)
        if flow.container is not None:
            containers.setdefault(flow.container.published, flow.container)
            yield from _rules(CHAIN_FORWARD, flow, "RETURN" if flow.verdict is Verdict.ACCEPT else verdict)
        elif flow.peer_set and flow.direction is Direction.IN:
            yield from _rules(CHAIN_FORWARD, flow, "RETURN" if flow.verdict is Verdict.ACCEPT else verdict)
    for port in sorted(containers) if default is not Verdict.ACCEPT else ():
        yield "# nobody else may reach this published port"
        words = ["-p tcp", *_state(State.NEW), _published(port), f'-m comment --comment "{REST}{port}"']
        yield f"-A {CHAIN_FORWARD} {' '.join(words)} -j {_verdict(default, Protocol.TCP, family)}"


def _rules(chain: str, flow: Flow, verdict: str) -> Iterator[str]:
    because = f"{flow.because}; without it: {flow.without}" if flow.without else flow.because
    yield f"# {_safe(because)}"
    tail = [*_account(flow), *_limit(flow), f'-m comment --comment "{_comment(flow)}"', f"-j {verdict}"]
    for peer in _peers(flow):
        for traffic in _traffic(flow):
            yield f"-A {chain} " + " ".join([*_interface(flow), *peer, *traffic, *_state(flow.state), *tail])


def _comment(flow: Flow) -> str:
    """The name, by which the rule is known again, and where a published port leads, which no rule of ours shows."""
    container = flow.container
    return f"{flow.ident} to {container.address} port {container.port}" if container else flow.ident


def _safe(text: str) -> str:
    return _UNSAFE.sub(" ", text)


def _verdict(verdict: Verdict, protocol: Protocol, family: Family) -> str:
    if verdict is not Verdict.REJECT:
        return verdict.name
    if protocol is Protocol.TCP:
        # A reset ends a TCP connect at once and honestly; other protocols get the ICMP error.
        return "REJECT --reject-with tcp-reset"
    return f"REJECT --reject-with {'icmp-admin' if family is Family.IPV4 else 'icmp6-adm'}-prohibited"


def _interface(flow: Flow) -> Iterator[str]:
    if len(flow.interface) > _MAX_INTERFACE:
        alternative = f"a name of at most {_MAX_INTERFACE} characters"
        raise CannotExpress("iptables", flow.ident, f"the interface {flow.interface}", alternative)
    if flow.interface:
        yield f"-{'i' if flow.direction is Direction.IN else 'o'} {flow.interface}"


def _peers(flow: Flow) -> Iterator[list[str]]:
    if flow.peer_set:
        yield [f"-m set --match-set {SET_PREFIX}{flow.peer_set} {'src' if flow.direction is Direction.IN else 'dst'}"]
    elif flow.peers == (WORLD[flow.family],):
        yield []
    else:
        for network in flow.peers:
            yield [f"-{'s' if flow.direction is Direction.IN else 'd'} {network}"]


def _traffic(flow: Flow) -> Iterator[list[str]]:
    if flow.container is not None:
        yield ["-p tcp", _published(flow.container.published)]
        return
    match flow.protocol:
        case Protocol.TCP | Protocol.UDP if flow.ports:
            for ports in _portions(flow.ports):
                yield [f"-p {flow.protocol.value}", ports]
        case Protocol.TCP | Protocol.UDP:
            yield [f"-p {flow.protocol.value}"]
        case Protocol.ICMP:
            yield from _icmp(flow)
        case Protocol.ANY:
            yield []


def _portions(ports: tuple[Ports, ...]) -> Iterator[str]:
    """Multiport takes fifteen ports, of which a range counts for two."""
    words: list[str] = []
    room = MAX_MULTIPORT
    for one in ports:
        cost = 1 if one.first == one.last else 2
        if cost > room:
            yield _multiport(words)
            words, room = [], MAX_MULTIPORT
        words.append(str(one.first) if cost == 1 else f"{one.first}:{one.last}")
        room -= cost
    yield _multiport(words)


def _multiport(words: list[str]) -> str:
    return f"--dport {words[0]}" if len(words) == 1 else f"-m multiport --dports {','.join(words)}"


def _icmp(flow: Flow) -> Iterator[list[str]]:
    protocol, option = ("icmp", "--icmp-type") if flow.family is Family.IPV4 else ("ipv6-icmp", "--icmpv6-type")
    if not flow.icmp_types:
        yield [f"-p {protocol}"]
    for kind in flow.icmp_types:
        if kind == _ANY_ICMP and flow.family is Family.IPV4:
            raise CannotExpress("iptables", flow.ident, "the ICMP type 255", "leave it out: 255 means every type there")
        yield [f"-p {protocol} {option} {kind}"]


def _state(state: State) -> Iterable[str]:
    match state:
        case State.NEW:
            return ("-m conntrack --ctstate NEW",)
        case State.ESTABLISHED:
            return ("-m conntrack --ctstate RELATED,ESTABLISHED",)
        case State.ANY:
            return ()


def _published(port: int) -> str:
    """The port that was dialled, which DNAT has already replaced in the packet."""
    return f"-m conntrack --ctstate DNAT --ctorigdstport {port} --ctdir ORIGINAL"


def _account(flow: Flow) -> Iterator[str]:
    if flow.user:
        yield f"-m owner --uid-owner {flow.user}"


def _limit(flow: Flow) -> Iterator[str]:
    if flow.rate is None:
        return
    prefix = "" if flow.family is Family.IPV4 else " --hashlimit-srcmask 64"
    yield (
        f"-m hashlimit --hashlimit-upto {_average(flow, flow.rate)} --hashlimit-burst {flow.rate.connections} "
        f"--hashlimit-mode srcip{prefix} --hashlimit-name {flow.ident} "
        f"--hashlimit-htable-expire {flow.rate.seconds * 2_000}"
    )


def _average(flow: Flow, rate: Rate) -> str:
    """Thirty in five minutes are six a minute after a burst of thirty."""
    for unit, seconds in UNITS.items():
        average = Fraction(rate.connections * seconds, rate.seconds)
        if average.denominator == 1 and average <= 10_000:
            return f"{average}/{unit}"
    what = f"{rate.connections} connections in {rate.seconds} seconds"
    raise CannotExpress("iptables", flow.ident, what, "a whole number per second, minute, hour or day")
