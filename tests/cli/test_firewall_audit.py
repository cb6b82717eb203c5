"""`postreeve firewall audit`: files of any notation, this machine's rules in a namespace, one line for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from postreeve import cli
from tests.cli.conftest import Done

PUBLISHED = Path(__file__).resolve().parents[1] / "checks" / "firewall" / "published"
CONFIG = """
hostname = "mail.example.org"
data_dir = "data"
user = "nobody"
[tls]
certificate = "c.pem"
key = "k.pem"
[dns]
servers = ["192.0.2.53"]
[[listener]]
port = 25
role = "relay"
[[domain]]
name = "example.org"
[[route]]
domains = ["example.org"]
via = "maildir"
[[route]]
domains = ["*"]
via = "mx"
"""


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.delenv("POSTREEVE_CONFIG", raising=False)
    file = tmp_path / "postreeve.toml"
    file.write_text(CONFIG)

    def do(*arguments: object, config: Path | None = file) -> Done:
        chosen = ["--config", str(config)] if config else []
        monkeypatch.setattr(sys, "argv", ["postreeve", "firewall", "audit", *chosen, *map(str, arguments)])
        status = cli.main()
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return do


def test_errors_come_first_with_rule_and_command(audit: Any) -> None:
    done = audit(PUBLISHED / "docker.rules")
    assert done.status == 1
    assert "FW014 error: A published port goes past the rules: port 2587, IPv4" in done.out
    assert "-A DOCKER -d 172.17.0.2/32" in done.out
    assert "fix: iptables -I DOCKER-USER" in done.out
    assert "not looked at: the rules for IPv6: no file of ip6tables-save" in done.out
    levels = [line.split()[1] for line in done.out.splitlines() if line.startswith("FW")]
    assert levels == sorted(levels, key=["error:", "warning:", "note:"].index)


def test_several_files_are_one_machine(audit: Any, tmp_path: Path) -> None:
    six = tmp_path / "rules.v6"
    six.write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    document = audit(PUBLISHED / "docker.rules", six, "--json").json
    assert document["read"] == {str(PUBLISHED / "docker.rules"): "iptables-save", str(six): "ip6tables-save"}
    assert "FW006" in {one["check"] for one in document["findings"]}
    assert all(one.keys() == {"check", "level", "title", "subject", "because", "fix"} for one in document["findings"])
    assert document["unseen"] == []


def test_list_names_thirty_checks(audit: Any) -> None:
    assert [one["id"] for one in audit("--list", "--json").json] == [f"FW{number:03}" for number in range(1, 31)]


@pytest.mark.parametrize("text", ["", "{", '{"nftables": 3}', "*filter\n:INPUT DROP\n", "hello"])
def test_damaged_file_is_one_line(audit: Any, tmp_path: Path, text: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text(text)
    done = audit(bad)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert done.err.startswith(f"postreeve: {bad}: ")


def test_missing_and_binary_files_are_one_line(audit: Any, tmp_path: Path) -> None:
    assert audit(tmp_path / "nowhere").err == f"postreeve: {tmp_path / 'nowhere'}: No such file or directory\n"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert audit(tmp_path / "binary").err == f"postreeve: {tmp_path / 'binary'}: not text\n"


@pytest.mark.peer("nft")
def test_rules_in_force_are_read_where_the_command_runs(tmp_path: Path) -> None:
    """In a namespace: rules that iptables made beside some of nft's, and what iptables hides from nft is read."""
    file = tmp_path / "postreeve.toml"
    file.write_text(CONFIG)
    script = f"""
      iptables-nft-restore < {PUBLISHED / "docker.rules"} &&
      nft add table inet own && nft 'add chain inet own input {{ type filter hook input priority 5; policy drop; }}' &&
      nft add rule inet own input tcp dport 25 accept &&
      exec {sys.executable} -m postreeve firewall audit --live --json --config {file}
    """
    words = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["read"] == {"the rules in force": "nft -j list ruleset, iptables-nft-save"}
    subjects = {(one["check"], one["subject"]) for one in document["findings"]}
    assert ("FW001", "relay-25 port 25, IPv4") in subjects
    assert ("FW014", "port 2587, IPv4") in subjects
    assert ("FW007", "IPv6, in") in subjects
    refusing = next(one for one in document["findings"] if one["subject"] == "relay-25 port 25, IPv4")
    assert refusing["fix"].startswith("iptables -I INPUT -s 0.0.0.0/0 -p tcp --dport 25 -j ACCEPT")
