"""A large message passes through without ever being in memory whole."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from postreeve.outbound.maildir import MaildirWriter
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.smtp import Connection, Connector
from postreeve.queue.outcome import Delivered
from postreeve.queue.settings import Maildir, QueueSettings, RouteSettings
from postreeve.queue.step import PLAINTEXT, Connect, Dialogue
from postreeve.store.face import LeaseTerms
from tests.lab.delivery import Clock, House
from tests.outbound.conftest import outgoing

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PIECE = (b"x" * 76 + b"\r\n") * 13_000
PIECES = 25
MOST_OCTETS = 8 << 20


async def large() -> AsyncIterator[bytes]:
    yield b"Subject: large\r\n\r\n"
    for _ in range(PIECES):
        yield bytes(bytearray(PIECE))  # a new object, as from a file


class Peak:
    """How much more memory Python held at the worst moment."""

    octets = 0

    def __enter__(self) -> Self:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.octets = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


async def test_large_message_reaches_a_maildir_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the claim on: `content` is None when the store keeps the message in pieces."""
    route = RouteSettings("local", ("*",), Maildir(str(tmp_path / "{local}")))
    house = House(QueueSettings((route,)))
    monkeypatch.setattr(house.store, "content", lambda ident: large())
    deliverer = house.deliverer()
    deliverer = replace(deliverer, means=replace(deliverer.means, maildirs=MaildirWriter(Clock())))
    await house.store.open()
    await house.store.accept(house.message("bob@example.com"))
    (claim,) = await house.store.claim("maildir:local", 0, house.clock(), 1, LeaseTerms(house.clock() + 300))
    with Peak() as peak:
        attempted = await deliverer.attempt(replace(claim, content=None))
    assert [one.state.value for one in attempted.settlement.results] == ["delivered"]
    (kept,) = (tmp_path / "bob" / "new").iterdir()
    assert kept.stat().st_size > PIECES * len(PIECE) * 0.95
    assert peak.octets < MOST_OCTETS


@pytest.mark.parametrize("dialogue", Dialogue, ids=lambda one: one.value)
async def test_large_message_leaves_in_pieces(dialogue: Dialogue, connector: Callable[..., Connector]) -> None:
    """To a peer that takes its time: what it has not taken is not read."""
    taken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        for answer in (b"220 sink\r\n", b"250 sink\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            writer.write(answer)
            if answer[:3] != b"354":
                await reader.readline()
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            data = await reader.read(65_536)
            taken += len(data)
            tail = (tail + data)[-5:]
        writer.write(b"250 ok\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    step = Connect("sink.example.com", "127.0.0.1", server.sockets[0].getsockname()[1], PLAINTEXT, dialogue=dialogue)
    opened = await connector().open(step)
    assert isinstance(opened, Connection)
    message: Outgoing = replace(outgoing(), content=large(), size_octets=PIECES * len(PIECE))
    with Peak() as peak:
        (outcome,) = await opened.send(message)
    assert isinstance(outcome, Delivered)
    assert taken > PIECES * len(PIECE)
    assert peak.octets < MOST_OCTETS
    opened.close()
    await opened.wait_closed()
    server.close()
