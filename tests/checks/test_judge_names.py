"""Names that do not resolve, and why; and what several addresses come to."""

from __future__ import annotations

import pytest

from postreeve.checks.conversation import Ending
from postreeve.checks.facts import Facts, Lookup, Names, TargetKind
from postreeve.checks.judge import judge
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY, Confidence
from tests.checks.judge_facts import (
    GREETING,
    HOST,
    V6,
    dead,
    endpoint,
    facts,
    healthy,
    hello,
    said,
    talk,
)

DOMAIN = TargetKind.MAIL_DOMAIN


def a(absence: str = "", failure: str = "", *records: str, **more: object) -> Lookup:
    """A question for an address."""
    return Lookup(HOST, "A", records, absence, failure, **more)  # type: ignore[arg-type]


def unresolved(*lookups: Lookup, kind: TargetKind = TargetKind.HOST, suggestion: str = "") -> Facts:
    """Facts of a name that gave nothing to connect to."""
    return facts(kind=kind, names=Names(HOST, (), lookups, suggestion=suggestion))


CASES: dict[str, tuple[Facts, str]] = {
    "no such name": (unresolved(a("NXDOMAIN")), "dns-nxdomain"),
    "no such name, IPv6 asked too": (unresolved(a("NXDOMAIN"), Lookup(HOST, "AAAA", (), "NXDOMAIN")), "dns-nxdomain"),
    "the resolver is broken": (unresolved(a(failure="SERVFAIL")), "dns-tempfail"),
    "the resolver does not answer": (unresolved(a(failure="timed out")), "dns-tempfail"),
    "signatures do not verify": (
        unresolved(a("", "SERVFAIL"), a("", "", "192.0.2.7", is_checking_disabled=True)), "dnssec-bogus"),
    "both ways fail": (
        unresolved(a("", "SERVFAIL"), a("", "SERVFAIL", is_checking_disabled=True)), "dns-tempfail"),
    "a name without an address": (unresolved(a("NODATA"), Lookup(HOST, "AAAA", (), "NODATA")), "dns-no-address"),
    "null MX": (unresolved(Lookup("example.com", "MX", ("0 .",)), kind=DOMAIN), "null-mx"),
    "no MX and no address": (
        unresolved(Lookup("example.com", "MX", (), "NODATA"), a("NODATA"), kind=DOMAIN), "no-mx"),
    "the mail domain does not exist": (
        unresolved(Lookup("example.com", "MX", (), "NXDOMAIN"), kind=DOMAIN), "dns-nxdomain"),
    "no submission service": (
        unresolved(Lookup("_submissions._tcp.example.com", "SRV", (), "NODATA"), kind=TargetKind.SUBMISSION_DOMAIN),
        "no-srv"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_name_says_why_it_does_not_resolve(name: str) -> None:
    given, cause = CASES[name]
    verdict = judge(given).verdict
    assert (verdict.cause, verdict.confidence, verdict.stage) == (cause, Confidence.HIGH, Stage.DNS)
    assert verdict.evidence
    assert verdict.fix


def test_name_offers_what_was_meant() -> None:
    verdict = judge(unresolved(a("NXDOMAIN"), suggestion="smtp.gmail.com")).verdict
    assert "smtp.gmail.com" in verdict.fix


def test_null_mx_is_the_verdict_though_the_domain_has_an_address() -> None:
    given = facts(healthy(), kind=DOMAIN, lookups=(Lookup("example.com", "MX", ("0 .",)),))
    assert judge(given).verdict.cause == "null-mx"


def test_other_answers_elsewhere_are_said_where_connecting_failed() -> None:
    elsewhere = a("", "", "198.51.100.9", server="9.9.9.9")
    names = Names(HOST, ("10.0.0.7",), (elsewhere,))
    judgement = judge(facts(dead(DialOutcome.TIMED_OUT, "10.0.0.7"), names=names))
    assert "split-horizon" in [one.cause for one in judgement.others]
    assert judge(facts(healthy("10.0.0.7"), names=names)).others == ()


def test_refused_over_ipv6_only_is_the_source_address_fault() -> None:
    busy = said(Stage.BANNER, "", "421 4.7.0 Try again later, closing connection.")
    refused = endpoint(talk(busy, ending=Ending.STOPPED, address=V6, stage=Stage.BANNER), address=V6)
    verdict = judge(facts(refused, healthy())).verdict
    assert (verdict.cause, verdict.confidence) == ("v6-only-421", Confidence.HIGH)


def test_one_address_of_a_host_that_speaks_no_tls_is_partial_trouble() -> None:
    bare = endpoint(talk(GREETING, hello()), address="192.0.2.8")
    verdict = judge(facts(healthy(), bare)).verdict
    assert verdict.cause == "starttls-missing"
    assert any("partial" in line for line in verdict.evidence)


def test_nothing_tried_is_undecided_and_no_crash() -> None:
    verdict = judge(facts(names=Names())).verdict
    assert verdict.cause != HEALTHY
