"""An SMTP server that writes down what it took before it says so, for counting what arrived and how often.

    async with LedgerSink() as sink:
        ... let a server deliver to sink.port ...
    sink.deliveries      # one per recipient and 250, in order

A message of ours begins with `X-Ledger-Id: <ident>`; everything from there on is what the client sent, everything
before it was added on the way. Reports to the null reverse-path are kept apart.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

MARK: Final = b"X-Ledger-Id: "
_HELLO: Final = b"250-sink.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n"

Judge = Callable[[str], bytes]
"""The reply to a RCPT of this address, without its CRLF."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient of one message that the sink has said 250 to; `at` is on the monotonic clock, before the reply."""

    ident: str
    recipient: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class Report:
    """A message from the null reverse-path."""

    recipient: str
    content: bytes
    at: float


def digest_of(content: bytes) -> str:
    """How a content is told from another."""
    return hashlib.sha256(content).hexdigest()


def take_all(recipient: str) -> bytes:
    """A judge that refuses nobody."""
    return b"250 2.1.5 taken"


@dataclass(slots=True)
class LedgerSink:
    """Listens on a loopback port of its own while the `async with` lasts; `judge` may be changed at any time."""

    judge: Judge = take_all
    port: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    strangers: list[bytes] = field(default_factory=list)
    """Contents without our mark."""
    refusals: int = 0
    """RCPTs answered with 4xx or 5xx."""
    _server: asyncio.Server | None = None
    _connections: set[asyncio.BaseTransport] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Talk(self), "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for transport in list(self._connections):
            transport.close()

    def take(self, reverse_path: str, recipients: list[str], content: bytes) -> None:
        """Write down one message."""
        now = time.monotonic()
        if not reverse_path:
            self.reports += [Report(recipient, content, now) for recipient in recipients]
            return
        start = content.find(MARK)
        if start < 0:
            self.strangers.append(content)
            return
        original = content[start:]
        ident = original[len(MARK) : original.index(b"\r\n")].decode("ascii")
        digest = digest_of(original)
        self.deliveries += [Delivery(ident, recipient, digest, now) for recipient in recipients]


class _Talk(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: LedgerSink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._scanned = 0
        self._in_content = False
        self._reverse_path = ""
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sink._connections.add(transport)
        transport.write(b"220 sink.example.com ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._content() if self._in_content else self._command():
            pass

    def _command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + 2]
        self._transport.write(self._answer(line) + b"\r\n")
        return True

    def _answer(self, line: str) -> bytes:
        verb, _, rest = line.partition(" ")
        path = rest.partition("<")[2].partition(">")[0]
        match verb.upper():
            case "EHLO":
                return _HELLO[:-2]
            case "MAIL":
                self._reverse_path, self._recipients = path, []
                return b"250 2.1.0 sender ok"
            case "RCPT":
                reply = self._sink.judge(path)
                if reply.startswith(b"2"):
                    self._recipients.append(path)
                else:
                    self._sink.refusals += 1
                return reply
            case "DATA" if not self._recipients:
                return b"554 5.5.1 no valid recipients"
            case "DATA":
                self._in_content, self._scanned = True, 0
                return b"354 go ahead"
            case "QUIT":
                asyncio.get_running_loop().call_soon(self._transport.close)
                return b"221 2.0.0 bye"
            case _:
                return b"250 2.0.0 ok"

    def _content(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            end, content = 3, b""
        else:
            at = self._buffer.find(b"\r\n.\r\n", max(0, self._scanned - 4))
            if at < 0:
                self._scanned = len(self._buffer)
                return False
            end = at + 5
            content = bytes(self._buffer[: at + 2]).replace(b"\r\n.", b"\r\n")
            content = content[1:] if content.startswith(b".") else content
        del self._buffer[:end]
        self._in_content = False
        self._sink.take(self._reverse_path, self._recipients, content)
        self._transport.write(b"250 2.0.0 taken\r\n")
        return True
