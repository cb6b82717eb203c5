"""Templates: every rule of the policy is in them, and nothing that the service adds by itself opens more."""

from __future__ import annotations

import json

import pytest

from postreeve.firewall.flow import CannotExpress, Policy, Verdict
from postreeve.firewall.read.aws import read_acl, read_group
from postreeve.firewall.render import aws
from postreeve.firewall.render.cloudformation import NOWHERE, render_acl, render_group
from tests.firewall.anypolicy import mail_policy, plain, within

SEEDS = {f"seed-{seed}": seed for seed in range(30)}


def permissions(rules: list[dict[str, str]]) -> list[dict[str, object]]:
    """As the API shows them."""
    found: list[dict[str, object]] = []
    for rule in rules:
        if rule == NOWHERE:
            continue
        kind, field = ("IpRanges", "CidrIp") if "CidrIp" in rule else ("Ipv6Ranges", "CidrIpv6")
        peer = {field: rule[field], "Description": rule["Description"]}
        rest = {name: value for name, value in rule.items() if name not in peer}
        found.append({**rest, kind: [peer]})
    return found


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_group_is_read_back_from_its_template(seed: int) -> None:
    policy = within(seed, aws.GROUP)
    properties = json.loads(render_group(policy, 1000))["Resources"]["Group"]["Properties"]
    group = {
        "GroupName": properties["GroupName"],
        "IpPermissions": permissions(properties["SecurityGroupIngress"]),
        "IpPermissionsEgress": permissions(properties["SecurityGroupEgress"]),
    }
    assert plain(read_group(json.dumps({"SecurityGroups": [group]}))) == plain(policy)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_acl_is_read_back_from_its_template(seed: int) -> None:
    policy = within(seed, aws.ACL)
    resources = json.loads(render_acl(policy, 1000))["Resources"]
    tags = resources["Acl"]["Properties"]["Tags"]
    entries = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::EC2::NetworkAclEntry"]
    shown = [{**one, "IcmpTypeCode": one["Icmp"]} if "Icmp" in one else one for one in entries]
    acl = {"NetworkAclId": "acl-01234567", "Tags": tags, "Entries": shown}
    assert plain(read_acl(json.dumps({"NetworkAcls": [acl]}))) == plain(policy)


def test_group_from_which_nothing_may_leave_does_not_get_the_default_rule() -> None:
    policy = Policy("mail.example.org", (), Verdict.DROP, Verdict.DROP)
    properties = json.loads(render_group(policy))["Resources"]["Group"]["Properties"]
    assert properties["SecurityGroupEgress"] == [NOWHERE]


def test_templates_are_the_same_every_time() -> None:
    assert render_group(mail_policy(aws.GROUP)[0]) == render_group(mail_policy(aws.GROUP)[0])
    assert render_acl(mail_policy(aws.ACL)[0]) == render_acl(mail_policy(aws.ACL)[0])


def test_group_does_not_leave_out_silently_what_it_cannot_say() -> None:
    with pytest.raises(CannotExpress, match="aws security group"):
        render_group(mail_policy(None)[0])
