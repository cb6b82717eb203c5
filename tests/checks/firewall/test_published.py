"""Rules in the style of other people's programs: read, judged, and never a crash; what they are known for is found."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from postreeve.checks.firewall.checklist import examine
from postreeve.checks.firewall.notation import Notation, Piece, read_scene, recognise
from postreeve.checks.firewall.scene import Provider
from postreeve.firewall.flow import NotUnderstood
from postreeve.firewall.render import aws
from postreeve.probes.machine.firewall import list_script, means
from tests.checks.firewall.audit_scenes import DIRECT, PLAN, scene

RULES = Path(__file__).with_name("published")
KNOWN_FOR = {
    "by-hand.nft": {"FW013", "FW019", "FW024", "FW028"},
    "docker.rules": {"FW014", "FW024"},
    "fail2ban.nft": {"FW024"},
    "firewalld.xml": {"FW013", "FW028"},
    "kube-proxy.rules": {"FW028"},
    "libvirt.rules": set(),
    "mailcow.rules": {"FW028"},
    "openwrt.nft": {"FW014", "FW028"},
    "shorewall.rules": {"FW013", "FW024", "FW028"},
    "ufw.rules": {"FW019"},
}


def judge(*pieces: Piece, intent: bool = False) -> set[str]:
    found = read_scene(pieces, means())
    if intent:
        given = scene()
        found = scene(ruleset=found.host, manager=found.manager, bound=None, blind=found.blind, names=given.names)
    return {one.check for one in examine(found)}


def piece(name: str) -> Piece:
    return Piece(name, (RULES / name).read_text())


def test_every_published_ruleset_is_here() -> None:
    assert {one.name for one in RULES.iterdir()} == KNOWN_FOR.keys()
    assert len(KNOWN_FOR) == 10


@pytest.mark.peer("nft")
@pytest.mark.parametrize(("name", "checks"), KNOWN_FOR.items(), ids=KNOWN_FOR)
def test_published_ruleset_is_judged(name: str, checks: set[str]) -> None:
    assert judge(piece(name)) == checks
    assert judge(piece(name), intent=True) >= checks - {"FW014"}


@pytest.mark.peer("nft")
@pytest.mark.parametrize("name", ["docker.rules", "kube-proxy.rules", "mailcow.rules", "shorewall.rules"])
def test_what_nft_hides_of_iptables_is_never_open_or_closed(name: str) -> None:
    """The same rules as nft lists them: matches of extensions cannot be seen there."""
    words = ("unshare", "-rn", "sh", "-c", "iptables-nft-restore && nft -j list ruleset")
    done = subprocess.run(words, input=(RULES / name).read_text(), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this kernel does not take it: {done.stderr.strip()[:80]}")
    assert "FW028" in judge(Piece("live.json", done.stdout))


def test_notation_is_told_by_content() -> None:
    told = {one.name: recognise(piece(one.name)).name for one in RULES.iterdir()}
    assert told["ufw.rules"] == "UFW"
    assert told["firewalld.xml"] == "FIREWALLD"
    assert {told[name] for name in told if name.endswith(".nft")} == {"NFT"}
    rest = {told[name] for name in told if name.endswith(".rules") and name != "ufw.rules"}
    assert rest == {"IPTABLES"}
    assert recognise(Piece("x", ":INPUT\n*filter\n:INPUT DROP\n-A INPUT -s ::/0 -j DROP\nCOMMIT")) is Notation.IP6TABLES


BAD = {
    "nothing": "",
    "prose": "Dear Sir or Madam,",
    "cut-json": '{"nftables": [',
    "other-json": '{"weather": "fine"}',
    "list": "[1, 2]",
    "nft-of-another-shape": '{"nftables": {}}',
    "cut-save": "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport 25 -j ACC",
    "cut-xml": "<zone><service name=",
    "cut-ufw": "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n",
    "defaults-alone": 'DEFAULT_INPUT_POLICY="DROP"\n',
    "group-without-name": '{"SecurityGroups": [{"IpPermissions": []}]}',
    "acl-with-nonsense": '{"NetworkAcls": [{"NetworkAclId": "acl-1", "Entries": [{"RuleNumber": "x"}]}]}',
    "kubernetes-of-something": '{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Secret"}]}',
    "kubernetes-damaged": '{"apiVersion": "v1", "kind": "NetworkPolicy", "metadata": 7}',
    "rules-of-nothing": '{"name": "x", "rules": [7]}',
    "azure-damaged": '{"securityRules": 5}',
    "gcp-damaged": '[{"network": 7, "allowed": []}]',
    "nft-script-with-a-mistake": "table inet x { chain y { type filter hook nowhere } }",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_damaged_input_is_one_error_with_the_name_of_the_file(text: str) -> None:
    with pytest.raises(NotUnderstood) as problem:
        judge(Piece("rules.txt", text))
    assert str(problem.value).startswith("rules.txt: ")
    assert "\n" not in str(problem.value)


def test_group_of_amazon_is_read_with_what_a_policy_does_not_say() -> None:
    default = """{"SecurityGroups": [{"GroupName": "default", "GroupId": "sg-1", "IpPermissions": [
      {"IpProtocol": "tcp", "FromPort": 25, "ToPort": 25, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
      {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
      "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}]}"""
    (group,) = read_scene([Piece("group.json", default)], means()).clouds
    assert (group.provider, group.is_default_group, group.rules_in, group.rules_out) == (
        Provider.AWS_GROUP,
        True,
        2,
        1,
    )
    found = {one.check for one in examine(scene(clouds=(group,)))}
    assert {"FW021", "FW022", "FW024", "FW027"} <= found
    assert aws.GROUP_QUOTA == 60


def test_rules_of_google_that_contradict_each_other_are_found() -> None:
    rules = """[
      {"name": "mail", "network": "n/default", "direction": "INGRESS", "sourceRanges": ["0.0.0.0/0"], "allowed":
       [{"IPProtocol": "tcp", "ports": ["25"]}]},
      {"name": "no-mail", "network": "n/default", "direction": "INGRESS", "sourceRanges": ["0.0.0.0/0"], "denied":
       [{"IPProtocol": "tcp", "ports": ["25"]}]},
      {"name": "old", "network": "n/default", "direction": "INGRESS", "disabled": true, "sourceRanges": ["0.0.0.0/0"],
       "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}]}]"""
    (cloud,) = read_scene([Piece("rules.json", rules)], means()).clouds
    assert cloud.undecided
    assert cloud.disabled == ("old",)
    assert cloud.untargeted == ("mail",)
    assert {"FW013", "FW021", "FW022"} <= {one.check for one in examine(scene(clouds=(cloud,)))}


def test_policies_of_kubernetes_are_read() -> None:
    items = """{"apiVersion": "v1", "kind": "List", "items": [
      {"kind": "Pod", "metadata": {"name": "mail-0", "namespace": "mail", "labels": {"app": "mail"}},
       "spec": {"containers": [{"ports": [{"containerPort": 25}]}]}},
      {"kind": "NetworkPolicy", "metadata": {"name": "mail", "namespace": "mail"}, "spec": {"podSelector":
       {"matchLabels": {"app": "mail"}}, "policyTypes": ["Ingress", "Egress"],
       "ingress": [{"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}], "egress": [{"ports": [{"port": 25}]}]}},
      {"kind": "Service", "metadata": {"name": "smtp", "namespace": "mail"}, "spec": {"type": "LoadBalancer",
       "ports": [{"port": 25}]}}]}"""
    found = [one for one in examine(read_scene([Piece("all.json", items)], means())) if one.check == "FW029"]
    assert [one.subject for one in found] == ["networkpolicy mail/mail", "service mail/smtp"]


@pytest.mark.peer("nft")
def test_script_is_tried_in_a_namespace_only() -> None:
    listing = list_script("flush ruleset\ntable inet only_there { }\n")
    assert "only_there" in listing
    assert "only_there" not in subprocess.run(("nft", "list", "tables"), capture_output=True, text=True).stdout


def test_ten_thousand_rules_are_read_and_judged_in_time() -> None:
    """Two seconds are the aim on two cores that have nothing else to do; the bound is for those that have."""
    lines = [
        f"-A INPUT -s 10.{one >> 8}.{one & 255}.0/24 -p tcp -m tcp --dport {1 + one} -j DROP" for one in range(5_000)
    ]
    lines += [f"-A INPUT -s 100.{64 + (one >> 8)}.{one & 255}.7/32 -j DROP" for one in range(5_000)]
    text = "\n".join(("*filter", ":INPUT DROP", ":OUTPUT ACCEPT", "-A INPUT -i lo -j ACCEPT", *lines, "COMMIT", ""))
    started = time.perf_counter()
    assert "FW009" in judge(Piece("rules.v4", text), intent=True)
    assert time.perf_counter() - started < 10
    assert DIRECT.hostname == PLAN.name
