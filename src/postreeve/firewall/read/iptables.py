"""iptables-save and ip6tables-save, of both variants (nft and legacy): whole rulesets of anybody, and our own chains.

Without the text of a family (iptables-nft-save prints nothing where there are no rules) that family passes. The tables
raw, mangle, filter and security become layers; nat tells the published ports. What iptables adds by itself: the policy
of each built-in chain. Accounts are saved as numbers, `accounts` gives their names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from postreeve.firewall.box import Box, to_flows, whole, with_ports
from postreeve.firewall.flow import (
    WORLD,
    Container,
    Direction,
    Family,
    Flow,
    Network,
    NotUnderstood,
    Policy,
    Protocol,
    State,
    Verdict,
)
from postreeve.firewall.read.chain import Rule, Walker
from postreeve.firewall.read.nat import Redirections, read_redirections
from postreeve.firewall.read.saved import Table, read_tables
from postreeve.firewall.read.xtrule import Place, Prepared, narrow, prepare, to_rule
from postreeve.firewall.render.iptables import CHAIN_FORWARD, CHAIN_IN, CHAIN_OUT, REST, SET_PREFIX
from postreeve.firewall.ruleset import Hook, Layer, Ruleset

_LAYERS: Final = (
    ("raw", "PREROUTING", Hook.IN, -300),
    ("raw", "PREROUTING", Hook.FORWARD, -300),
    ("mangle", "PREROUTING", Hook.IN, -150),
    ("mangle", "PREROUTING", Hook.FORWARD, -150),
    ("mangle", "INPUT", Hook.IN, -149),
    ("mangle", "FORWARD", Hook.FORWARD, -149),
    ("filter", "INPUT", Hook.IN, 0),
    ("filter", "FORWARD", Hook.FORWARD, 0),
    ("security", "INPUT", Hook.IN, 50),
    ("security", "FORWARD", Hook.FORWARD, 50),
    ("raw", "OUTPUT", Hook.OUT, -300),
    ("mangle", "OUTPUT", Hook.OUT, -150),
    ("filter", "OUTPUT", Hook.OUT, 0),
    ("security", "OUTPUT", Hook.OUT, 50),
    ("mangle", "POSTROUTING", Hook.OUT, 51),
)
_TOOLS: Final = {Family.IPV4: "iptables-save", Family.IPV6: "ip6tables-save"}
_IPSET_ADD: Final = re.compile(r"add (\S+) (\S+)")
_TO: Final = re.compile(r"(?P<ident>[^ ]+) to (?P<address>[0-9a-f.:]+) port (?P<port>[0-9]{1,5})")
_NO_ACCOUNTS: Final[Mapping[str, str]] = {}
_STANDARD: Final = frozenset({"raw", "mangle", "nat", "filter", "security", "broute"})


@dataclass(frozen=True, slots=True)
class _Saved:
    """One family, read as far as it goes without knowing where its chains are met."""

    family: Family
    tables: Mapping[str, Table]
    rules: Mapping[str, Mapping[str, list[Prepared]]]
    redirections: Redirections

    def reachable(self, table: str, base: str) -> dict[str, list[Prepared]]:
        """The rules of the chain and of those that it leads to."""
        rules = self.rules.get(table, {})
        found: dict[str, list[Prepared]] = {}
        waiting = [base]
        while waiting:
            name = waiting.pop()
            if name not in found and name in rules:
                found[name] = rules[name]
                waiting += {rule.target for rule in rules[name] if rule.target}
        return found


def read(ipv4: str, ipv6: str, ipset: str = "", accounts: Mapping[str, str] = _NO_ACCOUNTS) -> Ruleset:
    """Everything. `ipset` is the output of `ipset save`. Raises NotUnderstood for what is something else or cut off."""
    saved = _read_both(ipv4, ipv6, accounts)
    layers, limits = [], []
    for table, chain, hook, priority in _LAYERS:
        if any(_matters(one, table, chain) for one in saved):
            policy, excess = _policy(saved, table, chain, hook, chain == "PREROUTING")
            layers.append(Layer(f"iptables {table} {chain}", hook, priority, policy))
            limits += excess
    published = tuple(found for one in saved for found in one.redirections.containers)
    unread = [line for one in saved for line in one.redirections.unread]
    unread += [f"table {name}" for one in saved for name in one.tables if name not in _STANDARD]
    return Ruleset(tuple(layers), read_ipset(ipset), published, tuple(limits), tuple(unread))


def read_own(ipv4: str, ipv6: str, accounts: Mapping[str, str] = _NO_ACCOUNTS) -> Policy:
    """Our own chains alone, as `render.iptables` wrote them. Raises NotUnderstood where they are missing."""
    saved = _read_both(ipv4, ipv6, accounts)
    found: dict[Direction, list[Flow]] = {}
    defaults = {}
    for chain, direction in ((CHAIN_IN, Direction.IN), (CHAIN_OUT, Direction.OUT)):
        flows: list[Flow] = []
        verdicts = set()
        for one in saved:
            if chain not in one.rules.get("filter", {}):
                raise NotUnderstood(f"{_TOOLS[one.family]}: there is no chain {chain}")
            walked = _walk(one, "filter", chain, Place(_hook(direction)), Verdict.ACCEPT)
            verdicts.add(walked.pop().verdict if walked and _is_catch_all(walked[-1]) else Verdict.ACCEPT)
            flows += walked
        if len(verdicts) > 1:
            raise NotUnderstood(f"{chain} ends otherwise for IPv4 than for IPv6")
        found[direction], defaults[direction] = flows, verdicts.pop() if verdicts else Verdict.ACCEPT
    found[Direction.IN] = [
        flow
        for one in saved
        for flow in _weave([flow for flow in found[Direction.IN] if flow.family is one.family], *_guard(one))
    ]
    flows = [*found[Direction.IN], *found[Direction.OUT]]
    sets = tuple(dict.fromkeys(flow.peer_set for flow in flows if flow.peer_set))
    return Policy("iptables", tuple(flows), defaults[Direction.IN], defaults[Direction.OUT], sets)


def read_ipset(text: str) -> dict[str, tuple[Network, ...]]:
    """The addresses in each set, by the name that flows use."""

    found: dict[str, list[Network]] = {}
    for line in text.splitlines():
        if line.startswith("create "):
            found.setdefault(line.split()[1].removeprefix(SET_PREFIX), [])
        match = _IPSET_ADD.match(line)
        if match:
            try:
                network = ipaddress.ip_network(match[2], strict=False)
            except ValueError:
                continue
            found.setdefault(match[1].removeprefix(SET_PREFIX), []).append(network)
    return {name: tuple(networks) for name, networks in found.items()}


def _read_both(ipv4: str, ipv6: str, accounts: Mapping[str, str]) -> list[_Saved]:
    if not ipv4.strip() and not ipv6.strip():
        raise NotUnderstood("there is no ruleset: neither iptables-save nor ip6tables-save printed anything")
    saved = []
    for family, text in ((Family.IPV4, ipv4), (Family.IPV6, ipv6)):
        tables = read_tables(text, _TOOLS[family]) if text.strip() else {}
        rules = {
            table.name: {
                chain.name: prepare(chain.rules, table.chains, family, accounts) for chain in table.chains.values()
            }
            for table in tables.values()
            if table.name in _STANDARD and table.name != "nat"
        }
        nat = tables.get("nat")
        saved.append(_Saved(family, tables, rules, read_redirections(nat, family)))
    return saved


def _matters(saved: _Saved, table: str, chain: str) -> bool:
    found = saved.tables[table].chains.get(chain) if table in saved.tables else None
    if found is None:
        return False
    return table == "filter" or bool(found.rules) or found.policy != "ACCEPT"


def _hook(direction: Direction) -> Hook:
    return Hook.IN if direction is Direction.IN else Hook.OUT


def _policy(saved: list[_Saved], table: str, chain: str, hook: Hook, is_early: bool) -> tuple[Policy, list[Flow]]:
    """Both families in one: where their defaults differ, the last flows say so."""
    flows: list[Flow] = []
    limits: list[Flow] = []
    defaults = {one.family: _default(one, table, chain) for one in saved}
    for one in saved:
        if table not in one.tables or chain not in one.tables[table].chains:
            continue
        place = Place(hook, is_early, one.redirections.bridges, one.redirections.behind)
        flows += _walk(one, table, chain, place, defaults[one.family])
        limits += _excess(one, one.reachable(table, chain), place)
    values = set(defaults.values())
    default = values.pop() if len(values) == 1 else Verdict.ACCEPT
    for family, verdict in defaults.items():
        if verdict is not default:
            flows.append(_rest(chain, hook, family, verdict))
    is_out = hook is Hook.OUT
    sets = tuple(dict.fromkeys(flow.peer_set for flow in flows if flow.peer_set))
    name = f"iptables {table} {chain}"
    policy = Policy(
        name, tuple(flows), Verdict.ACCEPT if is_out else default, default if is_out else Verdict.ACCEPT, sets
    )
    return policy, limits


def _rest(chain: str, hook: Hook, family: Family, verdict: Verdict) -> Flow:
    direction = Direction.OUT if hook is Hook.OUT else Direction.IN
    return Flow(
        f"{chain.lower()}-policy-ipv{family.value}",
        direction,
        family,
        Protocol.ANY,
        verdict,
        (WORLD[family],),
        state=State.ANY,
        quote=f":{chain} {verdict.name}",
    )


def _default(saved: _Saved, table: str, chain: str) -> Verdict:
    found = saved.tables[table].chains.get(chain) if table in saved.tables else None
    match found.policy if found else "ACCEPT":
        case "ACCEPT":
            return Verdict.ACCEPT
        case "DROP":
            return Verdict.DROP
        case other:
            raise NotUnderstood(f"{_TOOLS[saved.family]}: the policy {other or '-'} of {chain}")


def _walk(saved: _Saved, table: str, chain: str, place: Place, default: Verdict) -> list[Flow]:
    direction = Direction.OUT if place.hook is Hook.OUT else Direction.IN
    rules = saved.reachable(table, chain)
    chains = {name: tuple(to_rule(rule, place) for rule in some) for name, some in rules.items()}
    walker = Walker(chains, direction, default)
    walker.walk(chain, _boxes(saved, place))
    return walker.flows


def _boxes(saved: _Saved, place: Place) -> list[Box]:
    """In FORWARD only what goes to published ports is looked at."""
    if place.hook is not Hook.FORWARD:
        return [whole(saved.family)]
    return [_published(saved.family, one) for one in saved.redirections.containers]


def _published(family: Family, container: Container) -> Box:
    box = with_ports(whole(family), frozenset({Protocol.TCP}), ((container.published, container.published),))
    return replace(box, container=container)


def _guard(saved: _Saved) -> tuple[list[Flow], dict[str, int]]:
    """The flows of our chain in FORWARD, and how many named sets were asked before each, by its name."""
    before: dict[str, int] = {}
    rules: dict[Container, list[Rule]] = {}
    asked = 0
    place = Place(Hook.FORWARD)
    for rule in saved.rules.get("filter", {}).get(CHAIN_FORWARD, []):
        found = _TO.fullmatch(rule.match.comment)
        if rule.match.peer_set[0]:
            asked += 1
        elif found is not None and rule.match.dialled:
            container = Container(found["address"], int(found["port"]), rule.match.dialled[0][0])
            rules.setdefault(container, []).append(to_rule(rule, place))
            before[found["ident"]] = asked
        elif not rule.match.comment.startswith(REST):
            raise NotUnderstood(f"{_TOOLS[saved.family]}: not a rule of ours: {rule.quote}")
    flows: list[Flow] = []
    for container, some in rules.items():
        walker = Walker({CHAIN_FORWARD: tuple(some)}, Direction.IN, Verdict.ACCEPT)
        walker.walk(CHAIN_FORWARD, [_published(saved.family, container)])
        flows += walker.flows
    order = list(before)
    return sorted(flows, key=lambda flow: order.index(flow.ident) if flow.ident in before else -1), before


def _weave(flows: list[Flow], published: list[Flow], before: dict[str, int]) -> Iterator[Flow]:
    """Rules of published ports come behind the others, but never pass a rule of a named set."""
    asked = 0
    for flow in (*flows, None):
        if flow is None or flow.peer_set:
            yield from (one for one in published if before.get(one.ident, 0) == asked)
            asked += 1
        if flow is not None:
            yield flow


def _excess(saved: _Saved, chains: Mapping[str, list[Prepared]], place: Place) -> Iterator[Flow]:
    """What refuses beyond a limit, each rule for itself."""
    direction = Direction.OUT if place.hook is Hook.OUT else Direction.IN
    for rules in chains.values():
        for rule in rules:
            if rule.match.excess is None:
                continue
            verdict = _refusal(rule, chains)
            for box in _boxes(saved, place):
                found, doubts = narrow(rule.match, place, box)
                if found is not None:
                    found = replace(found, rate=rule.match.excess, other_than=frozenset())
                    ident = to_rule(rule, place).ident
                    doubt = "; ".join((*doubts, *(() if verdict else ("what becomes of it",))))
                    yield from to_flows(found, direction, ident, verdict or Verdict.DROP, rule.quote, doubt)


def _refusal(rule: Prepared, chains: Mapping[str, list[Prepared]]) -> Verdict | None:
    if isinstance(rule.action, Verdict):
        return rule.action
    ends = {one.action for one in chains.get(rule.target, []) if isinstance(one.action, Verdict)}
    return ends.pop() if len(ends) == 1 else None


def _is_catch_all(flow: Flow) -> bool:
    return (
        flow.peers == (WORLD[flow.family],)
        and flow.protocol is Protocol.ANY
        and flow.state is State.ANY
        and not (flow.interface or flow.user or flow.rate or flow.unknown)
    )
