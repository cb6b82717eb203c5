"""The face of the server core: its caller's duties, its promises, and that no octets whatever make it raise."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from postreeve.mail.reply import Reply
from postreeve.smtp.error import LocalProtocolError
from postreeve.smtp.event import (
    NEED_DATA,
    NEED_REPLY,
    Authenticate,
    Closed,
    Connected,
    ContentChunk,
    ContentEnd,
    ContentStarted,
    Event,
    Hello,
    Mail,
    Need,
    Refused,
)
from postreeve.smtp.order import State
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer
from tests.smtp.drive import NOW, begin, cut, greeted, in_transaction, octets, settings

HELLO = b"HELO client.example.org\r\n"
TO_RECIPIENT = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"


def make(config: ServerSettings | None = None) -> ServerProtocol:
    return ServerProtocol(config or settings(), lambda: NOW)


def test_server_greets_first_and_waits_for_the_reply() -> None:
    core = make()
    assert core.next_event() == Connected()
    core.receive_data(HELLO)
    assert core.next_event() is NEED_REPLY
    assert core.data_to_send() == b""
    core.reply(Reply(220, "", "mx.example.com ESMTP"))
    assert core.data_to_send() == b"220 mx.example.com ESMTP\r\n"
    assert core.data_to_send() == b""
    assert core.next_event() == Hello("client.example.org", extended=False)


def test_server_leaves_pipelined_commands_alone_while_a_reply_is_owed() -> None:
    """RFC 2920: they wait in the buffer."""
    core = make()
    core.next_event()
    core.reply(Reply(220, "", "x"))
    core.receive_data(HELLO + b"NOOP\r\n")
    core.next_event()
    core.data_to_send()
    assert core.next_event() is NEED_REPLY
    assert core.has_buffered
    core.reply(Reply(250, "", "mx"))
    core.next_event()
    assert core.data_to_send() == b"250 mx\r\n250 2.0.0 OK\r\n"
    assert not core.has_buffered


def test_server_refuses_a_reply_nobody_asked_for() -> None:
    session = greeted()
    with pytest.raises(LocalProtocolError):
        session.core.reply(Reply(250, "", "OK"))


def test_server_refuses_to_accept_content_with_a_problem() -> None:
    core = in_transaction().core
    core.receive_data(b"DATA\r\na\nb\r\n.\r\n")
    while not isinstance(event := core.next_event(), ContentEnd):
        assert not isinstance(event, Need)
    with pytest.raises(LocalProtocolError):
        core.reply(Reply(250, "2.0.0", "queued"))


def test_server_hands_on_content_that_came_whole_as_one_chunk() -> None:
    core = in_transaction().core
    content = b"Subject: x\r\n\r\n" + b"line\r\n" * 1000
    core.receive_data(b"DATA\r\n" + content + b".\r\n")
    assert core.next_event() == ContentStarted(chunking=False)
    assert core.next_event() == ContentChunk(content)
    assert core.next_event() == ContentEnd(len(content), None)
    assert core.next_event() is NEED_REPLY


def test_server_knows_a_transaction_was_cut_off() -> None:
    for stream, inside in ((b"", False), (TO_RECIPIENT, True), (TO_RECIPIENT + b"DATA\r\nx", True)):
        session = greeted()
        session.feed(stream)
        session.eof()
        assert session.events[-1] == Closed(in_transaction=inside)
        assert session.core.next_event() == Closed(in_transaction=inside)


def test_server_closes_when_told() -> None:
    session = greeted()
    session.feed(TO_RECIPIENT)
    session.core.close(Reply(421, "4.4.2", "timeout"))
    session.run()
    assert session.written.endswith(b"421 4.4.2 timeout\r\n")
    assert session.events[-1] == Closed(in_transaction=True)
    session.core.close(Reply(421, "4.4.2", "again"))
    session.core.reply(Reply(250, "", "too late"))
    session.feed(b"NOOP\r\n")
    assert session.core.data_to_send() == b""


def test_server_ends_the_conversation_with_421_to_a_greeting() -> None:
    session = begin(decide=lambda event: Reply(421, "4.3.2", "busy") if isinstance(event, Connected) else None)
    assert session.core.is_closed


def test_server_knows_how_the_conversation_stands() -> None:
    session = begin(settings(TlsOffer.IMPLICIT, AuthOffer.REQUIRED))
    assert session.core.tls_active
    assert not session.core.authenticated
    session.feed(HELLO + b"AUTH PLAIN AGEAYg==\r\n")
    assert session.core.authenticated
    assert session.core.state is State.READY
    assert not begin().core.tls_active


def test_server_never_shows_a_password() -> None:
    event = Authenticate("PLAIN", "user", "hush", "")
    assert "hush" not in repr(event)


def test_server_asks_for_no_credentials_where_none_are_taken() -> None:
    session = greeted(settings(auth_refusal="not here"))
    session.feed(b"AUTH LOGIN dXNlcg==\r\n")
    assert session.written == b"503 5.5.1 not here\r\n"
    assert session.events == [Refused("AUTH", Reply(503, "5.5.1", "not here"), credentials=True)]


@pytest.mark.parametrize("prefix", [b"", HELLO, b"HELO a\r\nAUTH PLAIN\r\n"], ids=["first", "later", "SASL"])
def test_server_keeps_no_endless_line(prefix: bytes) -> None:
    """A flood without a newline: an answer, a close, and memory that stays flat."""
    session = begin(settings(TlsOffer.IMPLICIT, AuthOffer.OPTIONAL))
    session.feed(prefix)
    block = b"x" * 65_536
    tracemalloc.start()
    try:
        for _ in range(200):
            session.feed(block)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert session.core.is_closed
    assert session.codes()[-1] == 500


def test_server_gives_up_on_content_without_end() -> None:
    """Content far beyond the limit is not read for ever."""
    session = in_transaction(settings(max_message_octets=1000))
    session.feed(b"DATA\r\n")
    for _ in range(40):
        session.feed(b"x" * 65_536)
    assert session.codes() == [354, 552]
    assert session.core.is_closed
    assert session.events[-1] == Closed(in_transaction=True)


def test_server_counts_messages_by_mail_accepted() -> None:
    session = greeted(settings(max_messages=2))
    for _ in range(3):
        session.feed(b"MAIL FROM:<a@example.org>\r\nRSET\r\n")
    assert session.codes() == [250, 250, 250, 250, 421]


def test_server_counts_recipients_anew_for_each_message() -> None:
    session = greeted(settings(max_recipients=2))
    rcpt = b"RCPT TO:<b@example.com>\r\n"
    session.feed((b"MAIL FROM:<a@example.org>\r\n" + rcpt * 3 + b"BDAT 1 LAST\r\nx") * 2)
    assert session.codes() == [250, 250, 250, 452, 250] * 2


@pytest.mark.parametrize("keyword", ["SIZE 1000", "PIPELINING", "AUTH PLAIN LOGIN", "LIMITS RCPTMAX=7 MAILMAX=3"])
def test_server_announces(keyword: str) -> None:
    session = begin(
        settings(TlsOffer.IMPLICIT, AuthOffer.OPTIONAL, max_message_octets=1000, max_recipients=7, max_messages=3)
    )
    session.feed(b"EHLO a\r\n")
    assert f"250-{keyword}\r\n".encode() in session.written


CONFIGS = [
    settings(tls, auth, max_command_octets=64, max_auth_octets=100, max_message_octets=200, max_recipients=2, **more)
    for tls in TlsOffer
    for auth in AuthOffer
    for more in (
        {},
        {"normalise_newlines": True, "offer_future_release": True, "auth_without_tls": True},
        {"refuse_early_talkers": True, "offer_chunking": False},
    )
]
FRAGMENTS = [
    b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> SIZE=5 SMTPUTF8\r\n",
    b"RCPT TO:<c@d.example>\r\n",
    b"MAIL FROM:", b"RCPT TO:", b"<", b">", b'"', b"@", b" ", b"=", b"+00", b"\\x{D800}", b"ORCPT=utf-8;", b"NOTIFY=",
    b"HOLDUNTIL=9999-12-31T23:59:59-23:59", b"HOLDFOR=1", b"BY=-999999999;R", b"BODY=BINARYMIME", b"DATA\r\n", b"BDAT ",
    b"BDAT 3 LAST\r\n", b"BDAT 99999999999999999999\r\n", b"RSET\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN =\r\n",
    b"AGEAYg==\r\n",
    b"*\r\n", b"STARTTLS\r\n", b"QUIT", b"\r\n", b"\r\n.\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80",
    b"GET / HTTP/1.1",
    b"x" * 70, b"\xc3\xbc", b"[IPv6:::1]", b"@a,@b:",
]  # fmt: skip


def fuzz(config: ServerSettings, pieces: list[bytes]) -> None:
    session = begin(config)
    for piece in pieces:
        session.feed(piece)
        if session.core.state is State.HANDSHAKE:
            session.start_tls()
    session.eof()
    assert session.core.is_closed
    assert isinstance(session.core.next_event(), Closed)
    for line in session.written.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in (b" ", b"-")
        assert b"\r" not in line
        assert b"\n" not in line
        assert b"\0" not in line


@given(st.sampled_from(CONFIGS), st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=20)), max_size=40))
@hypothesis_settings(max_examples=400)
def test_server_survives_any_octets(config: ServerSettings, pieces: list[bytes]) -> None:
    """F8 and F9 of the threat list: NUL, 8-bit, malformed UTF-8, endless lines, and commands in any order."""
    fuzz(config, pieces)


@given(st.sampled_from(CONFIGS), st.binary(max_size=200))
def test_server_survives_noise(config: ServerSettings, noise: bytes) -> None:
    fuzz(config, octets(noise))


@given(
    st.lists(st.sampled_from([f for f in FRAGMENTS if b"STARTTLS" not in f]), max_size=30).map(b"".join),
    st.lists(st.integers(0, 300), max_size=6),
    st.booleans(),
)
@hypothesis_settings(max_examples=300)
def test_server_does_the_same_however_the_octets_are_cut(stream: bytes, places: list[int], normalise: bool) -> None:
    config = settings(TlsOffer.IMPLICIT, AuthOffer.OPTIONAL, max_command_octets=64, normalise_newlines=normalise)
    sessions = [begin(config) for _ in range(3)]
    for session, pieces in zip(sessions, ([stream], cut(stream, places), octets(stream)), strict=True):
        session.feed(*pieces)
        session.eof()
    whole = sessions[0]
    for session in sessions[1:]:
        assert session.written == whole.written
        assert session.stored == whole.stored
        assert session.names() == whole.names()


def test_server_decides_nothing_by_itself_that_policy_should() -> None:
    """Every mailbox that is one reaches the session, whatever it looks like."""
    seen: list[Event] = []

    def decide(event: Event) -> Reply | None:
        seen.append(event)
        return None

    session = greeted(decide=decide)
    session.feed(b"MAIL FROM:<user%victim.test@example.com>\r\n")
    assert isinstance(seen[-1], Mail)
    for path in (b"user%victim.test@example.com", b"victim.test!user@example.com", b'"user@victim.test"@example.com'):
        session.feed(b"RCPT TO:<" + path + b">\r\n")
    assert session.codes() == [250] * 4


def test_server_state_is_forgotten_with_the_session() -> None:
    """Two conversations under one `ServerSettings` share nothing but what EHLO says."""
    config = settings(TlsOffer.IMPLICIT, AuthOffer.REQUIRED)
    first, second = begin(config), begin(config)
    first.feed(HELLO + b"AUTH PLAIN AGEAYg==\r\n")
    second.feed(HELLO + b"MAIL FROM:<a@example.org>\r\n")
    assert second.codes() == [250, 530]
    assert first.core.next_event() is NEED_DATA
