"""One connected socket of ours: octets out at once or as soon as they are taken, octets in as they come.

It stands where asyncio has a transport, and behaves as one, with three differences: a message costs it one `send` and
one `recv` and nothing of the event loop's; what the peer still said is read before a failed write is told of; and all
sockets of a `Poller` are woken together.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final, Protocol

from postreeve.net.poller import READ, WRITE, Poller

READ_OCTETS: Final = 16_384
_READS_PER_WAKE: Final = 16
_HIGH_WATER: Final = 65_536
"""Unsent octets above which the receiver is asked to pause."""
_LOW_WATER: Final = 16_384


class Receiver(Protocol):
    """Whom a stream belongs to."""

    def data_received(self, data: bytes) -> None:
        """The peer sent this."""
        ...

    def eof_received(self) -> None:
        """The peer will send no more; the stream closes by itself."""
        ...

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed; called exactly once, in a turn of the event loop of its own."""
        ...

    def pause_writing(self) -> None:
        """Much is unsent."""
        ...

    def resume_writing(self) -> None:
        """Little is unsent."""
        ...


class Stream:
    """Owns `connected`, which must not block. Everything happens in the event loop."""

    __slots__ = (
        "_fd",
        "_is_closed",
        "_is_paused",
        "_loop",
        "_poller",
        "_receiver",
        "_recv",
        "_send_some",
        "_socket",
        "_unsent",
        "is_closing",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, poller: Poller, connected: socket.socket, receiver: Receiver
    ) -> None:
        """Reads from now on."""
        self._loop = loop
        self._poller = poller
        self._socket = connected
        self._receiver = receiver
        self._fd = connected.fileno()
        self._recv = connected.recv
        self._send_some = connected.send
        self._unsent = bytearray()
        self._is_paused = False
        self._is_closed = False
        self.is_closing = False
        """Nothing is read any more, and nothing more may be written."""
        if connected.family != socket.AF_UNIX:
            with suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.watch(self._fd, READ, self._ready)

    @property
    def unsent_octets(self) -> int:
        """What was written and not yet taken by the kernel."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Send, now or as soon as the peer takes it."""
        if self.is_closing or not data:
            return
        if self._unsent:
            self._unsent += data
        else:
            try:
                sent = self._send_some(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent == len(data):
                return
            self._unsent += data[sent:]
            self._poller.change(self._fd, READ | WRITE)
        if not self._is_paused and len(self._unsent) > _HIGH_WATER:
            self._is_paused = True
            self._receiver.pause_writing()

    def close(self) -> None:
        """Read no more, send what is unsent, then close."""
        if self.is_closing:
            return
        self.is_closing = True
        if self._unsent:
            self._poller.change(self._fd, WRITE)
        else:
            self._end(None)

    def abort(self) -> None:
        """Close at once."""
        self.is_closing = True
        self._end(None)

    def _ready(self, events: int) -> None:
        if self.is_closing:
            self._writable()
            return
        if events & WRITE and self._unsent:
            self._writable()
        if events & ~WRITE and not self.is_closing:
            self._readable()

    def _readable(self) -> None:
        """Who floods us is read for a while at once, and then it is others' turn."""
        for _ in range(_READS_PER_WAKE):
            if self._read_once() < READ_OCTETS or self.is_closing:
                return

    def _read_once(self) -> int:
        """How many octets came."""
        try:
            data = self._recv(READ_OCTETS)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._end(error)
            return 0
        try:
            if data:
                self._receiver.data_received(data)
            else:
                self._receiver.eof_received()
                self.close()
        except Exception as error:
            self._loop.call_exception_handler({"message": "a stream's receiver failed", "exception": error})
            self._end(error)
        return len(data)

    def _writable(self) -> None:
        try:
            sent = self._send_some(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        del self._unsent[:sent]
        if not self._unsent:
            if self.is_closing:
                self._end(None)
                return
            self._poller.change(self._fd, READ)
        if self._is_paused and len(self._unsent) <= _LOW_WATER:
            self._is_paused = False
            self._receiver.resume_writing()

    def _fail(self, error: OSError) -> None:
        """Nothing can be sent any more: hear what the peer had to say, then it is over."""
        self._unsent.clear()
        if self.is_closing:
            self._end(error)
        else:
            self._loop.call_soon(self._hear_out, error)

    def _hear_out(self, error: OSError) -> None:
        if not self.is_closing:
            self._readable()
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._is_closed:
            return
        self._is_closed = self.is_closing = True
        self._unsent.clear()
        self._poller.forget(self._fd)
        self._socket.close()
        self._loop.call_soon(self._receiver.connection_lost, error)
