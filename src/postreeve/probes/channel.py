"""The octets of one connection: read when wanted, bounded in time and amount, in the clear or within TLS.

Reading is pulled, not pushed: what has arrived but was not asked for stays in the socket, so that it is known exactly
what came before TLS and what within.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from postreeve.checks.conversation import Ending
from postreeve.mail.error import PostreeveError

MAX_OCTETS: Final = 1_048_576
"""Of all that a peer may say in one conversation; certificates and replies together are a few thousand."""
_READ_OCTETS: Final = 16_384
_QUICK_ACKNOWLEDGEMENT: Final = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)
"""Of Linux; elsewhere nothing is changed by it."""


class Broken(PostreeveError):
    """The connection cannot be used any more; `ending` says how it broke, `error` in OpenSSL's words where TLS did."""

    def __init__(self, ending: Ending, error: str = "") -> None:
        super().__init__(f"{ending.value} {error}".strip())
        self.ending = ending
        self.error = error


class Channel:
    """One connected, non-blocking socket. Only one coroutine at a time may use it."""

    __slots__ = ("_deadline", "_ending", "_incoming", "_loop", "_octets", "_outgoing", "_socket", "tls")

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        """Every wait ends after `seconds` from now at the latest."""
        connected.setblocking(False)
        _set(connected, socket.TCP_NODELAY)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._octets = 0
        self._ending: Ending | None = None  # of the reading side; the kernel tells it only once
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        """Set once its handshake is done; from then on everything goes through it."""

    def now(self) -> float:
        """The event loop's clock."""
        return self._loop.time()

    def until(self, seconds: float) -> float:
        """The moment (of the event loop's clock) so many seconds from now, or the conversation's end if earlier."""
        return min(self._loop.time() + seconds, self._deadline)

    def wrap(self, context: ssl.SSLContext, server_name: str) -> ssl.SSLObject:
        """A client's TLS on this channel. Raises ValueError for a name that cannot be one."""
        return context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name or None)

    async def read(self, until: float) -> bytes:
        """What the peer says next, at least one octet. Raises Broken."""
        if self.tls is None:
            return await self.read_clear(until)
        while True:
            try:
                plaintext = self.tls.read(_READ_OCTETS)
            except ssl.SSLWantReadError:
                await self.flush(until)
                await self.pull(until)
                continue
            except ssl.SSLZeroReturnError:
                raise Broken(Ending.CLOSED) from None
            except ssl.SSLError as problem:
                await self.flush(until)
                raise Broken(Ending.TLS_FAILED, reason_of(problem)) from None
            if not plaintext:
                raise Broken(Ending.CLOSED)
            return plaintext

    async def read_clear(self, until: float) -> bytes:
        """The next octets as they are on the wire. Raises Broken."""
        if self._ending is not None:
            raise Broken(self._ending)
        # A server that waits for our acknowledgement (Nagle) would be measured as slow. Linux forgets this option.
        _set(self._socket, _QUICK_ACKNOWLEDGEMENT)
        try:
            async with asyncio.timeout_at(until):
                data = await self._loop.sock_recv(self._socket, _READ_OCTETS)
        except TimeoutError:
            raise Broken(Ending.TIMED_OUT) from None
        except OSError as problem:
            self._ending = _ending_of(problem)
            raise Broken(self._ending) from None
        if not data:
            self._ending = Ending.CLOSED
            raise Broken(self._ending)
        self._octets += len(data)
        if self._octets > MAX_OCTETS:
            raise Broken(Ending.NOT_SMTP)
        return data

    async def pull(self, until: float) -> bytes:
        """The next octets of the wire, given to TLS. Raises Broken."""
        data = await self.read_clear(until)
        self._incoming.write(data)
        return data

    def poll(self) -> bytes:
        """What has already come, perhaps nothing; never waits. For the clear only."""
        if self.tls is not None:
            return b""
        try:
            data = self._socket.recv(_READ_OCTETS)
        except BlockingIOError:
            return b""
        except OSError as problem:
            self._ending = _ending_of(problem)
            return b""
        if not data:
            self._ending = Ending.CLOSED
        self._octets += len(data)
        return data

    async def write(self, data: bytes, until: float) -> None:
        """Say it. A peer that is gone shows at the next read, which may still bring its last words. Raises Broken."""
        if self.tls is not None:
            try:
                self.tls.write(data)
            except ssl.SSLError as problem:
                raise Broken(Ending.TLS_FAILED, reason_of(problem)) from None
            await self.flush(until)
            return
        await self._send(data, until)

    async def flush(self, until: float) -> None:
        """Send what TLS has to say. Raises Broken."""
        data = self._outgoing.read()
        if data:
            await self._send(data, until)

    async def _send(self, data: bytes, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._loop.sock_sendall(self._socket, data)
        except TimeoutError:
            raise Broken(Ending.TIMED_OUT) from None
        except OSError:
            return

    def close(self) -> None:
        """Close, with close_notify where TLS is on; harmless at any time."""
        if self.tls is not None:
            try:
                self.tls.unwrap()
            except (ssl.SSLError, ValueError):
                pass
            try:
                self._socket.send(self._outgoing.read())
            except OSError:
                pass
        self._socket.close()


def _set(connected: socket.socket, option: int) -> None:
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.IPPROTO_TCP, option, 1)


def reason_of(problem: ssl.SSLError) -> str:
    """OpenSSL's reason ("WRONG_VERSION_NUMBER"), or what comes nearest to one."""
    return problem.reason or type(problem).__name__


def _ending_of(problem: OSError) -> Ending:
    if isinstance(problem, ConnectionError):
        return Ending.RESET
    return Ending.TIMED_OUT if isinstance(problem, TimeoutError) else Ending.CLOSED
