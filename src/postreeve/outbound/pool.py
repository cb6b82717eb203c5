"""Connections kept open for the next message: by destination, so that not even the DNS is asked again, and by step.

Two connections are the same only if everything about them is: address, port, TLS requirement, credentials
(`Connect.allows` compares all of it). An idle connection is given up after a while, after so many messages, when the
peer closes it, or when its place is needed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass

from postreeve.outbound.smtp import Connection, Connector, NotOpened
from postreeve.queue.settings import DeliverySettings
from postreeve.queue.step import Connect


@dataclass(frozen=True, slots=True)
class _Idle:
    destination: str
    connection: Connection
    until: float


class Pool:
    """Hands out connections, takes them back. Every connection got from `take` or `open` is given back exactly once."""

    __slots__ = (
        "_bound",
        "_by_destination",
        "_connector",
        "_idle",
        "_idle_seconds",
        "_messages",
        "_open",
        "_timer",
        "_waiting",
    )

    def __init__(self, connector: Connector, settings: DeliverySettings) -> None:
        self._connector = connector
        self._bound = max(1, settings.concurrency)
        self._idle_seconds = settings.idle_seconds
        self._messages = settings.messages_per_connection
        self._idle: OrderedDict[Connection, _Idle] = OrderedDict()  # longest idle first
        self._by_destination: dict[str, list[Connection]] = {}
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """How many are in use or idle."""
        return self._open

    @property
    def idle_connections(self) -> int:
        """How many wait for work."""
        return len(self._idle)

    def take(self, destination: str) -> Connection | None:
        """An idle connection that an earlier message for `destination` left, or None; the peer may be closing it."""
        for connection in reversed(self._by_destination.get(destination, ())):
            if connection.is_usable:
                self._remove(connection)
                return connection
        return None

    async def open(self, step: Connect) -> Connection | NotOpened:
        """A connection as `step` says: an idle one of whatever destination, or a new one, once there is room for it."""
        for idle in reversed(self._idle.values()):
            connection = idle.connection
            if step.allows(connection.step) and connection.is_usable and connection.is_for_any_domain:
                self._remove(connection)
                return connection
        await self._make_room()
        try:
            opened = await self._connector.open(step)
        except BaseException:
            self._forget_one()
            raise
        if not isinstance(opened, Connection):
            self._forget_one()
        return opened

    def give_back(self, destination: str, connection: Connection) -> None:
        """The message is through: keep the connection for the next one, or close it."""
        connection.failed = ()
        if not connection.is_usable or connection.messages >= self._messages or self._idle_seconds <= 0:
            connection.close()
            self._forget_one()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = _Idle(destination, connection, loop.time() + self._idle_seconds)
        self._by_destination.setdefault(destination, []).append(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._idle_seconds, self._expire)
        self._let_in()

    def close(self) -> None:
        """Close all idle connections; those in use are closed when they are given back."""
        self._idle_seconds = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self._close_oldest()

    async def _make_room(self) -> None:
        while self._open >= self._bound:
            if self._idle:
                self._close_oldest()
                continue
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._let_in()  # our turn had come: the next one's now
                raise
        self._open += 1

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._idle:
            oldest = next(iter(self._idle.values()))
            if oldest.until > loop.time() and oldest.connection.is_usable:
                self._timer = loop.call_at(oldest.until, self._expire)
                return
            self._close_oldest()

    def _close_oldest(self) -> None:
        connection = next(iter(self._idle))
        self._remove(connection)
        connection.close()
        self._forget_one()

    def _remove(self, connection: Connection) -> None:
        destination = self._idle.pop(connection).destination
        same = self._by_destination[destination]
        same.remove(connection)
        if not same:
            del self._by_destination[destination]

    def _forget_one(self) -> None:
        self._open -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
