"""Hetzner Cloud: what `hcloud firewall describe NAME --output json` or the API prints.

It only allows. Without a rule about what leaves everything leaves; what comes in is dropped unless a rule allows it.
Put back as implied: loopback and packets of connections under way. Rules about ESP and GRE are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import Direction, Family, NotUnderstood, Policy, Protocol, Verdict
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.row import Row, read_description, to_flows, to_policy

_OTHERS: Final = ("esp", "gre")
_ALL: Final = ("any", "")


def read(text: str) -> Policy:
    """Of the one firewall that was shown. Raises NotUnderstood."""
    node = load(text, "a firewall of Hetzner Cloud")
    if isinstance(node.value, list):
        found = list(node.elements())
        if len(found) != 1:
            raise NotUnderstood(f"{len(found)} firewalls, not one: name the one that is meant")
        node = found[0]
    elif node.has("firewall"):
        node = node.get("firewall")
    if "rules" not in node.members():
        raise node.fail("this is no firewall of Hetzner Cloud: it has no rules")
    rules = list(node.items("rules"))
    rows = sorted((row for rule in rules for row in _rows(rule)), key=lambda row: (_is_out(row), row.ident))
    has_way_out = any(rule.get("direction").text() == "out" for rule in rules)
    default_out = Verdict.DROP if has_way_out else Verdict.ACCEPT
    return to_policy(node.get("name").text(), to_flows(rows), default_out=default_out)


def _is_out(row: Row) -> bool:
    return row.direction is Direction.OUT


def _rows(rule: Node) -> Iterator[Row]:
    direction = Direction(rule.get("direction").choice("in", "out"))
    word = rule.get("protocol").choice("tcp", "udp", "icmp", *_OTHERS)
    if word in _OTHERS:
        return
    protocol = Protocol(word)
    ports = rule.find("port", "any").ports(_ALL) if protocol is not Protocol.ICMP else None
    ident, because = read_description(rule.find("description", "").text())
    for one in rule.items("source_ips" if direction is Direction.IN else "destination_ips"):
        peer = one.network()
        name = ident or f"{direction.value}-{word}-{ports or 'all'}-ipv{peer.version}"
        yield Row(
            name,
            direction,
            Family(peer.version),
            protocol,
            Verdict.ACCEPT,
            peer,
            ports,
            because=because,
            quote=rule.quote(),
        )
