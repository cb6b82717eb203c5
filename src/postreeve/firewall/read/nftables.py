"""nftables: what `nft -j list ruleset` says, our own table or anybody's, into layers of flows.

Every base chain is a layer: an accept ends the packet's way through that chain only, and it passes when all chains of
the hook let it pass, in the order of their priorities. Chains at prerouting are met by what comes in, those at
postrouting by what goes out. Of chains of the kind nat only DNAT is read. A rule with an `xt` expression hides its
match (nft cannot show what iptables made): it becomes undecidable, and iptables-save knows better.

Reading a machine's own ruleset is `read`; `read_own` gives back the very policy that `render.nftables` wrote, apart
from its name, `because` and `without`.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from postreeve.firewall.box import Box, whole
from postreeve.firewall.flow import (
    Container,
    Direction,
    Family,
    Flow,
    Network,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    Verdict,
)
from postreeve.firewall.interval import ALL_ADDRESSES, to_networks
from postreeve.firewall.read.chain import Case, Rule, Walker
from postreeve.firewall.read.nft_quote import quote_rule
from postreeve.firewall.read.nft_rule import has_limit, limits_of, split
from postreeve.firewall.read.nft_value import Doubt, Elements, Surroundings, address_number, numbers_of
from postreeve.firewall.ruleset import Hook, Layer, Ruleset

OWN: Final = ("inet", "postreeve")
_FAMILIES: Final = {
    "ip": (Family.IPV4,),
    "ip6": (Family.IPV6,),
    "inet": (Family.IPV4, Family.IPV6),
}
_HOOKS: Final = {
    "prerouting": (Hook.IN, Hook.FORWARD),
    "input": (Hook.IN,),
    "forward": (Hook.FORWARD,),
    "output": (Hook.OUT,),
    "postrouting": (Hook.OUT,),
}
_STAGES: Final = ("prerouting", "input", "forward", "output", "postrouting")
_REST: Final = re.compile(r"rest-of-published-[0-9]+")
_TO: Final = re.compile(r"(?P<ident>[^ ]+) to (?P<address>[0-9a-f.:]+) port (?P<port>[0-9]{1,5})")
TableKey = tuple[str, str]


@dataclass(slots=True)
class _Table:
    """One table as it was listed."""

    key: TableKey
    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sets: dict[str, Elements] = field(default_factory=dict)


def read(text: str, accounts: Mapping[int, str] | None = None) -> Ruleset:
    """All of it. `accounts` gives the names of user ids. Raises NotUnderstood for what is no such listing."""
    tables = _tables(text)
    published = tuple(one for table in tables for one in _published(table))
    unread = [one for table in tables for one in _unread(table)]
    layers: list[tuple[int, int, Layer]] = []
    limits: list[Flow] = []
    for table in tables:
        if table.key[0] not in _FAMILIES:
            continue
        for name, chain in table.chains.items():
            if chain.get("type") not in ("filter", "route") or chain.get("hook") not in _HOOKS:
                continue
            for hook in _HOOKS[chain["hook"]]:
                layer = _layer(table, name, hook, published, accounts or {})
                layers.append((_STAGES.index(chain["hook"]), layer.priority, layer))
            limits += _limits(table, name, _HOOKS[chain["hook"]][0], accounts or {})
    # Of chains with the same priority Linux asks the one that came last first.
    layers.reverse()
    layers.sort(key=lambda one: one[:2])
    sets = {one.name: _networks(one) for table in tables for one in table.sets.values() if one.is_volatile}
    return Ruleset(tuple(layer for _, _, layer in layers), sets, published, tuple(limits), tuple(unread))


def read_own(text: str, accounts: Mapping[int, str] | None = None) -> Policy:
    """Our own table as the policy that it was rendered from. Raises NotUnderstood when it is not there."""
    table = next((one for one in _tables(text) if one.key == OWN), None)
    if table is None or not {"input", "output"} <= table.chains.keys():
        raise NotUnderstood("there is no table inet postreeve with the chains input and output")
    found: dict[Hook, list[Flow]] = {}
    defaults: dict[Hook, Verdict] = {}
    for hook, name in ((Hook.IN, "input"), (Hook.OUT, "output"), (Hook.FORWARD, "forward")):
        rules = table.rules.get(name, [])
        defaults[hook] = _policy_of(table.chains.get(name, {}))
        if rules and "comment" not in rules[-1] and _is_reject(rules[-1]):
            defaults[hook], rules = Verdict.REJECT, rules[:-1]
        if hook is Hook.FORWARD:
            rules = [rule for rule in rules if not _REST.fullmatch(str(rule.get("comment", "")))]
        around = Surroundings(hook, table.sets, accounts or {})
        walker = _walker(table, hook, defaults[hook], around, rules_of={name: rules})
        walker.walk(name, [whole(family) for family in (Family.IPV4, Family.IPV6)])
        found[hook] = [_own(flow) for flow in walker.flows]
    flows = (*_merge(found[Hook.IN], found[Hook.FORWARD]), *found[Hook.OUT])
    sets = tuple(name for name in table.sets if not name.startswith("rate_"))
    return Policy(" ".join(OWN), flows, defaults[Hook.IN], defaults[Hook.OUT], sets)


def _own(flow: Flow) -> Flow:
    """With the container that the comment names, which the kernel need not know."""
    found = _TO.fullmatch(flow.ident)
    if found is None or flow.container is None:
        return flow
    container = Container(found["address"], int(found["port"]), flow.container.published)
    ports = (Ports(container.published, container.published),)
    return replace(flow, ident=found["ident"], container=container, ports=ports)


def _merge(through_input: list[Flow], through_forward: list[Flow]) -> Iterator[Flow]:
    """One list of both chains; the rules of named sets stand in both and keep the order."""
    waiting = list(through_forward)
    for flow in through_input:
        if flow.peer_set and any(one.ident == flow.ident for one in waiting):
            while waiting[0].ident != flow.ident:
                yield waiting.pop(0)
            waiting.pop(0)
        yield flow
    yield from waiting


def _tables(text: str) -> list[_Table]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as problem:
        where = f" (line {problem.lineno})" if isinstance(problem, json.JSONDecodeError) else ""
        raise NotUnderstood(f"no JSON, or cut off{where}: it should be what `nft -j list ruleset` says") from None
    items = data.get("nftables") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise NotUnderstood("JSON, but not what `nft -j list ruleset` says: no list `nftables`")
    tables: dict[TableKey, _Table] = {}
    for number, item in enumerate(items):
        try:
            _take(item, tables)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, Doubt) as problem:
            raise NotUnderstood(f"item {number} of `nftables`: {problem!r}") from None
    return list(tables.values())


def _take(item: Mapping[str, Any], tables: dict[TableKey, _Table]) -> None:
    match item:
        case {"table": {"family": str() as family, "name": str() as name}}:
            tables.setdefault((family, name), _Table((family, name)))
        case {"chain": {"family": str() as family, "table": str() as table, "name": str() as name} as chain}:
            if not all(isinstance(chain.get(key, ""), str) for key in ("type", "hook", "policy")):
                raise TypeError(f"chain {name}")
            tables[family, table].chains[name] = chain
        case {"rule": {"family": str() as family, "table": str() as table, "chain": str() as where} as rule}:
            if not isinstance(rule.get("expr", []), list):
                raise TypeError(f"a rule of chain {where}")
            tables[family, table].rules.setdefault(where, []).append(rule)
        case {"set": dict() as data} | {"map": dict() as data}:
            key = data["family"], data["table"]
            flags = data.get("flags", [])
            is_volatile = bool({"timeout", "dynamic"} & set([flags] if isinstance(flags, str) else flags))
            kind = data.get("type")
            family_ = {"ipv4_addr": Family.IPV4, "ipv6_addr": Family.IPV6}.get(kind if isinstance(kind, str) else "")
            name = data["name"] if key == OWN else f"{key[0]} {key[1]} {data['name']}"
            items = tuple(one["elem"]["val"] if "elem" in _as_dict(one) else one for one in data.get("elem", []))
            tables[key].sets[data["name"]] = Elements(name, items, is_volatile and family_ is not None, family_)


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _policy_of(chain: Mapping[str, Any]) -> Verdict:
    return Verdict.DROP if chain.get("policy") == "drop" else Verdict.ACCEPT


def _is_reject(rule: Mapping[str, Any]) -> bool:
    return len(rule.get("expr", [])) == 1 and "reject" in _as_dict(rule["expr"][0])


def _layer(
    table: _Table, chain: str, hook: Hook, published: tuple[Container, ...], accounts: Mapping[int, str]
) -> Layer:
    data = table.chains[chain]
    default = _policy_of(data)
    around = Surroundings(hook, table.sets, accounts)
    walker = _walker(table, hook, default, around)
    boxes = [whole(family) for family in _FAMILIES[table.key[0]]]
    if hook is Hook.FORWARD:
        boxes = [
            replace(box, container=one, protocols=frozenset({Protocol.TCP}))
            for box in boxes
            for one in published
            if _is_of(one, box)
        ]
    walker.walk(chain, boxes)
    name = f"{table.key[0]} {table.key[1]} {chain}"
    priority = data.get("prio", 0)
    is_out = hook is Hook.OUT
    used = tuple(dict.fromkeys(flow.peer_set for flow in walker.flows if flow.peer_set))
    policy = Policy(
        name,
        tuple(walker.flows),
        Verdict.ACCEPT if is_out else default,
        default if is_out else Verdict.ACCEPT,
        used,
    )
    # An IPv4 table has nothing to say about IPv6, and its default neither.
    policy = _let_others_pass(policy, table.key[0], is_out)
    return Layer(name, hook, priority if isinstance(priority, int) else 0, policy)


def _let_others_pass(policy: Policy, family: str, is_out: bool) -> Policy:
    families = _FAMILIES[family]
    if len(families) == 2 or (policy.default_out if is_out else policy.default_in) is Verdict.ACCEPT:
        return policy
    other = Family.IPV6 if families == (Family.IPV4,) else Family.IPV4
    direction = Direction.OUT if is_out else Direction.IN
    walker = Walker({"all": (Rule("other-family", policy.name, _accept),)}, direction, Verdict.ACCEPT)
    walker.walk("all", [whole(other)])
    return replace(policy, flows=policy.flows + tuple(walker.flows))


def _accept(box: Box) -> Iterable[Case]:
    return (Case(box, Verdict.ACCEPT),)


def _is_of(container: Container, box: Box) -> bool:
    return not container.address or ipaddress.ip_address(container.address).version == box.family.value


def _walker(
    table: _Table,
    hook: Hook,
    default: Verdict,
    around: Surroundings,
    rules_of: Mapping[str, list[dict[str, Any]]] | None = None,
) -> Walker:
    chains = {
        name: tuple(_rule(table, rule, around) for rule in rules)
        for name, rules in ({**table.rules, **(rules_of or {})}).items()
    }
    for name in table.chains:
        chains.setdefault(name, ())
    return Walker(chains, Direction.OUT if hook is Hook.OUT else Direction.IN, default)


def _rule(table: _Table, rule: dict[str, Any], around: Surroundings) -> Rule:
    comment = str(rule.get("comment", ""))
    where = f"{rule['table']}-{rule['chain']}-{rule.get('handle', 0)}".lower()
    ident = comment if table.key == OWN and comment else re.sub(r"[^a-z0-9.-]+", "-", where).strip("-.")[:60]
    return Rule(ident, quote_rule(rule), lambda box: split(box, rule, around))


def _limits(table: _Table, chain: str, hook: Hook, accounts: Mapping[int, str]) -> Iterator[Flow]:
    """Of the base chain and of those it leads to, as far as they are read at all."""
    around = Surroundings(hook, table.sets, accounts)
    direction = Direction.OUT if hook is Hook.OUT else Direction.IN
    for rule in table.rules.get(chain, []):
        if not has_limit(rule):
            continue
        one = _rule(table, rule, around)
        for family in _FAMILIES[table.key[0]]:
            yield from limits_of(whole(family), rule, around, direction, f"{one.ident}-{family.value}", one.quote)


def _published(table: _Table) -> Iterator[Container]:
    """Where DNAT sends what comes to a port; with one port and one address each."""
    if table.key[0] not in _FAMILIES:
        return
    for rules in table.rules.values():
        for rule in rules:
            expressions = rule.get("expr", [])
            target = next((one["dnat"] for one in expressions if "dnat" in _as_dict(one)), None)
            if not isinstance(target, dict) or not isinstance(target.get("addr"), str):
                continue
            for port in _dialled(expressions):
                to = target.get("port", port)
                if isinstance(to, int) and _is_address(target["addr"]):
                    yield Container(target["addr"], to, port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _dialled(expressions: list[Any]) -> list[int]:
    for one in expressions:
        match one:
            case {"match": {"op": "==", "left": {"payload": {"field": "dport"}}, "right": int() as port}}:
                return [port]
            case {"match": {"op": "==", "left": {"payload": {"field": "dport"}}, "right": {"set": list() as ports}}}:
                return [port for port in ports if isinstance(port, int)]
    return []


def _unread(table: _Table) -> Iterator[str]:
    """Hooks that are not followed, and DNAT whose target cannot be seen."""
    label = " ".join(table.key)
    for name, chain in table.chains.items():
        if chain.get("hook") in ("ingress", "egress") or (
            "hook" in chain and table.key[0] not in _FAMILIES and table.key[0] != "arp"
        ):
            yield f"chain {label} {name} at {chain['hook']}"
    for rules in table.rules.values():
        for rule in rules:
            for one in rule.get("expr", []):
                inner = _as_dict(one)
                hidden = _as_dict(inner.get("xt")).get("name") in ("DNAT", "REDIRECT")
                if hidden or ("dnat" in inner and not isinstance(_as_dict(inner["dnat"]).get("addr"), str)):
                    yield f"where this sends packets: {quote_rule(rule)}"


def _networks(elements: Elements) -> tuple[Network, ...]:
    """What is in a set of addresses."""
    family = elements.family or Family.IPV4
    try:
        ranges = numbers_of({"set": list(elements.items)}, "==", ALL_ADDRESSES[family], address_number, {})
    except (Doubt, ValueError, TypeError, KeyError) as problem:
        raise NotUnderstood(f"set {elements.name}: {problem}") from None
    return to_networks(ranges, family)
