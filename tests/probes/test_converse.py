"""Conversations with servers that do exactly what a script says, most of it wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from postreeve.checks.conversation import Ending
from postreeve.checks.path import Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.probes.converse import converse
from postreeve.probes.dial import Dialled
from postreeve.probes.script import StartTls as Wanted
from tests.lab.probing import BYE, ENVELOPE, GREETING, PLAIN, commands, hello, talk
from tests.lab.sink import Act, Close, Content, Drip, Flood, HalfClose, Hang, Line, Reset, Say

pytestmark = pytest.mark.asyncio


# In good order


async def test_converse_walks_to_the_recipient_and_sends_nothing() -> None:
    acts = [GREETING, Line(), hello("SIZE 1000", "PIPELINING"), *[Line(), Say(b"250 2.0.0 ok\r\n")] * 3, *BYE]
    conversation, sink = await talk(acts, replace(ENVELOPE, size_octets=512))
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.NONE)
    assert sink.received == (
        b"EHLO probe.example.org\r\nMAIL FROM:<a@example.org> SIZE=512\r\nRCPT TO:<b@example.com>\r\nRSET\r\nQUIT\r\n"
    )
    assert [one.stage for one in conversation.said] == [
        Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.NONE, Stage.NONE,
    ]  # fmt: skip
    said = conversation.reply(Stage.EHLO)
    assert said is not None
    assert said.lines == ("mail.example.com", "SIZE 1000", "PIPELINING")
    assert (conversation.protocol, conversation.heard) == ("smtp", "220 mail.example.com ESMTP\\r\\n")


async def test_converse_sends_a_message_only_when_it_is_given_one() -> None:
    acts = [GREETING, Line(), hello(), Line(), Say(b"250 ok\r\n"), Line(), Say(b"250 ok\r\n")]
    acts += [Line(), Say(b"354 go\r\n"), Content(), Say(b"250 2.0.0 taken\r\n"), *BYE]
    script = replace(ENVELOPE, message=b"Subject: x\r\n\r\n.dot\r\n", stop_after=Stage.DATA)
    conversation, sink = await talk(acts, script)
    assert sink.contents == [b"Subject: x\r\n\r\n..dot\r\n.\r\n"]
    assert conversation.ended_at is Stage.NONE
    held, _ = await talk([*acts[:7], Line(), Say(b"250 ok\r\n"), *BYE], replace(script, stop_after=Stage.RCPT))
    assert "DATA" not in commands(held)


@pytest.mark.parametrize(
    ("stop_after", "last"),
    [
        (Stage.BANNER, "QUIT"),
        (Stage.EHLO, "EHLO probe.example.org"),
        (Stage.AUTH, "EHLO probe.example.org"),
        (Stage.MAIL, "MAIL FROM:<a@example.org>"),
    ],
)
async def test_converse_stops_where_told(stop_after: Stage, last: str) -> None:
    acts = [GREETING, *[Line(), Say(b"250 ok\r\n")] * 3, Close()]
    conversation, _ = await talk(acts, replace(ENVELOPE, stop_after=stop_after))
    walked = [one for one in commands(conversation) if one]
    assert walked[-1] == "QUIT"
    assert last in walked[-2:]
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.NONE)


async def test_converse_says_helo_to_a_server_that_knows_no_ehlo() -> None:
    acts = [GREETING, Line(), Say(b"500 what?\r\n"), Line(), Say(b"250 hi\r\n"), *BYE]
    conversation, sink = await talk(acts, PLAIN)
    assert b"HELO probe.example.org\r\n" in sink.received
    assert conversation.ended_at is Stage.NONE


async def test_converse_without_a_connection_says_so() -> None:
    nothing = Dialled(Dial("192.0.2.1", 25, DialOutcome.TIMED_OUT, 1.0))
    conversation = await converse(nothing, PLAIN)
    assert (conversation.ended_at, conversation.said) == (Stage.TCP, ())


async def test_converse_lets_no_line_end_into_a_command() -> None:
    acts = [GREETING, Line(), hello(), Line(), Say(b"250 ok\r\n"), Line(), Say(b"250 ok\r\n"), *BYE]
    _, sink = await talk(acts, replace(PLAIN, mail_from="a@example.org>\r\nDATA\r\n"))
    assert b"\r\nDATA" not in sink.received


async def test_converse_sends_no_address_that_the_server_cannot_take() -> None:
    conversation, sink = await talk([GREETING, Line(), hello(), *BYE], replace(PLAIN, mail_from="jürgen@example.org"))
    assert b"MAIL" not in sink.received
    assert conversation.ended_at is Stage.MAIL


# Refused


@pytest.mark.parametrize(
    ("acts", "stage"),
    [
        ([Say(b"554 5.7.1 No SMTP service here\r\n"), *BYE], Stage.BANNER),
        ([GREETING, Line(), Say(b"450 later\r\n"), *BYE], Stage.EHLO),
        ([GREETING, Line(), Say(b"550 no\r\n"), Line(), Say(b"550 no\r\n"), *BYE], Stage.EHLO),
        ([GREETING, Line(), hello(), Line(), Say(b"530 5.7.0 Authentication required\r\n"), *BYE], Stage.MAIL),
        ([GREETING, Line(), hello(), Line(), Say(b"250 ok\r\n"), Line(), Say(b"450 4.2.0 Grey\r\n"), *BYE], Stage.RCPT),
    ],
    ids=["greeting", "EHLO", "HELO", "MAIL", "RCPT"],
)
async def test_converse_leaves_politely_when_refused(acts: Sequence[Act], stage: Stage) -> None:
    conversation, sink = await talk(acts, ENVELOPE)
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, stage)
    assert sink.received.endswith(b"QUIT\r\n")


@pytest.mark.parametrize("place", range(4), ids=["greeting", "EHLO", "MAIL", "RCPT"])
async def test_converse_stops_at_421(place: int) -> None:
    acts: list[Act] = [GREETING, Line(), hello(), Line(), Say(b"250 ok\r\n"), Line(), Say(b"250 ok\r\n")]
    acts[2 * place] = Say(b"421 4.7.0 too many connections\r\n")
    conversation, sink = await talk(acts[: 2 * place + 1], ENVELOPE)
    stage = (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT)[place]
    assert (conversation.ending, conversation.ended_at) == (Ending.STOPPED, stage)
    assert b"QUIT" not in sink.received


async def test_converse_hears_a_421_that_nobody_asked_for() -> None:
    acts = [GREETING, Line(), Say(b"250 hi\r\n421 4.3.2 shutting down\r\n"), Close()]
    conversation, sink = await talk(acts, ENVELOPE)
    assert conversation.ending is Ending.STOPPED
    assert (conversation.said[-1].code, conversation.said[-1].command) == (421, "")
    assert b"MAIL" not in sink.received


# Broken connections


@pytest.mark.parametrize("place", range(4), ids=["greeting", "EHLO", "MAIL", "RCPT"])
@pytest.mark.parametrize(
    ("act", "ending"),
    [(Close(), Ending.CLOSED), (Reset(), Ending.RESET), (Hang(), Ending.TIMED_OUT), (HalfClose(), Ending.CLOSED)],
    ids=["close", "reset", "silence", "half-close"],
)
async def test_converse_survives_a_broken_connection(place: int, act: Act, ending: Ending) -> None:
    acts: list[Act] = [GREETING, Line(), hello(), Line(), Say(b"250 ok\r\n"), Line(), Say(b"250 ok\r\n")]
    conversation, _ = await talk([*acts[: 2 * place], act], ENVELOPE)
    stage = (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT)[place]
    assert (conversation.ending, conversation.ended_at) == (ending, stage)
    assert (conversation.said[-1].stage, conversation.said[-1].code) == (stage, 0)


async def test_converse_does_not_wait_for_a_tarpit_longer_than_it_says() -> None:
    conversation, _ = await talk([Drip(b"220-wait\r\n220-wai"), Hang()], PLAIN)
    assert conversation.ending is Ending.TIMED_OUT
    assert conversation.said[0].lines == ("220-wait", "220-wai")
    assert 0.25 < conversation.said[0].seconds < 1.0


async def test_converse_takes_a_dripped_reply_that_comes_in_time() -> None:
    acts = [Drip(b"220-slow\r\n220 but here\r\n"), Line(), Drip(b"250 hi\r\n"), *BYE]
    conversation, _ = await talk(acts, PLAIN)
    assert conversation.said[0].text == "220 slow but here"
    assert conversation.ending is Ending.QUIT


@pytest.mark.parametrize("piece", [b"250-" + b"x" * 60_000 + b"\r\n", b"x" * 60_000, b"250-\r\n" * 10_000])
async def test_converse_bounds_what_it_takes(piece: bytes) -> None:
    conversation, _ = await talk([GREETING, Line(), Flood(piece, 100), Hang()], PLAIN)
    assert (conversation.ending, conversation.ended_at) == (Ending.NOT_SMTP, Stage.EHLO)
    assert sum(len(line) for line in conversation.said[-1].lines) < 300_000


@pytest.mark.parametrize("words", [b"220 no line end", b"220 bare LF\n"])
async def test_converse_reads_a_greeting_with_the_wrong_end(words: bytes) -> None:
    conversation, _ = await talk([Say(words), HalfClose() if b"\n" not in words else Line(), Close()], PLAIN)
    assert conversation.said[0].code == 220


# Other protocols


@pytest.mark.parametrize(
    ("words", "protocol"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "imap"),
        (b"+OK POP3 ready\r\n", "pop3"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "ssh"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "http"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "tls"),
        (b"\x00\x01\x02\xff\xfe\x80", ""),
        (b"hello there\r\n", ""),
    ],
    ids=["imap", "pop3", "ssh", "http", "tls", "garbage", "chat"],
)
async def test_converse_names_another_protocol(words: bytes, protocol: str) -> None:
    conversation, sink = await talk([Say(words), Hang()], PLAIN)
    assert (conversation.ending, conversation.ended_at) == (Ending.NOT_SMTP, Stage.BANNER)
    assert conversation.protocol == protocol
    assert conversation.heard
    assert conversation.heard.isprintable()
    assert sink.received == b""


async def test_converse_tells_ftp_from_a_mail_server_with_such_a_name() -> None:
    acts = [Say(b"220 ProFTPD Server ready\r\n"), *[Line(), Say(b"500 EHLO not understood\r\n")] * 3]
    conversation, _ = await talk(acts, PLAIN)
    assert (conversation.ending, conversation.protocol) == (Ending.NOT_SMTP, "ftp")


async def test_converse_keeps_what_a_middlebox_masks() -> None:
    acts = [Say(b"220 ****************\r\n"), Line(), hello("XXXXXXXA", "SIZE"), *BYE]
    conversation, _ = await talk(acts, replace(PLAIN, starttls=Wanted.REQUIRED))
    assert conversation.said[0].lines == ("****************",)
    assert conversation.said[1].lines[1] == "XXXXXXXA"
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.TLS)
