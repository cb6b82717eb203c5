"""One attempt: does what a DeliveryPlan asks for, step by step, and keeps what happened at each host.

Nothing is decided here. The means (resolver, connections, Maildirs, content) are Protocols, so that the whole of an
attempt can be run against scripted peers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from postreeve.dns.answer import Answer, LookupFailed, Mx, Resolver
from postreeve.mail.address import Mailbox
from postreeve.mail.envelope import EnvelopeRecipient
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.smtp import NotOpened
from postreeve.queue.model import Claim
from postreeve.queue.outcome import (
    Delivered,
    Disconnected,
    LookupKind,
    LookupProblem,
    Outcome,
    Stage,
)
from postreeve.queue.plan import DeliveryPlan
from postreeve.queue.settings import KeepConversations
from postreeve.queue.step import Connect, Deposit, Done, Judgement, LookupAddresses, LookupMx, Send
from postreeve.store.face import Store


class OpenConnection(Protocol):
    """What `outbound.smtp.Connection` is."""

    @property
    def step(self) -> Connect:
        """How it was made."""
        ...

    @property
    def tls(self) -> str:
        """As in `queue.model.Attempt.tls`."""
        ...

    @property
    def failed(self) -> tuple[tuple[str, Outcome], ...]:
        """Addresses that were tried before it came about, and how each failed."""
        ...

    @property
    def is_usable(self) -> bool:
        """True while another message may be sent."""
        ...

    @property
    def max_recipients(self) -> int:
        """The peer's limit per transaction, 0 for none."""
        ...

    def transcript(self) -> str:
        """The dialogue of the latest message."""
        ...

    async def send(self, message: Outgoing) -> list[Outcome]:
        """One mail transaction; an outcome per recipient."""
        ...


class Connections(Protocol):
    """What `outbound.pool.Pool` is; every connection got is given back exactly once."""

    def take(self, destination: str) -> OpenConnection | None:
        """A connection left open by an earlier message for the destination."""
        ...

    async def open(self, step: Connect) -> OpenConnection | NotOpened:
        """A connection as `step` says, or why there is none."""
        ...

    def give_back(self, destination: str, connection: Any) -> None:
        """Done with it: one that `take` or `open` gave."""
        ...


class Maildirs(Protocol):
    """What `outbound.maildir.MaildirWriter` is."""

    async def deposit(
        self,
        template: str,
        recipients: Sequence[Mailbox],
        reverse_path: Mailbox | None,
        content: bytes | AsyncIterator[bytes],
    ) -> list[Outcome]:
        """One durable copy per recipient; an outcome for each."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with."""

    store: Store
    resolver: Resolver
    connections: Connections
    maildirs: Maildirs
    clock: Callable[[], float]
    """POSIX seconds."""
    keep_conversations: KeepConversations = KeepConversations.FAILURES


@dataclass(frozen=True, slots=True)
class Try:
    """What one host, or the local disk, did for some recipients; `connect` is None where there was none."""

    at: float
    seconds: float
    connect: Connect | None
    recipients: tuple[int, ...]
    outcomes: Sequence[Outcome]
    tls: str = ""
    conversation: str = ""


class Attempt:
    """Carries out one plan for one claim. Use once: `judgements = await Attempt(...).run(plan)`."""

    __slots__ = ("_claim", "_connection", "_destination", "_means", "_recipients", "tries")

    def __init__(self, claim: Claim, destination: str, means: Means) -> None:
        """`destination` is the key under which connections are kept for the next message."""
        self._claim = claim
        self._destination = destination
        self._means = means
        self._recipients: dict[int, EnvelopeRecipient] = {record.index: record.recipient for record in claim.recipients}
        self._connection: OpenConnection | None = None
        self.tries: list[Try] = []

    async def run(self, plan: DeliveryPlan) -> tuple[Judgement, ...]:
        """Do all steps; a judgement for each recipient of the plan. Never raises for what a peer or the DNS does."""
        connection = self._means.connections.take(self._destination)
        if connection is not None:
            self._connection = connection
            plan.adopt(connection.step, connection.max_recipients)
        try:
            while True:
                match plan.next_step():
                    case Send(recipients):
                        await self._send(plan, recipients)
                    case Connect() as step:
                        await self._connect(plan, step)
                    case LookupMx(domain):
                        plan.take_mx(await self._mx(domain))
                    case LookupAddresses(host, is_configured):
                        plan.take_addresses(await self._addresses(host, is_configured))
                    case Deposit(path, recipients):
                        await self._deposit(plan, path, recipients)
                    case Done(judgements):
                        return judgements
        finally:
            self._give_back()

    async def _mx(self, domain: str) -> Answer[Mx] | LookupProblem:
        try:
            return await self._means.resolver.mx(domain)
        except LookupFailed as error:
            return LookupProblem(LookupKind.TEMPORARY, domain, f"MX: {error.reason}")

    async def _addresses(self, host: str, is_configured: bool) -> Answer[str] | LookupProblem:
        resolver = self._means.resolver
        try:
            return await (resolver.host_addresses(host) if is_configured else resolver.addresses(host))
        except LookupFailed as error:
            return LookupProblem(LookupKind.TEMPORARY, host, f"{error.record_type}: {error.reason}")

    async def _connect(self, plan: DeliveryPlan, step: Connect) -> None:
        self._give_back()
        clock = self._means.clock
        started = clock()
        opened = await self._means.connections.open(step)
        seconds = clock() - started
        for address, outcome in opened.failed:
            self._tell_unopened(plan, step.at(address), NotOpened(outcome), started, seconds)
        if isinstance(opened, NotOpened):
            self._tell_unopened(plan, step.at(opened.address), opened, started, seconds)
            plan.take_connection(opened.outcome, 0, opened.address, opened.failed)
            return
        self._connection = opened
        plan.take_connection(None, opened.max_recipients, opened.step.address, opened.failed)

    def _tell_unopened(
        self, plan: DeliveryPlan, step: Connect, opened: NotOpened, started: float, seconds: float
    ) -> None:
        waiting = plan.waiting
        outcomes = [opened.outcome] * len(waiting)
        conversation = "" if self._means.keep_conversations is KeepConversations.NONE else opened.transcript
        self.tries.append(Try(started, seconds, step, waiting, outcomes, opened.tls, conversation))

    async def _send(self, plan: DeliveryPlan, recipients: tuple[int, ...]) -> None:
        connection, claim = self._connection, self._claim
        if connection is None:
            plan.take_outcomes([Disconnected(Stage.MAIL)] * len(recipients), is_open=False)
            return
        clock = self._means.clock
        started = clock()
        outcomes = await connection.send(
            Outgoing(
                claim.envelope.reverse_path,
                [self._recipients[index] for index in recipients],
                self._content(),
                claim.size_octets,
                claim.envelope.parameters,
                started,
                submitter=submitter_of(claim),
            )
        )
        conversation = connection.transcript() if self._is_worth_keeping(outcomes) else ""
        seconds = clock() - started
        self.tries.append(Try(started, seconds, connection.step, recipients, outcomes, connection.tls, conversation))
        plan.take_outcomes(outcomes, connection.is_usable)

    def _is_worth_keeping(self, outcomes: Sequence[Outcome]) -> bool:
        match self._means.keep_conversations:
            case KeepConversations.ALL:
                return True
            case KeepConversations.NONE:
                return False
            case KeepConversations.FAILURES:
                return not all(isinstance(outcome, Delivered) for outcome in outcomes)

    def _content(self) -> bytes | AsyncIterator[bytes]:
        content = self._claim.content
        return self._means.store.content(self._claim.lease.ident) if content is None else content

    async def _deposit(self, plan: DeliveryPlan, path: str, recipients: tuple[int, ...]) -> None:
        clock = self._means.clock
        started = clock()
        mailboxes = [self._recipients[index].mailbox for index in recipients]
        sender = self._claim.envelope.reverse_path
        outcomes = await self._means.maildirs.deposit(path, mailboxes, sender, self._content())
        self.tries.append(Try(started, clock() - started, None, recipients, outcomes))
        plan.take_outcomes(outcomes)

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._means.connections.give_back(self._destination, connection)


def submitter_of(claim: Claim) -> str:
    """What AUTH says of the message (RFC 4954, section 5): what its client was trusted to say, "" where an account said
    nothing, and "<>" for whatever came without a login."""
    return claim.envelope.parameters.auth or ("" if claim.origin.account else "<>")
