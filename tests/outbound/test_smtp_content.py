"""Content on the way out: never two messages from one, flat memory, refusals in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from postreeve.mail.error import PostreeveError
from postreeve.mail.reply import Reply
from postreeve.outbound.smtp import Connection
from postreeve.queue.outcome import (
    Delivered,
    LocalKind,
    LocalProblem,
    Refused,
    Stage,
    TimedOut,
)
from tests.lab.sink import (
    Exactly,
    Hang,
    Say,
    Sink,
    serve,
)
from tests.outbound.conftest import SHORT, outgoing, step_to
from tests.outbound.dialogue import (
    DATA,
    FINAL,
    Connectors,
)

pytestmark = pytest.mark.asyncio


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
