"""`postreeve firewall verify` on a host made of namespaces: right rules, and a mistake in each layer."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postreeve.firewall.read.aws import read_groups
from tests.enforce.program import run, run_json, write_config
from tests.lab.certificates import Authority
from tests.lab.pair import CLIENT_4, Pair, pair_or_skip
from tests.lab.waiting import until

pytestmark = pytest.mark.peer("nft", "ip")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_or_skip() as made:
        yield made


@pytest.fixture
def applied(pair: Pair, tmp_path: Path) -> Iterator[Pair]:
    """The plan is in force, the listener and SSH are there, and so is the name server."""
    write_config(tmp_path)
    with pair.listen(pair.peer, (53,)), pair.listen(pair.host, (22, 25)):
        run_json(pair, tmp_path, "apply", "--yes", "--no-rehearsal")
        yield pair


def differing(document: Any) -> dict[tuple[str, str, int, str], str]:
    """Direction, family, port and way of all that is not as intended: why."""
    return {
        (row["direction"], row["family"], row["port"], one["way"]): one["cause"]
        for row in document["rows"]
        for one in row["differs"]
    }


def test_applied_rules_are_as_intended_by_all_three_ways(applied: Pair, tmp_path: Path) -> None:
    document = run_json(applied, tmp_path, "verify")
    assert differing(document) == {}
    rows = document["rows"]
    strangers = {
        (row["port"], row["family"]): (row["intended"], row["rules"], row["kernel"])
        for row in rows
        if row["direction"] == "in" and row["class"] == "strangers"
    }
    assert {strangers[25, one] for one in ("ipv4", "ipv6")} == {("open",) * 3}
    assert {strangers[22, one] for one in ("ipv4", "ipv6")} == {("silent",) * 3}
    live = {row["live"] for row in rows if row["peer"] == CLIENT_4 and row["port"] == 53 and row["protocol"] == "tcp"}
    assert "open" in live
    # Every connection was really tried in the kernel.
    assert "unknown" not in {row["kernel"] for row in rows}
    assert all(row["rules"] == row["kernel"] for row in rows if row["protocol"] == "tcp")


def _foreign(pair: Pair, _: Path) -> list[str]:
    table = "table inet other { chain i { type filter hook input priority 5; tcp dport 25 drop\n}\n}\n"
    pair.do(pair.host, "nft", "-f", "-", text=table)
    return []


def _no_ipv6(pair: Pair, _: Path) -> list[str]:
    table = "table ip6 old { chain i { type filter hook input priority 5; tcp dport 25 drop\n}\n}\n"
    pair.do(pair.host, "nft", "-f", "-", text=table)
    return []


def _dnat(pair: Pair, _: Path) -> list[str]:
    table = (
        "table ip nat { chain p { type nat hook prerouting priority -100; tcp dport 25 dnat to 172.17.0.2:25\n}\n}\n"
    )
    pair.do(pair.host, "nft", "-f", "-", text=table)
    return []


def _group(_: Pair, directory: Path) -> list[str]:
    group = {
        "GroupId": "sg-0123456789abcdef0",
        "GroupName": "mail",
        "VpcId": "vpc-1",
        "OwnerId": "123456789012",
        "Description": "web only",
        "IpPermissions": [
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
                "UserIdGroupPairs": [],
                "PrefixListIds": [],
            }
        ],
        "IpPermissionsEgress": [
            {
                "IpProtocol": "-1",
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
                "UserIdGroupPairs": [],
                "PrefixListIds": [],
            }
        ],
    }
    text = json.dumps({"SecurityGroups": [group]})
    assert read_groups(text)
    (directory / "group.json").write_text(text)
    return [str(directory / "group.json")]


def _next_hop(pair: Pair, _: Path) -> list[str]:
    table = "table inet hop { chain i { type filter hook input priority 0; tcp dport 53 drop\n}\n}\n"
    pair.do(pair.peer, "nft", "-f", "-", text=table)
    return []


MISTAKES: dict[str, tuple[Callable[[Pair, Path], list[str]], set[tuple[str, str, int, str]], str]] = {
    "a table of somebody else": (
        _foreign,
        {("in", family, 25, way) for family in ("ipv4", "ipv6") for way in ("rules", "kernel")},
        "inet other",
    ),
    "IPv6 forgotten": (_no_ipv6, {("in", "ipv6", 25, way) for way in ("rules", "kernel")}, "old"),
    "sent on to a container": (_dnat, {("in", "ipv4", 25, "rules")}, "172.17.0.2"),
    "a security group": (_group, {("in", family, 25, "rules") for family in ("ipv4", "ipv6")}, "security group"),
    "the next hop": (_next_hop, {("out", "ipv4", 53, "live")}, "nobody answered"),
}


@pytest.mark.parametrize(("plant", "where", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_named(
    applied: Pair,
    tmp_path: Path,
    plant: Callable[[Pair, Path], list[str]],
    where: set[tuple[str, str, int, str]],
    words: str,
) -> None:
    found = differing(run_json(applied, tmp_path, "verify", *plant(applied, tmp_path), expect=1))
    assert set(found) == where
    assert any(words in cause for cause in found.values()), found


def test_a_missing_listener_is_a_reset(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    run_json(pair, tmp_path, "apply", "--yes", "--no-rehearsal")
    with pair.listen(pair.host, (22,)):
        done = run(pair, tmp_path, "verify", "--offline")
    assert done.returncode == 1
    assert "nothing listens on port 25 by IPv4" in done.stdout
    assert "fix: ss -ltnp 'sport = :25'" in done.stdout


def test_wrong_input_is_one_error(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    (tmp_path / "cut.json").write_text('{"SecurityGroups": [')
    done = run(pair, tmp_path, "verify", str(tmp_path / "cut.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "cut.json" in done.stderr


def test_a_second_postreeve_looks_from_outside(applied: Pair, tmp_path: Path) -> None:
    # By its first address it would be the administrator's.
    applied.do(applied.peer, "ip", "route", "replace", "default", "dev", "eth0", "src", CLIENT_4)
    authority = Authority()
    certificate, key = authority.issue(CLIENT_4).write(tmp_path, "probe")
    trusted = authority.write(tmp_path / "ca.pem")
    (tmp_path / "token").write_text("a-token-of-the-test-that-is-long-enough\n")
    command = ["ip", "netns", "exec", applied.peer, sys.executable, "-m", "postreeve", "probe-server"]
    options = ["--listen", f"{CLIENT_4}:443", "--certificate", str(certificate), "--key", str(key)]
    tokens = ["--token-file", str(tmp_path / "token"), "--hostname", "probe.example.com"]
    server = subprocess.Popen([*command, *options, *tokens], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: applied.dial(CLIENT_4, 443, within=applied.host) == "open", "the probe-server", 30)
        words = ["--outside", f"https://{CLIENT_4}", "--outside-token-file", str(tmp_path / "token")]
        document = run_json(applied, tmp_path, "verify", *words, "--ca-file", str(trusted))
        assert document["unseen"] == []
        rows = document["rows"]
        seen = {
            (row["family"], row["port"]): row["live"]
            for row in rows
            if row["class"] == "strangers" and row["direction"] == "in"
        }
        assert (seen["ipv4", 25], seen["ipv4", 22]) == ("open", "silent")
        # It was asked by IPv4 alone, and saw nothing of the other family.
        assert seen["ipv6", 25] == "unknown"
    finally:
        server.terminate()
        server.wait(10)
