"""What is worth knowing of a server that works, and which clients it turns away all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postreeve.checks.conversation import Certificate, Conversation, Opening, Tls, Trouble
from postreeve.checks.facts import Facts, Intent, Lookup, Vantage
from postreeve.checks.finding import Level
from postreeve.checks.judge import judge
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY
from tests.checks.judge_facts import GREETING, HOST, NOW, endpoint, facts, healthy, hello, said, talk

DAY = 86_400.0
LEAF = Certificate(
    f"CN={HOST}", "CN=Intermediate", (HOST,), HOST, NOW - 10 * DAY, NOW + 80 * DAY, "RSA 2048", "sha256", "ab" * 32,
    ("serverAuth",),
)  # fmt: skip
MIDDLE = replace(LEAF, subject="CN=Intermediate", issuer="CN=Root", names=(), is_authority=True, usages=())
ROOT = replace(MIDDLE, subject="CN=Root", is_self_signed=True, signature="sha1")
GOOD = Tls(HOST, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", 0.02, (LEAF, MIDDLE), (), True)


def secure(tls: Tls, *mechanisms: str, before: str = "STARTTLS") -> Conversation:
    """A conversation over STARTTLS."""
    inside = hello(f"AUTH {' '.join(mechanisms)}" if mechanisms else "SIZE", is_in_tls=True)
    return talk(GREETING, hello(*before.split("|")), said(Stage.TLS, "STARTTLS", "220 go"), inside, tls=tls)


def with_chain(*chain: Certificate, **tls: object) -> Facts:
    """A server that works and shows this chain."""
    return facts(endpoint(secure(replace(GOOD, chain=chain, **tls), "PLAIN")))


def by_name(default: Certificate) -> Facts:
    """A server that works, and what it shows to clients that send no SNI."""
    is_right = default.names == LEAF.names
    nameless = replace(secure(replace(GOOD, server_name="", chain=(default, MIDDLE), is_name_right=is_right)))
    return facts(endpoint(secure(GOOD, "PLAIN"), replace(nameless, is_nameless=True)))


OTHER = replace(LEAF, names=("other.example.net",), fingerprint="cd" * 32)
SLOW = replace(GREETING, seconds=6.0)
OLD = replace(GOOD, version="TLSv1", is_lenient=True)
FINDINGS: dict[str, tuple[Facts, str, Level]] = {
    "expires soon": (with_chain(replace(LEAF, not_after=NOW + 3 * DAY), MIDDLE), "probe-expires-soon", Level.WARNING),
    "SHA-1 intermediate": (with_chain(LEAF, replace(MIDDLE, signature="sha1")), "probe-weak-chain", Level.WARNING),
    "root sent": (with_chain(LEAF, MIDDLE, ROOT), "probe-root-sent", Level.NOTE),
    "AUTH before TLS": (
        facts(endpoint(secure(GOOD, "PLAIN", before="STARTTLS|AUTH PLAIN"))), "probe-auth-in-clear", Level.WARNING),
    "old TLS still on": (
        facts(endpoint(secure(GOOD, "PLAIN"), replace(secure(OLD), tls=OLD))), "probe-old-tls", Level.WARNING),
    "another certificate without SNI": (by_name(OTHER), "probe-sni-differs", Level.NOTE),
    "weak DH": (with_chain(LEAF, MIDDLE, group="DH 1024"), "probe-weak-dh", Level.WARNING),
    "weak cipher": (with_chain(LEAF, MIDDLE, cipher="DES-CBC3-SHA"), "probe-weak-cipher", Level.WARNING),
    "greeting and EHLO differ": (
        facts(endpoint(talk(replace(GREETING, lines=("other.example.org",)), hello("STARTTLS"))), intent=Intent.PLAIN),
        "probe-names-differ", Level.NOTE),
    "STARTTLS not demanded": (
        facts(endpoint(talk(GREETING, hello("STARTTLS"), said(Stage.MAIL, "MAIL FROM:<>", "250 ok"))),
              intent=Intent.PLAIN), "probe-starttls-optional", Level.WARNING),
    "a relay without TLS": (
        facts(endpoint(talk(GREETING, hello(), port=25), port=25), is_application=False),
        "probe-no-starttls", Level.WARNING),
    "an MX host with a certificate that nobody verifies": (
        facts(endpoint(secure(replace(GOOD, troubles=(Trouble(18, 0, "self-signed"),)))), is_application=False),
        "probe-cert-selfsigned", Level.WARNING),
    "we have no reverse name": (
        facts(replace(healthy(), dials=(replace(healthy().dials[0], local_address="9.9.9.9"),)), is_application=False,
              vantage=Vantage(ptr=(Lookup("9.9.9.9.in-addr.arpa", "PTR", (), "NXDOMAIN"),))),
        "probe-no-ptr", Level.WARNING),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDINGS)
def test_finding_is_said_and_fails_nothing(name: str) -> None:
    given, check, level = FINDINGS[name]
    judgement = judge(given)
    assert judgement.verdict.cause == HEALTHY, judgement.verdict
    assert [one.level for one in judgement.findings if one.check == check] == [level], judgement.findings
    assert not [one for one in judgement.findings if one.level is Level.ERROR]
    assert all(one.because for one in judgement.findings)


def test_findings_of_a_good_server_are_none() -> None:
    judgement = judge(with_chain(LEAF, MIDDLE))
    assert (judgement.verdict.cause, judgement.others, judgement.findings, judgement.refusers) == (HEALTHY, (), (), ())


def test_findings_say_nothing_of_sni_where_it_makes_no_difference() -> None:
    judgement = judge(by_name(LEAF))
    assert (judgement.verdict.cause, judgement.findings, judgement.refusers) == (HEALTHY, (), ())


def test_short_lived_certificate_does_not_expire_soon_before_its_last_quarter() -> None:
    brief = replace(LEAF, not_before=NOW - DAY, not_after=NOW + 5 * DAY)
    assert judge(with_chain(brief, MIDDLE)).findings == ()


TLS10 = replace(GOOD, version="TLSv1", is_lenient=True)
NO_TLS10 = Tls(HOST, "", error="TLSV1_ALERT_PROTOCOL_VERSION", alert="protocol_version")
IMPLICIT = talk(GREETING, hello("AUTH PLAIN", is_in_tls=True), tls=GOOD, opening=Opening.TLS, port=465)
REFUSERS: dict[str, tuple[Facts, str, str]] = {
    "common name only": (with_chain(replace(LEAF, names=()), MIDDLE), "Go", "cert-cn-only"),
    "another certificate without SNI": (by_name(OTHER), "Postfix", "cert-hostname"),
    "RSA 1024": (with_chain(replace(LEAF, key="RSA 1024"), MIDDLE), "Node.js 24", "cert-weak"),
    "SHA-1 intermediate": (with_chain(LEAF, replace(MIDDLE, signature="sha1")), "OpenSSL", "cert-weak"),
    "client usage": (with_chain(replace(LEAF, usages=("clientAuth",)), MIDDLE), "Java", "cert-purpose"),
    "DH 1024": (with_chain(LEAF, MIDDLE, group="DH 1024"), "OpenSSL 3.5", "tls-dh"),
    "no ECDHE": (
        with_chain(LEAF, MIDDLE, version="TLSv1.2", cipher="DHE-RSA-AES256-GCM-SHA384"), "rustls", "tls-cipher"),
    "TLS 1.0 only": (
        facts(endpoint(talk(GREETING, hello("STARTTLS"), tls=NO_TLS10), replace(secure(TLS10), tls=TLS10))),
        "Python 3.10", "tls-protocol"),
    "AUTH not offered": (facts(endpoint(secure(GOOD)), has_credentials=True), "nodemailer", "auth-not-offered"),
    "tokens only": (facts(endpoint(secure(GOOD, "XOAUTH2"))), "password", "oauth-only"),
    "implicit TLS": (facts(endpoint(IMPLICIT, port=465)), ".NET", "dotnet-465"),
    "slow greeting": (
        facts(endpoint(talk(SLOW, hello("STARTTLS"))), intent=Intent.PLAIN), "short time-outs", "slow-banner"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSERS)
def test_refuser_is_named_with_reason_and_fix(name: str) -> None:
    given, client, cause = REFUSERS[name]
    found = [one for one in judge(given).refusers if client in one.client and one.cause == cause]
    assert found, judge(given).refusers
    assert found[0].reason
    assert found[0].fix


def test_verdict_of_withheld_password_is_not_ok() -> None:
    bare = endpoint(talk(GREETING, hello("AUTH PLAIN"), stage=Stage.AUTH, port=2599), port=2599)
    assert judge(facts(bare, has_credentials=True)).verdict.cause == "auth-in-clear"
    token = replace(secure(GOOD, "PLAIN"), ended_at=Stage.AUTH)
    assert judge(facts(endpoint(token), has_credentials=True)).verdict.cause == "auth-no-mech"


def test_fix_is_the_librarys_own_setting() -> None:
    greeted = talk(GREETING, hello("STARTTLS"))
    text = Tls(HOST, "", error="WRONG_VERSION_NUMBER", heard="220 mail.example.com ESMTP")
    wrapped = replace(talk(tls=text, opening=Opening.TLS), protocol="smtp")
    given = facts(endpoint(wrapped, greeted), intent=Intent.IMPLICIT, library="nodemailer")
    verdict = judge(given).verdict
    assert verdict.cause == "tls-to-plain"
    assert f'{{ host: "{HOST}", port: 587, secure: false, requireTLS: true }}' in verdict.fix
