"""TLS and certificates as seen by a probe, where no server of the lab shows them: Facts made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postreeve.checks.conversation import Certificate, Ending, Opening, Revocation, Tls, Trouble
from postreeve.checks.facts import Facts, Intent, Vantage
from postreeve.checks.judge import judge
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence
from tests.checks.judge_facts import GREETING, HOST, NOW, V4, dead, endpoint, facts, hello, other_port, said, talk

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
DAY = 86_400.0
LEAF = Certificate(
    f"CN={HOST}", "CN=Intermediate", (HOST,), HOST, NOW - 10 * DAY, NOW + 80 * DAY, "EC secp256r1", "sha256", "ab" * 32,
    ("serverAuth",), issuer_url="http://ca.example.net/i.der",
)  # fmt: skip
NO_ISSUER = (Trouble(20, 0, "unable to get local issuer certificate"), Trouble(21, 0, "unable to verify the first"))
GOOD = Tls(HOST, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", 0.02, (LEAF,), (), True)
STARTTLS = said(Stage.TLS, "STARTTLS", "220 go")


def shown(leaf: Certificate = LEAF, *troubles: Trouble, **more: object) -> Facts:
    """A server that shows this over STARTTLS."""
    tls = replace(GOOD, chain=(leaf,), troubles=troubles, **more)  # type: ignore[arg-type]
    inside = hello("AUTH PLAIN", is_in_tls=True)
    return facts(endpoint(talk(GREETING, hello("STARTTLS"), STARTTLS, inside, tls=tls)))


def failed(ending: Ending, **tls: object) -> Facts:
    """A handshake after STARTTLS that came to nothing."""
    broken = Tls(HOST, **tls)  # type: ignore[arg-type]
    return facts(endpoint(talk(GREETING, hello("STARTTLS"), STARTTLS, tls=broken, ending=ending, stage=Stage.TLS)))


def wrapped(ending: Ending, error: str, heard: str = "") -> Facts:
    """A ClientHello sent at once to which no TLS came."""
    one = talk(tls=Tls(HOST, error=error, heard=heard), opening=Opening.TLS, ending=ending, stage=Stage.TLS)
    return facts(endpoint(one), intent=Intent.IMPLICIT)


CASES: dict[str, tuple[Facts, str, Confidence]] = {
    "the issuer's certificate completes the chain": (
        shown(LEAF, *NO_ISSUER, is_completed_by_issuer=True), "cert-missing-intermediate", HIGH),
    "the issuer's certificate leads nowhere": (
        shown(LEAF, *NO_ISSUER, is_completed_by_issuer=False), "cert-private-root", HIGH),
    "the issuer's certificate is not to be had": (
        shown(LEAF, *NO_ISSUER, missing_issuer="CN=Intermediate"),
        "cert-missing-intermediate", MEDIUM),
    "issuer unknown, which does not say where its certificate is": (
        shown(replace(LEAF, issuer_url=""), *NO_ISSUER, missing_issuer="CN=Intermediate"),
        "cert-private-root", MEDIUM),
    "an antivirus program opens TLS": (
        shown(replace(LEAF, issuer="CN=Avast Mail Shield Root"), *NO_ISSUER), "cert-chain-root", HIGH),
    "revoked": (shown(LEAF, revocation=Revocation.REVOKED, is_stapled=True), "cert-revoked", HIGH),
    "path too long": (shown(LEAF, Trouble(25, 2, "path length constraint exceeded")), "cert-untrusted", HIGH),
    "expired and of another name: the dates first": (
        shown(replace(LEAF, not_after=NOW - DAY), Trouble(10, 0, "expired"), Trouble(62, 0, "mismatch"),
              is_name_right=False), "cert-expired", HIGH),
    "large packets lost": (failed(Ending.TIMED_OUT, error="TIMED_OUT"), "mtu", MEDIUM),
    "an alert that says no more": (failed(Ending.TLS_FAILED, alert="decode_error", error="X"), "tls-alert", HIGH),
    "an error of ours that nobody knows": (failed(Ending.TLS_FAILED, error="ODD"), "tls-alert", MEDIUM),
    "handshake failure, nothing to compare": (
        failed(Ending.TLS_FAILED, alert="handshake_failure"), "tls-cipher", MEDIUM),
    "key too small for our library": (failed(Ending.TLS_FAILED, error="EE_KEY_TOO_SMALL"), "cert-weak", HIGH),
    "ClientHello, then silence": (wrapped(Ending.TIMED_OUT, "TIMED_OUT"), "silent-greeting", MEDIUM),
    "ClientHello, then the end": (wrapped(Ending.CLOSED, "UNEXPECTED_EOF"), "immediate-close", MEDIUM),
    "ClientHello, then a reset": (wrapped(Ending.RESET, "CONNECTION_RESET"), "reset", MEDIUM),
    "ClientHello, then noise": (wrapped(Ending.TLS_FAILED, "WRONG_VERSION_NUMBER", "hm"), "banner-not-smtp", HIGH),
    "ClientHello, then SMTP": (wrapped(Ending.TLS_FAILED, "WRONG_VERSION_NUMBER", "220 hi"), "tls-to-plain", HIGH),
    "STARTTLS is not offered, and taken": (
        facts(endpoint(talk(GREETING, hello(), STARTTLS, hello("AUTH PLAIN", is_in_tls=True), tls=GOOD))),
        "starttls-stripped", HIGH),
    "a cloud network, other ports open": (
        facts(dead(DialOutcome.TIMED_OUT), controls=(other_port(DialOutcome.OPEN),),
              vantage=Vantage("hetzner-cloud", "DMI says Hetzner")), "blocked-by-network", LOW),
    "a cloud network, nothing open": (
        facts(dead(DialOutcome.TIMED_OUT), vantage=Vantage("hetzner-cloud", "DMI")), "tcp-timeout", MEDIUM),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_handshake_and_chain_are_read_as_they_are(name: str) -> None:
    given, cause, confidence = CASES[name]
    verdict = judge(given).verdict
    assert (verdict.cause, verdict.confidence) == (cause, confidence), verdict
    assert verdict.fix


def test_certificate_with_several_faults_says_them_all() -> None:
    given = shown(replace(LEAF, not_after=NOW - DAY, key="RSA 1024"), Trouble(62, 0, "mismatch"), is_name_right=False)
    judgement = judge(given)
    assert [one.cause for one in (judgement.verdict, *judgement.others)] == [
        "cert-expired",
        "cert-hostname",
        "cert-weak",
    ]


def test_evidence_marks_the_peers_words_and_carries_numbers() -> None:
    verdict = judge(shown(replace(LEAF, not_after=NOW - 2 * DAY))).verdict
    assert any("“CN=mail.example.com”" in line for line in verdict.evidence)
    assert any("2.0 days" in line for line in verdict.evidence)
    assert verdict.subject == f"{V4}:587"


def test_server_that_hangs_up_late_on_a_tls_port_may_want_tls() -> None:
    late = said(Stage.BANNER, "", "", seconds=9.0)
    one = replace(talk(late, ending=Ending.CLOSED, port=465, stage=Stage.BANNER), heard="", protocol="")
    verdict = judge(facts(endpoint(one, port=465), intent=Intent.STARTTLS)).verdict
    assert (verdict.cause, verdict.confidence) == ("plain-to-tls", MEDIUM)
