"""What the audit looks at, what a rule of it is, and how it asks about packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Finding, Level
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Exposure
from postreeve.firewall.flow import Family, Network, Protocol, State
from postreeve.firewall.interval import ALL_ADDRESSES, Intervals, intersect, of_networks, subtract, to_networks
from postreeve.firewall.reach import Corner, Reach, find_decider, find_reach
from postreeve.firewall.ruleset import Hook, Ruleset

APPLY: Final = "postreeve firewall apply"
NOBODYS_PORT: Final = 4
"""Not assigned to anything: let in where nothing is filtered."""
_PUBLIC: Final = {
    Family.IPV4: ALL_ADDRESSES[Family.IPV4],
    # Of IPv6 only 2000::/3 is given out (RFC 4291, section 2.4).
    Family.IPV6: ((0x2 << 124, (0x4 << 124) - 1),),
}


@dataclass(frozen=True, slots=True)
class Audited:
    """The needs, the rules in force, and who listens."""

    exposure: Exposure
    live: Ruleset
    listeners: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditRule:
    """One entry of the catalogue. `about` says what is looked at, for the page of all rules."""

    id: str
    level: Level
    title: str
    about: str
    look: Callable[[Audited], Iterator[Seen]]

    def run(self, audited: Audited) -> Iterator[Finding]:
        """Everything that this rule has to say."""
        for seen in self.look(audited):
            yield Finding(self.id, self.level, self.title, seen.subject, seen.because, seen.fix)


def families(audited: Audited) -> tuple[Family, ...]:
    """Those that the machine has."""
    exposure = audited.exposure
    pairs = ((Family.IPV4, exposure.has_ipv4), (Family.IPV6, exposure.has_ipv6))
    return tuple(family for family, there in pairs if there)


def corner(
    hook: Hook,
    family: Family,
    protocol: Protocol = Protocol.TCP,
    *,
    state: State = State.NEW,
    interface: str = "",
    user: str = "",
) -> Corner:
    """First packets, unless said otherwise."""
    return Corner(hook, family, protocol, state, interface, user)


def find_best(audited: Audited, where: Corner, value: int) -> tuple[Corner, Reach]:
    """Through the interface by which most gets through: rules that name one are for the one that leads outside."""
    names = {flow.interface for layer in audited.live.of(where.hook) for flow in layer.policy.flows} - {"lo"}
    best: tuple[Corner, Reach] | None = None
    for name in sorted(names | {""}):
        here = Corner(where.hook, where.family, where.protocol, where.state, name, where.user)
        reach = find_reach(audited.live, here, value)
        if best is None or count(reach.accepted) > count(best[1].accepted):
            best = (here, reach)
    if best is None:
        raise LookupError(where.hook.value)
    return best


def count(ranges: Intervals) -> int:
    """How many addresses."""
    return sum(last - first + 1 for first, last in ranges)


def is_wide(ranges: Intervals, family: Family) -> bool:
    """True for at least half of all public addresses."""
    public = _PUBLIC[family]
    return 2 * count(intersect(ranges, public)) >= count(public)


def of(networks: tuple[Network, ...], family: Family) -> Intervals:
    """The addresses of this family."""
    return of_networks(one for one in networks if one.version == family.value)


def missing(wanted: Intervals, reach: Reach) -> Intervals:
    """What is refused for sure."""
    return intersect(subtract(wanted, reach.accepted), reach.refused)


def name(ranges: Intervals, family: Family) -> str:
    """For people, shortly."""
    if ranges == ALL_ADDRESSES[family]:
        return f"everybody by IPv{family.value}"
    networks = [str(one) for one in to_networks(ranges[:4], family)]
    return ", ".join(networks[:4]) + ", ..." * (len(networks) > 4 or len(ranges) > 4)


def evidence(audited: Audited, where: Corner, value: int, ranges: Intervals) -> str:
    """The rule that decides about the first of these addresses, quoted, or the default of its chain."""
    if not audited.live.of(where.hook):
        return "there are no rules at all"
    _, layer, flow = find_decider(audited.live, where, value, ranges[0][0])
    if flow is None:
        return f"no rule of {layer.name} fits, its default decides"
    return f"{layer.name}: {flow.quote or flow.ident}"


def opening(audited: Audited, where: Corner, value: int, ranges: Intervals) -> str:
    """The command that lets such packets pass in the layer that refuses them."""
    _, layer, _ = find_decider(audited.live, where, value, ranges[0][0])
    words = layer.name.split()
    if len(words) != 3 or words[0] not in ("inet", "ip", "ip6") or words[1] == "postreeve":
        return APPLY
    match = f"meta nfproto ipv{where.family.value} " if words[0] == "inet" else ""
    if where.protocol is Protocol.ICMP:
        match += f"{'icmp' if where.family is Family.IPV4 else 'icmpv6'} type {value}"
    else:
        match += f"{where.protocol.value} dport {value}"
    return f"nft insert rule {layer.name} {match} accept"
