"""Google, Azure, DigitalOcean and Hetzner: what is written is read back; values that they refuse are refused here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from postreeve.firewall.flow import CannotExpress, Direction, NotUnderstood, Policy, PolicyError, Verdict
from postreeve.firewall.packet import decide
from postreeve.firewall.read import azure as read_azure
from postreeve.firewall.read import digitalocean as read_digitalocean
from postreeve.firewall.read import gcp as read_gcp
from postreeve.firewall.read import hetzner as read_hetzner
from postreeve.firewall.reduce import implied
from postreeve.firewall.render import azure, digitalocean, gcp, hetzner
from tests.firewall.anypolicy import any_packets, mail_policy, plain, within

SEEDS = {f"seed-{seed}": seed for seed in range(80)}
NAME = "mail.example.org"


def over_gcp(policy: Policy) -> Policy:
    rules = list(gcp.make_rules(policy))
    listed = [{**rule, "network": f"https://compute.invalid/v1/{rule['network']}", "disabled": False} for rule in rules]
    return read_gcp.read(json.dumps(listed), NAME)


def over_azure(policy: Policy) -> Policy:
    return read_azure.read(azure.render(policy))


def over_azure_as_shown(policy: Policy) -> Policy:
    """With every member, and with the default rules."""
    group = json.loads(azure.render(policy))["resources"][0]
    empty = {f"{side}{kind}": [] for side in ("source", "destination") for kind in ("AddressPrefixes", "PortRanges")}
    rules = [{"name": one["name"], **empty, **one["properties"]} for one in group["properties"]["securityRules"]]
    return read_azure.read(json.dumps({"name": NAME, "securityRules": rules, "defaultSecurityRules": DEFAULTS}))


def default(priority: int, direction: str, access: str, source: str, destination: str) -> dict[str, object]:
    ports = {"sourcePortRange": "*", "destinationPortRange": "*"}
    addresses = {"sourceAddressPrefix": source, "destinationAddressPrefix": destination}
    what = {"direction": direction, "access": access, "protocol": "*", "priority": priority}
    return {"name": f"Default{direction}{priority}", **what, **ports, **addresses}


DEFAULTS = [
    default(65000, "Inbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
    default(65001, "Inbound", "Allow", "AzureLoadBalancer", "*"),
    default(65500, "Inbound", "Deny", "*", "*"),
    default(65000, "Outbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
    default(65001, "Outbound", "Allow", "*", "Internet"),
    default(65500, "Outbound", "Deny", "*", "*"),
]


def over_digitalocean(policy: Policy) -> Policy:
    body = json.loads(digitalocean.render(policy).files["firewall.json"])
    for rule in body["inbound_rules"]:
        if rule.get("ports") == "all":
            rule["ports"] = "0"
    return read_digitalocean.read(json.dumps([body]))


def over_hetzner(policy: Policy) -> Policy:
    rules = json.loads(hetzner.render(policy).files["rules.json"])
    return read_hetzner.read(json.dumps({"id": 1, "name": policy.name, "rules": rules}))


ROUNDS = {
    "gcp": (gcp.MEANS, over_gcp),
    "azure": (azure.MEANS, over_azure),
    "azure-as-shown": (azure.MEANS, over_azure_as_shown),
    "digitalocean": (digitalocean.MEANS, over_digitalocean),
    "hetzner": (hetzner.MEANS, over_hetzner),
}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
@pytest.mark.parametrize("target", ROUNDS)
def test_policy_is_read_back_as_it_was_meant(target: str, seed: int) -> None:
    means, over = ROUNDS[target]
    policy = within(seed, means)
    try:
        back = over(policy)
    except CannotExpress as error:
        if "is the most" not in str(error) and "nothing may leave" not in str(error):
            raise
        return
    assert plain(back) == plain(policy)
    for packet in any_packets(seed, 40):
        assert decide(back, packet).verdict is decide(policy, packet).verdict


RENDERERS: dict[str, Callable[[Policy], object]] = {
    "gcp": gcp.render,
    "azure": azure.render,
    "digitalocean": digitalocean.render,
    "hetzner": hetzner.render,
}


@pytest.mark.parametrize("target", RENDERERS)
def test_render_takes_a_mail_server_the_same_every_time(target: str) -> None:
    policy, left_out = mail_policy(ROUNDS[target][0])
    assert RENDERERS[target](policy) == RENDERERS[target](policy)
    assert {one.flow.ident for one in left_out} >= {"in-bans-ipv4", "in-bans-ipv6", "out-mx-25-ipv4"}


@pytest.mark.parametrize("target", RENDERERS)
def test_render_does_not_leave_out_silently_what_it_cannot_say(target: str) -> None:
    with pytest.raises(CannotExpress, match=f"{target}.* cannot express"):
        RENDERERS[target](mail_policy(None)[0])


BAD_NAMES = {
    "azure-empty": (azure.render, azure.MEANS, ""),
    "azure-long": (azure.render, azure.MEANS, "x" * 81),
    "azure-hyphen": (azure.render, azure.MEANS, "mail-"),
    "digitalocean-space": (digitalocean.render, digitalocean.MEANS, "a b"),
    "hetzner-quote": (hetzner.render, hetzner.MEANS, "a'b"),
}


@pytest.mark.parametrize(("render", "means", "name"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_render_refuses_a_name_that_is_none(render: Callable[[Policy], object], means: Any, name: str) -> None:
    with pytest.raises(PolicyError):
        render(replace(mail_policy(means)[0], name=name))


@pytest.mark.parametrize("values", [{"network": "A"}, {"tag": "a_b"}, {"first_priority": 65_533}, {"tag": "x" * 64}])
def test_gcp_refuses_values_that_google_would_refuse(values: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        gcp.render(mail_policy(gcp.MEANS)[0], **values)


@pytest.mark.parametrize("first_priority", [99, 4_096, 70_000])
def test_azure_refuses_priorities_that_are_none(first_priority: int) -> None:
    with pytest.raises(PolicyError, match="not from 100 to 4095"):
        azure.render(mail_policy(azure.MEANS)[0], first_priority=first_priority)


def test_azure_gives_every_priority_once_for_each_direction() -> None:
    rules = json.loads(azure.render(mail_policy(azure.MEANS)[0]))["resources"][0]["properties"]["securityRules"]
    places = [(one["properties"]["direction"], one["properties"]["priority"]) for one in rules]
    assert len(set(places)) == len(places)
    assert all(100 <= priority <= 4096 for _, priority in places)


def test_gcp_never_lets_order_depend_on_an_equal_priority() -> None:
    rules = list(gcp.make_rules(mail_policy(gcp.MEANS)[0]))
    by_priority: dict[object, set[bool]] = {}
    for rule in rules:
        by_priority.setdefault(rule["priority"], set()).add("allowed" in rule)
    last = by_priority.pop(65_533)
    assert last == {False}
    assert len(by_priority) == len(rules) - 4


def test_gcp_commands_say_what_the_files_say() -> None:
    bundle = gcp.render(mail_policy(gcp.MEANS)[0])
    relay = next(one for one in bundle.commands if "in-relay-25-ipv4 " in one)
    assert "--direction=INGRESS" in relay
    assert "--action=ALLOW --rules=tcp:25 --source-ranges=0.0.0.0/0 --target-tags=postreeve" in relay
    assert len(bundle.commands) == len(bundle.files)


def test_hetzner_cannot_say_that_nothing_leaves() -> None:
    with pytest.raises(CannotExpress, match="nothing may leave"):
        hetzner.render(Policy(NAME, implied(), Verdict.DROP, Verdict.DROP))


def test_read_gcp_lets_the_denial_win_at_equal_priority() -> None:
    def rule(name: str, kind: str) -> dict[str, object]:
        traffic = [{"IPProtocol": "tcp", "ports": ["25"]}]
        return {"name": name, "network": "n", "direction": "INGRESS", kind: traffic, "sourceRanges": ["0.0.0.0/0"]}

    policy = read_gcp.read(json.dumps([rule("a-allow", "allowed"), rule("b-deny", "denied")]))
    mail = next(
        one
        for one in any_packets(3, 400)
        if one.port == 25 and one.direction is Direction.IN and one.family.value == 4 and one.protocol.value == "tcp"
    )
    assert decide(policy, mail).verdict is Verdict.DROP


def test_read_azure_reads_the_default_rules_of_a_new_group() -> None:
    policy = read_azure.read(json.dumps({"name": "new", "securityRules": [], "defaultSecurityRules": DEFAULTS}))
    assert (policy.default_in, policy.default_out) == (Verdict.DROP, Verdict.ACCEPT)
    for packet in any_packets(4, 100):
        expected = Verdict.ACCEPT if packet.direction is Direction.OUT else Verdict.DROP
        assert decide(policy, packet).verdict is expected


GCP = {"name": "a", "network": "n", "direction": "INGRESS", "allowed": [{"IPProtocol": "tcp", "ports": ["25"]}]}
AZURE = {**default(100, "Inbound", "Allow", "*", "*"), "protocol": "Tcp"}
DROPLETS = {"protocol": "tcp", "ports": "25", "sources": {"addresses": ["0.0.0.0/0"]}}
CLOUD = {"direction": "in", "protocol": "tcp", "port": "25", "source_ips": ["0.0.0.0/0"]}
READERS: dict[str, tuple[Callable[[str], Policy], Callable[[object], object]]] = {
    "gcp": (read_gcp.read, lambda rule: [rule]),
    "azure": (read_azure.read, lambda rule: {"name": "a", "securityRules": [rule]}),
    "digitalocean": (read_digitalocean.read, lambda rule: {"name": "a", "inbound_rules": [rule]}),
    "hetzner": (read_hetzner.read, lambda rule: {"name": "a", "rules": [rule]}),
}
BAD_RULES = {
    "gcp-direction": ("gcp", {**GCP, "direction": "SIDEWAYS"}, "none of INGRESS, EGRESS"),
    "gcp-priority": ("gcp", {**GCP, "priority": 999_999}, "not a number from 0 to 65535"),
    "gcp-range": ("gcp", {**GCP, "sourceRanges": ["198.51.100.0/33"]}, "not a network"),
    "gcp-both": ("gcp", {**GCP, "denied": [{"IPProtocol": "all"}]}, "either allow or deny"),
    "gcp-port": ("gcp", {**GCP, "allowed": [{"IPProtocol": "tcp", "ports": ["70000"]}]}, "not a number"),
    "gcp-disabled": ("gcp", {**GCP, "disabled": "no"}, "neither true nor false"),
    "azure-priority": ("azure", {**AZURE, "priority": 99}, "not a number from 100"),
    "azure-access": ("azure", {**AZURE, "access": "Permit"}, "none of Allow, Deny"),
    "azure-protocol": ("azure", {**AZURE, "protocol": "SMTP"}, "none of"),
    "azure-port": ("azure", {**AZURE, "destinationPortRange": "587-465"}, "upside down"),
    "azure-prefix": ("azure", {**AZURE, "sourceAddressPrefix": "198.51.100.0/40"}, "not a network"),
    "digitalocean-port": ("digitalocean", {**DROPLETS, "ports": "smtp"}, "not a number"),
    "digitalocean-protocol": ("digitalocean", {**DROPLETS, "protocol": "sctp"}, "none of tcp"),
    "digitalocean-address": ("digitalocean", {**DROPLETS, "sources": {"addresses": ["here"]}}, "not a network"),
    "hetzner-direction": ("hetzner", {**CLOUD, "direction": "up"}, "none of in, out"),
    "hetzner-port": ("hetzner", {**CLOUD, "port": "0-65536"}, "not a number"),
    "hetzner-address": ("hetzner", {**CLOUD, "source_ips": [25]}, "not a string"),
    "hetzner-rule": ("hetzner", [], "not an object"),
}


@pytest.mark.parametrize(("target", "rule", "message"), BAD_RULES.values(), ids=BAD_RULES)
def test_read_says_what_it_does_not_understand(target: str, rule: object, message: str) -> None:
    read, wrap = READERS[target]
    with pytest.raises(NotUnderstood, match=message):
        read(json.dumps(wrap(rule)))


@pytest.mark.parametrize("target", READERS)
@pytest.mark.parametrize("text", ["", "{", "null", "7", '"x"', '{"a": 1}', "[1]", "[" * 100_000])
def test_read_refuses_what_is_something_else(target: str, text: str) -> None:
    with pytest.raises(NotUnderstood):
        READERS[target][0](text)


UNKNOWN = {
    "gcp-tag": ("gcp", {**GCP, "sourceTags": ["web"]}, "who has the tag web"),
    "gcp-account": ("gcp", {**GCP, "targetServiceAccounts": ["a"]}, "whether this host"),
    "azure-tag": ("azure", {**AZURE, "sourceAddressPrefix": "Storage"}, "who is in Storage"),
    "azure-host": ("azure", {**AZURE, "destinationAddressPrefix": "10.0.0.4"}, "only the addresses 10.0.0.4"),
    "azure-source-port": ("azure", {**AZURE, "sourcePortRange": "25"}, "source ports"),
    "digitalocean-tag": ("digitalocean", {**DROPLETS, "sources": {"tags": ["web"]}}, "tags web"),
}


@pytest.mark.parametrize(("target", "rule", "doubt"), UNKNOWN.values(), ids=UNKNOWN)
def test_read_never_guesses_who_is_meant(target: str, rule: object, doubt: str) -> None:
    read, wrap = READERS[target]
    flows = [flow for flow in read(json.dumps(wrap(rule))).flows if flow not in implied()]
    assert flows
    assert all(doubt in flow.unknown and flow.quote for flow in flows)
