"""A scripted SMTP or LMTP server that does exactly what a test says and records exactly what it got.

    async with Sink([Say(b"220 sink\\r\\n"), Line(), Say(b"250 sink\\r\\n"), ...]) as sink:
        ... connect to sink.address, sink.port ...
    sink.received        # all octets of all connections, joined; sink.connections has them one by one

A script is a list of acts, done in order for each connection; `serve()` makes the script of an ordinary server, with
faults put in where wanted. A connection that has run through its script is read until its end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from postreeve.net.tls import TlsPipe, TlsProblem


@dataclass(frozen=True)
class Say:
    """Write these octets at once."""

    data: bytes


@dataclass(frozen=True)
class Drip:
    """Write these octets one by one, in packets of their own."""

    data: bytes


@dataclass(frozen=True)
class Flood:
    """Write `data` again and again until the client goes away or `most` times."""

    data: bytes
    most: int = 1_000_000


@dataclass(frozen=True)
class Line:
    """Wait for one line."""


@dataclass(frozen=True)
class Content:
    """Wait for everything up to the final dot."""


@dataclass(frozen=True)
class Exactly:
    """Wait for so many octets."""

    octets: int


@dataclass(frozen=True)
class Hang:
    """Neither read nor write any more; the connection stays open until the client closes it or the sink ends."""


@dataclass(frozen=True)
class Close:
    """Close the connection in order."""


@dataclass(frozen=True)
class HalfClose:
    """Send the end of the stream and go on reading."""


@dataclass(frozen=True)
class Reset:
    """Close with RST."""


@dataclass(frozen=True)
class StartTls:
    """Do a TLS handshake as the server; `alert` closes it again inside TLS after the handshake."""

    context: ssl.SSLContext
    closes: bool = False


Act = Say | Drip | Flood | Line | Content | Exactly | Hang | Close | HalfClose | Reset | StartTls
Script = Sequence[Act]


def serve(
    *, hello: bytes = b"250-sink.example.com\r\n250-PIPELINING\r\n250 8BITMIME\r\n", messages: int = 1
) -> list[Act]:
    """An ordinary server for messages to one recipient each."""
    acts: list[Act] = [Say(b"220 sink.example.com ESMTP\r\n"), Line(), Say(hello)]
    for _ in range(messages):
        acts += [Line(), Say(b"250 2.1.0 sender ok\r\n"), Line(), Say(b"250 2.1.5 recipient ok\r\n")]
        acts += [Line(), Say(b"354 go ahead\r\n"), Content(), Say(b"250 2.0.0 taken\r\n")]
    return [*acts, Line(), Say(b"221 2.0.0 bye\r\n"), Close()]


@dataclass
class Seen:
    """One connection as the sink saw it."""

    received: bytes = b""
    over_tls: bytes = b""
    """What came inside TLS."""
    contents: list[bytes] = field(default_factory=list)
    """Each up to and with its final dot."""
    is_over: bool = False


class Sink:
    """Listens on a loopback port of its own while the `async with` lasts."""

    def __init__(self, *scripts: Script, address: str = "127.0.0.1", path: str = "") -> None:
        """The n-th connection gets the n-th script; later ones the last again. `path`: a local socket instead."""
        self._scripts = scripts
        self._path = path
        self.address = address
        self.port = 0
        self.connections: list[Seen] = []
        self.has_content = asyncio.Event()
        """Set once a content has come, final dot and all."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def received(self) -> bytes:
        """Everything, in the clear."""
        return b"".join(seen.received + seen.over_tls for seen in self.connections)

    @property
    def contents(self) -> list[bytes]:
        """The contents of all connections."""
        return [content for seen in self.connections for content in seen.contents]

    async def __aenter__(self) -> Self:
        if self._path:
            self._server = await asyncio.start_unix_server(self._accept, self._path)
        else:
            self._server = await asyncio.start_server(self._accept, self.address, 0)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await _turns()  # for connections that are just being accepted
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _turns()  # for transports that are just being closed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
        seen = Seen()
        self.connections.append(seen)
        try:
            await _Play(reader, writer, seen, self.has_content).run(script)
        except (ConnectionError, asyncio.IncompleteReadError, TlsProblem):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # what a peer does not take would keep the transport
            raise
        finally:
            seen.is_over = True
            writer.close()
            self._tasks.discard(task)


_NO_LINGER = struct.pack("ii", 1, 0)


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class _Play:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen, has_content: asyncio.Event
    ) -> None:
        self._has_content = has_content
        self._reader = reader
        self._writer = writer
        self._seen = seen
        self._buffer = b""
        self._pipe: TlsPipe | None = None

    async def run(self, script: Script) -> None:
        for act in script:
            if not await self._do(act):
                return
        while await self._more():
            pass

    async def _do(self, act: Act) -> bool:
        match act:
            case Say(data):
                await self._write(data)
            case Drip(data):
                for place in range(len(data)):
                    await self._write(data[place : place + 1])
                    await asyncio.sleep(0)
            case Flood(data, most):
                for _ in range(most):
                    await self._write(data)
            case Line():
                await self._until(b"\n")
            case Content():
                await self._content()
                self._has_content.set()
            case Exactly(octets):
                while len(self._buffer) < octets and await self._more():
                    pass
                self._buffer = self._buffer[octets:]
            case Hang():
                await asyncio.Event().wait()
            case Close():
                if self._pipe is not None:
                    self._pipe.close()
                    self._writer.write(self._pipe.outgoing())
                return False
            case HalfClose():
                self._writer.write_eof()
            case Reset():
                # Without lingering the kernel says RST, whatever was read before.
                self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                self._writer.transport.abort()
                return False
            case StartTls(context, closes):
                await self._start_tls(context)
                return not closes
        return True

    async def _write(self, data: bytes) -> None:
        if self._pipe is not None:
            self._pipe.send(data)
            data = self._pipe.outgoing()
        self._writer.write(data)
        await self._writer.drain()

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._buffer, None)
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    async def _content(self) -> None:
        if self._buffer.startswith(b".\r\n") or (len(self._buffer) < 3 and await self._begins_with_dot()):
            self._buffer = self._buffer[3:]
            self._seen.contents.append(b".\r\n")
            return
        self._seen.contents.append(await self._until(b"\r\n.\r\n"))

    async def _begins_with_dot(self) -> bool:
        while len(self._buffer) < 3 and await self._more():
            pass
        return self._buffer.startswith(b".\r\n")

    async def _more(self) -> bool:
        data = await self._reader.read(65_536)
        if not data:
            return False
        if self._pipe is None:
            self._seen.received += data
            self._buffer += data
            return True
        plaintext = self._pipe.receive(data)
        self._seen.over_tls += plaintext
        self._buffer += plaintext
        return not self._pipe.peer_closed

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        pipe = TlsPipe(context, server_side=True)
        data, self._buffer = self._buffer, b""
        try:
            while True:
                plaintext = pipe.receive(data)
                self._writer.write(pipe.outgoing())
                self._seen.over_tls += plaintext
                self._buffer += plaintext
                if pipe.handshake_done:
                    break
                data = await self._reader.read(65_536)
                if not data:
                    raise asyncio.IncompleteReadError(b"", None)
        except TlsProblem:
            self._writer.write(pipe.outgoing())
            raise
        self._pipe = pipe
