"""Whose fault it is that no connection came about: ourselves, this network, the far side; and what is no proof."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postreeve.checks.facts import Facts, Vantage
from postreeve.checks.judge import judge
from postreeve.checks.path import DialOutcome, Icmp
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY, Confidence
from tests.checks.judge_facts import (
    GREETING,
    HERE,
    HOST,
    V4,
    V6,
    dead,
    dial,
    endpoint,
    facts,
    healthy,
    hello,
    known_good,
    nowhere,
    other_port,
    said,
    talk,
    trace,
)

OPEN, REFUSED, TIMED_OUT = DialOutcome.OPEN, DialOutcome.REFUSED, DialOutcome.TIMED_OUT
PROHIBITED, UNREACHABLE = DialOutcome.PROHIBITED, DialOutcome.UNREACHABLE
HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
ROUTER = "100.64.0.1"
FOREIGN = said(Stage.BANNER, "", "220 proxy.example.org hi")

CASES: dict[str, tuple[Facts, str, Confidence]] = {
    "this machine's firewall says EPERM": (facts(dead(DialOutcome.FORBIDDEN)), "local-forbidden", HIGH),
    "this machine's firewall rejects with ICMP": (
        facts(dead(REFUSED, icmp=Icmp(3, 3, HERE))), "local-forbidden", HIGH),
    "a source address that is not ours": (facts(dead(DialOutcome.NO_SOURCE)), "source-address", HIGH),
    "no route": (facts(dead(DialOutcome.NO_ROUTE)), "no-route", HIGH),
    "no route for IPv6": (facts(dead(DialOutcome.NO_ROUTE, V6)), "tcp-unreachable-v6", HIGH),
    "refused by the host": (facts(dead(REFUSED), controls=(other_port(OPEN),)), "tcp-refused", HIGH),
    "refused, while the known server is refused too": (
        facts(dead(REFUSED), controls=(known_good(REFUSED), other_port(OPEN))), "blocked-by-network", HIGH),
    "refused, while the known server answers": (
        facts(dead(REFUSED), controls=(known_good(OPEN),)), "tcp-refused", HIGH),
    "timed out here, as at the known server, other ports open": (
        facts(dead(TIMED_OUT), controls=(known_good(TIMED_OUT), known_good(OPEN, 443))), "blocked-by-network", MEDIUM),
    "port 25 timed out here, as at the known server": (
        facts(dead(TIMED_OUT, port=25), controls=(known_good(TIMED_OUT, 25), known_good(OPEN, 443))),
        "port-25-blocked", MEDIUM),
    "port 25 timed out here, as at the known server, other ports of the host open": (
        facts(dead(TIMED_OUT, port=25), controls=(known_good(TIMED_OUT, 25), other_port(OPEN))),
        "port-25-blocked", HIGH),
    "port 25 timed out here, as at the known server, other ports of the host refused by it": (
        facts(dead(TIMED_OUT, port=25), controls=(known_good(TIMED_OUT, 25), other_port(REFUSED))),
        "port-25-blocked", HIGH),
    "nothing answers but a known server that refuses": (
        facts(dead(TIMED_OUT), controls=(known_good(TIMED_OUT), known_good(REFUSED, 443))),
        "blocked-by-network", MEDIUM),
    "timed out, the known server answers, the host refuses other ports": (
        facts(dead(TIMED_OUT), controls=(known_good(OPEN), other_port(REFUSED))), "blocked-far-side", HIGH),
    "nothing answers on any port anywhere": (
        facts(dead(TIMED_OUT), controls=(known_good(TIMED_OUT), known_good(TIMED_OUT, 443))), "no-route", HIGH),
    "timed out, the known server answers, the host does on other ports": (
        facts(dead(TIMED_OUT), controls=(known_good(OPEN), other_port(OPEN))), "blocked-far-side", HIGH),
    "timed out, the known server answers, the host never": (
        facts(dead(TIMED_OUT), controls=(known_good(OPEN), other_port(TIMED_OUT))), "tcp-timeout", MEDIUM),
    "timed out and no controls": (facts(dead(TIMED_OUT)), "tcp-timeout", MEDIUM),
    "timed out, packets for this port end at the first hop": (
        facts(dead(TIMED_OUT, way=trace(ROUTER, "", "", "", "")), controls=(other_port(OPEN),)),
        "blocked-by-network", MEDIUM),
    "prohibited by the host itself": (
        facts(dead(PROHIBITED, icmp=Icmp(3, 13, V4))), "blocked-far-side", HIGH),
    "prohibited by a router, as at the known server": (
        facts(dead(PROHIBITED, icmp=Icmp(3, 13, ROUTER)), controls=(known_good(PROHIBITED), known_good(OPEN, 443))),
        "blocked-by-network", HIGH),
    "prohibited by a router, not at the known server": (
        facts(dead(PROHIBITED, icmp=Icmp(3, 13, ROUTER)), controls=(known_good(OPEN),)), "blocked-far-side", HIGH),
    "prohibited by the first router": (
        facts(dead(PROHIBITED, icmp=Icmp(3, 13, ROUTER), way=trace(ROUTER))), "blocked-by-network", HIGH),
    "prohibited by a router far away, nothing to compare with": (
        facts(dead(PROHIBITED, icmp=Icmp(3, 13, ROUTER), way=trace("", "", "", "", ROUTER))),
        "blocked-on-the-way", MEDIUM),
    "host unreachable, says a router": (
        facts(dead(UNREACHABLE, icmp=Icmp(3, 1, ROUTER))), "tcp-unreachable", HIGH),
    "unreachable, nobody says why": (facts(dead(UNREACHABLE)), "tcp-unreachable", MEDIUM),
    "somebody answers where nobody can": (
        facts(endpoint(talk(GREETING, hello())), controls=(nowhere(OPEN, banner="220 proxy"),)),
        "transparent-proxy", HIGH),
    "the known server greets in the same words": (
        facts(endpoint(talk(FOREIGN, hello("STARTTLS"))), controls=(known_good(OPEN, banner=FOREIGN.text),)),
        "transparent-proxy", MEDIUM),
    "two known servers, perhaps of one operator, greet in the same words": (
        facts(endpoint(talk(FOREIGN, hello("STARTTLS"))), controls=(
            known_good(OPEN, banner=FOREIGN.text),
            replace(known_good(OPEN, banner=FOREIGN.text), dial=dial(OPEN, "203.0.113.10")))),
        "transparent-proxy", MEDIUM),
    "an operator's two servers greet in the same words": (
        facts(healthy(), controls=(known_good(OPEN, banner="220 mail.example.com ESMTP"),)), HEALTHY, HIGH),
    "IPv6 is dead, IPv4 works": (facts(dead(TIMED_OUT, V6), healthy()), "ipv6-broken", HIGH),
    "IPv6 is refused, IPv4 works": (facts(dead(REFUSED, V6), healthy()), "ipv6-broken", HIGH),
    "this machine has no IPv6, IPv4 works": (
        facts(dead(DialOutcome.NO_ROUTE, V6), healthy(), vantage=Vantage()), HEALTHY, HIGH),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_path_is_blamed_on_whoever_is_to_blame(name: str) -> None:
    given, cause, confidence = CASES[name]
    verdict = judge(given).verdict
    assert (verdict.cause, verdict.confidence) == (cause, confidence), verdict
    assert verdict.evidence
    assert verdict.fix or cause == HEALTHY


def test_path_never_accuses_the_target_while_our_own_port_is_dropped() -> None:
    given = facts(
        dead(TIMED_OUT, port=25),
        dead(TIMED_OUT, "192.0.2.8", 25),
        controls=(known_good(TIMED_OUT, 25), known_good(OPEN, 443)),
        is_application=False,
    )
    judgement = judge(given)
    assert {one.cause for one in (judgement.verdict, *judgement.others)} == {"port-25-blocked"}


def test_path_names_the_last_machine_that_answered() -> None:
    given = facts(dead(TIMED_OUT, way=trace("10.0.0.1", ROUTER, "", "")))
    assert any(ROUTER in line and "hop 2" in line for line in judge(given).verdict.evidence)


def test_path_says_when_the_name_is_this_machine() -> None:
    verdict = judge(facts(dead(REFUSED, "127.0.0.1"))).verdict
    assert verdict.cause == "tcp-refused"
    assert any("this machine itself" in line for line in verdict.evidence)


def test_path_of_one_dead_mx_host_is_partial_trouble() -> None:
    given = facts(dead(TIMED_OUT, host="mx1.example.com"), healthy("192.0.2.8"), is_application=False)
    judgement = judge(given)
    assert judgement.verdict.cause == HEALTHY
    assert any("1 of 2" in line for line in judgement.verdict.evidence)
    assert [one.cause for one in judgement.others] == ["tcp-timeout"]
    assert [one.subject for one in judgement.findings if one.check == "probe-tcp-timeout"] == [f"{V4}:587"]


def test_path_through_a_proxy_is_no_matter_when_the_certificate_proves_the_server() -> None:
    given = facts(healthy(), controls=(nowhere(OPEN, port=25),))
    assert judge(given).verdict.cause == HEALTHY


def test_path_fix_names_host_and_port() -> None:
    given = facts(dead(TIMED_OUT), controls=(known_good(OPEN), other_port(OPEN)))
    assert "587" in judge(given).verdict.fix
    given = facts(dead(TIMED_OUT, port=25), controls=(known_good(TIMED_OUT, 25), known_good(OPEN, 443)))
    assert HOST in judge(given).verdict.fix


def test_path_fix_says_how_this_network_opens_port_25() -> None:
    here = Vantage("hetzner-cloud", "sys_vendor of this machine is 'Hetzner'")
    given = facts(dead(TIMED_OUT, port=25), controls=(known_good(TIMED_OUT, 25), other_port(OPEN)), vantage=here)
    verdict = judge(given).verdict
    assert "Hetzner Cloud; there: after the first paid invoice" in verdict.fix
    assert any("network of Hetzner Cloud" in line for line in verdict.evidence)
    assert "; there" not in judge(facts(dead(TIMED_OUT, port=25), controls=given.controls)).verdict.fix


def test_path_joins_ports_that_ended_alike_in_one_line() -> None:
    given = facts(dead(TIMED_OUT), controls=(other_port(REFUSED, 25), other_port(REFUSED, 443), other_port(OPEN, 80)))
    lines = [line for line in judge(given).verdict.evidence if line.startswith("control")]
    assert len(lines) == 2
    assert "other ports of the same host: 25, 443: TCP was refused" in lines[0]
