"""The next connection, from what was seen so far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls
from postreeve.checks.facts import Endpoint, Intent
from postreeve.checks.path import Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.probes.schedule import MAX_CONNECTIONS, Step, has_failed, is_limited, is_masked, next_step
from postreeve.probes.script import StartTls

OPEN = Dial("192.0.2.7", 587, DialOutcome.OPEN, 0.1)
CLEAR, TLS = Opening.CLEAR, Opening.TLS
GREETING = Said(Stage.BANNER, "", 220, ("mx.example.com ESMTP",), 0.1, False)
EHLO = Said(Stage.EHLO, "EHLO a.example", 250, ("mx.example.com", "STARTTLS"), 0.1, False)
GOOD_TLS = Tls("mx.example.com", "TLSv1.3", is_name_right=True)
BAD_TLS = Tls("mx.example.com", error="DH_KEY_TOO_SMALL")

SILENT = Conversation(CLEAR, OPEN, ending=Ending.TIMED_OUT, ended_at=Stage.BANNER)
CLOSED = Conversation(CLEAR, OPEN, ending=Ending.CLOSED, ended_at=Stage.BANNER)
FINE = Conversation(CLEAR, OPEN, "220 mx", "smtp", (GREETING, EHLO), GOOD_TLS)
NO_TLS = Conversation(
    CLEAR, OPEN, "220 mx", "smtp", (GREETING, EHLO), BAD_TLS, ending=Ending.TLS_FAILED, ended_at=Stage.TLS
)
RECORD = Conversation(CLEAR, OPEN, "", "tls", ending=Ending.NOT_SMTP, ended_at=Stage.BANNER)
IMAP = Conversation(CLEAR, OPEN, "* OK", "imap", ending=Ending.NOT_SMTP, ended_at=Stage.BANNER)
TEXT = Conversation(
    TLS, OPEN, "220 mx", tls=Tls("", error="WRONG_VERSION_NUMBER", heard="220 mx"), ending=Ending.TLS_FAILED
)
HTTP = replace(TEXT, protocol="http")
ALERT = Conversation(TLS, OPEN, tls=Tls("", alert="protocol_version", error="X"), ending=Ending.TLS_FAILED)
TLS_SILENT = Conversation(TLS, OPEN, tls=Tls(""), ending=Ending.TIMED_OUT, ended_at=Stage.TLS)
HUNG_UP = Conversation(TLS, OPEN, tls=Tls("", error="EOF"), ending=Ending.CLOSED, ended_at=Stage.TLS)
IMPLICIT = Conversation(TLS, OPEN, "", "tls", (GREETING,), GOOD_TLS)
WRONG_NAME = replace(FINE, tls=replace(GOOD_TLS, is_name_right=False), ended_at=Stage.CERT)
NO_LOGIN = replace(FINE, ended_at=Stage.AUTH)
SLOW = replace(FINE, said=(replace(GREETING, seconds=3.0), EHLO))
ADDRESS = replace(FINE, tls=replace(GOOD_TLS, server_name=""))
UNKNOWN = Conversation(TLS, OPEN, tls=Tls("mx.example.com", alert="unrecognized_name"), ending=Ending.TLS_FAILED)
LIMITED = Conversation(
    CLEAR, OPEN, "421", "smtp", (Said(Stage.BANNER, "", 421, ("4.7.0 too many",), 0, False),), ending=Ending.STOPPED
)
MASKED = Conversation(CLEAR, OPEN, "220 ***", "smtp", (Said(Stage.BANNER, "", 220, ("*" * 40,), 0, False),))


def after(*talks: Conversation, port: int = 587, intent: Intent = Intent.AUTO) -> Step | None:
    return next_step(
        port, intent, Endpoint("mx.example.com", "192.0.2.7", port, 0, tuple(one.dial for one in talks), talks)
    )


@pytest.mark.parametrize(
    ("port", "intent", "step"),
    [
        (587, Intent.AUTO, Step(CLEAR)),
        (25, Intent.AUTO, Step(CLEAR)),
        (465, Intent.AUTO, Step(TLS)),
        (2465, Intent.AUTO, Step(TLS)),
        (10_025, Intent.AUTO, Step(CLEAR, is_peek=True)),
        (465, Intent.STARTTLS, Step(CLEAR, StartTls.REQUIRED)),
        (587, Intent.IMPLICIT, Step(TLS)),
        (465, Intent.PLAIN, Step(CLEAR, StartTls.NEVER)),
    ],
)
def test_first_connection_is_as_meant_or_as_usual(port: int, intent: Intent, step: Step) -> None:
    assert after(port=port, intent=intent) == step


@pytest.mark.parametrize(
    ("talks", "step"),
    [
        pytest.param((FINE,), Step(CLEAR, is_nameless=True), id="all is well"),
        pytest.param((FINE, replace(FINE, is_nameless=True)), None, id="all is well, and known for no name"),
        pytest.param((WRONG_NAME,), Step(CLEAR, is_nameless=True), id="not trusted, so no login"),
        pytest.param((NO_LOGIN,), None, id="the login failed"),
        pytest.param((SLOW,), None, id="all is well, slowly"),
        pytest.param((ADDRESS,), None, id="an address goes without SNI"),
        pytest.param((UNKNOWN,), Step(TLS, is_nameless=True), id="no such name"),
        pytest.param((SILENT,), Step(TLS), id="silence: perhaps it waits for a ClientHello"),
        pytest.param((RECORD,), Step(TLS), id="a TLS record"),
        pytest.param((SILENT, IMPLICIT), Step(TLS, is_nameless=True), id="it did"),
        pytest.param((SILENT, TLS_SILENT), Step(CLEAR, is_patient=True), id="silence both ways"),
        pytest.param((CLOSED,), None, id="closed at once"),
        pytest.param((IMAP,), None, id="another protocol"),
        pytest.param((NO_TLS,), Step(CLEAR, is_lenient=True), id="STARTTLS failed"),
        pytest.param((LIMITED,), None, id="too many connections"),
        pytest.param((MASKED,), Step(CLEAR, StartTls.ALWAYS), id="masked by a middlebox"),
        pytest.param((TEXT,), Step(CLEAR), id="text where TLS was due"),
        pytest.param((TEXT, NO_TLS), Step(CLEAR, is_lenient=True), id="text, then STARTTLS failed"),
        pytest.param((TEXT, FINE), Step(CLEAR, is_nameless=True), id="text, then all is well"),
        pytest.param((ALERT,), Step(TLS, is_lenient=True), id="an alert"),
        pytest.param((TLS_SILENT,), Step(CLEAR), id="silence after a ClientHello"),
        pytest.param((HUNG_UP,), Step(CLEAR), id="hung up on a ClientHello"),
        pytest.param((HUNG_UP, CLOSED), None, id="hangs up on everybody"),
        pytest.param((HUNG_UP, SILENT), Step(TLS, is_lenient=True), id="hangs up on a ClientHello only"),
        pytest.param((SILENT, HTTP), None, id="silence, then another protocol"),
        pytest.param((SILENT, TLS_SILENT, SILENT), None, id="three are enough"),
    ],
)
def test_next_connection(talks: tuple[Conversation, ...], step: Step | None) -> None:
    assert after(*talks) == step


def test_there_is_never_a_fourth_connection_nor_two_lenient_ones() -> None:
    kinds = (SILENT, CLOSED, FINE, NO_TLS, RECORD, IMAP, TEXT, ALERT, TLS_SILENT, HUNG_UP, IMPLICIT, LIMITED, MASKED)
    for one in kinds:
        for two in kinds:
            for three in kinds:
                assert len((one, two, three)) == MAX_CONNECTIONS
                assert after(one, two, three) is None
            step = after(one, two)
            assert step is None or not is_limited(two)


def test_nothing_follows_a_connect_that_failed() -> None:
    dial = Dial("192.0.2.7", 587, DialOutcome.REFUSED, 0.1)
    assert after(Conversation(CLEAR, dial, ending=Ending.STOPPED, ended_at=Stage.TCP)) is None


def test_limit_is_known_by_code_or_by_words() -> None:
    refused = Said(Stage.MAIL, "MAIL", 450, ("4.7.1 Rate limit exceeded",), 0, False)
    assert is_limited(LIMITED)
    assert is_limited(Conversation(CLEAR, OPEN, said=(GREETING, refused)))
    assert not is_limited(FINE)


def test_mask_is_known_in_greeting_and_keywords() -> None:
    hello = Said(Stage.EHLO, "EHLO a", 250, ("mx", "XXXXXXXA"), 0, False)
    assert is_masked(MASKED)
    assert is_masked(Conversation(CLEAR, OPEN, said=(GREETING, hello)))
    assert not is_masked(FINE)


@pytest.mark.parametrize(
    ("talk", "failed"),
    [(FINE, False), (IMPLICIT, False), (SILENT, True), (NO_TLS, True), (MASKED, True), (LIMITED, True)],
    ids=["fine", "implicit", "silent", "no TLS", "masked", "limited"],
)
def test_failure_calls_for_controls(talk: Conversation, failed: bool) -> None:
    assert has_failed(Endpoint("mx.example.com", "192.0.2.7", 587, 0, (OPEN,), (talk,)), Intent.AUTO) is failed
