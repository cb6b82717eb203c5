"""Terraform in its JSON syntax, for the provider of Amazon: one resource for each rule, as the provider wants them.

Rules within `aws_security_group` and resources for rules overwrite each other; only the latter are written here, so
the group has no rules of its own (the provider takes away the one that lets everything out). Implied and left out is
what `aws` says. The VPC is a variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from postreeve.firewall.flow import Direction, Family, Policy
from postreeve.firewall.render.aws import (
    ACL_QUOTA,
    GROUP_QUOTA,
    acl_entries,
    describe_row,
    group_name,
    group_rows,
    port_fields,
    protocol_word,
)
from postreeve.firewall.render.value import dump, match
from postreeve.firewall.row import Row

_KIND: Final = {
    Direction.IN: "aws_vpc_security_group_ingress_rule",
    Direction.OUT: "aws_vpc_security_group_egress_rule",
}
_SETTINGS: Final = {"required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.0"}}}
_VARIABLES: Final = {"vpc_id": {"type": "string", "description": "The VPC that the mail server is in"}}


def render_group(policy: Policy, label: str = "postreeve", most: int = GROUP_QUOTA) -> str:
    """A file `….tf.json` with a group and its rules; `label` is its name there. Raises PolicyError, CannotExpress."""
    _check(label)
    rules: dict[str, dict[str, object]] = {kind: {} for kind in _KIND.values()}
    for row in group_rows(policy, most):
        place = rules[_KIND[row.direction]]
        name = re.sub(r"[^a-z0-9-]", "-", f"{label}-{row.ident}")
        number = sum(1 for other in place if other == name or re.fullmatch(rf"{re.escape(name)}_\d+", other))
        place[f"{name}_{number + 1}" if number else name] = _rule(row, label)
    group = {
        "name": group_name(policy),
        "description": f"postreeve: {policy.name}",
        "vpc_id": "${var.vpc_id}",
        "tags": {"Name": policy.name},
    }
    resources = {"aws_security_group": {label: group}, **{kind: found for kind, found in rules.items() if found}}
    return dump({"terraform": _SETTINGS, "variable": _VARIABLES, "resource": resources})


def render_acl(policy: Policy, label: str = "postreeve", most: int = ACL_QUOTA) -> str:
    """A file `….tf.json` with a network ACL and its rules. Raises PolicyError and CannotExpress."""
    _check(label)
    rules: dict[str, object] = {}
    for entry in acl_entries(policy, most):
        is_egress = bool(entry["Egress"])
        ports = entry.get("PortRange")
        rule: dict[str, object] = {
            "network_acl_id": f"${{aws_network_acl.{label}.id}}",
            "rule_number": entry["RuleNumber"],
            "egress": is_egress,
            "protocol": entry["Protocol"],
            "rule_action": entry["RuleAction"],
        }
        if "CidrBlock" in entry:
            rule["cidr_block"] = entry["CidrBlock"]
        else:
            rule["ipv6_cidr_block"] = entry["Ipv6CidrBlock"]
        if isinstance(ports, dict):
            rule |= {"from_port": ports["From"], "to_port": ports["To"]}
        if "IcmpTypeCode" in entry:
            rule |= {"icmp_type": -1, "icmp_code": -1}
        rules[f"{label}-{'egress' if is_egress else 'ingress'}-{entry['RuleNumber']}"] = rule
    acl = {"vpc_id": "${var.vpc_id}", "tags": {"Name": policy.name}}
    resources: dict[str, object] = {"aws_network_acl": {label: acl}}
    if rules:
        resources["aws_network_acl_rule"] = rules
    return dump({"terraform": _SETTINGS, "variable": _VARIABLES, "resource": resources})


def _check(label: str) -> None:
    match("name of a resource", label, r"[a-z_][a-z0-9_-]{0,62}", "small letters, digits, _ and -")


def _rule(row: Row, label: str) -> Mapping[str, object]:
    ports = port_fields(row)
    return {
        "security_group_id": f"${{aws_security_group.{label}.id}}",
        "ip_protocol": protocol_word(row),
        **({"from_port": ports[0], "to_port": ports[1]} if ports else {}),
        "cidr_ipv4" if row.family is Family.IPV4 else "cidr_ipv6": str(row.peer),
        "description": describe_row(row),
    }
