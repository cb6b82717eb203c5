"""Google Cloud: what `gcloud compute firewall-rules list --format=json` prints, for one network.

Rules count by priority, and those that deny first where it is equal. Put back as implied: loopback and the packets of
connections under way. Without a last rule about everything, what comes in is dropped and what leaves passes. Disabled
rules are not read, nor what is about other protocols than TCP, UDP and ICMP. Who has a tag or a service account is
not in this output: such a peer is unknown, and so is a rule for hosts with a service account. Rules for hosts with
tags are read unless `tags` says which ones the host has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.firewall.carve import fold_rest
from postreeve.firewall.flow import WORLD, Direction, Family, NotUnderstood, Policy, Ports, Protocol, Verdict
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.row import Row, read_description, to_flows, to_policy

_PROTOCOLS: Final = {
    "all": Protocol.ANY,
    "tcp": Protocol.TCP,
    "6": Protocol.TCP,
    "udp": Protocol.UDP,
    "17": Protocol.UDP,
    "icmp": Protocol.ICMP,
    "1": Protocol.ICMP,
    "58": Protocol.ICMP,
    "ipv6-icmp": Protocol.ICMP,
}
_FAMILIES: Final = {"icmp": Family.IPV4, "1": Family.IPV4, "58": Family.IPV6, "ipv6-icmp": Family.IPV6}
_DOUBTS: Final = (
    ("sourceTags", "who has the tag"),
    ("sourceServiceAccounts", "who has the service account"),
    ("targetServiceAccounts", "whether this host has the service account"),
)


def read(text: str, name: str = "gcp", *, network: str = "", tags: frozenset[str] | None = None) -> Policy:
    """Raises NotUnderstood for what is no such list, and for rules of several networks when none is named."""
    rules = list(load(text, "the output of gcloud compute firewall-rules list --format=json").elements())
    networks = {rule.get("network").text().rpartition("/")[2] for rule in rules}
    if not network and len(networks) > 1:
        raise NotUnderstood(f"rules of several networks ({', '.join(sorted(networks))}): name the one that is meant")
    chosen = [rule for rule in rules if not network or rule.get("network").text().rpartition("/")[2] == network]
    live = [rule for rule in chosen if rule.find("disabled", default=False).flag() is False and _is_about(rule, tags)]
    live.sort(key=lambda rule: (_priority(rule), rule.has("allowed")))
    flows = to_flows(row for rule in live for row in _rows(rule))
    inward, default_in = fold_rest(flows, Direction.IN, Verdict.DROP)
    outward, default_out = fold_rest(flows, Direction.OUT, Verdict.ACCEPT)
    return to_policy(name, (*inward, *outward), default_in=default_in, default_out=default_out)


def _priority(rule: Node) -> int:
    return rule.find("priority", 1_000).number(0, 65_535)


def _is_about(rule: Node, tags: frozenset[str] | None) -> bool:
    targets = [one.text() for one in rule.items("targetTags")]
    return not targets or tags is None or bool(tags & set(targets))


def _rows(rule: Node) -> Iterator[Row]:
    word = rule.find("direction", "INGRESS").choice("INGRESS", "EGRESS")
    direction = Direction.IN if word == "INGRESS" else Direction.OUT
    if rule.has("allowed") == rule.has("denied"):
        raise rule.fail("it must either allow or deny")
    verdict = Verdict.ACCEPT if rule.has("allowed") else Verdict.DROP
    peers = [one.network() for one in rule.items("sourceRanges" if direction is Direction.IN else "destinationRanges")]
    doubts = [f"{what} {one.text()}" for field, what in _DOUBTS for one in rule.items(field)]
    if doubts or not peers:
        # Ranges and tags add up: whoever is in either.
        peers = list(WORLD.values())
    ident, because = read_description(rule.find("description", "").text())
    for traffic in rule.items("allowed" if rule.has("allowed") else "denied"):
        kind = traffic.get("IPProtocol").text().lower()
        protocol = _PROTOCOLS.get(kind)
        if protocol is None:
            continue
        found = [one.ports() for one in traffic.items("ports")]
        ports: list[Ports | None] = [None] if None in found or not found else list(found)
        for peer in peers:
            family = Family(peer.version)
            if _FAMILIES.get(kind, family) is not family:
                continue
            for one in ports:
                yield Row(
                    ident or rule.get("name").text(),
                    direction,
                    family,
                    protocol,
                    verdict,
                    peer,
                    one,
                    because=because,
                    unknown="; ".join(doubts),
                    quote=rule.quote(),
                )
