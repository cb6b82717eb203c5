"""Making connections: addresses raced, failures typed."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import suppress

import pytest

from postreeve.net.connect import Connected, ConnectTrouble, NoConnection, Source, connect, interleave
from tests.lab.blackhole import full_backlog

pytestmark = pytest.mark.asyncio


async def listen(address: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), address, 0)
    return server, server.sockets[0].getsockname()[1]


async def test_connect_uses_the_source_address() -> None:
    server, port = await listen()
    made = await connect(["127.0.0.1"], port, timeout_seconds=5, source=Source(ipv4="127.0.0.5"))
    assert isinstance(made, Connected)
    assert made.connection.getsockname()[0] == "127.0.0.5"
    made.connection.close()
    server.close()


async def test_connect_types_its_failures() -> None:
    server, port = await listen()
    server.close()
    await server.wait_closed()
    refused = await connect(["127.0.0.1"], port, timeout_seconds=5)
    assert isinstance(refused, NoConnection)
    assert refused.kind is ConnectTrouble.REFUSED
    source = await connect(["127.0.0.1"], port, timeout_seconds=5, source=Source(ipv4="192.0.2.1"))
    assert isinstance(source, NoConnection)
    assert "source address" in source.detail
    for nonsense in ([], ["mail.example.org"]):
        nothing = await connect(nonsense, 25, timeout_seconds=5)
        assert isinstance(nothing, NoConnection)
        assert nothing.kind is ConnectTrouble.OTHER


async def test_connect_times_out() -> None:
    held = full_backlog()
    port = held[0].getsockname()[1]
    made = await connect(["127.0.0.1"], port, timeout_seconds=0.2)
    assert isinstance(made, NoConnection)
    assert (made.kind, made.address, made.earlier) == (ConnectTrouble.TIMED_OUT, "127.0.0.1", ())
    for one in held:
        one.close()


async def test_connect_goes_on_while_the_first_address_is_silent() -> None:
    """RFC 8305, section 5."""
    held = full_backlog()
    port = held[0].getsockname()[1]
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.2", port)
    made = await connect(["127.0.0.1", "127.0.0.2"], port, timeout_seconds=5, stagger_seconds=0.01)
    assert isinstance(made, Connected)
    assert (made.address, made.failed) == ("127.0.0.2", ())
    made.connection.close()
    server.close()
    for one in held:
        one.close()


async def test_connect_goes_on_at_once_when_refused() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        made = await connect(["127.0.0.1", "127.0.0.2"], port, timeout_seconds=60, stagger_seconds=50)
    assert isinstance(made, Connected)
    assert made.address == "127.0.0.2"
    made.connection.close()
    assert [(one.address, one.kind) for one in made.failed] == [("127.0.0.1", ConnectTrouble.REFUSED)]
    server.close()


async def test_connect_tells_how_each_address_failed() -> None:
    held = full_backlog()
    port = held[0].getsockname()[1]
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    made = await connect(addresses, port, timeout_seconds=0.3, stagger_seconds=0.01)
    assert isinstance(made, NoConnection)
    kinds = {one.address: one.kind for one in (*made.earlier, made)}
    assert kinds == {
        "127.0.0.1": ConnectTrouble.TIMED_OUT,
        "127.0.0.2": ConnectTrouble.REFUSED,
        "127.0.0.3": ConnectTrouble.REFUSED,
    }
    unbegun = await connect(addresses, port, timeout_seconds=0.1, stagger_seconds=50)
    assert isinstance(unbegun, NoConnection)
    assert (unbegun.address, unbegun.earlier) == ("127.0.0.1", ())
    for one in held:
        one.close()


async def test_connect_leaves_no_descriptor_behind_when_cancelled() -> None:
    """At any turn of the loop: neither a socket left open nor one closed that by then is another's."""
    server, port = await listen()
    for turns in range(12):
        before = len(os.listdir("/proc/self/fd"))
        making = asyncio.ensure_future(connect(["127.0.0.1"], port, timeout_seconds=5))
        for _ in range(turns):
            await asyncio.sleep(0)
        making.cancel()
        with suppress(asyncio.CancelledError):
            made = await making
            assert isinstance(made, Connected)
            made.connection.close()
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0.001)
        for other in others:
            os.close(other)  # OSError if somebody closed it
        del making
        assert len(os.listdir("/proc/self/fd")) <= before + 1, turns
    server.close()


async def test_interleave_lets_families_take_turns() -> None:
    """RFC 8305, section 4."""
    assert interleave(["a", "b", "::1", "c"]) == ["a", "::1", "b", "c"]
    assert interleave(["::1", "::2", "a"]) == ["::1", "a", "::2"]
