"""TLS in a conversation: in order, refused, stripped, injected, broken off, and the other way round."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.checks.conversation import Ending, Opening
from postreeve.checks.stage import Stage
from postreeve.probes.script import StartTls as Wanted
from tests.lab.faulty import HOST, middle
from tests.lab.probing import BYE, GREETING, PLAIN, context, hello, secure, served, talk
from tests.lab.sink import Act, Close, Exactly, Hang, Line, Reset, Say, StartTls

pytestmark = pytest.mark.asyncio


async def test_converse_starts_tls_and_greets_again(ca_file: Path) -> None:
    acts = secure(Line(), hello("AUTH PLAIN"), *BYE)
    conversation, _ = await talk(acts, replace(PLAIN, server_name=HOST, ca_file=ca_file))
    tls = conversation.tls
    assert tls is not None
    assert (tls.version, tls.group, tls.error, tls.troubles, tls.is_name_right) == ("TLSv1.3", "x25519", "", (), True)
    assert [one.subject for one in tls.chain] == [f"CN={HOST}", "CN=Intermediate"]
    assert tls.server_name == HOST
    before, after = (conversation.reply(Stage.EHLO, in_tls=one) for one in (False, True))
    assert before is not None
    assert after is not None
    assert ("STARTTLS" in before.lines, "AUTH PLAIN" in after.lines) == (True, True)


@pytest.mark.parametrize(
    ("name", "sent"),
    [("Mail.Example.COM.", HOST), ("192.0.2.1", ""), ("2001:db8::1", ""), ("", ""), ("x" * 300, ""), ("a..b", "")],
)
async def test_converse_names_the_host_as_sni_has_it(name: str, sent: str) -> None:
    asked: list[str | None] = []
    made = served(middle().issue(HOST))
    made.sni_callback = lambda _, given, __: asked.append(given)
    conversation, _ = await talk(secure(Line(), hello(), *BYE, tls=made), replace(PLAIN, server_name=name))
    assert conversation.tls is not None
    assert (conversation.tls.server_name, asked) == (sent, [sent or None])
    assert conversation.ending is Ending.QUIT


async def test_lenient_client_says_a_small_hello() -> None:
    sizes = []
    for is_lenient in (False, True):
        script = replace(PLAIN, opening=Opening.TLS, server_name=HOST, is_lenient=is_lenient)
        conversation, sink = await talk([Exactly(50), Close()], script)
        assert conversation.ending in (Ending.CLOSED, Ending.RESET)
        sizes.append(len(sink.received))
        assert (b"\x03\x04" in sink.received[43:]) is not is_lenient
    assert sizes[1] <= 517 <= sizes[0]  # one packet; today's hello may take two
    conversation, _ = await talk(
        [StartTls(context()), GREETING, Line(), hello(), *BYE], replace(PLAIN, opening=Opening.TLS, is_lenient=True)
    )
    assert conversation.tls is not None
    assert (conversation.tls.version, conversation.tls.is_lenient) == ("TLSv1.2", True)


async def test_converse_keeps_what_was_injected_before_tls(ca_file: Path) -> None:
    acts = secure(Line(), hello(), *BYE, before=b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n")
    conversation, _ = await talk(acts, replace(PLAIN, server_name=HOST, ca_file=ca_file))
    assert conversation.injected == ("250-evil", "250 AUTH PLAIN")
    assert conversation.tls is not None
    assert conversation.tls.version == "TLSv1.3"


@pytest.mark.parametrize("wanted", [Wanted.IF_OFFERED, Wanted.REQUIRED])
async def test_converse_hears_starttls_refused(wanted: Wanted) -> None:
    acts = [GREETING, Line(), hello("STARTTLS"), Line(), Say(b"454 4.7.0 TLS not available\r\n"), *BYE]
    conversation, _ = await talk(acts, replace(PLAIN, starttls=wanted))
    refusal = conversation.reply(Stage.TLS)
    assert refusal is not None
    assert refusal.code == 454
    assert conversation.ended_at is (Stage.TLS if wanted is Wanted.REQUIRED else Stage.NONE)


async def test_converse_hears_plaintext_where_tls_was_due() -> None:
    acts = [GREETING, Line(), hello("STARTTLS"), Line(), Say(b"220 go\r\n"), Line(), Say(b"500 what?\r\n"), Hang()]
    conversation, _ = await talk(acts, PLAIN)
    assert (conversation.ending, conversation.ended_at) == (Ending.TLS_FAILED, Stage.TLS)
    assert conversation.tls is not None
    assert (conversation.tls.error, conversation.tls.heard) == ("WRONG_VERSION_NUMBER", "500 what?\\r\\n")
    assert conversation.injected == ()


async def test_converse_hears_a_plaintext_greeting_on_a_tls_port() -> None:
    conversation, _ = await talk([GREETING, Hang()], replace(PLAIN, opening=Opening.TLS))
    assert conversation.tls is not None
    assert conversation.tls.error == "WRONG_VERSION_NUMBER"
    assert (conversation.protocol, conversation.heard[:3]) == ("smtp", "220")


async def test_converse_opens_with_tls() -> None:
    acts = [StartTls(context()), GREETING, Line(), hello(), *BYE]
    conversation, _ = await talk(acts, replace(PLAIN, opening=Opening.TLS, server_name=HOST))
    assert [one.is_in_tls for one in conversation.said] == [True, True, True]
    assert (conversation.protocol, conversation.ending) == ("smtp", Ending.QUIT)


async def test_converse_names_the_protocol_within_tls() -> None:
    acts = [StartTls(context()), Say(b"* OK IMAP4rev1 ready\r\n"), Hang()]
    conversation, _ = await talk(acts, replace(PLAIN, opening=Opening.TLS))
    assert (conversation.ending, conversation.protocol) == (Ending.NOT_SMTP, "imap")


@pytest.mark.parametrize(
    ("act", "ending", "error"),
    [
        (Close(), Ending.CLOSED, "UNEXPECTED_EOF_WHILE_READING"),
        (Reset(), Ending.RESET, "CONNECTION_RESET"),
        (Hang(), Ending.TIMED_OUT, "TIMED_OUT"),
        (Say(b"\x15\x03\x01\x00\x02\x02\x46"), Ending.TLS_FAILED, "TLSV1_ALERT_PROTOCOL_VERSION"),
        (Say(b"\x15\x03\x01\x00\x02\x02\x28"), Ending.TLS_FAILED, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (Say(b"\x16\x03\x03\x00\x04junk"), Ending.TLS_FAILED, ""),
    ],
    ids=["close", "reset", "silence", "protocol_version", "handshake_failure", "junk"],
)
async def test_converse_tells_how_a_handshake_failed(act: Act, ending: Ending, error: str) -> None:
    acts = [GREETING, Line(), hello("STARTTLS"), Line(), Say(b"220 go\r\n"), Exactly(50), act]
    conversation, _ = await talk([*acts, Hang()] if isinstance(act, Say) else acts, PLAIN)
    assert (conversation.ending, conversation.ended_at) == (ending, Stage.TLS)
    tls = conversation.tls
    assert tls is not None
    assert tls.error == error or (not error and tls.error)
    assert tls.alert == {0x46: "protocol_version", 0x28: "handshake_failure"}.get(
        act.data[-1] if isinstance(act, Say) else 0, ""
    )
    assert (tls.version, tls.heard) == ("", "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("is_required", [False, True], ids=["wanted", "required"])
async def test_converse_sees_that_a_client_certificate_is_wanted(version: ssl.TLSVersion, is_required: bool) -> None:
    made = served(middle().issue(HOST))
    made.minimum_version = made.maximum_version = version
    made.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    acts = secure(Line(), hello(), *BYE, tls=made)
    conversation, _ = await talk(acts, replace(PLAIN, server_name=HOST))
    assert conversation.tls is not None
    assert conversation.tls.wants_client_certificate
    if is_required:
        expected = "certificate_required" if version is ssl.TLSVersion.TLSv1_3 else "handshake_failure"
        assert conversation.tls.alert == expected
        assert (conversation.ending, conversation.ended_at) == (Ending.TLS_FAILED, Stage.TLS)
    else:
        assert conversation.ending is Ending.QUIT
