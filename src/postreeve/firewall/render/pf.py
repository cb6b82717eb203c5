"""pf (OpenBSD, FreeBSD): the rules of an anchor of our own, `postreeve`, for `pfctl -a postreeve -f FILE`.

The first rule that fits counts, since every one is `quick`. The anchor is called by one line in pf.conf, `anchor
"postreeve"`, which the host's owner adds; nothing else is touched. Every rule that passes keeps state, which is what
lets the packets of connections under way pass: such flows take no rule, and a state that is there stays until it ends
(`pfctl -k`). Loopback is lo0 there. Banned addresses live in tables of the anchor, which outlive a load. Beyond a
rate a connection is not accepted; it does not go on to the next rule. Not machine-checked: there is no pf on the
systems that the tests run on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.firewall.carve import is_everything
from postreeve.firewall.check import check
from postreeve.firewall.flow import WORLD, CannotExpress, Direction, Family, Flow, Policy, Protocol, State, Verdict
from postreeve.firewall.render import value

ANCHOR: Final = "postreeve"
TARGET: Final = "pf"
_MAX_LABEL: Final = 63
_TABLE: Final = r"[A-Za-z0-9_-]{1,31}"


def render(policy: Policy) -> str:
    """The anchor's rules. Raises PolicyError, and CannotExpress for what pf has no word for."""
    check(policy)
    value.match("name of a policy", policy.name, r"[\x20-\x7e]{1,255}", "printable ASCII")
    lines = [
        f"# {policy.name}: which packets may pass, and why.",
        f'# Load with: pfctl -a {ANCHOR} -f FILE, and have pf.conf say: anchor "{ANCHOR}"',
    ]
    lines += [
        f"table <{value.match('name of a table', name, _TABLE, 'letters, digits, _ -')}> persist"
        for name in policy.sets
    ]
    for flow in policy.flows:
        lines += _rule(flow)
    for direction, verdict in ((Direction.IN, policy.default_in), (Direction.OUT, policy.default_out)):
        if verdict is Verdict.ACCEPT:
            lines.append(f"# what else goes {direction.value} is left to the rules after this anchor")
        else:
            lines.append(f'{_action(verdict)} {direction.value} quick all label "{direction.value}-rest"')
    return "\n".join(lines) + "\n"


def _rule(flow: Flow) -> Iterator[str]:
    because = f"{flow.because}; without it: {flow.without}" if flow.without else flow.because
    yield f"# {flow.ident}: {value.PRINTABLE.sub(' ', because)}"
    if flow.state is State.ESTABLISHED:
        if flow.verdict is not Verdict.ACCEPT or not is_everything(flow) or flow.interface or flow.user:
            what = "some packets of connections under way"
            raise CannotExpress(TARGET, flow.ident, what, "let all of them pass, or end states by pfctl -k")
        yield "# (by the states that the rules below keep)"
        return
    if flow.container is not None:
        raise CannotExpress(TARGET, flow.ident, "a published port of a container", "publish it by a rule rdr-to")
    if flow.state is State.ANY and flow.verdict is not Verdict.ACCEPT and not flow.peer_set:
        what = "a refusal of packets of connections under way"
        raise CannotExpress(TARGET, flow.ident, what, "refuse new ones, and end states by pfctl -k")
    words = [_action(flow.verdict), flow.direction.value, "quick"]
    if flow.interface:
        words.append(f"on {'lo0' if flow.interface == 'lo' else flow.interface}")
    words.append("inet" if flow.family is Family.IPV4 else "inet6")
    words += _protocol(flow)
    words += _peers(flow)
    words += _details(flow)
    words.append(f'label "{flow.ident[:_MAX_LABEL]}"')
    yield " ".join(words)


def _action(verdict: Verdict) -> str:
    return {Verdict.ACCEPT: "pass", Verdict.DROP: "block drop", Verdict.REJECT: "block return"}[verdict]


def _protocol(flow: Flow) -> Iterator[str]:
    match flow.protocol:
        case Protocol.ICMP:
            yield "proto icmp" if flow.family is Family.IPV4 else "proto icmp6"
        case Protocol.TCP | Protocol.UDP:
            yield f"proto {flow.protocol.value}"
        case Protocol.ANY:
            pass


def _peers(flow: Flow) -> Iterator[str]:
    if flow.peer_set:
        peers = f"<{flow.peer_set}>"
    elif flow.peers == (WORLD[flow.family],):
        peers = "any"
    else:
        peers = f"{{ {', '.join(map(str, flow.peers))} }}"
    port = ""
    if flow.ports:
        ranges = [str(one.first) if one.first == one.last else f"{one.first}:{one.last}" for one in flow.ports]
        port = f" port {{ {', '.join(ranges)} }}"
    yield f"from {peers} to any{port}" if flow.direction is Direction.IN else f"from any to {peers}{port}"


def _details(flow: Flow) -> Iterator[str]:
    if flow.user:
        if flow.protocol not in (Protocol.TCP, Protocol.UDP):
            raise CannotExpress(TARGET, flow.ident, "an account for other packets than TCP and UDP", "name TCP or UDP")
        yield f"user {flow.user}"
    if flow.icmp_types:
        word = "icmp-type" if flow.family is Family.IPV4 else "icmp6-type"
        yield f"{word} {{ {', '.join(map(str, flow.icmp_types))} }}"
    if flow.verdict is Verdict.ACCEPT:
        if flow.rate is not None:
            yield f"keep state (max-src-conn-rate {flow.rate.connections}/{flow.rate.seconds})"
        else:
            yield "keep state"
    elif flow.rate is not None:
        raise CannotExpress(TARGET, flow.ident, "a refusal up to a rate", "a rate of what passes")
