"""CloudFormation: the security group or the network ACL of `aws` as a template in JSON, its rules and nothing else.

The group is a resource of the template, so that its rules are replaced as a whole; the network ACL takes one resource
for each rule. Implied and left out is what `aws` says. A group without a rule for what leaves would let everything
out: then a rule towards this very host takes the place of none.
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
from postreeve.firewall.render.justify import CHECKOV, checkov_skips
from postreeve.firewall.render.value import dump
from postreeve.firewall.row import Row

NOWHERE: Final = {
    "IpProtocol": "-1",
    "CidrIp": "127.0.0.1/32",
    "Description": "nothing leaves by IPv4 or IPv6",
}
_VERSION: Final = "2010-09-09"
_VPC: Final = {"VpcId": {"Type": "AWS::EC2::VPC::Id", "Description": "The VPC that the mail server is in"}}


def render_group(policy: Policy, most: int = GROUP_QUOTA) -> str:
    """A template with one security group. Raises PolicyError and CannotExpress."""
    rows = list(group_rows(policy, most))
    properties: dict[str, object] = {
        "GroupName": group_name(policy),
        "GroupDescription": f"postreeve: {policy.name}",
        "VpcId": {"Ref": "VpcId"},
        "SecurityGroupIngress": [_rule(row) for row in rows if row.direction is Direction.IN],
        "SecurityGroupEgress": [_rule(row) for row in rows if row.direction is Direction.OUT] or [NOWHERE],
    }
    skips = [{"id": one.check, "comment": one.because} for one in checkov_skips(policy)]
    group: dict[str, object] = {"Type": "AWS::EC2::SecurityGroup"}
    if skips:
        group["Metadata"] = {CHECKOV: {"skip": skips}}
    group["Properties"] = properties
    return _template(policy, {"Group": group}, {"GroupId": {"Value": {"Fn::GetAtt": ["Group", "GroupId"]}}})


def render_acl(policy: Policy, most: int = ACL_QUOTA) -> str:
    """A template with one network ACL and its entries; whoever deploys it gives it to a subnet."""
    tags = [{"Key": "Name", "Value": policy.name}]
    resources: dict[str, object] = {
        "Acl": {"Type": "AWS::EC2::NetworkAcl", "Properties": {"VpcId": {"Ref": "VpcId"}, "Tags": tags}}
    }
    for entry in acl_entries(policy, most):
        name = f"{'Egress' if entry['Egress'] else 'Ingress'}{entry['RuleNumber']}"
        properties: dict[str, object] = {
            "NetworkAclId": {"Ref": "Acl"},
            **entry,
            "Protocol": int(str(entry["Protocol"])),
        }
        if "IcmpTypeCode" in properties:
            properties["Icmp"] = properties.pop("IcmpTypeCode")
        resources[name] = {"Type": "AWS::EC2::NetworkAclEntry", "Properties": properties}
    return _template(policy, resources, {"AclId": {"Value": {"Ref": "Acl"}}})


def _template(policy: Policy, resources: Mapping[str, object], outputs: Mapping[str, object]) -> str:
    return dump(
        {
            "AWSTemplateFormatVersion": _VERSION,
            "Description": f"Who may connect to {re.sub(r'[^ -~]', ' ', policy.name)}, and which ways mail may leave",
            "Parameters": _VPC,
            "Resources": resources,
            "Outputs": outputs,
        }
    )


def _rule(row: Row) -> Mapping[str, object]:
    ports = port_fields(row)
    return {
        "IpProtocol": protocol_word(row),
        **({"FromPort": ports[0], "ToPort": ports[1]} if ports else {}),
        "CidrIp" if row.family is Family.IPV4 else "CidrIpv6": str(row.peer),
        "Description": describe_row(row),
    }
