"""Policies for pods: read back as they were meant, for named pods only, with names looked up in the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from postreeve.firewall.flow import CannotExpress, NotUnderstood, Policy, PolicyError, Verdict
from postreeve.firewall.packet import decide
from postreeve.firewall.read.kubernetes import read
from postreeve.firewall.reduce import Means, implied
from postreeve.firewall.render.kubernetes import CILIUM, MEANS, render, render_cilium
from tests.firewall.anypolicy import any_packets, mail_policy, plain, within

PODS = {"app": "postreeve"}
SEEDS = {f"seed-{seed}": seed for seed in range(60)}
KINDS: dict[str, tuple[Means, Callable[..., str]]] = {"plain": (MEANS, render), "cilium": (CILIUM, render_cilium)}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_policy_is_read_back_as_it_was_meant(kind: str, seed: int) -> None:
    means, write = KINDS[kind]
    policy = within(seed, means)
    try:
        text = write(policy, PODS)
    except CannotExpress as error:
        if "every type of ICMP" not in str(error) and "port 0" not in str(error):
            raise
        return
    back = read(text)
    assert plain(back) == plain(policy)
    for packet in any_packets(seed, 40):
        assert decide(back, packet).verdict is decide(policy, packet).verdict


@pytest.mark.parametrize("kind", KINDS)
def test_policy_lets_the_cluster_be_asked_for_names(kind: str) -> None:
    means, write = KINDS[kind]
    egress = json.loads(write(mail_policy(means)[0], PODS))["spec"]["egress"]
    asked = [rule for rule in egress if "kube-dns" in json.dumps(rule)]
    assert len(asked) == 2
    assert {word for rule in asked for word in ("UDP", "TCP") if f'"{word}"' in json.dumps(rule)} == {"UDP", "TCP"}


@pytest.mark.parametrize("kind", KINDS)
def test_policy_does_not_leave_out_silently_what_it_cannot_say(kind: str) -> None:
    with pytest.raises(CannotExpress):
        KINDS[kind][1](mail_policy(None)[0], PODS)


BAD = {
    "every-pod": ({}, "default", "about every pod"),
    "label": ({"a b": "c"}, "default", "no label"),
    "value": ({"a": "b c"}, "default", "no value of a label"),
    "namespace": (PODS, "Kube", "no namespace"),
    "namespace-dot": (PODS, "a.b", "no namespace"),
}


@pytest.mark.parametrize(("selector", "namespace", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_policy_refuses_values_that_the_cluster_would_refuse(
    kind: str, selector: dict[str, str], namespace: str, message: str
) -> None:
    means, write = KINDS[kind]
    with pytest.raises(PolicyError, match=message):
        write(mail_policy(means)[0], selector, namespace)


def document(kind: str = "NetworkPolicy", **spec: object) -> str:
    return json.dumps({"kind": kind, "metadata": {"name": "a"}, "spec": spec})


def one_rule(**rule: object) -> str:
    return document(ingress=[rule])


NOT_UNDERSTOOD = {
    "cut-off": ('{"kind": "NetworkPolicy", "spec"', "cut off"),
    "a-pod": (json.dumps({"kind": "Pod"}), "no NetworkPolicy"),
    "an-empty-list": (json.dumps({"kind": "List", "items": []}), "no NetworkPolicy"),
    "type": (document(policyTypes=["Sideways"]), "none of Ingress, Egress"),
    "protocol": (one_rule(ports=[{"protocol": "SMTP", "port": 25}]), "none of TCP"),
    "port": (one_rule(ports=[{"port": 65_536}]), "not a number"),
    "range": (one_rule(ports=[{"port": 25, "endPort": 24}]), "no range of ports"),
    "block": (one_rule(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/64"}}]}), "not a network"),
    "except": (one_rule(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/0"]}}]}), "both families"),
    "cilium": (document("CiliumNetworkPolicy", ingress=[{"fromCIDR": ["x"]}]), "not a network"),
}


@pytest.mark.parametrize(("text", "message"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_read_says_what_it_does_not_understand(text: str, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        read(text)


UNKNOWN: dict[str, tuple[str, str]] = {
    "pods": (one_rule(**{"from": [{"podSelector": {}}]}), "who is meant by"),
    "named-port": (one_rule(ports=[{"port": "smtp"}]), "which port smtp is"),
    "entities": (document("CiliumNetworkPolicy", ingress=[{"fromEntities": ["cluster"]}]), "cluster"),
    "names": (document("CiliumNetworkPolicy", egress=[{"toFQDNs": [{"matchName": "example.org"}]}]), "toFQDNs"),
}


@pytest.mark.parametrize(("text", "doubt"), UNKNOWN.values(), ids=UNKNOWN)
def test_read_never_guesses_who_is_meant(text: str, doubt: str) -> None:
    flows: list[Any] = [flow for flow in read(text).flows if flow not in implied()]
    assert flows
    assert all(doubt in flow.unknown for flow in flows)


def test_read_takes_exceptions_out_of_a_block() -> None:
    block = {"cidr": "198.51.100.0/24", "except": ["198.51.100.0/25"]}
    policy: Policy = read(one_rule(**{"from": [{"ipBlock": block}]}))
    (flow,) = (flow for flow in policy.flows if flow not in implied())
    assert [str(one) for one in flow.peers] == ["198.51.100.128/25"]
    assert (policy.default_in, policy.default_out) == (Verdict.DROP, Verdict.ACCEPT)
