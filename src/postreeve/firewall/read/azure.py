"""Azure: what `az network nsg show` prints, with rules and default rules; a template's or the REST API's shape as well.

Rules count by priority. Put back as implied: loopback and packets of connections under way. Default rules are read
after the others: the tag Internet is everything (the virtual network passes by the rule before), AzureLoadBalancer is
168.63.129.16, and VirtualNetwork, which only the portal knows, is unknown within the private networks. Other service
tags, application security groups, source ports and rules for some of the host's addresses are unknown. Rules about
ESP and AH are not read. There is no ICMPv6: what is about every protocol is about it as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.carve import fold_rest
from postreeve.firewall.flow import WORLD, Direction, Family, Network, NotUnderstood, Policy, Ports, Protocol, Verdict
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.row import Row, read_description, to_flows, to_policy

_PROTOCOLS: Final = {"*": Protocol.ANY, "Tcp": Protocol.TCP, "Udp": Protocol.UDP, "Icmp": Protocol.ICMP}
_OTHERS: Final = ("Esp", "Ah")
_EVERYBODY: Final = ("*", "any", "0.0.0.0/0", "::/0")
_BALANCER: Final = ipaddress.ip_network("168.63.129.16/32")
_PRIVATE: Final = tuple(
    ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_FIRST_DEFAULT: Final = 65_000


def read(text: str) -> Policy:
    """Raises NotUnderstood for what is no network security group."""
    node = load(text, "the output of az network nsg show")
    if node.has("resources"):
        groups = [one for one in node.items("resources") if "networkSecurityGroups" in one.get("type").text()]
        if len(groups) != 1:
            raise NotUnderstood(f"{len(groups)} network security groups in the template, not one")
        node = groups[0]
    place = node.get("properties") if node.has("properties") else node
    if not place.has("securityRules") and not place.has("defaultSecurityRules"):
        raise NotUnderstood("this is not the output of az network nsg show: it has no securityRules")
    rules = [
        rule.get("properties") if rule.has("properties") else rule
        for name in ("securityRules", "defaultSecurityRules")
        for rule in place.items(name)
    ]
    names = [
        rule.find("name", "rule").text()
        for name in ("securityRules", "defaultSecurityRules")
        for rule in place.items(name)
    ]
    _refuse_twins(rules)
    ordered = sorted(zip(rules, names, strict=True), key=lambda pair: _priority(pair[0]))
    flows = to_flows(row for rule, name in ordered for row in _rows(rule, name))
    inward, default_in = fold_rest(flows, Direction.IN, Verdict.DROP)
    outward, default_out = fold_rest(flows, Direction.OUT, Verdict.ACCEPT)
    return to_policy(node.get("name").text(), (*inward, *outward), default_in=default_in, default_out=default_out)


def _priority(rule: Node) -> int:
    return rule.get("priority").number(100, 65_535)


def _direction(rule: Node) -> Direction:
    return Direction.IN if rule.get("direction").choice("Inbound", "Outbound") == "Inbound" else Direction.OUT


def _refuse_twins(rules: list[Node]) -> None:
    seen: set[tuple[Direction, int]] = set()
    for rule in rules:
        place = (_direction(rule), _priority(rule))
        if place in seen:
            raise rule.fail(f"two rules of priority {place[1]} in one direction, which Azure does not let be")
        seen.add(place)


def _rows(rule: Node, name: str) -> Iterator[Row]:
    direction = _direction(rule)
    verdict = Verdict.ACCEPT if rule.get("access").choice("Allow", "Deny") == "Allow" else Verdict.DROP
    word = rule.get("protocol").choice(*_PROTOCOLS, *_OTHERS)
    if word in _OTHERS:
        return
    protocol = _PROTOCOLS[word]
    mine, theirs = ("destination", "source") if direction is Direction.IN else ("source", "destination")
    doubts = list(_doubts(rule, mine))
    peers, doubt = _peers(rule, theirs)
    unknown = "; ".join([*doubts, doubt] if doubt else doubts)
    ident, because = read_description(rule.find("description", "").text())
    if not ident or ident not in name:
        # The description is somebody else's; names of default rules are spelled in capitals.
        ident, because = name, rule.find("description", "").text()
    for peer in peers:
        family = Family(peer.version)
        if protocol is Protocol.ICMP and family is Family.IPV6:
            continue
        for ports in _ports(rule) if protocol in (Protocol.TCP, Protocol.UDP) else [None]:
            yield Row(
                ident,
                direction,
                family,
                protocol,
                verdict,
                peer,
                ports,
                because=because,
                unknown=unknown or _port_doubt(rule, protocol),
                quote=rule.quote(),
            )


def _port_doubt(rule: Node, protocol: Protocol) -> str:
    """Every protocol, but some ports: TCP and UDP, which one flow cannot say."""
    has_some = protocol is Protocol.ANY and None not in _ports(rule)
    return "ports of every protocol" if has_some else ""


def _values(rule: Node, one: str, many: str) -> list[Node]:
    """Both the member for one and that for many; absent ones are often there as empty or null."""
    found = [rule.get(one)] if rule.has(one) and rule.get(one).value != "" else []
    return [*found, *rule.items(many)]


def _ports(rule: Node) -> list[Ports | None]:
    found = [one.ports(("*",)) for one in _values(rule, "destinationPortRange", "destinationPortRanges")]
    return [None] if None in found or not found else found


def _doubts(rule: Node, mine: str) -> Iterator[str]:
    addresses = [one.text() for one in _values(rule, f"{mine}AddressPrefix", f"{mine}AddressPrefixes")]
    if any(one not in (*_EVERYBODY, "VirtualNetwork", "Internet") for one in addresses):
        yield f"only the addresses {', '.join(addresses)} of this host"
    if any(one.text() != "*" for one in _values(rule, "sourcePortRange", "sourcePortRanges")):
        yield "only some source ports"
    for side in ("source", "destination"):
        if list(rule.items(f"{side}ApplicationSecurityGroups")):
            yield "an application security group"


def _peers(rule: Node, theirs: str) -> tuple[list[Network], str]:
    peers: list[Network] = []
    is_default = _priority(rule) >= _FIRST_DEFAULT
    doubt = ""
    for one in _values(rule, f"{theirs}AddressPrefix", f"{theirs}AddressPrefixes"):
        word = one.text()
        if word.lower() in ("*", "any") or (word == "Internet" and is_default):
            peers += WORLD.values()
        elif word == "AzureLoadBalancer":
            peers.append(_BALANCER)
        elif word == "VirtualNetwork":
            peers += _PRIVATE
            doubt = "who is in VirtualNetwork"
        elif word[:1].isalpha() and ":" not in word:
            peers += WORLD.values()
            doubt = f"who is in {word}"
        else:
            peers.append(one.network())
    return peers or list(WORLD.values()), doubt
