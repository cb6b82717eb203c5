"""`postreeve firewall plan`, `render` and `diff`: from a configuration file to rules that a real kernel takes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from postreeve import cli
from postreeve.cli.firewall_target import TARGETS
from tests.cli.conftest import Done

PUBLISHED = Path(__file__).resolve().parents[1] / "checks" / "firewall" / "published"
CONFIG = """
hostname = "mail.example.org"
data_dir = "{directory}"
user = "nobody"
[tls]
certificate = "c.pem"
key = "k.pem"
[dns]
servers = ["192.0.2.53"]
[[listener]]
port = 25
role = "relay"
[[listener]]
port = 465
role = "submission"
[[domain]]
name = "example.org"
[[route]]
domains = ["example.org"]
via = "maildir"
[[route]]
domains = ["*"]
via = "smarthost"
host = "{host}"
[firewall]
submission_from = ["198.51.100.0/24", "2001:db8:51::/48"]
[[firewall.extra]]
port = 80
allow_from = "world"
because = "certificates by ACME"
"""
IDS = {
    "aws": "sg-12345678",
    "aws-acl": "acl-12345678",
    "digitalocean": "mail",
    "kubernetes": "app=mail",
    "cilium": "app=mail",
    "fail2ban": "nftables",
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    path = tmp_path / "postreeve.toml"
    path.write_text(CONFIG.format(directory=tmp_path, host="203.0.113.25"))
    return path


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def do(command: str, *arguments: object) -> Done:
        words = ["postreeve", "firewall", command, "--config", str(file), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        status = cli.main()
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return do


def listed(rules: str) -> str:
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    words = [*command, "sh", "-c", "nft -f - && nft -j list ruleset"]
    return subprocess.run(words, input=rules, capture_output=True, text=True, check=True).stdout


def test_plan_says_what_why_and_what_breaks(run: Any) -> None:
    done = run("plan")
    assert done.status == 0
    assert "in accept tcp 25 everybody mail for our domains comes from everywhere no mail comes in" in done.words
    assert "in accept tcp 465 198.51.100.0/24, 2001:db8:51::/48 our users submit mail" in done.words
    assert "out accept tcp 587 of nobody 203.0.113.25/32 mail leaves by 203.0.113.25" in done.words
    assert "everything else that comes in is dropped" in done.words


def test_plan_in_json_has_every_flow_with_its_reason(run: Any) -> None:
    document = json.loads(run("plan", "--json").out)
    assert document["default"] == {"in": "drop", "out": "reject"}
    flows = {one["id"]: one for one in document["flows"]}
    assert flows["in-relay-25-ipv6"]["peers"] == ["::/0"]
    assert flows["in-extra-80-ipv4"]["because"] == "certificates by ACME"
    assert all(one["because"] and one["without"] for one in flows.values())


def test_name_that_cannot_be_resolved_is_an_error(run: Any, file: Path) -> None:
    file.write_text(CONFIG.format(directory=file.parent, host="nowhere.invalid"))
    done = run("plan")
    assert done.status == 1
    assert done.err.startswith("postreeve: nowhere.invalid: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.peer("nft")
def test_rendered_rules_load_and_mean_the_plan(run: Any, tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    live.write_text(listed(run("render").out))
    done = run("diff", live, "plan")
    assert (done.status, done.out.strip()) == (0, "no difference")


@pytest.mark.peer("nft")
def test_diff_names_what_was_opened_by_hand(run: Any, tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    live.write_text(listed(run("render").out + "insert rule inet postreeve input tcp dport 2525 accept\n"))
    done = run("diff", "plan", live)
    assert done.status == 1
    assert (
        "added: tcp 2525 from 0.0.0.0/0: was: is dropped; now: passes (inet postreeve input: tcp dport 2525" in done.out
    )
    changes = json.loads(run("diff", live, "plan", "--json").out)["changes"]
    assert {(one["kind"], one["family"]) for one in changes} == {("removed", "ipv4"), ("removed", "ipv6")}
    assert all(one["ranges"] == [[2525, 2525]] for one in changes)
    assert {one["set"] for one in changes} == {None, "bans4", "bans6"}


@pytest.mark.parametrize(
    "name", sorted(one.name for one in PUBLISHED.iterdir() if one.is_file() and one.suffix not in (".md", ".py"))
)
def test_diff_takes_what_the_audit_takes(run: Any, name: str) -> None:
    audited = run("audit", PUBLISHED / name)
    done = run("diff", PUBLISHED / name, PUBLISHED / name)
    assert (done.status == 2) is (audited.status == 2), done.err
    if done.status == 0:
        assert done.out.strip() == "no difference"


def test_plan_of_terraform_is_audited_and_compared(run: Any, tmp_path: Path) -> None:
    values = {"ip_protocol": "tcp", "from_port": 2525, "to_port": 2525, "cidr_ipv4": "0.0.0.0/0"}
    rule = {"address": "a.b", "mode": "managed", "type": "aws_vpc_security_group_ingress_rule", "values": values}
    plan, other = tmp_path / "plan.json", tmp_path / "other.json"
    plan.write_text(json.dumps({"planned_values": {"root_module": {"resources": [rule]}}}))
    rule["values"] = values | {"from_port": 25, "to_port": 25}
    other.write_text(json.dumps({"planned_values": {"root_module": {"resources": [rule]}}}))
    assert run("audit", plan).status == 1
    done = run("diff", plan, other)
    assert done.status == 1
    assert "added: tcp 25 from 0.0.0.0/0" in done.out
    plan.write_text(json.dumps({"planned_values": {"root_module": {"resources": []}}}))
    assert "no security group or network ACL of Amazon" in run("diff", plan, other).err


@pytest.mark.parametrize("target", [one.name for one in TARGETS])
def test_every_target_is_written_the_same_every_time(run: Any, target: str, tmp_path: Path) -> None:
    words = ("--target", target, "--nearest", "--id", IDS.get(target, "postreeve"))
    first, second = run("render", *words), run("render", *words)
    assert first.status == 0, first.err
    assert first.out == second.out != ""
    assert run("render", *words, "--directory", tmp_path / "out").status == 0
    written = [path.read_bytes().decode() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert first.out in written
    assert "25" in "".join(written) or target in ("fail2ban", "crowdsec")


def test_target_that_cannot_hold_a_rule_says_which_and_what_instead(run: Any) -> None:
    done = run("render", "--target", "ufw")
    assert (done.status, done.out) == (1, "")
    assert "in-bans-ipv4" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("render", "--target", "ipchains"), "is none of: nftables", id="target"),
        pytest.param(("render", "--target", "aws"), "needs --id", id="no-id"),
        pytest.param(("diff", "/nowhere/rules", "plan"), "/nowhere/rules: No such file", id="no-file"),
    ],
)
def test_wrong_usage_is_one_line(run: Any, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.status == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"nftables": 7}', "hello", "*filter\n:INPUT DROP [0:0]\n", "\x00\x01"]
)
def test_file_that_is_no_ruleset_is_one_line(run: Any, tmp_path: Path, text: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text(text)
    done = run("diff", bad, "plan")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"postreeve: {bad}: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.peer("nft")
def test_audit_quotes_the_rule_that_closes_a_port(run: Any, tmp_path: Path) -> None:
    rules = run("render").out
    live = tmp_path / "live.json"
    live.write_text(listed(rules + "insert rule inet postreeve input ip saddr 0.0.0.0/0 tcp dport 25 drop\n"))
    done = run("audit", live)
    assert done.status == 1
    assert "FW001 error: A port that is needed is closed: relay-25 port 25, IPv4" in done.out
    assert "tcp dport 25 drop" in done.out
    live.write_text(listed(rules))
    checks = {one["check"] for one in json.loads(run("audit", live, "--json").out)["findings"]}
    assert not checks & {
        "FW001",
        "FW004",
        "FW005",
        "FW006",
        "FW007",
        "FW008",
        "FW009",
        "FW010",
        "FW011",
        "FW012",
        "FW013",
    }


def test_audit_of_no_ruleset_is_one_line(run: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("{")
    done = run("audit", bad)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
