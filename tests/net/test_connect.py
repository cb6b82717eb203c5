"""Making connections: addresses raced, failures typed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from postreeve.net.connect import ConnectTrouble, NoConnection, Source, connect, interleave

pytestmark = pytest.mark.asyncio


async def listen(address: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), address, 0)
    return server, server.sockets[0].getsockname()[1]


def full_backlog() -> tuple[list[socket.socket], int]:
    """A port where a connection is neither accepted nor refused: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    held = [listener]
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(("127.0.0.1", port))
        held.append(waiting)
    return held, port


async def test_connect_uses_the_source_address() -> None:
    server, port = await listen()
    peers: list[str] = []
    lost = asyncio.Event()

    class Ours(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            peers.append(transport.get_extra_info("sockname")[0])
            transport.close()

        def connection_lost(self, error: Exception | None) -> None:
            lost.set()

    made = await connect(["127.0.0.1"], port, Ours, timeout_seconds=5, source=Source(ipv4="127.0.0.5"))
    assert isinstance(made, Ours)
    assert peers == ["127.0.0.5"]
    await lost.wait()
    server.close()


async def test_connect_types_its_failures() -> None:
    server, port = await listen()
    server.close()
    await server.wait_closed()
    refused = await connect(["127.0.0.1"], port, asyncio.Protocol, timeout_seconds=5)
    assert isinstance(refused, NoConnection)
    assert refused.kind is ConnectTrouble.REFUSED
    source = await connect(["127.0.0.1"], port, asyncio.Protocol, timeout_seconds=5, source=Source(ipv4="192.0.2.1"))
    assert isinstance(source, NoConnection)
    assert "source address" in source.detail
    for nonsense in ([], ["mail.example.org"]):
        nothing = await connect(nonsense, 25, asyncio.Protocol, timeout_seconds=5)
        assert isinstance(nothing, NoConnection)
        assert nothing.kind is ConnectTrouble.OTHER


async def test_connect_times_out() -> None:
    held, port = full_backlog()
    made = await connect(["127.0.0.1"], port, asyncio.Protocol, timeout_seconds=0.2)
    assert isinstance(made, NoConnection)
    assert made.kind is ConnectTrouble.TIMED_OUT
    for one in held:
        one.close()


async def test_connect_goes_on_while_the_first_address_is_silent() -> None:
    """RFC 8305, section 5."""
    held, port = full_backlog()
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.2", port)
    made = await connect(["127.0.0.1", "127.0.0.2"], port, asyncio.Protocol, timeout_seconds=5, stagger_seconds=0.01)
    assert isinstance(made, asyncio.Protocol)
    server.close()
    for one in held:
        one.close()


async def test_connect_goes_on_at_once_when_refused() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        made = await connect(["127.0.0.1", "127.0.0.2"], port, asyncio.Protocol, timeout_seconds=60, stagger_seconds=50)
    assert isinstance(made, asyncio.Protocol)
    server.close()


async def test_interleave_lets_families_take_turns() -> None:
    """RFC 8305, section 4."""
    assert interleave(["a", "b", "::1", "c"]) == ["a", "::1", "b", "c"]
    assert interleave(["::1", "::2", "a"]) == ["::1", "a", "::2"]
