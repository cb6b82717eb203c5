"""DigitalOcean: what `doctl compute firewall get ID --output json` or the API prints.

It only allows; the rest is dropped. Put back as implied: loopback and packets of connections under way. Who has a
tag, or is behind a load balancer or in a cluster, is not in this output: such a peer is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.firewall.carve import in_order, name_all_by_content
from postreeve.firewall.flow import WORLD, Direction, Family, Flow, NotUnderstood, Policy, Protocol, Verdict, tidy_peers
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.row import to_policy

_ALL: Final = ("all", "0", "")
_OTHERS: Final = ("droplet_ids", "load_balancer_uids", "kubernetes_ids", "tags")


def read(text: str) -> Policy:
    """Of the one firewall that was shown. Raises NotUnderstood."""
    node = load(text, "a firewall of DigitalOcean")
    if isinstance(node.value, dict):
        found = [node.get("firewall")] if node.has("firewall") else list(node.items("firewalls")) or [node]
    else:
        found = list(node.elements())
    if len(found) != 1:
        raise NotUnderstood(f"{len(found)} firewalls, not one: name the one that is meant")
    (firewall,) = found
    if not firewall.has("inbound_rules") and not firewall.has("outbound_rules"):
        raise firewall.fail("this is no firewall of DigitalOcean: it has neither inbound_rules nor outbound_rules")
    known: list[Flow] = []
    unknown: list[Flow] = []
    for direction, name, side in (
        (Direction.IN, "inbound_rules", "sources"),
        (Direction.OUT, "outbound_rules", "destinations"),
    ):
        for rule in firewall.items(name):
            for flow in _flows(rule, direction, rule.find(side, {})):
                (unknown if flow.unknown else known).append(flow)
    return to_policy(firewall.get("name").text(), (*in_order(name_all_by_content(known)), *unknown))


def _flows(rule: Node, direction: Direction, peers: Node) -> Iterator[Flow]:
    protocol = Protocol(rule.get("protocol").choice("tcp", "udp", "icmp"))
    ports = rule.find("ports", "all").ports(_ALL) if protocol is not Protocol.ICMP else None
    flow = Flow(
        f"{direction.value}-{protocol.value}-{ports or 'all'}",
        direction,
        Family.IPV4,
        protocol,
        Verdict.ACCEPT,
        (),
        (ports,) if ports else (),
        quote=rule.quote(),
    )
    networks = [one.network() for one in peers.items("addresses")]
    for family in Family:
        mine = [one for one in networks if one.version == family.value]
        if mine:
            yield replace(flow, family=family, peers=tidy_peers(mine))
        others = [f"{name} {one.value}" for name in _OTHERS for one in peers.items(name)]
        if others:
            doubt = f"who is meant by {', '.join(others)}"
            yield replace(flow, family=family, peers=(WORLD[family],), unknown=doubt)
