"""Terraform: the plan or the state as `terraform show -json` prints it, its security groups and network ACLs of Amazon.

Read are `aws_vpc_security_group_{ingress,egress}_rule`, `aws_security_group_rule`, rules within `aws_security_group`,
and `aws_network_acl_rule`. All groups of a plan together are one policy: whoever is in several is let in by any of
them. ACLs are alternatives, so that a plan with two is not understood. Put back as implied is what `read.aws` says. A
peer that is known only after the plan was applied makes its rule unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import Direction, NotUnderstood, Policy
from postreeve.firewall.read import aws
from postreeve.firewall.read.document import Node, load

_RULES: Final = {
    "aws_vpc_security_group_ingress_rule": Direction.IN,
    "aws_vpc_security_group_egress_rule": Direction.OUT,
}
_NUMBERS: Final = {"all": -1, "tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
_MAX_DEPTH: Final = 32


def documents(text: str) -> tuple[str, ...]:
    """What describe-security-groups and describe-network-acls would print once it is applied. Raises NotUnderstood."""
    kinds = {resource.get("type").text() for resource in _resources(text)}
    found = []
    if any(kind in _RULES or kind.startswith("aws_security_group") for kind in kinds):
        found.append(_group_document(text))
    if any(kind.startswith("aws_network_acl") for kind in kinds):
        found.append(_acl_document(text))
    if not found:
        raise NotUnderstood("this plan has no security group or network ACL of Amazon")
    return tuple(found)


def read_group(text: str) -> Policy:
    """Of all security groups in a plan. Raises NotUnderstood when there is none."""
    return aws.read_group(_group_document(text))


def read_acl(text: str) -> Policy:
    """Of the one network ACL in a plan. Raises NotUnderstood when there is none, or more than one."""
    return aws.read_acl(_acl_document(text))


def _group_document(text: str) -> str:
    permissions: dict[Direction, list[object]] = {direction: [] for direction in Direction}
    names: list[str] = []
    for resource in _resources(text):
        kind = resource.get("type").text()
        values = resource.find("values", {})
        if kind in _RULES:
            permissions[_RULES[kind]].append(_rule(resource, values))
        elif kind == "aws_security_group_rule":
            word = values.get("type").choice("ingress", "egress")
            permissions[Direction.IN if word == "ingress" else Direction.OUT].append(_block(resource, values))
        elif kind == "aws_security_group":
            names.append(values.find("name", resource.get("address").value).text())
            for direction, word in ((Direction.IN, "ingress"), (Direction.OUT, "egress")):
                permissions[direction] += (_block(resource, block) for block in values.items(word))
    if not names and not any(permissions.values()):
        raise NotUnderstood("this plan has no security group of Amazon")
    group = {
        "GroupName": names[0] if len(names) == 1 else "terraform",
        "IpPermissions": permissions[Direction.IN],
        "IpPermissionsEgress": permissions[Direction.OUT],
    }
    return json.dumps({"SecurityGroups": [group]})


def _acl_document(text: str) -> str:
    entries: list[object] = []
    acls: list[tuple[str, str]] = []
    for resource in _resources(text):
        kind = resource.get("type").text()
        values = resource.find("values", {})
        if kind == "aws_network_acl":
            address = resource.get("address").text()
            acls.append((address, values.find("tags", {}).find("Name", address).text()))
        elif kind == "aws_network_acl_rule":
            entries.append(_entry(values))
    if len(acls) > 1 or not (acls or entries):
        raise NotUnderstood(f"this plan has {len(acls)} network ACLs of Amazon, not one")
    address, name = acls[0] if acls else ("terraform", "terraform")
    acl = {"NetworkAclId": address, "Tags": [{"Key": "Name", "Value": name}], "Entries": entries}
    return json.dumps({"NetworkAcls": [acl]})


def _resources(text: str) -> Iterator[Node]:
    what = "the output of terraform show -json"
    document = load(text, what)
    if document.has("planned_values"):
        root = document.get("planned_values")
    elif document.has("values") and document.has("terraform_version"):
        root = document.get("values")
    else:
        raise NotUnderstood(f"this is not {what}: it has neither planned_values nor values")
    if root.has("root_module"):
        yield from _module(root.get("root_module"), 0)


def _module(node: Node, depth: int) -> Iterator[Node]:
    if depth > _MAX_DEPTH:
        raise node.fail(f"modules deeper than {_MAX_DEPTH}")
    yield from (one for one in node.items("resources") if one.find("mode", "managed").text() == "managed")
    for child in node.items("child_modules"):
        yield from _module(child, depth + 1)


def _rule(resource: Node, values: Node) -> dict[str, object]:
    """One peer; the shape that the API has for it."""
    described = {"Description": values.find("description", "").text()}
    permission = _traffic(values, values.get("ip_protocol").text())
    for name, ranges, field in (("cidr_ipv4", "IpRanges", "CidrIp"), ("cidr_ipv6", "Ipv6Ranges", "CidrIpv6")):
        if values.has(name):
            permission[ranges] = [{field: values.get(name).text(), **described}]
    if "IpRanges" not in permission and "Ipv6Ranges" not in permission:
        address = resource.get("address").text()
        other = values.find("referenced_security_group_id", values.find("prefix_list_id", address).value).text()
        permission["UserIdGroupPairs"] = [{"GroupId": other, **described}]
    return permission


def _block(resource: Node, values: Node) -> dict[str, object]:
    """Many peers, in lists."""
    described = {"Description": values.find("description", "").text()}
    permission = _traffic(values, values.get("protocol").text())
    permission["IpRanges"] = [{"CidrIp": one.text(), **described} for one in values.items("cidr_blocks")]
    permission["Ipv6Ranges"] = [{"CidrIpv6": one.text(), **described} for one in values.items("ipv6_cidr_blocks")]
    others = [one.text() for name in ("security_groups", "prefix_list_ids") for one in values.items(name)]
    if values.has("source_security_group_id") or values.find("self", default=False).value is True:
        others.append(values.find("source_security_group_id", "the group itself").text())
    if not others and not permission["IpRanges"] and not permission["Ipv6Ranges"]:
        others.append(resource.get("address").text())
    permission["UserIdGroupPairs"] = [{"GroupId": one, **described} for one in others]
    return permission


def _traffic(values: Node, protocol: str) -> dict[str, object]:
    word = "-1" if protocol.lower() == "all" else protocol
    found: dict[str, object] = {"IpProtocol": word}
    for name, field in (("from_port", "FromPort"), ("to_port", "ToPort")):
        if values.has(name):
            found[field] = values.get(name).value
    # Rules about every protocol are written with ports from 0 to 0.
    return {"IpProtocol": word} if word == "-1" else found


def _entry(values: Node) -> dict[str, object]:
    word = values.get("protocol").text().lower()
    entry: dict[str, object] = {
        "RuleNumber": values.get("rule_number").value,
        "Egress": values.find("egress", default=False).value,
        "Protocol": _NUMBERS.get(word, word),
        "RuleAction": values.get("rule_action").value,
    }
    for name, field in (("cidr_block", "CidrBlock"), ("ipv6_cidr_block", "Ipv6CidrBlock")):
        if values.has(name) and values.get(name).value != "":
            entry[field] = values.get(name).value
    if entry["Protocol"] in (1, 58, "1", "58"):
        kinds = {"Type": values.find("icmp_type", -1).value, "Code": values.find("icmp_code", -1).value}
        entry["IcmpTypeCode"] = kinds
    elif values.has("from_port") and str(entry["Protocol"]) != "-1":
        entry["PortRange"] = {"From": values.get("from_port").value, "To": values.find("to_port", 65_535).value}
    return entry
