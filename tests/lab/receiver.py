"""A next hop in a thread: an SMTP or LMTP server that keeps every octet it was given, and refuses what a test says.

    with Receiver() as hop:
        ... a route to 127.0.0.1 port hop.port ...
        (message,) = hop.wait_for(1)

Deliberately simple: what arrives is kept raw, so that a test can look at the wire and not at somebody's idea of it.
"""

from __future__ import annotations

import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

KEYWORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")

Answer = Callable[[str], str | None]
"""A command line → another reply than the usual one; "" closes the connection; None for the usual one."""


@dataclass
class Taken:
    """One message as it came."""

    sender: str
    recipients: list[str]
    wire: bytes
    """Between DATA and the final dot, dot stuffing and all."""
    protocol: str

    @property
    def content(self) -> bytes:
        """Without the dot stuffing."""
        text = self.wire.replace(b"\r\n..", b"\r\n.")
        return text[1:] if text.startswith(b"..") else text


@dataclass
class Receiver:
    """Listens while the `with` lasts."""

    answer: Answer = lambda _: None
    keywords: Sequence[str] = KEYWORDS
    address: str = "127.0.0.1"
    is_lmtp: bool = False
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = _Server((self.address, 0), _Conversation)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Taken]:
        """The messages, once there are that many."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(self.taken) >= count:
                return list(self.taken)
            time.sleep(0.02)
        raise AssertionError(f"{len(self.taken)} of {count} messages; commands: {self.commands[-30:]}")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    receiver: Receiver


class _Conversation(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            self._converse()
        except (ConnectionError, ssl.SSLError):
            pass

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def _converse(self) -> None:
        hop = self.server.receiver
        self._say(hop.answer("CONNECT") or "220 hop.example.com ESMTP")
        sender, recipients = "", list[str]()
        while line := self.rfile.readline(65_536):
            command = line.decode("utf-8").rstrip("\r\n")
            hop.commands.append(command)
            verb = command.upper()[:4]
            other = hop.answer(command)
            if other is not None:
                if not other:
                    return
                self._say(other)
                continue
            match verb:
                case "EHLO" | "LHLO":
                    sender, recipients = "", []
                    lines = ["hop.example.com", *hop.keywords]
                    for number, word in enumerate(lines, 1):
                        self._say(f"250{' ' if number == len(lines) else '-'}{word}")
                case "MAIL":
                    sender, recipients = command, []
                    self._say("250 2.1.0 sender taken")
                case "RCPT":
                    recipients.append(command)
                    self._say("250 2.1.5 recipient taken")
                case "DATA" if recipients:
                    self._say("354 go ahead")
                    self._take(sender, recipients)
                    sender, recipients = "", []
                case "RSET" | "NOOP":
                    sender, recipients = "", []
                    self._say("250 2.0.0 fine")
                case "QUIT":
                    self._say("221 2.0.0 bye")
                    return
                case _:
                    self._say("503 5.5.1 not now")

    def _take(self, sender: str, recipients: list[str]) -> None:
        hop = self.server.receiver
        pieces: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n" or (pieces and not pieces[-1].endswith(b"\r\n")):
            if not line:
                return
            pieces.append(line)
        other = hop.answer("DOT")
        if other is not None:
            self._say(other)
            return
        hop.taken.append(Taken(sender, recipients, b"".join(pieces), "LMTP" if hop.is_lmtp else "ESMTP"))
        for _ in recipients if hop.is_lmtp else [None]:
            self._say("250 2.0.0 taken")
