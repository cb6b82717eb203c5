"""nftables: one table of our own, `inet postreeve`, loaded in one transaction and loaded again without harm.

The sets outlive a reload with what is in them: bans stay banned. Nothing else on the machine is touched, no ruleset is
flushed. An accept here is not final: another table may still drop, which is why a machine that ufw or firewalld looks
after is configured through them. Loads on nft 1.0.6 (Debian 12) and newer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.firewall.check import check
from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
    Container,
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)

TABLE: Final = "inet postreeve"
MAX_BANS: Final = 1_048_576
GUARD_PRIORITY: Final = -10
"""Before the chains of container engines, which hang at priority 0 and accept what they publish."""

_UNITS: Final = {1: "second", 60: "minute", 3_600: "hour", 86_400: "day"}
_HOOKS: Final = {Direction.IN: "input", Direction.OUT: "output"}
_RATE_PREFIX: Final = "ffff:ffff:ffff:ffff::"
_UNSAFE: Final = re.compile(r'[^\x20-\x7e]|"')


def render(policy: Policy) -> str:
    """A file for `nft -f`. Raises PolicyError for a policy that makes no sense, CannotExpress where nft has no word."""
    check(policy)
    lines = [
        f"# {policy.name}: which packets may pass, and why. Load with: nft -f FILE",
        "# It replaces the rules of its own table and keeps the banned addresses.",
        f"add table {TABLE}",
    ]
    lines += _sets(policy)
    published = [flow for flow in policy.flows if flow.container is not None or _is_for_containers(flow)]
    has_containers = any(flow.container for flow in published)
    for direction in Direction:
        default = policy.default_in if direction is Direction.IN else policy.default_out
        hook = _HOOKS[direction]
        lines += _chain(hook, hook, "filter", "accept" if default is Verdict.ACCEPT else "drop")
        for flow in policy.flows:
            if flow.direction is direction and flow.container is None:
                lines += _rule(hook, flow)
        if default is Verdict.REJECT:
            lines.append(f"add rule {TABLE} {hook} reject with icmpx type admin-prohibited")
    if has_containers:
        lines += _guard(policy, published)
    else:
        lines += _without_chain("forward")
    return "\n".join(lines) + "\n"


def render_bans(policy: Policy) -> str:
    """A file for `nft -f`: our table with the bans alone, for machines whose rules are kept by another program.

    A drop there is final whatever that program accepts, everything else passes; containers are behind `forward`.
    Rules that the table had before go, addresses that are banned stay. Raises PolicyError.
    """
    check(policy)
    bans = [flow for flow in policy.flows if _is_for_containers(flow) and flow.verdict is not Verdict.ACCEPT]
    if not bans:
        return render_removal()
    lines = [
        f"# {policy.name}: who is banned. Load with: nft -f FILE",
        "# It lets everything else pass: who may connect is decided elsewhere.",
        f"add table {TABLE}",
        *_sets(replace(policy, flows=tuple(bans))),
    ]
    for hook, priority in (("input", "filter"), ("forward", GUARD_PRIORITY)):
        lines += _chain(hook, hook, priority, "accept")
        lines += [line for flow in bans for line in _rule(hook, flow)]
    return "\n".join([*lines, *_without_chain("output")]) + "\n"


def render_removal() -> str:
    """A file for `nft -f` that takes our table away, whether it is there or not."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def _sets(policy: Policy) -> Iterator[str]:
    kinds = {flow.peer_set: flow.family for flow in policy.flows if flow.peer_set}
    for name in policy.sets:
        family = kinds.get(name, Family.IPV4)
        kind = "ipv4_addr" if family is Family.IPV4 else "ipv6_addr"
        # Addresses of IPv6 are banned by prefix, which takes an interval set; those of IPv4 one by one, by hash.
        flags = "timeout" if family is Family.IPV4 else "interval, timeout"
        yield f"add set {TABLE} {name} {{ type {kind}; flags {flags}; size {MAX_BANS}; }}"
    for flow in policy.flows:
        if flow.rate is not None:
            kind = "ipv4_addr" if flow.family is Family.IPV4 else "ipv6_addr"
            yield (
                f"add set {TABLE} {_rate_set(flow)} "
                f"{{ type {kind}; flags dynamic, timeout; timeout {flow.rate.seconds * 2}s; size 65536; }}"
            )


def _rate_set(flow: Flow) -> str:
    return "rate_" + re.sub(r"[^a-z0-9]", "_", flow.ident)


def _chain(name: str, hook: str, priority: str | int, policy: str) -> list[str]:
    return [
        f"add chain {TABLE} {name} {{ type filter hook {hook} priority {priority}; policy {policy}; }}",
        f"flush chain {TABLE} {name}",
    ]


def _without_chain(name: str) -> list[str]:
    """Whether it is there or not."""
    return [f"{word} chain {TABLE} {name}" for word in ("add", "flush", "delete")]


def _rule(chain: str, flow: Flow, *, verdict: str = "") -> list[str]:
    words = [*_match(flow), "counter", verdict or _verdict(flow), f'comment "{_comment(flow)}"']
    because = f"{flow.because}; without it: {flow.without}" if flow.without else flow.because
    return [f"# {_UNSAFE.sub(' ', because)}", f"add rule {TABLE} {chain} {' '.join(words)}"]


def _comment(flow: Flow) -> str:
    """The name, by which the rule is known again; nft takes 128 octets."""
    return flow.ident


def _verdict(flow: Flow) -> str:
    if flow.verdict is not Verdict.REJECT:
        return str(flow.verdict.value)
    # A reset ends a TCP connect at once and honestly; other protocols get the ICMP error.
    return "reject with tcp reset" if flow.protocol is Protocol.TCP else "reject with icmpx type admin-prohibited"


def _match(flow: Flow) -> Iterator[str]:
    if flow.interface:
        yield f'{"iifname" if flow.direction is Direction.IN else "oifname"} "{flow.interface}"'
    yield _peers(flow)
    yield from _traffic(flow)
    if flow.user:
        yield f'meta skuid "{flow.user}"'
    if flow.state is State.NEW:
        yield "ct state new"
    elif flow.state is State.ESTABLISHED:
        yield "ct state established,related"
    if flow.rate is not None:
        yield _limit(flow, flow.rate)


def _peers(flow: Flow) -> str:
    side = "saddr" if flow.direction is Direction.IN else "daddr"
    word = "ip" if flow.family is Family.IPV4 else "ip6"
    if flow.peer_set:
        return f"{word} {side} @{flow.peer_set}"
    if flow.peers == (WORLD[flow.family],):
        return f"meta nfproto ipv{flow.family.value}"
    return f"{word} {side} {{ {', '.join(_network(one) for one in flow.peers)} }}"


def _network(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _traffic(flow: Flow) -> Iterator[str]:
    match flow.protocol:
        case Protocol.TCP | Protocol.UDP if flow.ports:
            yield f"{flow.protocol.value} dport {{ {', '.join(map(str, flow.ports))} }}"
        case Protocol.TCP | Protocol.UDP:
            yield f"meta l4proto {flow.protocol.value}"
        case Protocol.ICMP:
            word = "icmp" if flow.family is Family.IPV4 else "icmpv6"
            types = ", ".join(map(str, flow.icmp_types))
            # The protocol is named although the type implies it: a list of types alone is read back as both.
            yield f"{word} type {{ {types} }}" if types else f"meta l4proto {'icmp' if word == 'icmp' else 'ipv6-icmp'}"
        case Protocol.ANY:
            pass


def _limit(flow: Flow, rate: Rate) -> str:
    unit = _UNITS.get(rate.seconds)
    if unit is None:
        alternative = "count per second, minute, hour or day (1, 60, 3600 or 86400 seconds)"
        raise CannotExpress("nftables", flow.ident, f"a rate per {rate.seconds} seconds", alternative)
    source = "ip saddr" if flow.family is Family.IPV4 else f"ip6 saddr & {_RATE_PREFIX}"
    limit = f"limit rate {rate.connections}/{unit} burst {rate.connections} packets"
    return f"update @{_rate_set(flow)} {{ {source} {limit} }}"


def _guard(policy: Policy, published: list[Flow]) -> Iterator[str]:
    """What goes to containers passes `forward`, never `input`: the published ports get their own rules there."""
    yield from _chain("forward", "forward", GUARD_PRIORITY, "accept")
    containers: dict[int, Container] = {}
    for flow in published:
        if flow.peer_set:
            yield from _rule("forward", flow)
        elif flow.container is not None:
            containers.setdefault(flow.container.published, flow.container)
            yield from _published(flow, flow.container)
    for port in sorted(containers):
        fate = "drop" if policy.default_in is Verdict.DROP else policy.default_in.value
        if fate != "accept":
            yield "# nobody else may reach this published port"
            yield (
                f"add rule {TABLE} forward ct direction original ct status dnat ct state new meta l4proto tcp "
                f'ct original proto-dst {port} counter {fate} comment "rest-of-published-{port}"'
            )


def _is_for_containers(flow: Flow) -> bool:
    """Bans count there too."""
    return flow.peer_set != "" and flow.direction is Direction.IN


def _published(flow: Flow, container: Container) -> Iterator[str]:
    """Matched by the port that was dialled, which DNAT has already replaced in the packet."""
    words = [_peers(flow)]
    if flow.state is State.NEW:
        words.append("ct state new")
    words.append(f"ct status dnat ct direction original meta l4proto tcp ct original proto-dst {container.published}")
    if flow.rate is not None:
        words.append(_limit(flow, flow.rate))
    comment = f"{_comment(flow)} to {container.address} port {container.port}"
    yield f"# {_UNSAFE.sub(' ', flow.because)}"
    yield f'add rule {TABLE} forward {" ".join(words)} counter {_verdict(flow)} comment "{comment}"'


def ports_of(flow: Flow) -> tuple[Ports, ...]:
    """The ports as they are dialled: of a published one that of the host."""
    if flow.container is not None:
        return (Ports(flow.container.published, flow.container.published),)
    return flow.ports
