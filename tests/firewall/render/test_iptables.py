"""iptables: what the restore files say, what they cannot say, and that they leave everybody else's rules alone."""

from __future__ import annotations

import ipaddress
import random
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import (
    CannotExpress,
    Direction,
    Family,
    Flow,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)
from postreeve.firewall.intent import make_policy
from postreeve.firewall.read.iptables import read_own
from postreeve.firewall.render.iptables import CHAINS, hook, render, render_removal, unhook
from tests.firewall.chance import draw_policy
from tests.firewall.dress import dress, plain
from tests.firewall.test_intent import DIRECT, SMART

SAVED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT
COMMIT
"""
FLOW = Flow(
    "in-test",
    Direction.IN,
    Family.IPV4,
    Protocol.TCP,
    Verdict.ACCEPT,
    (ipaddress.ip_network("198.51.100.0/24"),),
    (Ports(25, 25),),
    because="a test",
)


def policy_of(*flows: Flow) -> Policy:
    return Policy("mail.example.org", flows, Verdict.DROP, Verdict.ACCEPT)


def rules(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("-A")]


@given(st.integers(0, 2**32))
def test_render_is_read_back(seed: int) -> None:
    chance = random.Random(seed)
    policy = dress(chance, draw_policy(chance, users=("root", "postreeve"))[0])
    files = render(policy)
    assert replace(read_own(files.ipv4, files.ipv6), name="") == plain(policy)


@pytest.mark.parametrize("exposure", [DIRECT, SMART], ids=["direct", "smarthost"])
def test_render_of_a_mail_server_is_read_back(exposure: object) -> None:
    policy = make_policy(exposure)  # type: ignore[arg-type]
    files = render(policy)
    assert replace(read_own(files.ipv4, files.ipv6), name="") == plain(policy)
    assert files == render(policy)


def test_render_carries_the_reasons() -> None:
    files = render(make_policy(DIRECT))
    assert "# mail for example.org; without it: no mail comes in" in files.ipv4
    assert '--comment "in-relay-25-ipv6"' in files.ipv6


def test_multiport_takes_fifteen_ports_of_which_ranges_count_twice() -> None:
    ports = (*(Ports(number, number + 1) for number in range(100, 180, 10)), Ports(500, 500), Ports(600, 600))
    lists = [
        line.split("--dports ")[1].split()[0] for line in rules(render(policy_of(replace(FLOW, ports=ports))).ipv4)[:2]
    ]
    assert [len(one.replace(":", ",").split(",")) for one in lists] == [14, 4]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(30, 60), "--hashlimit-upto 30/min --hashlimit-burst 30"),
        (Rate(30, 300), "--hashlimit-upto 6/min --hashlimit-burst 30"),
        (Rate(7, 300), "--hashlimit-upto 84/hour --hashlimit-burst 7"),
        (Rate(5, 1), "--hashlimit-upto 5/sec --hashlimit-burst 5"),
    ],
    ids=["minute", "five-minutes", "odd", "second"],
)
def test_rate_is_a_burst_and_what_fills_it_again(rate: Rate, words: str) -> None:
    assert words in render(policy_of(replace(FLOW, rate=rate))).ipv4


def test_rate_of_ipv6_counts_networks_of_64_bits() -> None:
    peers = (ipaddress.ip_network("2001:db8::/32"),)
    flow = replace(FLOW, family=Family.IPV6, peers=peers, rate=Rate(30, 60))
    assert "--hashlimit-srcmask 64" in render(policy_of(flow)).ipv6


@pytest.mark.parametrize(
    ("flow", "what"),
    [
        (replace(FLOW, rate=Rate(1, 172_801)), "1 connections in 172801 seconds"),
        (replace(FLOW, interface="a-long-interface"), "interface"),
        (replace(FLOW, protocol=Protocol.ICMP, ports=(), icmp_types=(255,), state=State.ANY), "type 255"),
    ],
    ids=["rate", "interface", "icmp"],
)
def test_render_refuses_what_it_cannot_say(flow: Flow, what: str) -> None:
    with pytest.raises(CannotExpress, match=what) as caught:
        render(policy_of(flow))
    assert caught.value.flow == "in-test"
    assert caught.value.alternative


def test_hook_adds_each_jump_once_and_first() -> None:
    text = render(policy_of(FLOW)).ipv4
    first = hook(text, SAVED)
    assert "-I INPUT 1 -j POSTREEVE-IN\n" in first
    assert "-I FORWARD 1 -j POSTREEVE-FWD\nCOMMIT\n" in first
    jumps = "-A INPUT -j POSTREEVE-IN\n-A OUTPUT -j POSTREEVE-OUT\n-A FORWARD -j POSTREEVE-FWD\n"
    assert hook(text, SAVED.replace("-A INPUT", jumps + "-A INPUT")) == text


def test_hook_moves_a_jump_that_somebody_pushed_back() -> None:
    pushed = SAVED.replace("COMMIT", "-A INPUT -j POSTREEVE-IN\nCOMMIT")
    assert "-D INPUT -j POSTREEVE-IN\n-I INPUT 1 -j POSTREEVE-IN\n" in hook(render(policy_of(FLOW)).ipv4, pushed)


def test_hook_goes_before_the_rules_of_docker_where_docker_wants_it() -> None:
    docker = SAVED.replace("-A INPUT", ":DOCKER-USER - [0:0]\n-A INPUT")
    assert "-I DOCKER-USER 1 -j POSTREEVE-FWD" in hook(render(policy_of(FLOW)).ipv4, docker)


def in_namespace(script: str) -> str:
    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SHOW = "iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'; ipset -n list\n"


@pytest.mark.peer("iptables", "ipset", "namespaces")
def test_script_loads_again_and_again_and_goes_away_without_a_trace() -> None:
    script = render(make_policy(DIRECT)).script.replace("postreeve ", "daemon ").replace("set -eu", "")
    before = "iptables -N THEIRS; iptables -A INPUT -j THEIRS; ip6tables -N THEIRS\n"
    load = f'cat >"$dir/load" <<\'SCRIPT\'\n{script}SCRIPT\nsh -eu "$dir/load"\n'
    remove = f'cat >"$dir/remove" <<\'SCRIPT\'\n{render_removal()}SCRIPT\nsh "$dir/remove"\n'
    work = (
        f'dir=$(mktemp -d); trap \'rm -r "$dir"\' EXIT\n{before}{SHOW}echo ---\n{load}{SHOW}echo ---\nsh "$dir/load"\n'
    )
    plain_, once, twice, after = in_namespace(f'{work}{SHOW}echo ---\n{remove}sh "$dir/remove"\n{SHOW}').split("---\n")
    assert once == twice != plain_
    assert after == plain_
    assert "-A INPUT -j POSTREEVE-IN\n-A INPUT -j THEIRS\n" in once
    assert "postreeve-bans6" in once


@pytest.mark.peer("iptables", "ipset", "namespaces")
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_unhook_removes_ours_and_nothing_else(variant: str) -> None:
    text = hook(render(policy_of(FLOW)).ipv4, SAVED)
    script = (
        f"iptables-{variant}-restore <<'END'\n{SAVED}END\niptables-{variant}-restore --noflush <<'END'\n{text}END\n"
    )
    saved = in_namespace(f"{script}iptables-{variant}-save")
    assert all(f":{chain} " in saved for chain in CHAINS)
    removal = f"iptables-{variant}-restore --noflush <<'END'\n{unhook(saved)}END\niptables-{variant}-save"
    after = in_namespace(f"{script}{removal}")
    assert "POSTREEVE" not in after
    assert "-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT" in after
