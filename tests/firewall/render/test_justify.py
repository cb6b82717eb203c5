"""Exceptions for scanners: for mail, never for what is open by mistake."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Policy, PolicyError, Ports, Protocol, Verdict
from postreeve.firewall.render import aws
from postreeve.firewall.render.cloudformation import render_group
from postreeve.firewall.render.justify import checkov_skips, render_prowler, render_trivy
from tests.firewall.anypolicy import mail_policy

GROUP_ID = "sg-0123456789abcdef0"
PROWLER = "ec2_securitygroup_allow_ingress_from_internet_to_high_risk_tcp_ports"


def open_for_all(*ports: int, because: str = "by intent") -> Policy:
    flow = Flow(
        "in-a",
        Direction.IN,
        Family.IPV4,
        Protocol.TCP,
        Verdict.ACCEPT,
        (WORLD[Family.IPV4],),
        tuple(Ports(port, port) for port in ports),
        because=because,
    )
    return Policy("mail.example.org", (flow,), Verdict.DROP, Verdict.DROP)


def test_prowler_is_told_why_an_mx_is_open() -> None:
    mutelist = json.loads(render_prowler(mail_policy(aws.GROUP)[0], GROUP_ID))
    assert mutelist["Mutelist"]["Accounts"]["*"]["Checks"] == {
        PROWLER: {"Regions": ["*"], "Resources": [GROUP_ID], "Description": "port 25: mail for example.org"}
    }


def test_trivy_is_told_why_an_mx_is_open() -> None:
    found = json.loads(render_trivy(mail_policy(aws.GROUP)[0], "deploy/mail.tf.json"))["misconfigurations"]
    assert {one["id"] for one in found} == {"AVD-AWS-0107", "AWS-0107"}
    assert {(*one["paths"], one["statement"]) for one in found} == {
        ("deploy/mail.tf.json", "port 25: mail for example.org")
    }


NOT_EXCUSED = {
    "ssh-beside-mail": open_for_all(22, 25),
    "a-proxy-beside-mail": open_for_all(25, 8080),
    "everything": replace(open_for_all(25), flows=(replace(open_for_all(25).flows[0], ports=()),)),
    "nothing": Policy("mail.example.org", (), Verdict.DROP, Verdict.DROP),
}


@pytest.mark.parametrize("policy", NOT_EXCUSED.values(), ids=NOT_EXCUSED)
def test_trivy_is_told_nothing_about_what_nobody_meant(policy: Policy) -> None:
    assert render_trivy(policy, "mail.tf.json") == ""


@pytest.mark.parametrize("name", ["a-proxy-beside-mail", "everything", "nothing"])
def test_prowler_is_told_nothing_about_what_nobody_meant(name: str) -> None:
    assert render_prowler(NOT_EXCUSED[name], GROUP_ID) == ""


def test_checkov_is_told_about_certificates_and_not_about_ssh() -> None:
    assert [one.check for one in checkov_skips(open_for_all(22, 25, 80))] == ["CKV_AWS_260"]
    metadata = json.loads(render_group(open_for_all(80)))["Resources"]["Group"]["Metadata"]
    assert metadata == {"checkov": {"skip": [{"id": "CKV_AWS_260", "comment": "port 80: by intent"}]}}


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a\nb"])
def test_trivy_refuses_a_path_outside_the_project(path: str) -> None:
    with pytest.raises(PolicyError, match="no path"):
        render_trivy(open_for_all(25), path)


@pytest.mark.parametrize(("group_id", "account"), [("sg-1", "*"), (GROUP_ID, "12"), ("*", "*")])
def test_prowler_refuses_an_exception_for_more_than_one_group(group_id: str, account: str) -> None:
    with pytest.raises(PolicyError):
        render_prowler(open_for_all(25), group_id, account)
