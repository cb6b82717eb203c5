"""Layers around the host from what the clouds' tools print: the policy, and what a policy does not say about rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

from postreeve.checks.firewall.scene import Cloud, Provider
from postreeve.firewall.flow import Policy
from postreeve.firewall.read import aws, azure, digitalocean, gcp, hetzner, terraform
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.render.aws import MAX_RULE_NUMBER

_GCP_KEYS: Final = {"network", "allowed", "denied"}


def read_clouds(text: str) -> tuple[Cloud, ...] | None:
    """What is in the document; None when it is of no cloud. Raises NotUnderstood for one that is damaged."""
    node = load(text, "JSON")
    value = node.value
    keys = set(value) if isinstance(value, dict) else set()
    first: Any = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}
    if "SecurityGroups" in keys:
        groups = zip(node.items("SecurityGroups"), aws.read_groups(text), strict=True)
        return tuple(_group(one, policy) for one, policy in groups)
    if "NetworkAcls" in keys:
        return tuple(
            _acl(one, policy) for one, policy in zip(node.items("NetworkAcls"), aws.read_acls(text), strict=True)
        )
    if "planned_values" in keys or {"values", "terraform_version"} <= keys:
        return tuple(cloud for one in terraform.documents(text) for cloud in read_clouds(one) or ())
    if first.keys() & _GCP_KEYS and "network" in first:
        return tuple(_gcp(node))
    if _is_azure(value):
        return (_azure(node, azure.read(text)),)
    for one in (value, first, *(value[key] for key in ("firewall",) if isinstance(value, dict) and key in value)):
        if isinstance(one, dict) and one.keys() & {"inbound_rules", "outbound_rules"}:
            return (_plain(Provider.DIGITALOCEAN, digitalocean.read(text)),)
        if isinstance(one, dict) and isinstance(one.get("rules"), list) and "name" in one:
            return (_plain(Provider.HETZNER, hetzner.read(text)),)
    return None


def _plain(provider: Provider, policy: Policy) -> Cloud:
    inward = sum(flow.direction.value == "in" and bool(flow.quote) for flow in policy.flows)
    outward = sum(flow.direction.value == "out" and bool(flow.quote) for flow in policy.flows)
    return Cloud(provider, policy.name, policy, rules_in=inward, rules_out=outward)


def _group(node: Node, policy: Policy) -> Cloud:
    counts = []
    undescribed = []
    for field in ("IpPermissions", "IpPermissionsEgress"):
        count = 0
        for permission in node.items(field):
            for kind in ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs", "PrefixListIds"):
                for one in permission.items(kind):
                    count += 1
                    if not one.find("Description", "").text() and field == "IpPermissions":
                        undescribed.append(permission.quote())
        counts.append(count)
    is_default = node.get("GroupName").text() == "default"
    return Cloud(
        Provider.AWS_GROUP,
        policy.name,
        policy,
        is_default_group=is_default and bool(counts[0]),
        rules_in=counts[0],
        rules_out=counts[1],
        undescribed=tuple(dict.fromkeys(undescribed)),
    )


def _acl(node: Node, policy: Policy) -> Cloud:
    own = [one for one in node.items("Entries") if one.get("RuleNumber").number(1, 32_768) <= MAX_RULE_NUMBER]
    outward = sum(one.get("Egress").flag() for one in own)
    return Cloud(
        Provider.AWS_ACL,
        node.get("NetworkAclId").text(),
        policy,
        is_stateless=True,
        rules_in=len(own) - outward,
        rules_out=outward,
    )


def _gcp(node: Node) -> Iterator[Cloud]:
    text = json.dumps(node.value)
    rules: dict[str, list[Node]] = {}
    for one in node.elements():
        rules.setdefault(one.get("network").text().rpartition("/")[2], []).append(one)
    for network, mine in rules.items():
        live = [one for one in mine if not one.find("disabled", default=False).flag()]
        inward = [one for one in live if one.find("direction", "INGRESS").text() == "INGRESS"]
        yield Cloud(
            Provider.GCP,
            network,
            gcp.read(text, network, network=network),
            rules_in=len(inward),
            rules_out=len(live) - len(inward),
            disabled=tuple(_name(one) for one in mine if one not in live),
            untargeted=tuple(_name(one) for one in inward if one.has("allowed") and not _has_target(one)),
            undescribed=tuple(_name(one) for one in inward if not one.find("description", "").text()),
            undecided=tuple(_contradictions(live)),
        )


def _name(node: Node) -> str:
    return node.find("name", "?").text()


def _has_target(node: Node) -> bool:
    return node.has("targetTags") or node.has("targetServiceAccounts")


def _contradictions(rules: list[Node]) -> Iterator[str]:
    """Rules of one priority of which one allows and the other denies the same port."""
    allowed = [one for one in rules if one.has("allowed")]
    denied = [one for one in rules if one.has("denied")]
    for yes, no in product(allowed, denied):
        same = all(yes.find(key, default).value == no.find(key, default).value for key, default in _PLACE)
        if same and _ports(yes, "allowed") & _ports(no, "denied"):
            yield f"{_name(yes)} allows what {_name(no)} denies, both of priority {yes.find('priority', 1_000).value}"


_PLACE: Final[tuple[tuple[str, object], ...]] = (("priority", 1_000), ("direction", "INGRESS"))


def _ports(node: Node, field: str) -> set[tuple[str, str]]:
    return {
        (traffic.get("IPProtocol").text().lower(), port)
        for traffic in node.items(field)
        for port in [one.text() for one in traffic.items("ports")] or ["all"]
    }


def _is_azure(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    inner = value.get("properties") if isinstance(value.get("properties"), dict) else value
    is_template = any("networkSecurityGroups" in str(one) for one in value.get("resources") or ())
    return is_template or bool(isinstance(inner, Mapping) and inner.keys() & {"securityRules", "defaultSecurityRules"})


def _azure(node: Node, policy: Policy) -> Cloud:
    if node.has("resources"):
        node = next(one for one in node.items("resources") if "networkSecurityGroups" in one.get("type").text())
    place = node.get("properties") if node.has("properties") else node
    rules = [one.get("properties") if one.has("properties") else one for one in place.items("securityRules")]
    inward = [one for one in rules if one.get("direction").text() == "Inbound"]
    return Cloud(
        Provider.AZURE,
        policy.name,
        policy,
        rules_in=len(inward),
        rules_out=len(rules) - len(inward),
        undescribed=tuple(one.quote() for one in inward if not one.find("description", "").text()),
        priorities=frozenset(one.get("priority").number(100, 65_535) for one in rules),
    )
