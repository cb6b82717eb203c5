"""Terraform: what is written is read back from the plan that it becomes; plans of others are read too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from postreeve.firewall.flow import NotUnderstood, PolicyError, Verdict
from postreeve.firewall.packet import decide
from postreeve.firewall.read.terraform import read_acl, read_group
from postreeve.firewall.reduce import implied
from postreeve.firewall.render import aws
from postreeve.firewall.render.terraform import render_acl, render_group
from tests.firewall.anypolicy import any_packets, mail_policy, plain, within

SEEDS = {f"seed-{seed}": seed for seed in range(30)}


def planned(text: str) -> str:
    """The plan of it: every resource with its values, references left out since they are known only later."""
    resources = [
        {
            "address": f"{kind}.{name}",
            "mode": "managed",
            "type": kind,
            "name": name,
            "values": {key: value for key, value in values.items() if not str(value).startswith("${")},
        }
        for kind, found in json.loads(text)["resource"].items()
        for name, values in found.items()
    ]
    return json.dumps({"format_version": "1.2", "planned_values": {"root_module": {"resources": resources}}})


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_group_is_read_back_from_its_plan(seed: int) -> None:
    policy = within(seed, aws.GROUP)
    assert plain(read_group(planned(render_group(policy, most=1000)))) == plain(policy)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_acl_is_read_back_from_its_plan(seed: int) -> None:
    policy = within(seed, aws.ACL)
    assert plain(read_acl(planned(render_acl(policy, most=1000)))) == plain(policy)


def test_group_has_no_rules_of_its_own() -> None:
    resources = json.loads(render_group(mail_policy(aws.GROUP)[0]))["resource"]
    assert set(resources) == {
        "aws_security_group",
        "aws_vpc_security_group_ingress_rule",
        "aws_vpc_security_group_egress_rule",
    }
    assert not {"ingress", "egress"} & set(resources["aws_security_group"]["postreeve"])
    assert resources["aws_vpc_security_group_ingress_rule"]["postreeve-in-relay-25-ipv4"] == {
        "security_group_id": "${aws_security_group.postreeve.id}",
        "ip_protocol": "tcp",
        "from_port": 25,
        "to_port": 25,
        "cidr_ipv4": "0.0.0.0/0",
        "description": "in-relay-25-ipv4: mail for example.org",
    }


@pytest.mark.parametrize("label", ["", "1a", "a b", "a${b}", "A"])
def test_group_refuses_a_label_that_is_none(label: str) -> None:
    with pytest.raises(PolicyError, match="name of a resource"):
        render_group(mail_policy(aws.GROUP)[0], label)


def plan_of(*resources: dict[str, Any]) -> str:
    return json.dumps({"planned_values": {"root_module": {"child_modules": [{"resources": list(resources)}]}}})


def resource(kind: str, **values: object) -> dict[str, Any]:
    return {"address": f"module.a.{kind}.b", "mode": "managed", "type": kind, "values": values}


INLINE = resource(
    "aws_security_group",
    name="old",
    ingress=[
        {
            "protocol": "tcp",
            "from_port": 25,
            "to_port": 25,
            "cidr_blocks": ["0.0.0.0/0"],
            "ipv6_cidr_blocks": ["::/0"],
            "description": "",
            "self": False,
        }
    ],
    egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"], "description": ""}],
)
SEPARATE = resource(
    "aws_security_group_rule", type="ingress", protocol="tcp", from_port=465, to_port=465, self=True, cidr_blocks=[]
)


def test_read_group_reads_rules_within_a_group() -> None:
    policy = read_group(plan_of(INLINE))
    assert policy.name == "old"
    for packet in any_packets(1, 200):
        is_mail = packet.port == 25 and packet.protocol.value == "tcp" and packet.direction.value == "in"
        leaves = packet.direction.value == "out" and packet.family.value == 4
        assert (decide(policy, packet).verdict is Verdict.ACCEPT) is (is_mail or leaves)


def test_read_group_does_not_guess_who_the_group_itself_is() -> None:
    flows = [flow for flow in read_group(plan_of(SEPARATE)).flows if flow not in implied()]
    assert {flow.unknown for flow in flows} == {"who is in the group itself"}


LATER = resource("aws_vpc_security_group_ingress_rule", ip_protocol="tcp", from_port=25, to_port=25)


def test_read_group_says_that_a_peer_is_known_only_later() -> None:
    flows = [flow for flow in read_group(plan_of(LATER)).flows if flow not in implied()]
    assert {flow.unknown for flow in flows} == {"who is in module.a.aws_vpc_security_group_ingress_rule.b"}


BAD = {
    "cut-off": ('{"planned_values": {"root_module": ', "cut off"),
    "something-else": ("{}", "neither planned_values"),
    "no-group": (plan_of(), "no security group"),
    "no-protocol": (plan_of(resource("aws_vpc_security_group_ingress_rule", cidr_ipv4="0.0.0.0/0")), "no ip_protocol"),
    "bad-port": (
        plan_of(resource("aws_security_group_rule", type="ingress", protocol="tcp", from_port=1, to_port=70_000)),
        "not a number",
    ),
    "no-list": (json.dumps({"planned_values": {"root_module": {"resources": {}}}}), "not a list"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_read_group_says_what_it_does_not_understand(text: str, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        read_group(text)


def test_read_acl_does_not_choose_between_two() -> None:
    with pytest.raises(NotUnderstood, match="2 network ACLs"):
        read_acl(plan_of(resource("aws_network_acl"), {**resource("aws_network_acl"), "address": "other"}))
