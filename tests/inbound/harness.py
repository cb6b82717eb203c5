"""Real listeners on loopback in a thread of their own, with the store in memory behind them.

    with Serving(tmp_path) as server:
        smtplib.SMTP("127.0.0.1", server.port("mx"))
        server.messages()

Three listeners as a production server has them: `mx` (relay, STARTTLS), `submission` (STARTTLS required) and
`submissions` (implicit TLS). example.org is ours with any recipient; example.net with alice only. The account is
alice / "correct horse", who may send as alice@example.org and @example.net.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import uvloop

from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.listener import Listener
from postreeve.inbound.login import Logins
from postreeve.inbound.service import Services
from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.ident import to_text
from postreeve.net.certificate import CertificateFiles, ServerContexts, TlsSettings, load_contexts
from postreeve.policy.settings import LimitSettings, ListenerSettings, LocalDomain, PolicySettings, Role
from postreeve.queue.model import MessageSummary, QueueFilter
from postreeve.queue.route import Route
from postreeve.queue.settings import Hold, Maildir, Mx
from postreeve.smtp.settings import TlsOffer
from postreeve.store.accounts import SqliteAccounts
from postreeve.store.memory import MemoryStore
from postreeve.telemetry.event import TelemetryEvent
from tests.lab.certificates import Authority

HOST = "127.0.0.1"
HOSTNAME = "mail.example.org"
USERNAME, PASSWORD = "alice", "correct horse"
LISTENERS = (
    ListenerSettings("mx", 0, Role.RELAY, TlsOffer.STARTTLS),
    ListenerSettings("submission", 0, Role.SUBMISSION, TlsOffer.REQUIRED),
    ListenerSettings("submissions", 0, Role.SUBMISSION, TlsOffer.IMPLICIT),
)
POLICY = PolicySettings(
    HOSTNAME,
    Mailbox("postmaster", Domain("example.org")),
    (LocalDomain("example.org"), LocalDomain("example.net", frozenset({"alice"}))),
)


def route(domain: Domain) -> Route | None:
    """Our own mail to a Maildir, held.test held, nowhere.test unknown, everything else by MX."""
    match domain.ascii:
        case "example.org" | "example.net":
            return Route("local", "maildir:local", domain, Maildir("/nonexistent"))
        case "held.test":
            return Route("held", "hold:held", domain, Hold())
        case "nowhere.test":
            return None
        case _:
            return Route("world", f"mx:{domain.ascii}", domain, Mx())


@dataclass(frozen=True)
class Tls:
    """What both sides need for TLS."""

    contexts: ServerContexts
    client: ssl.SSLContext


def make_tls(directory: Path) -> Tls:
    """A certificate for the server, and a client that believes anything."""
    authority = Authority()
    certificate, key = authority.issue(HOSTNAME, "localhost").write(directory, "server")
    contexts = load_contexts(TlsSettings(CertificateFiles(certificate, key)), 1.8e9)
    assert isinstance(contexts, ServerContexts), contexts
    client = ssl.create_default_context(cafile=str(authority.write(directory / "ca.pem")))
    client.check_hostname = False
    return Tls(contexts, client)


@dataclass
class Serving:
    """Started by `with`; stopped, and its calm asserted, at the end of it."""

    directory: Path
    limits: LimitSettings = field(default_factory=LimitSettings)
    listeners: tuple[ListenerSettings, ...] = LISTENERS
    policy: PolicySettings = POLICY
    store: Any = field(default_factory=MemoryStore)
    change: Callable[[Services], Services] = lambda services: services
    expect_calm: bool = True
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop

    def __post_init__(self) -> None:
        self.events: list[TelemetryEvent] = []
        self.complaints: list[dict[str, Any]] = []
        self.sockets: dict[str, socket.socket] = {}
        self.running: list[Listener] = []
        self.tls = make_tls(self.directory)
        self.accounts = SqliteAccounts(self.directory / "accounts.db")
        if self.accounts.get(USERNAME) is None:
            self.accounts.add(USERNAME, PASSWORD, ("alice@example.org", "@example.net"), 1.8e9)
        self._loop = self.loop_factory()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.accounts.close()
        if self.expect_calm:
            assert self.complaints == []
            assert self.events_of("InternalError") == []

    def call(self, work: Coroutine[Any, Any, Any], timeout: float = 60.0) -> Any:
        """Run something in the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def port(self, name: str) -> int:
        """The port of a listener."""
        return int(self.sockets[name].getsockname()[1])

    def listener(self, name: str) -> Listener:
        """A listener by its name."""
        return next(one for one in self.running if one.settings.name == name)

    def events_of(self, name: str) -> list[Any]:
        """What was told, of one type."""
        return [event for event in list(self.events) if type(event).__name__ == name]

    def told(self, name: str, count: int = 1) -> list[Any]:
        """All events of one type, as soon as there are `count`: a client may hear of something before it is told."""
        wait_until(lambda: len(self.events_of(name)) >= count)
        return self.events_of(name)

    def messages(self) -> list[MessageSummary]:
        """What is queued."""
        return list(self.call(self.store.find(QueueFilter(), 10_000)))

    def content(self, message: MessageSummary) -> bytes:
        """All of a message's content."""
        return bytes(self.call(self._content(message.ident)))

    async def _content(self, ident: int) -> bytes:
        return b"".join([piece async for piece in self.store.content(ident)])

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._loop.run_forever()

    async def _start(self) -> None:
        await self.store.open()
        counters = SharedCounters(4096)
        self.logins = Logins(self.accounts, counters)
        services = self.change(
            Services(
                policy=self.policy,
                store=self.store,
                route=route,
                tell=self.events.append,
                counters=counters,
                tls_context=lambda: self.tls.contexts.default,
                logins=self.logins,
            )
        )
        for settings in self.listeners:
            bound = socket.create_server((HOST, 0), backlog=4096)
            self.sockets[settings.name] = bound
            limits = settings.limits if settings.limits != LimitSettings() else self.limits
            listener = Listener(replace(settings, limits=limits), [bound], services)
            listener.start()
            self.running.append(listener)

    async def _stop(self) -> None:
        for listener in self.running:
            await listener.drain(5.0)
        for bound in self.sockets.values():
            bound.close()
        self.logins.close()
        await self.store.close()


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, host: str = HOST, before: bytes = b"") -> None:
        """With `tls`: TLS from the first octet; `before` is sent in plain first."""
        self.socket: socket.socket = socket.create_connection((host, port), timeout=20)
        if before:
            self.socket.sendall(before)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=HOSTNAME)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Just that."""
        self.socket.sendall(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake after 220."""
        assert self._buffer == b""
        self.socket = context.wrap_socket(self.socket, server_hostname=HOSTNAME)

    def line(self) -> str:
        """The next line, "" at the end."""
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if not data:
                rest, self._buffer = self._buffer, b""
                return rest.decode()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().rstrip("\r")

    def reply(self) -> str:
        """The next reply; of several lines the last one. "" at the end."""
        while True:
            line = self.line()
            if line[3:4] != "-":
                return line

    def ask(self, command: str) -> str:
        """A command and its reply."""
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def rest(self) -> str:
        """Everything up to the end of the connection."""
        lines = []
        while line := self.line():
            lines.append(line)
        return "\n".join(lines)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """True as soon as `condition` holds; False when it never did."""
    done = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        done.wait(0.01)
    return condition()


__all__ = ["HOST", "HOSTNAME", "LISTENERS", "PASSWORD", "POLICY", "USERNAME", "Client", "Serving", "to_text"]
