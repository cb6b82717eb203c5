"""Kubernetes: what `kubectl get networkpolicy,ciliumnetworkpolicy --output json` prints, one policy or a list.

All policies about the pods together are one: whoever is let in by any of them is let in. Put back as implied:
loopback and packets of connections under way. A direction that no policy speaks of is open. The rule by which our own
policies let the DNS of the cluster be asked is not read back; other pods and namespaces, ports by name and rules of
Cilium about anything but networks, ports and ICMP are unknown. SCTP is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.firewall.carve import in_order, name_all_by_content
from postreeve.firewall.flow import (
    WORLD,
    Direction,
    Family,
    Flow,
    Network,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    Verdict,
    tidy_peers,
)
from postreeve.firewall.interval import of_networks, subtract, to_networks
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.render.kubernetes import CILIUM_DNS, DNS_PODS, DNS_PORT, DNS_SPACE
from postreeve.firewall.row import to_policy

_KINDS: Final = ("NetworkPolicy", "CiliumNetworkPolicy")
_SIDES: Final = ((Direction.IN, "ingress", "from"), (Direction.OUT, "egress", "to"))
_CILIUM_KNOWN: Final = {
    "fromCIDR",
    "fromCIDRSet",
    "toCIDR",
    "toCIDRSet",
    "toPorts",
    "icmps",
    "fromEntities",
    "toEntities",
}
_CILIUM_PROTOCOLS: Final[dict[str, tuple[Protocol, ...]]] = {
    "TCP": (Protocol.TCP,),
    "UDP": (Protocol.UDP,),
    "SCTP": (),
    "ANY": (Protocol.TCP, Protocol.UDP),
}
_WORLD: Final = ("world", "all")


def read(text: str) -> Policy:
    """Raises NotUnderstood for what is no policy."""
    node = load(text, "the output of kubectl get networkpolicy --output json")
    found = list(node.items("items")) if node.find("kind", "").value == "List" else [node]
    policies = [one for one in found if one.get("kind").text() in _KINDS]
    if not policies:
        raise NotUnderstood("there is no NetworkPolicy in this")
    flows: list[Flow] = []
    closed: set[Direction] = set()
    for policy in policies:
        spec = policy.get("spec")
        if policy.get("kind").text() == "NetworkPolicy":
            flows += _plain(spec, closed)
        else:
            flows += _cilium(spec, closed)
    known = [flow for flow in flows if not flow.unknown]
    unknown = [flow for flow in flows if flow.unknown]
    name = policies[0].get("metadata").get("name").text() if len(policies) == 1 else "kubernetes"
    defaults = {one: Verdict.DROP if one in closed else Verdict.ACCEPT for one in Direction}
    both = (*in_order(name_all_by_content(known)), *unknown)
    return to_policy(name, both, default_in=defaults[Direction.IN], default_out=defaults[Direction.OUT])


def _flow(rule: Node, direction: Direction, family: Family, protocol: Protocol, peers: tuple[Network, ...]) -> Flow:
    ident = f"{direction.value}-rule-{protocol.value}-ipv{family.value}"
    return Flow(ident, direction, family, protocol, Verdict.ACCEPT, peers, quote=rule.quote())


def _plain(spec: Node, closed: set[Direction]) -> Iterator[Flow]:
    types = {one.choice("Ingress", "Egress") for one in spec.items("policyTypes")}
    if not types:
        types = {"Ingress", *(["Egress"] if spec.has("egress") else [])}
    for direction, name, side in _SIDES:
        if name.capitalize() not in types:
            continue
        closed.add(direction)
        for rule in spec.items(name):
            if not (direction is Direction.OUT and _asks_cluster(rule)):
                yield from _rule(rule, direction, side)


def _asks_cluster(rule: Node) -> bool:
    peer = {"namespaceSelector": {"matchLabels": DNS_SPACE}, "podSelector": {"matchLabels": DNS_PODS}}
    ports = [one.find("port").value for one in rule.items("ports")]
    return rule.find("to").value == [peer] and ports == [DNS_PORT]


def _rule(rule: Node, direction: Direction, side: str) -> Iterator[Flow]:
    peers, doubts = _blocks(rule, side)
    for family in Family:
        mine = tidy_peers(one for one in peers if one.version == family.value)
        for protocol, ports, doubt in _ports(rule):
            if mine:
                yield replace(_flow(rule, direction, family, protocol, mine), ports=ports, unknown=doubt)
            if doubts:
                unsure = _flow(rule, direction, family, protocol, (WORLD[family],))
                yield replace(unsure, ports=ports, unknown="; ".join(doubts))


def _blocks(rule: Node, side: str) -> tuple[list[Network], list[str]]:
    entries = list(rule.items(side))
    if not entries:
        return list(WORLD.values()), []
    peers: list[Network] = []
    doubts: list[str] = []
    for entry in entries:
        if entry.has("ipBlock"):
            peers += _without(entry.get("ipBlock"), "except")
        else:
            doubts.append(f"who is meant by {entry.quote()[:120]}")
    return peers, doubts


def _without(block: Node, name: str) -> Iterator[Network]:
    network = block.get("cidr").network()
    holes = [one.network() for one in block.items(name)]
    if any(one.version != network.version for one in holes):
        raise block.fail("networks of both families")
    yield from to_networks(subtract(of_networks([network]), of_networks(holes)), Family(network.version))


def _ports(rule: Node) -> Iterator[tuple[Protocol, tuple[Ports, ...], str]]:
    entries = list(rule.items("ports"))
    if not entries:
        yield Protocol.ANY, (), ""
    for entry in entries:
        word = entry.find("protocol", "TCP").choice("TCP", "UDP", "SCTP")
        if word != "SCTP":
            yield (Protocol(word.lower()), *_range(entry))


def _range(entry: Node) -> tuple[tuple[Ports, ...], str]:
    if not entry.has("port") or entry.get("port").value == "0":
        return (), ""
    port = entry.get("port")
    if isinstance(port.value, str) and not port.value.isdecimal():
        return (), f"which port {port.value[:40]} is"
    first = port.number(1, 65_535)
    last = entry.find("endPort", first).number(1, 65_535)
    if last < first:
        raise entry.fail(f"{first}-{last} is no range of ports")
    return (Ports(first, last),), ""


def _cilium(spec: Node, closed: set[Direction]) -> Iterator[Flow]:
    for direction, name, side in _SIDES:
        if not spec.has(name):
            continue
        closed.add(direction)
        for rule in spec.items(name):
            asks = rule.find("toEndpoints").value == [{"matchLabels": CILIUM_DNS}]
            if rule.members() and not asks:
                yield from _cilium_rule(rule, direction, side)
        if spec.has(f"{name}Deny"):
            for family in Family:
                deny = _flow(spec.get(f"{name}Deny"), direction, family, Protocol.ANY, (WORLD[family],))
                yield replace(deny, unknown="rules that deny")


def _cilium_rule(rule: Node, direction: Direction, side: str) -> Iterator[Flow]:
    odd = sorted(set(rule.members()) - _CILIUM_KNOWN)
    peers = [one.network() for one in rule.items(f"{side}CIDR")]
    for block in rule.items(f"{side}CIDRSet"):
        peers += _without(block, "except")
    entities = [one.text() for one in rule.items(f"{side}Entities")]
    if any(one in _WORLD for one in entities):
        peers += WORLD.values()
    odd += [one for one in entities if one not in _WORLD]
    if odd or not peers:
        peers = list(WORLD.values())
    doubt = f"who is meant by {', '.join(odd)}" if odd else ""
    for family in Family:
        mine = tidy_peers(one for one in peers if one.version == family.value)
        if mine:
            for flow in _cilium_traffic(rule, direction, family, mine):
                yield replace(flow, unknown=doubt or flow.unknown)


def _cilium_traffic(rule: Node, direction: Direction, family: Family, peers: tuple[Network, ...]) -> Iterator[Flow]:
    for icmp in rule.items("icmps"):
        for kind in icmp.items("fields"):
            if kind.find("family", "IPv4").choice("IPv4", "IPv6") == f"IPv{family.value}":
                flow = _flow(rule, direction, family, Protocol.ICMP, peers)
                yield replace(flow, icmp_types=(kind.get("type").number(0, 255),))
    for group in rule.items("toPorts"):
        for entry in group.items("ports"):
            word = entry.find("protocol", "ANY").choice(*_CILIUM_PROTOCOLS)
            ports, doubt = _range(entry)
            doubt = doubt or ("rules about what is said" if group.has("rules") else "")
            for protocol in _CILIUM_PROTOCOLS[word]:
                yield replace(_flow(rule, direction, family, protocol, peers), ports=ports, unknown=doubt)
    if not rule.has("icmps") and not rule.has("toPorts"):
        yield _flow(rule, direction, family, Protocol.ANY, peers)
