"""firewalld: two policies of our own (ANY to HOST, HOST to ANY), sets for bans, and a service file for each entrance.

firewalld puts a refusal before an accept of the same priority, whatever the order of the file: every rich rule has a
priority of its own flow. It lets loopback and connections under way pass before all policies. It has no words for
accounts, for a rate per address (its `limit` counts everybody together), for interfaces within a policy, and for some
types of ICMPv6. Our policies come before the zones; where the default is accept they leave the rest to them (CONTINUE).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from xml.sax.saxutils import escape as escape_xml
from xml.sax.saxutils import quoteattr

from postreeve.firewall.carve import implied
from postreeve.firewall.check import check
from postreeve.firewall.flow import CannotExpress, Direction, Family, Flow, Policy, Protocol, State, Verdict
from postreeve.firewall.reduce import LeftOut, Reduced

POLICIES: Final = {Direction.IN: "postreeve-in", Direction.OUT: "postreeve-out"}
PREFIX: Final = "postreeve-"
ZONES: Final = {Direction.IN: ("ANY", "HOST"), Direction.OUT: ("HOST", "ANY")}
TARGETS: Final = {Verdict.ACCEPT: "CONTINUE", Verdict.DROP: "DROP", Verdict.REJECT: "REJECT"}
POLICY_PRIORITY: Final = -100
"""Before the zones, which have 0."""
FIRST_PRIORITY: Final = -20_000
MAX_FLOWS: Final = 40_000
ICMP_NAMES: Final = {
    Family.IPV4: {
        0: "echo-reply",
        3: "destination-unreachable",
        4: "source-quench",
        5: "redirect",
        8: "echo-request",
        9: "router-advertisement",
        10: "router-solicitation",
        11: "time-exceeded",
        12: "parameter-problem",
        13: "timestamp-request",
        14: "timestamp-reply",
    },
    Family.IPV6: {
        1: "destination-unreachable",
        2: "packet-too-big",
        3: "time-exceeded",
        4: "parameter-problem",
        128: "echo-request",
        129: "echo-reply",
        133: "router-solicitation",
        134: "router-advertisement",
        135: "neighbour-solicitation",
        136: "neighbour-advertisement",
        137: "redirect",
    },
}
_MAX_SET_NAME: Final = 32
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]")
_Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """`commands` for sh; or `xml`, by the path below /etc/firewalld, then `firewall-cmd --reload`."""

    commands: str
    xml: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RichRule:
    """Its elements in order: name and attributes. `priority` and `family` are the rule's own."""

    priority: int
    family: str
    elements: tuple[tuple[str, _Attributes], ...]

    def __str__(self) -> str:
        """In the language of firewalld.richlanguage."""
        words = [f'rule priority="{self.priority}" family="{self.family}"']
        words += [" ".join((name, *(f'{key}="{value}"' for key, value in pairs))) for name, pairs in self.elements]
        return " ".join(words)

    def to_xml(self) -> Iterator[str]:
        yield f'  <rule family="{self.family}" priority="{self.priority}">'
        for name, pairs in self.elements:
            yield f"    <{' '.join((name, *(f'{key}={quoteattr(value)}' for key, value in pairs)))}/>"
        yield "  </rule>"


def render(policy: Policy) -> Files:
    """Raises PolicyError for what makes no sense, CannotExpress for the first flow that `fit` would leave out."""
    fitted = fit(policy)
    if fitted.left_out:
        lost = fitted.left_out[0]
        raise CannotExpress("firewalld", lost.flow.ident, lost.why, lost.alternative)
    taken = set(implied())
    flows = [flow for flow in fitted.policy.flows if flow not in taken]
    if len(flows) > MAX_FLOWS:
        raise CannotExpress("firewalld", flows[MAX_FLOWS].ident, f"more than {MAX_FLOWS} flows", "use nftables")
    files = [_set_file(policy, name) for name in policy.sets]
    files += _services(flows)
    lines = [
        "#!/bin/sh",
        f"# {_safe(policy.name)}: which packets may pass, and why, for firewalld. It replaces its own rules only.",
        "# Nothing takes effect before the reload at the end.",
        "set -eu",
        *_forget(),
        *(_set_command(policy, name) for name in policy.sets),
    ]
    for direction in Direction:
        ours = [(place, flow) for place, flow in enumerate(flows, FIRST_PRIORITY) if flow.direction is direction]
        default = policy.default_in if direction is Direction.IN else policy.default_out
        rules = [rule for place, flow in ours for rule in _rules(place, flow)]
        files.append(_policy_file(direction, default, ours, rules))
        lines += _commands(direction, default, ours, rules)
    lines += ["firewall-cmd --check-config", "firewall-cmd --reload"]
    return Files("\n".join(lines) + "\n", tuple(files))


def render_removal() -> str:
    """A script for sh that takes our policies, sets and services away and reloads."""
    head = ("#!/bin/sh", "# Removes the rules of postreeve from firewalld and nothing else.", "set -eu")
    return "\n".join((*head, *_forget(), "firewall-cmd --reload")) + "\n"


def _forget() -> Iterator[str]:
    for name in POLICIES.values():
        yield f"firewall-cmd --permanent --delete-policy={name} >/dev/null 2>&1 || :"
    for kind in ("ipset", "service"):
        yield f"for name in $(firewall-cmd --permanent --get-{kind}s); do"
        yield f'    case $name in {PREFIX}*) firewall-cmd --permanent --delete-{kind}="$name" ;; esac'
        yield "done"


def fit(policy: Policy) -> Reduced:
    """The policy as firewalld can hold it, and what of it is lost.

    An accept that it cannot say in full becomes wider, a refusal that it cannot say in full is not in it, except that
    a refusal of every state becomes one of new connections.
    """
    check(policy)
    left: list[LeftOut] = []
    taken = {flow.ident for flow in implied()}
    flows = [
        replace(found, ident=f"{found.ident}.rule") if found.ident in taken else found
        for flow in policy.flows
        if not _is_given(flow)
        for found in _fit(flow, left)
    ]
    sets = tuple(name for name in policy.sets if any(flow.peer_set == name for flow in flows))
    return Reduced(replace(policy, flows=(*implied(), *flows), sets=sets), tuple(left))


def _is_given(flow: Flow) -> bool:
    if flow.verdict is not Verdict.ACCEPT or flow.user or flow.peer_set or flow.container or flow.rate:
        return False
    return flow.interface == "lo" or flow.state is State.ESTABLISHED


def _fit(flow: Flow, left: list[LeftOut]) -> Iterator[Flow]:
    is_accept = flow.verdict is Verdict.ACCEPT
    lost = ""
    if flow.interface == "lo":
        lost, alternative = "a rule about loopback", "leave it out: firewalld lets loopback pass"
    elif flow.container:
        lost, alternative = "a port published for a container", "use nftables or iptables: the engine has its own zone"
    elif flow.state is State.ESTABLISHED:
        lost, alternative = "a refusal of connections under way", "end them with conntrack -D"
    elif len(PREFIX + flow.peer_set) > _MAX_SET_NAME:
        lost, alternative = f"a set of the name {flow.peer_set}", f"{_MAX_SET_NAME - len(PREFIX)} characters at most"
    if lost:
        left.append(LeftOut(flow, lost, alternative))
        return
    types = flow.icmp_types
    if any(one not in ICMP_NAMES[flow.family] for one in types):
        left.append(LeftOut(flow, "some types of ICMP, for which it has no names", "all types, or nftables"))
        types = ()
    for value, why, alternative in (
        (flow.user, f"the account {flow.user}", "every account, or nftables"),
        (flow.rate, "a rate per address", "no rate: its limit counts everybody together"),
        (flow.interface, f"the interface {flow.interface}", "every interface, or nftables"),
    ):
        if value:
            left.append(LeftOut(flow, why, alternative))
    if not is_accept and (flow.user or flow.rate or flow.interface or types != flow.icmp_types):
        return
    if flow.state is State.ANY and not is_accept:
        alternative = "refuse new connections, and end the others with conntrack -D"
        left.append(LeftOut(flow, "a refusal of packets of connections under way", alternative))
    yield replace(flow, user="", rate=None, interface="", icmp_types=types, state=State.NEW)


def _rules(priority: int, flow: Flow) -> Iterator[RichRule]:
    for peer in _peers(flow):
        for traffic in _traffic(flow):
            yield RichRule(priority, f"ipv{flow.family.value}", (*peer, *traffic, _verdict(flow)))


def _peers(flow: Flow) -> Iterator[list[tuple[str, _Attributes]]]:
    side = "source" if flow.direction is Direction.IN else "destination"
    if flow.peer_set:
        yield [(side, (("ipset", PREFIX + flow.peer_set),))]
    else:
        # The world too: firewalld 1.3 forgets the family of a refusal, or of a protocol, that has no address.
        for network in flow.peers:
            yield [(side, (("address", str(network)),))]


def _traffic(flow: Flow) -> Iterator[list[tuple[str, _Attributes]]]:
    match flow.protocol:
        case Protocol.ANY:
            yield []
        case Protocol.ICMP if flow.icmp_types:
            for kind in flow.icmp_types:
                yield [("icmp-type", (("name", ICMP_NAMES[flow.family][kind]),))]
        case Protocol.ICMP:
            yield [("protocol", (("value", "icmp" if flow.family is Family.IPV4 else "ipv6-icmp"),))]
        case _ if flow.ports:
            for ports in flow.ports:
                yield [("port", (("port", str(ports)), ("protocol", flow.protocol.value)))]
        case _:
            yield [("protocol", (("value", flow.protocol.value),))]


def _verdict(flow: Flow) -> tuple[str, _Attributes]:
    if flow.verdict is not Verdict.REJECT:
        return flow.verdict.value, ()
    if flow.protocol is Protocol.TCP:
        return "reject", (("type", "tcp-reset"),)
    return "reject", (("type", "icmp-admin-prohibited" if flow.family is Family.IPV4 else "icmp6-adm-prohibited"),)


def _description(ours: list[tuple[int, Flow]]) -> str:
    """A rich rule has no room for a comment: the names of flows and their reasons are here, by priority."""
    lines = ["Written by postreeve. By priority:"]
    lines += [f"{place} {flow.ident}: {_safe(flow.because)}" for place, flow in ours]
    return "\n".join(lines)


def _policy_file(
    direction: Direction, default: Verdict, ours: list[tuple[int, Flow]], rules: list[RichRule]
) -> tuple[str, str]:
    ingress, egress = ZONES[direction]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<policy priority="{POLICY_PRIORITY}" target="{TARGETS[default]}">',
        f"  <description>{escape_xml(_description(ours))}</description>",
        *(line for rule in rules for line in rule.to_xml()),
        f'  <ingress-zone name="{ingress}"/>',
        f'  <egress-zone name="{egress}"/>',
        "</policy>",
    ]
    return f"policies/{POLICIES[direction]}.xml", "\n".join(lines) + "\n"


def _commands(
    direction: Direction, default: Verdict, ours: list[tuple[int, Flow]], rules: list[RichRule]
) -> Iterator[str]:
    name = POLICIES[direction]
    ingress, egress = ZONES[direction]
    call = f"firewall-cmd --permanent --policy={name}"
    yield f"firewall-cmd --permanent --new-policy={name}"
    yield f"{call} --set-priority={POLICY_PRIORITY}"
    yield f"{call} --set-target={TARGETS[default]}"
    yield f"{call} --set-description={shlex.quote(_description(ours))}"
    yield f"{call} --add-ingress-zone={ingress}"
    yield f"{call} --add-egress-zone={egress}"
    for rule in rules:
        yield f"{call} --add-rich-rule={shlex.quote(str(rule))}"


def _kind(policy: Policy, name: str) -> str:
    family = next((flow.family for flow in policy.flows if flow.peer_set == name), Family.IPV4)
    return "inet" if family is Family.IPV4 else "inet6"


def _set_file(policy: Policy, name: str) -> tuple[str, str]:
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:net">\n'
        f'  <option name="family" value="{_kind(policy, name)}"/>\n  <option name="timeout" value="0"/>\n</ipset>\n'
    )
    return f"ipsets/{PREFIX}{name}.xml", text


def _set_command(policy: Policy, name: str) -> str:
    options = f"--option=family={_kind(policy, name)} --option=timeout=0"
    return f"firewall-cmd --permanent --new-ipset={PREFIX}{name} --type=hash:net {options}"


def _services(flows: list[Flow]) -> Iterator[tuple[str, str]]:
    """Names for the ports, for whoever writes rules of their own."""
    seen: set[str] = set()
    for flow in flows:
        name = PREFIX + re.sub(r"^in-|-ipv[46]$", "", flow.ident).replace(".", "-")
        if flow.direction is not Direction.IN or flow.verdict is not Verdict.ACCEPT or not flow.ports or name in seen:
            continue
        seen.add(name)
        ports = "".join(f'  <port port="{one}" protocol="{flow.protocol.value}"/>\n' for one in flow.ports)
        text = f'<?xml version="1.0" encoding="utf-8"?>\n<service>\n  <short>{name}</short>\n'
        yield (
            f"services/{name}.xml",
            f"{text}  <description>{escape_xml(_safe(flow.because))}</description>\n{ports}</service>\n",
        )


def _safe(text: str) -> str:
    return _UNSAFE.sub(" ", text)
