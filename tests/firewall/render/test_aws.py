"""Security groups and network ACLs of Amazon: inputs of the CLI, read back as the API shows what they made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from postreeve.firewall.flow import CannotExpress, Direction, NotUnderstood, Policy, PolicyError, Verdict
from postreeve.firewall.packet import decide
from postreeve.firewall.read.aws import read_acl, read_group, read_group_rows
from postreeve.firewall.reduce import implied, reduce
from postreeve.firewall.render.aws import ACL, GROUP, acl_entries, render_acl, render_group, render_new_group
from tests.firewall.anypolicy import any_packets, mail_policy, plain, within

GROUP_ID = "sg-0123456789abcdef0"
ACL_ID = "acl-0123456789abcdef0"
SEEDS = {f"seed-{seed}": seed for seed in range(80)}


def described_group(policy: Policy, files: Mapping[str, str]) -> dict[str, Any]:
    """As the API shows a new group after the inputs: permissions of the same protocol and ports are one."""
    new = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": []}
    group: dict[str, Any] = {"GroupName": policy.name, "IpPermissions": [], "IpPermissionsEgress": [new]}
    for name, text in files.items():
        verb, word = name.removesuffix(".json").split("-")
        permissions = group["IpPermissions" if word == "ingress" else "IpPermissionsEgress"]
        for permission in json.loads(text)["IpPermissions"]:
            change(permissions, permission, is_new=verb == "authorize")
    return {"SecurityGroups": [group]}


def change(permissions: list[dict[str, Any]], permission: dict[str, Any], *, is_new: bool) -> None:
    def key(one: dict[str, Any]) -> tuple[object, ...]:
        return one["IpProtocol"], one.get("FromPort"), one.get("ToPort")

    here = next((one for one in permissions if key(one) == key(permission)), None)
    if here is None:
        assert is_new, permission
        here = {**permission, "IpRanges": [], "Ipv6Ranges": []}
        permissions.append(here)
    for kind, field in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
        for peer in permission.get(kind, ()):
            rest = [one for one in here[kind] if one[field] != peer[field]]
            assert (len(rest) == len(here[kind])) is is_new, f"the same rule twice, or none to revoke: {peer}"
            here[kind] = [*rest, peer] if is_new else rest
    if not here["IpRanges"] and not here["Ipv6Ranges"]:
        permissions.remove(here)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_group_is_read_back_as_it_was_meant(seed: int) -> None:
    policy = within(seed, GROUP)
    bundle = render_group(policy, GROUP_ID, most=1000)
    assert plain(read_group(json.dumps(described_group(policy, bundle.files)))) == plain(policy)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_acl_is_read_back_as_it_was_meant(seed: int) -> None:
    policy = within(seed, ACL)
    entries = list(acl_entries(policy, 1000))
    assert plain(read_acl(json.dumps(described_acl(policy, entries)))) == plain(policy)


def described_acl(policy: Policy, entries: Iterable[Mapping[str, object]]) -> dict[str, Any]:
    ends = [
        {"RuleNumber": number, "Protocol": "-1", "RuleAction": "deny", "Egress": egress, name: block}
        for egress in (True, False)
        for number, name, block in ((32767, "CidrBlock", "0.0.0.0/0"), (32768, "Ipv6CidrBlock", "::/0"))
    ]
    tags = [{"Key": "Name", "Value": policy.name}]
    return {"NetworkAcls": [{"NetworkAclId": ACL_ID, "Tags": tags, "Entries": [*entries, *ends]}]}


def test_group_of_a_mail_server_lets_mail_in_and_out() -> None:
    policy, left_out = mail_policy(GROUP)
    bundle = render_group(policy, GROUP_ID)
    assert bundle.commands == (
        "aws ec2 authorize-security-group-ingress --cli-input-json file://authorize-ingress.json",
        "aws ec2 authorize-security-group-egress --cli-input-json file://authorize-egress.json",
        "aws ec2 revoke-security-group-egress --cli-input-json file://revoke-egress.json",
    )
    ingress = json.loads(bundle.files["authorize-ingress.json"])["IpPermissions"]
    assert {
        "IpProtocol": "tcp",
        "FromPort": 25,
        "ToPort": 25,
        "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "in-relay-25-ipv4: mail for example.org"}],
    } in ingress
    assert json.loads(bundle.files["revoke-egress.json"])["IpPermissions"] == [
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ]
    assert {one.flow.ident for one in left_out} >= {"in-bans-ipv4", "out-mx-25-ipv4"}


def test_group_that_holds_the_policy_needs_nothing() -> None:
    policy, _ = mail_policy(GROUP)
    shown = json.dumps(described_group(policy, render_group(policy, GROUP_ID).files))
    again = render_group(policy, GROUP_ID, live=read_group_rows(shown))
    assert (dict(again.files), again.commands) == ({}, ())


def test_group_with_a_stale_rule_loses_just_that() -> None:
    policy, _ = mail_policy(GROUP)
    shown = described_group(policy, render_group(policy, GROUP_ID).files)
    stale = {"IpProtocol": "tcp", "FromPort": 2525, "ToPort": 2525, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    shown["SecurityGroups"][0]["IpPermissions"].append(stale)
    again = render_group(policy, GROUP_ID, live=read_group_rows(json.dumps(shown)))
    assert [json.loads(text)["IpPermissions"] for text in again.files.values()] == [[stale]]
    assert again.commands == ("aws ec2 revoke-security-group-ingress --cli-input-json file://revoke-ingress.json",)


def test_acl_lets_answers_in_and_out_by_both_families() -> None:
    policy, left_out = mail_policy(ACL)
    entries = list(acl_entries(policy))
    answers = [one for one in entries if one.get("PortRange") == {"From": 1024, "To": 65535}]
    assert {(one["Egress"], one["Protocol"], "CidrBlock" in one) for one in answers} == {
        (egress, protocol, four) for egress in (True, False) for protocol in ("6", "17") for four in (True, False)
    }
    assert any("ports 1024-65535" in one.why for one in left_out)


def test_acl_that_holds_the_policy_needs_nothing_and_a_changed_one_the_change() -> None:
    policy, _ = mail_policy(ACL)
    entries = list(acl_entries(policy))
    assert render_acl(policy, ACL_ID, live=entries).commands == ()
    changed = [{**entries[0], "RuleAction": "deny"}, *entries[1:], {**entries[0], "RuleNumber": 7}]
    bundle = render_acl(policy, ACL_ID, live=changed)
    assert bundle.commands == (
        "aws ec2 replace-network-acl-entry --cli-input-json file://ingress-10.json",
        f"aws ec2 delete-network-acl-entry --network-acl-id {ACL_ID} --rule-number 7 --ingress",
    )
    assert json.loads(bundle.files["ingress-10.json"]) == {"NetworkAclId": ACL_ID, **entries[0]}


@pytest.mark.parametrize("seed", list(SEEDS.values())[:20])
def test_acl_decides_as_the_policy_it_was_made_of(seed: int) -> None:
    policy = within(seed, ACL)
    back = read_acl(json.dumps(described_acl(policy, acl_entries(policy, 1000))))
    for packet in any_packets(seed, 200):
        assert decide(back, packet).verdict is decide(policy, packet).verdict


BAD_IDS = {"empty": "", "not-hexadecimal": "sg-0123456789abcdefg", "short": "sg-0123", "shell": "sg-01234567; reboot"}


@pytest.mark.parametrize("group_id", BAD_IDS.values(), ids=BAD_IDS)
def test_group_refuses_an_id_that_is_none(group_id: str) -> None:
    with pytest.raises(PolicyError, match="security group"):
        render_group(mail_policy(GROUP)[0], group_id)


@pytest.mark.parametrize("name", ["", "sg-mail", "mail;reboot", "x" * 256, "m\nx"])
def test_group_refuses_a_name_that_amazon_would_refuse(name: str) -> None:
    with pytest.raises((PolicyError, CannotExpress)):
        render_new_group(replace(mail_policy(GROUP)[0], name=name), "vpc-01234567")


def test_group_beyond_its_quota_cannot_be_expressed() -> None:
    with pytest.raises(CannotExpress, match="3 is the most"):
        render_group(mail_policy(GROUP)[0], GROUP_ID, most=3)


def test_acl_beyond_its_quota_cannot_be_expressed() -> None:
    with pytest.raises(CannotExpress, match="5 is the most"):
        render_acl(mail_policy(ACL)[0], ACL_ID, most=5)


def test_group_does_not_leave_out_silently_what_it_cannot_say() -> None:
    whole, _ = mail_policy(None)
    with pytest.raises(CannotExpress, match="aws security group cannot express"):
        render_group(whole, GROUP_ID)


TCP = {"IpProtocol": "tcp", "FromPort": 25, "ToPort": 25, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
BAD_GROUPS = {
    "cut-off": ('{"SecurityGroups": [{"GroupName": "a"', "cut off"),
    "empty": ("", "cut off"),
    "something-else": ('{"NetworkAcls": []}', "no SecurityGroups"),
    "a-list": ("[]", "not an object"),
    "none": ('{"SecurityGroups": []}', "0 security groups"),
    "port-too-high": ({**TCP, "ToPort": 99_999}, "not a number from -1 to 65535"),
    "upside-down": ({**TCP, "FromPort": 26}, "no range of ports"),
    "not-a-network": ({**TCP, "IpRanges": [{"CidrIp": "0.0.0.0/33"}]}, "not a network"),
    "wrong-family": ({**TCP, "IpRanges": [{"CidrIp": "::/0"}]}, "not of IPv4"),
    "no-protocol": ({**TCP, "IpProtocol": None}, "no IpProtocol"),
    "ports-in-words": ({**TCP, "FromPort": "smtp"}, "not a number"),
    "ranges-no-list": ({**TCP, "IpRanges": {}}, "not a list"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_GROUPS.values(), ids=BAD_GROUPS)
def test_read_group_says_what_it_does_not_understand(bad: object, message: str) -> None:
    text = bad if isinstance(bad, str) else json.dumps({"SecurityGroups": [{"GroupName": "a", "IpPermissions": [bad]}]})
    with pytest.raises(NotUnderstood, match=message):
        read_group(text)


ENTRY = {"RuleNumber": 10, "Protocol": "6", "RuleAction": "allow", "Egress": False, "CidrBlock": "0.0.0.0/0"}
BAD_ENTRIES = {
    "action": ({"RuleAction": "permit"}, "none of allow, deny"),
    "number": ({"RuleNumber": 40_000}, "not a number from 1 to 32768"),
    "protocol": ({"Protocol": "smtp"}, "not a number from -1 to 255"),
    "egress": ({"Egress": "yes"}, "neither true nor false"),
    "block": ({"CidrBlock": "10.0.0.0/99"}, "not a network"),
    "no-block": ({"CidrBlock": None}, "no Ipv6CidrBlock"),
    "ports": ({"PortRange": {"From": 30, "To": 20}}, "no range of ports"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_read_acl_says_what_it_does_not_understand(bad: Mapping[str, object], message: str) -> None:
    acl = {"NetworkAclId": ACL_ID, "Entries": [{**ENTRY, **bad}]}
    with pytest.raises(NotUnderstood, match=re.escape(message)):
        read_acl(json.dumps({"NetworkAcls": [acl]}))


def test_read_group_does_not_guess_who_is_in_another_group() -> None:
    rule = {**TCP, "IpRanges": [], "UserIdGroupPairs": [{"GroupId": "sg-0f00f00f"}]}
    text = json.dumps({"SecurityGroups": [{"GroupName": "a", "IpPermissions": [rule]}]})
    flows = [flow for flow in read_group(text).flows if flow not in implied()]
    assert {flow.unknown for flow in flows} == {"who is in sg-0f00f00f"}
    assert "sg-0f00f00f" in flows[0].quote


def test_reduce_keeps_the_world_out_of_submission_when_it_is_for_the_office() -> None:
    policy, _ = mail_policy(GROUP)
    back = read_group(json.dumps(described_group(policy, render_group(policy, GROUP_ID).files)))
    for packet in any_packets(1, 400):
        if packet.direction is Direction.IN and packet.port == 465 and "198.51.100" not in str(packet.peer):
            expected = Verdict.ACCEPT if str(packet.peer).startswith("2001:db8:51:") else Verdict.DROP
            assert packet.protocol is not packet.protocol.TCP or decide(back, packet).verdict is expected
    assert reduce(back, GROUP).left_out == ()
