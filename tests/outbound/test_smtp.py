"""Connections to next hops: every way a peer can behave, and what becomes of the recipients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from postreeve.mail.envelope import DeliverBy, MailParameters
from postreeve.mail.reply import Reply
from postreeve.outbound.smtp import Connection, NotOpened
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Lack,
    Outcome,
    Refused,
    Stage,
    Unsuitable,
)
from postreeve.queue.step import Dialogue
from tests.lab.blackhole import full_backlog
from tests.lab.sink import (
    Act,
    Close,
    Content,
    Drip,
    Flood,
    HalfClose,
    Hang,
    Line,
    Reset,
    Say,
    Script,
    Sink,
    serve,
)
from tests.outbound.conftest import PATIENT, SHORT, outgoing, step_to
from tests.outbound.dialogue import (
    FINAL,
    GREET,
    HELLO,
    MAIL,
    RCPT,
    Connectors,
    attempt,
    disconnected,
    nonsense,
    refused,
    timed_out,
)

pytestmark = pytest.mark.asyncio


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


@pytest.mark.parametrize("dialogue", Dialogue, ids=lambda one: one.value)
async def test_deliver_by_stops_at_a_relay_that_would_not_heed_it(dialogue: Dialogue, connector: Connectors) -> None:
    """RFC 2852, section 4.2, is about relays: LMTP is final delivery."""
    parameters = MailParameters(deliver_by=DeliverBy(time.time() + 60, must_return=True))
    async with Sink(serve()) as sink:
        connection = await connector().open(step_to(sink, dialogue=dialogue))
        assert isinstance(connection, Connection)
        (outcome,) = await connection.send(outgoing(parameters=parameters))
        connection.abort()
    if dialogue is Dialogue.LMTP:
        assert isinstance(outcome, Delivered)
        assert b" BY=" not in sink.received
    else:
        assert isinstance(outcome, Unsuitable)
        assert outcome.lack is Lack.DELIVER_BY


async def test_open_reports_refused_connection(connector: Connectors) -> None:
    async with Sink(serve()) as sink:
        step = step_to(sink)
    outcome = await connector().open(step)
    assert isinstance(outcome, NotOpened)
    assert isinstance(outcome.outcome, ConnectFailed)
    assert outcome.outcome.kind is ConnectProblem.REFUSED
    assert (outcome.address, outcome.transcript) == (step.address, "")
    missing = await connector().open(replace(step, socket="/nonexistent/lmtp"))
    assert isinstance(missing, NotOpened)
    assert isinstance(missing.outcome, ConnectFailed)
    assert "no such socket" in missing.outcome.detail


async def test_open_that_fails_keeps_address_and_dialogue(connector: Connectors) -> None:
    async with Sink([*HELLO[:-1], Say(b"554 5.7.1 go away\r\n"), Line(), Say(b"554 5.7.1 go away\r\n")]) as sink:
        failed = await connector().open(step_to(sink))
    assert isinstance(failed, NotOpened)
    assert failed.outcome == Refused(Reply(554, "5.7.1", "go away"), Stage.EHLO)
    assert (failed.address, failed.tls, failed.failed) == (sink.address, "", ())
    assert "EHLO mail.example.org" in failed.transcript
    assert "554 5.7.1 go away" in failed.transcript


async def test_open_races_the_addresses_of_a_host(connector: Connectors) -> None:
    """RFC 8305: an address that swallows connections costs a moment; one that refuses them, nothing."""
    async with Sink(serve(messages=1)) as sink:
        held = full_backlog("127.0.0.9", sink.port)
        step = replace(step_to(sink), address="127.0.0.9", others=("127.0.0.8", sink.address))
        async with asyncio.timeout(2):
            opened = await connector(PATIENT).open(step)
        assert isinstance(opened, Connection)
        assert opened.step == step_to(sink)
        ((address, why),) = opened.failed
        assert isinstance(why, ConnectFailed)
        assert (address, why.kind) == ("127.0.0.8", ConnectProblem.REFUSED)
        assert isinstance((await opened.send(outgoing()))[0], Delivered)
        opened.abort()
        for one in held:
            one.close()
