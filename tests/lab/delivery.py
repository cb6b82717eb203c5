"""Scripted peers for deliveries: connections that do what a test says, a resolver over dicts, a queue in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from postreeve.dns.answer import Absence, Answer, LookupFailed, Mx
from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    Envelope,
    EnvelopeRecipient,
    MailParameters,
    RecipientParameters,
)
from postreeve.mail.reply import Reply
from postreeve.outbound.attempt import Means
from postreeve.outbound.bounce import Bouncer
from postreeve.outbound.deliver import Deliverer
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.smtp import NotOpened
from postreeve.queue.model import NewMessage, NewRecipient, Origin
from postreeve.queue.outcome import ConnectFailed, Delivered, Handover, LocalKind, LocalProblem, Outcome
from postreeve.queue.route import Identity, Router
from postreeve.queue.settings import KeepConversations, QueueSettings
from postreeve.queue.step import Connect
from postreeve.report.fact import DsnSettings
from postreeve.store.face import StoreError
from postreeve.store.memory import MemoryStore
from postreeve.telemetry.event import TelemetryEvent

START = 1_700_000_000.0
OK = Delivered(Reply(250, "2.0.0", "taken"))

Sends = Callable[[Connect, Outgoing], Sequence[Outcome] | Awaitable[Sequence[Outcome]]]


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeConnection:
    """What `outbound.smtp.Connection` would be."""

    step: Connect
    sends: Sends
    tls: str = "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified"
    is_usable: bool = True
    max_recipients: int = 0
    messages: int = 0
    failed: tuple[tuple[str, Outcome], ...] = ()

    def transcript(self) -> str:
        return f"C: MAIL\nS: number {self.messages}"

    async def send(self, message: Outgoing) -> list[Outcome]:
        self.messages += 1
        outcomes = self.sends(self.step, message)
        return list(outcomes if isinstance(outcomes, Sequence) else await outcomes)


def take_all(_: Connect, message: Outgoing) -> Sequence[Outcome]:
    return [OK] * len(message.recipients)


@dataclass
class Network:
    """Connections by address: what becomes of opening one (None: it opens), and of a message sent over it."""

    opens: Callable[[Connect], Outcome | None] = lambda step: None
    sends: Sends = take_all
    opened: list[Connect] = field(default_factory=list)
    sent: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    idle: dict[str, list[FakeConnection]] = field(default_factory=dict)
    most_busy: int = 0
    busy: int = 0
    keeps_open: bool = True

    def take(self, destination: str) -> FakeConnection | None:
        connections = self.idle.get(destination)
        if not connections:
            return None
        self._got()
        return connections.pop()

    async def open(self, step: Connect) -> FakeConnection | NotOpened:
        """The addresses one after the other, as long as nobody answers."""
        failed: list[tuple[str, Outcome]] = []
        await asyncio.sleep(0)
        for address in step.addresses:
            at = step.at(address)
            self.opened.append(at)
            problem = self.opens(at)
            if problem is None:
                self._got()
                return FakeConnection(at, self._send, failed=tuple(failed))
            if not isinstance(problem, ConnectFailed):
                return NotOpened(problem, address, tuple(failed), transcript=f"S: {problem}")
            failed.append((address, problem))
        (address, problem), *earlier = reversed(failed)
        return NotOpened(problem, address, tuple(reversed(earlier)))

    def _got(self) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)

    def give_back(self, destination: str, connection: FakeConnection) -> None:
        self.busy -= 1
        if self.keeps_open and connection.is_usable:
            self.idle.setdefault(destination, []).append(connection)

    async def _send(self, step: Connect, message: Outgoing) -> Sequence[Outcome]:
        self.sent.append((step.address, tuple(str(recipient.mailbox) for recipient in message.recipients)))
        content = message.content
        self.contents.append(content if isinstance(content, bytes) else b"".join([piece async for piece in content]))
        outcomes = self.sends(step, message)
        return outcomes if isinstance(outcomes, Sequence) else await outcomes


@dataclass
class Names:
    """A resolver over dicts; a name mapped to an exception cannot be looked up."""

    hosts: dict[str, tuple[Mx, ...] | str] = field(default_factory=dict)
    hosts_addresses: dict[str, tuple[str, ...] | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def mx(self, name: str) -> Answer[Mx]:
        self.asked.append(name)
        found = self.hosts.get(name, (Mx(10, f"mx.{name}"),))
        if isinstance(found, str):
            raise LookupFailed(name, "MX", found)
        return Answer(found) if found else Answer((), Absence.NO_SUCH_NAME)

    async def addresses(self, name: str) -> Answer[str]:
        self.asked.append(name)
        found = self.hosts_addresses.get(name, ("192.0.2.1",))
        if isinstance(found, str):
            raise LookupFailed(name, "A", found)
        return Answer(found) if found else Answer((), Absence.NO_SUCH_NAME)

    async def txt(self, name: str) -> Answer[bytes]:
        raise LookupFailed(name, "TXT", "not in this test")

    async def ptr(self, address: str) -> Answer[str]:
        raise LookupFailed(address, "PTR", "not in this test")


@dataclass
class Boxes:
    """Maildirs in memory."""

    kept: list[tuple[str, str, bytes]] = field(default_factory=list)
    problem: Outcome | None = None

    async def deposit(
        self,
        template: str,
        recipients: Sequence[Mailbox],
        reverse_path: Mailbox | None,
        content: bytes | AsyncIterator[bytes],
    ) -> list[Outcome]:
        if self.problem is not None:
            return [self.problem] * len(recipients)
        try:
            content = content if isinstance(content, bytes) else b"".join([piece async for piece in content])
        except StoreError as error:
            return [LocalProblem(LocalKind.STORE, str(error))] * len(recipients)
        self.kept += [(template, str(recipient), content) for recipient in recipients]
        return [Delivered(Reply(250, "2.0.0", "stored"), Handover.FINAL)] * len(recipients)


@dataclass
class House:
    """Everything a deliverer needs, made of the above."""

    settings: QueueSettings
    identity: Identity = field(default_factory=Identity)
    clock: Clock = field(default_factory=Clock)
    network: Network = field(default_factory=Network)
    names: Names = field(default_factory=Names)
    boxes: Boxes = field(default_factory=Boxes)
    store: MemoryStore = field(default_factory=MemoryStore)
    events: list[TelemetryEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.router = Router(self.settings.routes)

    def deliverer(self, keep: KeepConversations = KeepConversations.FAILURES) -> Deliverer:
        means = Means(self.store, self.names, self.network, self.boxes, self.clock, keep)
        bouncer = Bouncer(self.store, self.router, DsnSettings("mail.example.org"))
        return Deliverer(means, self.router, self.identity, self.settings, bouncer, self.events.append)

    def message(
        self,
        *recipients: str,
        sender: str = "alice@example.org",
        parameters: MailParameters = NO_MAIL_PARAMETERS,
        recipient_parameters: RecipientParameters = NO_RECIPIENT_PARAMETERS,
        content: bytes = b"Subject: hello\r\n\r\nbody\r\n",
        priority: int = 0,
        due: float | None = None,
    ) -> NewMessage:
        now = self.clock()
        paths = [EnvelopeRecipient(mailbox(text), recipient_parameters) for text in recipients]
        routes = [self.router.route(path.mailbox.domain) for path in paths]
        return NewMessage(
            ident=self.store.new_ident(now),
            accepted_at=now,
            envelope=Envelope(mailbox(sender) if sender else None, tuple(paths), parameters),
            recipients=tuple(
                NewRecipient(path, "none:" if route is None else route.destination, now if due is None else due)
                for path, route in zip(paths, routes, strict=True)
            ),
            origin=Origin("submission"),
            size_octets=len(content),
            content=content,
            priority=priority,
        )

    def told(self, kind: type) -> list[TelemetryEvent]:
        return [event for event in self.events if type(event) is kind]


def mailbox(text: str) -> Mailbox:
    found = parse_mailbox(text)
    assert found is not None
    return found


async def until(condition: Callable[[], bool], turns: int = 5000) -> None:
    """Let the event loop run until `condition` holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to pass")


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 10):
        yield content[start : start + 10]
