"""Connections kept for the next message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from postreeve.outbound.pool import Pool
from postreeve.outbound.smtp import Connection, Connector, NotOpened
from postreeve.queue.outcome import ConnectFailed, Delivered
from postreeve.queue.settings import Credentials
from tests.lab.sink import Close, Line, Say, Sink, serve
from tests.outbound.conftest import eventually, outgoing, step_to

pytestmark = pytest.mark.asyncio

Connectors = Callable[..., Connector]


def pool_of(connectors: Connectors, **settings: object) -> Pool:
    connector = connectors(**settings)
    return Pool(connector, connector.settings)


async def opened(pool: Pool, sink: Sink, **changes: object) -> Connection:
    connection = await pool.open(replace(step_to(sink), **changes))  # type: ignore[arg-type]
    assert isinstance(connection, Connection), connection
    return connection


async def test_pool_gives_the_same_connection_again(connector: Connectors) -> None:
    async with Sink(serve(messages=3)) as sink:
        pool = pool_of(connector)
        first = await opened(pool, sink)
        await first.send(outgoing())
        pool.give_back("mx:example.com", first)
        assert pool.take("mx:example.org") is None
        again = pool.take("mx:example.com")
        assert again is first
        assert pool.take("mx:example.com") is None
        pool.give_back("mx:example.com", again)
        assert await opened(pool, sink) is first
        assert (pool.open_connections, pool.idle_connections) == (1, 0)
        first.abort()
        pool.give_back("mx:example.com", first)
        assert pool.open_connections == 0


async def test_pool_keeps_different_needs_apart(connector: Connectors) -> None:
    async with Sink(serve()) as sink:
        pool = pool_of(connector)
        first = await opened(pool, sink)
        pool.give_back("mx:example.com", first)
        other = await opened(pool, sink, host="other.example.com")
        assert other is not first
        refused = await pool.open(replace(step_to(sink), credentials=Credentials("me", "secret")))
        assert not isinstance(refused, Connection)
        pool.give_back("mx:example.com", other)
        assert pool.open_connections == 2
        pool.close()
        assert pool.open_connections == 0


async def test_pool_closes_after_so_many_messages(connector: Connectors) -> None:
    async with Sink(serve(messages=5)) as sink:
        pool = pool_of(connector, messages_per_connection=2)
        for _ in range(4):
            connection = pool.take("d") or await opened(pool, sink)
            assert isinstance((await connection.send(outgoing()))[0], Delivered)
            pool.give_back("d", connection)
        assert len(sink.connections) == 2
        assert pool.idle_connections == 0


async def test_pool_gives_up_idle_connections(connector: Connectors) -> None:
    async with Sink(serve()) as sink:
        pool = pool_of(connector, idle_seconds=0.05)
        pool.give_back("d", await opened(pool, sink))
        await eventually(lambda: not pool.idle_connections)
        await eventually(lambda: b"QUIT" in sink.received)
        assert pool.open_connections == 0


async def test_pool_does_not_hand_out_what_the_peer_closed(connector: Connectors) -> None:
    hello = [Say(b"220 a\r\n"), Line(), Say(b"250 b\r\n421 4.4.2 idle\r\n"), Close()]
    async with Sink([Say(b"220 a\r\n"), Line(), Say(b"250 b\r\n"), Close()], hello, serve()) as sink:
        pool = pool_of(connector)
        connection = await opened(pool, sink)
        pool.give_back("d", connection)
        await eventually(lambda: not connection.is_usable)
        assert pool.take("d") is None


async def test_pool_never_exceeds_its_bound(connector: Connectors) -> None:
    async with Sink(serve(messages=9)) as sink:
        pool = pool_of(connector, concurrency=2)
        first, second = await opened(pool, sink), await opened(pool, sink)
        waiting = [asyncio.ensure_future(opened(pool, sink, host=f"h{number}.example.com")) for number in range(3)]
        cancelled = waiting.pop(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        pool.give_back("d", first)
        third = await waiting[0]
        assert pool.open_connections == 2
        pool.give_back("d", second)
        fourth = await waiting[1]
        assert pool.open_connections == 2
        assert not first.is_usable
        for connection in (third, fourth):
            pool.give_back("d", connection)
        pool.close()


async def test_pool_forgets_failures(connector: Connectors) -> None:
    async with Sink(serve()) as sink:
        step = step_to(sink)
    pool = pool_of(connector, concurrency=1)
    for _ in range(3):
        failed = await pool.open(step)
        assert isinstance(failed, NotOpened)
        assert isinstance(failed.outcome, ConnectFailed)
    assert pool.open_connections == 0


async def test_pool_takes_an_open_connection_to_any_of_the_addresses(connector: Connectors) -> None:
    async with Sink(serve(messages=3)) as sink:
        pool = pool_of(connector)
        first = await opened(pool, sink, address="127.0.0.8", others=(sink.address,))
        assert [address for address, _ in first.failed] == ["127.0.0.8"]
        pool.give_back("mx:example.com", first)
        assert await opened(pool, sink, others=("127.0.0.7",)) is first
        assert first.failed == ()
        pool.give_back("mx:example.com", first)
        elsewhere = await pool.open(replace(step_to(sink), address="127.0.0.8", others=("127.0.0.7",)))
        assert isinstance(elsewhere, NotOpened)
        assert pool.open_connections == 1
        pool.close()
