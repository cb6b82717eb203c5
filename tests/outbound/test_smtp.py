"""Connections to next hops: every way a peer can behave, and what becomes of the recipients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from postreeve.mail.error import PostreeveError
from postreeve.mail.reply import Reply
from postreeve.net.certificate import ServerContexts
from postreeve.outbound.smtp import Connection, Connector
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Lack,
    LocalKind,
    LocalProblem,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TimedOut,
    TlsKind,
    TlsProblem,
    Unsuitable,
)
from postreeve.queue.settings import Credentials, TlsMode
from postreeve.queue.step import Dialogue, TlsRequirement
from tests.lab.sink import (
    Act,
    Close,
    Content,
    Drip,
    Exactly,
    Flood,
    HalfClose,
    Hang,
    Line,
    Reset,
    Say,
    Script,
    Sink,
    StartTls,
    serve,
)
from tests.outbound.conftest import SHORT, outgoing, step_to

pytestmark = pytest.mark.asyncio

Connectors = Callable[..., Connector]

GREET: list[Act] = [Say(b"220 sink ESMTP\r\n")]
HELLO: list[Act] = [*GREET, Line(), Say(b"250 sink.example.com\r\n")]
MAIL: list[Act] = [*HELLO, Line(), Say(b"250 ok\r\n")]
RCPT: list[Act] = [*MAIL, Line(), Say(b"250 ok\r\n")]
DATA: list[Act] = [*RCPT, Line(), Say(b"354 go\r\n")]
FINAL: list[Act] = [*DATA, Content()]
OFFER = b"250-sink.example.com\r\n250 STARTTLS\r\n"
IF_OFFERED = TlsRequirement(TlsMode.OPPORTUNISTIC, name="sink.example.com")
REQUIRED = TlsRequirement(TlsMode.REQUIRED, verify=True, name="sink.example.com")
IMPLICIT = TlsRequirement(TlsMode.IMPLICIT, verify=True, name="sink.example.com")


async def attempt(connector: Connector, sink: Sink, **manner: object) -> Outcome:
    opened = await connector.open(step_to(sink, **manner))  # type: ignore[arg-type]
    if not isinstance(opened, Connection):
        return opened
    (outcome,) = await opened.send(outgoing())
    opened.abort()
    return outcome


def refused(code: int, stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, Refused) and outcome.reply.code == code and outcome.stage is stage


def disconnected(stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, Disconnected) and outcome.stage is stage


def timed_out(stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome == TimedOut(stage)


def nonsense(stage: Stage, words: str) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, ProtocolProblem) and outcome.stage is stage and words in outcome.detail


FAULTS: dict[str, tuple[Script, Callable[[Outcome], bool]]] = {
    "no greeting": ([Hang()], timed_out(Stage.GREETING)),
    "greeting in drops": ([Drip(b"220-"), Hang()], timed_out(Stage.GREETING)),
    "closed at once": ([Close()], disconnected(Stage.GREETING)),
    "reset at once": ([Reset()], disconnected(Stage.GREETING)),
    "half-closed at once": ([HalfClose(), Hang()], disconnected(Stage.GREETING)),
    "greeting 421": ([Say(b"421 4.3.2 busy\r\n"), Close()], refused(421, Stage.GREETING)),
    "greeting 554": ([Say(b"554 5.7.1 no\r\n"), Close()], refused(554, Stage.GREETING)),
    "greeting 250": ([Say(b"250 hello\r\n")], refused(250, Stage.GREETING)),
    "greeting endless": ([Flood(b"220-x" + b"y" * 500 + b"\r\n")], nonsense(Stage.GREETING, "longer than")),
    "greeting without end": ([Flood(b"2" * 4096)], nonsense(Stage.GREETING, "longer than")),
    "greeting code 000": ([Say(b"000 hi\r\n")], nonsense(Stage.GREETING, "no SMTP reply")),
    "greeting code 99": ([Say(b"99 hi\r\n")], nonsense(Stage.GREETING, "no SMTP reply")),
    "greeting code 1000": ([Say(b"1000 hi\r\n")], nonsense(Stage.GREETING, "no SMTP reply")),
    "HTTP server": ([Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()], nonsense(Stage.GREETING, "speaks HTTP")),
    "SSH server": ([Say(b"SSH-2.0-x\r\n")], nonsense(Stage.GREETING, "speaks SSH")),
    "TLS alert": ([Say(b"\x15\x03\x01\x00\x02\x02\x46\n")], nonsense(Stage.GREETING, "implicit TLS")),
    "contradicting codes": ([Say(b"220-a\r\n554 b\r\n")], nonsense(Stage.GREETING, "contradicting")),
    "talks twice": ([Say(b"220 a\r\n220 b\r\n")], nonsense(Stage.EHLO, "nothing that was asked")),
    "silent at EHLO": ([*GREET, Line(), Hang()], timed_out(Stage.EHLO)),
    "closed at EHLO": ([*GREET, Line(), Close()], disconnected(Stage.EHLO)),
    "EHLO 421": ([*GREET, Line(), Say(b"421 bye\r\n"), Close()], refused(421, Stage.EHLO)),
    "EHLO and HELO refused": (
        [*GREET, Line(), Say(b"502 no\r\n"), Line(), Say(b"550 no\r\n")],
        refused(550, Stage.EHLO),
    ),
    "MAIL 451": ([*HELLO, Line(), Say(b"451 4.3.0 later\r\n")], refused(451, Stage.MAIL)),
    "MAIL 421": ([*HELLO, Line(), Say(b"421 4.3.0 bye\r\n"), Close()], refused(421, Stage.MAIL)),
    "MAIL silent": ([*HELLO, Line(), Hang()], timed_out(Stage.MAIL)),
    "MAIL reset": ([*HELLO, Line(), Reset()], disconnected(Stage.MAIL)),
    "MAIL junk": ([*HELLO, Line(), Say(b"\x00\xff\xfe\r\n")], nonsense(Stage.MAIL, "no SMTP reply")),
    "RCPT 550": ([*MAIL, Line(), Say(b"550 5.1.1 unknown\r\n")], refused(550, Stage.RCPT)),
    "RCPT 450": ([*MAIL, Line(), Say(b"450 4.2.0 greylisted\r\n")], refused(450, Stage.RCPT)),
    "RCPT silent": ([*MAIL, Line(), Hang()], timed_out(Stage.RCPT)),
    "RCPT closed": ([*MAIL, Line(), Close()], disconnected(Stage.RCPT)),
    "RCPT 421": ([*MAIL, Line(), Say(b"421 bye\r\n")], refused(421, Stage.RCPT)),
    "RCPT infinite": ([*MAIL, Line(), Flood(b"250-more\r\n")], nonsense(Stage.RCPT, "longer than")),
    "DATA 554": ([*RCPT, Line(), Say(b"554 5.7.0 no\r\n")], refused(554, Stage.DATA)),
    "DATA 250": ([*RCPT, Line(), Say(b"250 what\r\n")], nonsense(Stage.DATA, "unexpected")),
    "DATA silent": ([*RCPT, Line(), Hang()], timed_out(Stage.DATA)),
    "DATA reset": ([*RCPT, Line(), Reset()], disconnected(Stage.DATA)),
    "354 and 250 at once": ([*RCPT, Line(), Say(b"354 go\r\n250 got it\r\n")], nonsense(Stage.CONTENT, "nothing")),
    "final silent": ([*FINAL, Hang()], timed_out(Stage.FINAL)),
    "final in drops": ([*FINAL, Drip(b"250-2.0.0 ta"), Hang()], timed_out(Stage.FINAL)),
    "final closed": ([*FINAL, Close()], disconnected(Stage.FINAL)),
    "final reset": ([*FINAL, Reset()], disconnected(Stage.FINAL)),
    "final half-closed": ([*FINAL, HalfClose(), Hang()], disconnected(Stage.FINAL)),
    "final 452": ([*FINAL, Say(b"452 4.3.1 full\r\n")], refused(452, Stage.FINAL)),
    "final 550": ([*FINAL, Say(b"550 5.7.1 spam\r\n")], refused(550, Stage.FINAL)),
    "final 354": ([*FINAL, Say(b"354 again\r\n")], refused(354, Stage.FINAL)),
    "final 421": ([*FINAL, Say(b"421 4.3.2 bye\r\n"), Close()], refused(421, Stage.FINAL)),
    "final cut": ([*FINAL, Say(b"250 2.0.0 tak"), Close()], disconnected(Stage.FINAL)),
    "final twice": ([*FINAL, Say(b"250 ok\r\n250 ok\r\n")], lambda outcome: isinstance(outcome, Delivered)),
    "bare LF": (
        [
            Say(b"220 a\n"),
            Line(),
            Say(b"250 b\n"),
            *[act for _ in "mr" for act in (Line(), Say(b"250 ok\n"))],
            Line(),
            Say(b"354 go\n"),
            Content(),
            Say(b"250 taken\n"),
        ],
        lambda outcome: outcome == Delivered(Reply(250, "", "taken")),
    ),
    "in drops": (
        [
            Drip(b"220 a\r\n"),
            Line(),
            Drip(b"250 b\r\n"),
            *[act for _ in "mr" for act in (Line(), Drip(b"250 ok\r\n"))],
            Line(),
            Drip(b"354 go\r\n"),
            Content(),
            Drip(b"250 2.6.0 taken\r\n"),
        ],
        lambda outcome: outcome == Delivered(Reply(250, "2.6.0", "taken")),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_send_survives_peer(name: str, connector: Connectors) -> None:
    script, is_expected = FAULTS[name]
    async with Sink(script) as sink:
        async with asyncio.timeout(5):
            outcome = await attempt(connector(SHORT), sink)
    assert is_expected(outcome), outcome


PIPELINED_FAULTS: dict[str, tuple[list[Act], Callable[[Outcome], bool]]] = {
    "all at once": (
        [Say(b"250 a\r\n250 b\r\n354 c\r\n"), Content(), Say(b"250 d\r\n")],
        lambda o: o == Delivered(Reply(250, "", "d")),
    ),
    "MAIL refused": ([Say(b"550 5.7.1 a\r\n503 b\r\n503 c\r\n")], refused(550, Stage.MAIL)),
    "RCPT refused, 354": (
        [Say(b"250 a\r\n550 5.1.1 b\r\n354 c\r\n"), Content(), Say(b"554 none\r\n")],
        refused(550, Stage.RCPT),
    ),
    "RCPT refused": ([Say(b"250 a\r\n450 b\r\n503 c\r\n")], refused(450, Stage.RCPT)),
    "MAIL refused, all else accepted": ([Say(b"550 a\r\n250 b\r\n354 c\r\n"), Hang()], refused(550, Stage.MAIL)),
    "421 at RCPT": ([Say(b"250 a\r\n421 b\r\n"), Close()], refused(421, Stage.RCPT)),
    "closed after MAIL": ([Say(b"250 a\r\n"), Close()], disconnected(Stage.RCPT)),
    "silent after RCPT": ([Say(b"250 a\r\n250 b\r\n"), Hang()], timed_out(Stage.DATA)),
    "extra reply": ([Say(b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n"), Hang()], nonsense(Stage.CONTENT, "nothing")),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINED_FAULTS)
async def test_send_survives_pipelining_peer(name: str, connector: Connectors) -> None:
    acts, is_expected = PIPELINED_FAULTS[name]
    hello = b"250-sink.example.com\r\n250 PIPELINING\r\n"
    async with Sink([*GREET, Line(), Say(hello), Line(), Line(), Line(), *acts]) as sink:
        async with asyncio.timeout(5):
            outcome = await attempt(connector(SHORT), sink)
    assert is_expected(outcome), outcome
    assert b"hello" not in sink.received or isinstance(outcome, Delivered)


async def test_send_pipelines_in_one_write_and_reuses(connector: Connectors) -> None:
    async with Sink(serve(messages=3)) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        for number in range(3):
            body = b"Subject: %d\r\n\r\n.dot\r\n" % number
            assert await connection.send(outgoing(body)) == [Delivered(Reply(250, "2.0.0", "taken"))]
        assert "connection reused" in connection.transcript()
        assert "Subject" not in connection.transcript()
        connection.close()
    assert len(sink.connections) == 1
    assert sink.contents == [b"Subject: %d\r\n\r\n..dot\r\n.\r\n" % number for number in range(3)]
    assert sink.received.count(b"RSET") == 0


async def test_send_resets_after_a_refused_transaction(connector: Connectors) -> None:
    script = [*MAIL, Line(), Say(b"550 5.1.1 no\r\n"), Line(), Say(b"250 reset\r\n"), *serve()[3:]]
    async with Sink(script) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        (first,) = await connection.send(outgoing())
        (second,) = await connection.send(outgoing())
        connection.abort()
    assert isinstance(first, Refused)
    assert isinstance(second, Delivered)
    assert b"RCPT TO:<bob@example.com>\r\nRSET\r\nMAIL FROM" in sink.received


async def test_send_gives_each_recipient_its_own_outcome(connector: Connectors) -> None:
    script = [*MAIL, Line(), Say(b"250 ok\r\n"), Line(), Say(b"550 5.1.1 no\r\n"), Line(), Say(b"450 4.2.2 full\r\n")]
    script += [Line(), Say(b"354 go\r\n"), Content(), Say(b"250 2.0.0 taken\r\n")]
    async with Sink(script) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        outcomes = await connection.send(outgoing(recipients=("a@example.com", "b@example.com", "c@example.com")))
        connection.abort()
    assert [type(one).__name__ for one in outcomes] == ["Delivered", "Refused", "Refused"]


@pytest.mark.parametrize("over_socket", [False, True], ids=["tcp", "socket"])
async def test_send_lmtp_reads_a_reply_for_each_recipient(
    over_socket: bool, connector: Connectors, tmp_path: object
) -> None:
    script = [*GREET, Line(), Say(b"250-sink\r\n250 PIPELINING\r\n"), Line(), Line(), Line(), Line(), Line()]
    script += [Say(b"250 m\r\n250 a\r\n550 5.1.1 b\r\n250 c\r\n354 go\r\n"), Content()]
    script += [Say(b"250 2.0.0 a stored\r\n452 4.2.2 c full\r\n")]
    path = f"{tmp_path}/lmtp" if over_socket else ""
    async with Sink(script, path=path) as sink:
        connection = await connector().open(step_to(sink, dialogue=Dialogue.LMTP, socket=path))
        assert isinstance(connection, Connection)
        outcomes = await connection.send(outgoing(recipients=("a@example.com", "b@example.com", "c@example.com")))
        connection.abort()
    assert sink.received.startswith(b"LHLO mail.example.org\r\n")
    assert [str(one.reply) for one in outcomes if isinstance(one, (Delivered, Refused))] == [
        "250 2.0.0 a stored",
        "550 5.1.1 b",
        "452 4.2.2 c full",
    ]


async def test_send_lmtp_keeps_what_was_decided_when_the_peer_goes(connector: Connectors) -> None:
    script = [*GREET, Line(), Say(b"250 sink\r\n"), *[act for _ in "mab" for act in (Line(), Say(b"250 ok\r\n"))]]
    script += [Line(), Say(b"354 go\r\n"), Content(), Say(b"250 stored\r\n"), Close()]
    async with Sink(script) as sink:
        connection = await connector().open(step_to(sink, dialogue=Dialogue.LMTP))
        assert isinstance(connection, Connection)
        first, second = await connection.send(outgoing(recipients=("a@example.com", "b@example.com")))
    assert isinstance(first, Delivered)
    assert isinstance(second, Disconnected)
    assert second.stage is Stage.FINAL


async def test_open_reports_refused_connection(connector: Connectors) -> None:
    async with Sink(serve()) as sink:
        step = step_to(sink)
    outcome = await connector().open(step)
    assert isinstance(outcome, ConnectFailed)
    assert outcome.kind is ConnectProblem.REFUSED
    missing = await connector().open(replace(step, socket="/nonexistent/lmtp"))
    assert isinstance(missing, ConnectFailed)
    assert "no such socket" in missing.detail


# TLS


def tls_script(contexts: ServerContexts, *after: Act, hello: bytes = b"250 sink.example.com\r\n") -> list[Act]:
    return [
        *GREET,
        Line(),
        Say(OFFER),
        Line(),
        Say(b"220 go\r\n"),
        StartTls(contexts.default),
        Line(),
        Say(hello),
        *after,
    ]


@pytest.mark.parametrize("requirement", [IF_OFFERED, REQUIRED], ids=["opportunistic", "verified"])
async def test_starttls_moves_everything_inside(
    requirement: TlsRequirement, connector: Connectors, server_contexts: ServerContexts
) -> None:
    async with Sink(tls_script(server_contexts, *serve()[3:])) as sink:
        connection = await connector().open(step_to(sink, requirement))
        assert isinstance(connection, Connection), connection
        (outcome,) = await connection.send(outgoing())
        connection.close()
        transcript = connection.transcript()
    assert isinstance(outcome, Delivered)
    assert b"MAIL" not in sink.connections[0].received
    assert sink.connections[0].over_tls.startswith(b"EHLO mail.example.org\r\nMAIL FROM:<alice@example.org>")
    assert connection.tls.startswith("TLSv1.3 ")
    assert connection.tls.endswith("verified" if requirement.verify else "trusted")
    assert "TLS started" in transcript


async def test_implicit_tls_logs_in_and_hides_the_password(
    connector: Connectors, server_contexts: ServerContexts
) -> None:
    hello = b"250-sink\r\n250 AUTH LOGIN PLAIN\r\n"
    script = [StartTls(server_contexts.default), *GREET, Line(), Say(hello), Line(), Say(b"235 in\r\n"), *serve()[3:]]
    async with Sink(script) as sink:
        step = replace(step_to(sink, IMPLICIT), credentials=Credentials("me", "s3cret"))
        connection = await connector().open(step)
        assert isinstance(connection, Connection), connection
        (outcome,) = await connection.send(outgoing())
        connection.abort()
    assert isinstance(outcome, Delivered)
    assert b"AUTH PLAIN AG1lAHMzY3JldA==\r\n" in sink.connections[0].over_tls
    assert "AUTH PLAIN (credentials)" in connection.transcript()
    assert "AG1lAHMzY3JldA" not in connection.transcript()
    assert "s3cret" not in repr(step)


async def test_password_never_leaves_without_tls(connector: Connectors) -> None:
    async with Sink([*GREET, Line(), Say(b"250-sink\r\n250 AUTH PLAIN LOGIN\r\n"), Hang()]) as sink:
        outcome = await connector(SHORT).open(replace(step_to(sink), credentials=Credentials("me", "s3cret")))
    assert isinstance(outcome, Unsuitable)
    assert outcome.lack is Lack.AUTH
    assert b"AUTH" not in sink.received


TLS_FAULTS: dict[str, tuple[list[Act], TlsRequirement, Callable[[Outcome], bool]]] = {
    "not offered": (HELLO, REQUIRED, lambda o: isinstance(o, TlsProblem) and o.kind is TlsKind.NOT_OFFERED),
    "refused where required": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"454 4.7.0 no\r\n")],
        REQUIRED,
        refused(454, Stage.STARTTLS),
    ),
    "no answer": ([*GREET, Line(), Say(OFFER), Line(), Hang()], IF_OFFERED, timed_out(Stage.STARTTLS)),
    "no handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Hang()],
        IF_OFFERED,
        timed_out(Stage.STARTTLS),
    ),
    "junk in the handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Say(b"\x00\x01\x02\x03\x04\x05\x06\x07")],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and o.kind is TlsKind.HANDSHAKE,
    ),
    "alert": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Say(b"\x15\x03\x03\x00\x02\x02\x28")],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and "no cipher" in o.detail,
    ),
    "closed in the handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Close()],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and "handshake" in o.detail,
    ),
    "plaintext where TLS was expected": (
        GREET,
        IMPLICIT,
        lambda o: isinstance(o, TlsProblem) and "speaks plaintext" in o.detail,
    ),
    "implicit silent": ([Hang()], IMPLICIT, timed_out(Stage.STARTTLS)),
}


@pytest.mark.parametrize("name", TLS_FAULTS)
async def test_tls_survives_peer(name: str, connector: Connectors) -> None:
    script, requirement, is_expected = TLS_FAULTS[name]
    async with Sink(script) as sink:
        async with asyncio.timeout(5):
            outcome = await connector(SHORT).open(step_to(sink, requirement))
    assert not isinstance(outcome, Connection)
    assert is_expected(outcome), outcome
    assert b"MAIL" not in sink.received


async def test_starttls_refused_goes_on_in_plaintext_when_opportunistic(connector: Connectors) -> None:
    script = [*GREET, Line(), Say(OFFER), Line(), Say(b"454 4.7.0 not now\r\n"), *serve()[3:]]
    async with Sink(script) as sink:
        assert isinstance(await attempt(connector(), sink, tls=IF_OFFERED), Delivered)


async def test_verified_refuses_another_name(connector: Connectors, server_contexts: ServerContexts) -> None:
    async with Sink(tls_script(server_contexts, Hang())) as sink:
        wrong = TlsRequirement(TlsMode.REQUIRED, verify=True, name="other.example.com")
        outcome = await connector(SHORT).open(step_to(sink, wrong))
    assert isinstance(outcome, TlsProblem)
    assert outcome.kind is TlsKind.CERTIFICATE
    assert "another name" in outcome.detail


INJECTED = b"220 go\r\n250-sink.example.com\r\n250 AUTH PLAIN\r\n"


@pytest.mark.parametrize("cut", range(len(INJECTED) + 1))
async def test_starttls_discards_injected_replies(
    cut: int, connector: Connectors, server_contexts: ServerContexts
) -> None:
    """The plaintext after the 220 never counts, wherever the packets are cut."""
    acts: list[Act] = [Say(INJECTED[:cut])] if cut else []
    acts += [Say(INJECTED[cut:])] if cut < len(INJECTED) else []
    tail = [StartTls(server_contexts.default), Line(), Say(b"250 sink\r\n"), *serve()[3:]]
    async with Sink([*GREET, Line(), Say(OFFER), Line(), *acts, *tail]) as sink:
        step = replace(step_to(sink, REQUIRED), credentials=Credentials("me", "s3cret"))
        opened = await connector(SHORT).open(step)
    assert isinstance(opened, (ProtocolProblem, TlsProblem)), opened
    assert b"AUTH" not in sink.received


# Content


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n", b"\r\n.\r\r\n", b"\n\n.\r\r\n",
]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 1000], ids=lambda size: f"pieces of {size}" if size else "whole")
@pytest.mark.parametrize("sequence", SMUGGLING, ids=repr)
async def test_send_never_smuggles(sequence: bytes, size: int, connector: Connectors) -> None:
    content = b"Subject: a\r\n\r\nbefore" + sequence + b"MAIL FROM:<evil@example.net>\r\nDATA\r\nafter"
    async with Sink(serve()) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        message = outgoing(content)
        (outcome,) = await connection.send(replace(message, content=pieces(content, size)) if size else message)
        connection.close()
    assert isinstance(outcome, Delivered)
    wire = sink.connections[0].received
    lines = wire.count(b"\r\n")
    assert lines == wire.count(b"\n") == wire.count(b"\r")
    assert b"\0" not in wire
    assert wire.count(b"\r\n.\r\n") == 1
    (taken,) = sink.contents
    assert taken.startswith(b"Subject: a\r\n\r\nbefore")
    assert taken.endswith(b"after\r\n.\r\n")


async def test_send_stops_when_content_cannot_be_read(connector: Connectors) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"Subject: x\r\n\r\n"
        raise PostreeveError("damaged")

    async with Sink(serve()) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        (outcome,) = await connection.send(replace(outgoing(), content=breaks()))
        assert outcome == LocalProblem(LocalKind.STORE, "damaged")
        assert not connection.is_usable
    assert sink.contents == []
    assert b"\r\n.\r\n" not in sink.received


async def test_send_large_content_waits_for_a_slow_reader_and_gives_up(connector: Connectors) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65_534 + b"\r\n"

    async with Sink([*DATA, Hang()]) as sink:
        connection = await connector(SHORT).open(step_to(sink))
        assert isinstance(connection, Connection)
        async with asyncio.timeout(10):
            (outcome,) = await connection.send(replace(outgoing(), content=endless()))
    assert outcome == TimedOut(Stage.CONTENT)


async def test_send_heeds_a_refusal_in_the_middle_of_content(connector: Connectors) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65_534 + b"\r\n"

    async with Sink([*DATA, Exactly(200_000), Say(b"552 5.3.4 too big\r\n")]) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        (outcome,) = await connection.send(replace(outgoing(), content=endless()))
        assert not connection.is_usable
    assert outcome == Refused(Reply(552, "5.3.4", "too big"), Stage.CONTENT)


async def test_cancelled_send_cuts_the_connection(connector: Connectors) -> None:
    async with Sink([*FINAL, Hang()]) as sink:
        connection = await connector().open(step_to(sink))
        assert isinstance(connection, Connection)
        task = asyncio.ensure_future(connection.send(outgoing()))
        await sink.has_content.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.is_usable
