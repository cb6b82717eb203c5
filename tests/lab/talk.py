"""A client on a blocking socket that says exactly what a test tells it to, and shows exactly what came back."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"


def trusting(ca_file: Path) -> ssl.SSLContext:
    """A client's context that believes in one authority and in every name."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.check_hostname = False
    return context


def plain_response(username: str, password: str) -> str:
    """The initial response of AUTH PLAIN (RFC 4616)."""
    return base64.b64encode(f"\0{username}\0{password}".encode()).decode()


class Talk:
    """One connection; a context manager."""

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        source: str = "",
        source_port: int = 0,
        server_name: str = "mail.example.org",
        seconds: float = 20.0,
    ) -> None:
        """With `tls`: from the first octet. `source` is the address to come from."""
        origin = (source, source_port) if source else None
        self.socket: socket.socket = socket.create_connection((HOST, port), seconds, origin)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server_name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Just that."""
        self.socket.sendall(data)

    def line(self) -> str:
        """The next line, or "" at the end of the connection."""
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(65_536)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                rest, self._buffer = self._buffer, b""
                return rest.decode()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().rstrip("\r")

    def reply(self) -> str:
        """The next reply; of several lines the last one."""
        return self.lines()[-1]

    def lines(self) -> list[str]:
        """All lines of the next reply."""
        found = [self.line()]
        while found[-1][3:4] == "-":
            found.append(self.line())
        return found

    def ask(self, command: str | bytes) -> str:
        """A command and its reply; "" when there was none any more."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def hello(self) -> list[str]:
        """Greeting, EHLO, and what is offered."""
        assert self.reply().startswith("220 ")
        return self.offers()

    def offers(self) -> list[str]:
        """The keyword lines of an EHLO."""
        self.send(b"EHLO client.example.net\r\n")
        lines = self.lines()
        assert lines[0].startswith("250"), lines
        return [line[4:] for line in lines[1:]]

    def start_tls(self, context: ssl.SSLContext, server_name: str = "mail.example.org") -> None:
        """STARTTLS and the handshake."""
        assert self.ask("STARTTLS").startswith("220 ")
        assert self._buffer == b""
        self.socket = context.wrap_socket(self.socket, server_hostname=server_name)

    def log_in(self, username: str, password: str) -> None:
        """AUTH PLAIN."""
        reply = self.ask(f"AUTH PLAIN {plain_response(username, password)}")
        assert reply.startswith("235 "), reply

    def envelope(self, sender: str, *recipients: str, parameters: str = "") -> None:
        """MAIL and RCPT, all accepted."""
        reply = self.ask(f"MAIL FROM:<{sender}>{parameters and ' ' + parameters}")
        assert reply.startswith("250 "), reply
        for recipient in recipients:
            reply = self.ask(f"RCPT TO:<{recipient}>")
            assert reply.startswith("250 "), reply

    def data(self, content: bytes) -> str:
        """The content through DATA; returns the reply to it."""
        assert self.ask("DATA").startswith("354 ")
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        self.send((b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n")
        return self.reply()

    def bdat(self, content: bytes, chunk: int = 0) -> str:
        """The content through BDAT (RFC 3030) in pieces of `chunk` octets; returns the last or the first bad reply."""
        chunk = chunk or max(len(content), 1)
        starts = range(0, max(len(content), 1), chunk)
        reply = ""
        for start in starts:
            piece = content[start : start + chunk]
            last = b" LAST" if start + chunk >= len(content) else b""
            self.send(b"BDAT %d%b\r\n%b" % (len(piece), last, piece))
            reply = self.reply()
            if not reply.startswith("250 "):
                break
        return reply

    def rest(self) -> str:
        """Everything up to the end of the connection."""
        lines = []
        while line := self.line():
            lines.append(line)
        return "\n".join(lines)


def open_session(
    port: int,
    listener: str,
    context: ssl.SSLContext,
    username: str = "",
    password: str = "",
) -> Talk:
    """Greeted, with EHLO said: `mx` in plain, `submission` after STARTTLS, `submissions` in TLS; logged in if asked."""
    talk = Talk(port, tls=context if listener == "submissions" else None)
    talk.hello()
    if listener == "submission":
        talk.start_tls(context)
        talk.offers()
    if username:
        talk.log_in(username, password)
        talk.offers()
    return talk
