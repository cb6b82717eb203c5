"""Connections to next hops, SMTP and LMTP: opened as a `queue.step.Connect` says, used for one message at a time.

    connector = Connector(settings, trust)
    opened = await connector.open(connect)               # a Connection, or NotOpened with what stood in the way
    outcomes = await opened.send(message)                # one per recipient
    opened.close()

Nothing here judges: whatever happens becomes an Outcome, and no peer's words become an exception.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.envelope import NO_MAIL_PARAMETERS, BodyType, EnvelopeRecipient, MailParameters
from postreeve.mail.error import PostreeveError
from postreeve.net.certificate import ClientTrust
from postreeve.net.connect import Connected, NoConnection, Source, connect
from postreeve.outbound.lmtp import connect_socket
from postreeve.outbound.wire import Wire, WireEvent, WireTls, stage_of
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Handover,
    Lack,
    LocalKind,
    LocalProblem,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TlsKind,
    TlsProblem,
    Unsuitable,
)
from postreeve.queue.settings import DeliverySettings, TlsMode
from postreeve.queue.step import Connect, Dialogue
from postreeve.smtp.capability import Capabilities
from postreeve.smtp.client import ClientProtocol
from postreeve.smtp.client_command import Shortcoming, Transaction
from postreeve.smtp.client_event import (
    Answer,
    ClientSettings,
    ContentWanted,
    Failed,
    FailureKind,
    Finished,
    Ready,
    RecipientResult,
    StartTlsUse,
)
from postreeve.smtp.stuffing import is_clean

PIECE_OCTETS: Final = 262_144
"""Content above this goes out in pieces of it, so that a slow peer is noticed and memory stays flat."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for some recipients. `content` is all of it, or pieces of any size; then give `size_octets`."""

    reverse_path: Mailbox | None
    recipients: Sequence[EnvelopeRecipient]
    content: bytes | AsyncIterator[bytes]
    size_octets: int
    parameters: MailParameters = NO_MAIL_PARAMETERS
    now: float = 0.0
    """POSIX seconds, for DELIVERBY."""
    requires_tls: bool = False
    hold_for_seconds: int | None = None
    """FUTURERELEASE, for a message that we submit."""


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Why there is no connection: `outcome` came about at `address`; `failed` says how others failed before."""

    outcome: Outcome
    address: str = ""
    failed: tuple[tuple[str, Outcome], ...] = ()
    tls: str = ""
    """Version and cipher, where it came to TLS."""
    transcript: str = ""
    """What was said until then; no credentials."""


@dataclass(slots=True)
class Connector:
    """Opens connections the way the settings say. `clock` gives POSIX seconds (certificates are judged by it)."""

    settings: DeliverySettings
    trust: ClientTrust
    clock: Callable[[], float]
    _source: Source = field(init=False)

    def __post_init__(self) -> None:
        self._source = Source(self.settings.source_ipv4, self.settings.source_ipv6)

    async def open(self, step: Connect) -> Connection | NotOpened:
        """Connect, greet, start TLS, log in. Never raises for anything a peer or the network does.

        The connection's own step names the one address that was reached.
        """
        tls = self._tls(step)
        made = await self._wire(step, tls)
        if isinstance(made, NoConnection):
            return NotOpened(_failure(made)[1], made.address, tuple([_failure(one) for one in made.earlier]))
        wire, failed = made.protocol, tuple([_failure(one) for one in made.failed])
        try:
            event = await wire.next_event()
        except asyncio.CancelledError:
            wire.abort()
            raise
        if isinstance(event, Ready):
            return Connection(step.at(made.address), wire, self._describe_tls(step, wire), failed)
        wire.abort()
        info = wire.tls_info
        ciphers = "" if info is None else f"{info.version} {info.cipher}"
        return NotOpened(outcome_of(event), made.address, failed, ciphers, wire.core.transcript.text())

    def _tls(self, step: Connect) -> WireTls | None:
        match step.tls.mode:
            case TlsMode.NONE:
                return None
            case TlsMode.OPPORTUNISTIC | TlsMode.REQUIRED | TlsMode.IMPLICIT as mode:
                context = self.trust.verified if step.tls.verify else self.trust.opportunistic
                name = step.tls.name or step.host
                if not step.tls.verify and not _is_sendable_name(name):
                    name = ""
                return WireTls(context, name, is_implicit=mode is TlsMode.IMPLICIT)

    async def _wire(self, step: Connect, tls: WireTls | None) -> Connected[Wire] | NoConnection:
        settings = client_settings(self.settings.hostname, step)

        def make() -> Wire:
            core = ClientProtocol(settings, is_tls_active=tls is not None and tls.is_implicit)
            return Wire(core, self.settings.timeouts, tls)

        seconds = self.settings.timeouts.connect
        if step.socket:
            return await connect_socket(step.socket, make, timeout_seconds=seconds)
        return await connect(step.addresses, step.port, make, timeout_seconds=seconds, source=self._source)

    def _describe_tls(self, step: Connect, wire: Wire) -> str:
        info = wire.tls_info
        if info is None:
            return ""
        if step.tls.verify:
            trust = "verified"
        else:
            would = self.trust.recorder.would_verify(info.peer_chain_der, step.tls.name or step.host, self.clock())
            trust = "trusted" if would else "unverified"
        return f"{info.version} {info.cipher} {trust}"


class Connection:
    """An open connection, ready for messages one after the other."""

    __slots__ = ("_wire", "failed", "messages", "step", "tls")

    def __init__(self, step: Connect, wire: Wire, tls: str, failed: tuple[tuple[str, Outcome], ...] = ()) -> None:
        self.step = step
        self.failed = failed
        """How other addresses failed before this one was reached; forgotten once it served."""
        self.tls = tls
        """As in `Attempt.tls`: version, cipher and verified, trusted (not asked, but would have been) or unverified."""
        self.messages = 0
        self._wire = wire

    @property
    def is_usable(self) -> bool:
        """True while another message may be sent."""
        return self._wire.is_alive

    @property
    def max_recipients(self) -> int:
        """The peer's own limit per transaction (RFC 9422), 0 for none."""
        return self._wire.core.capabilities.max_recipients or 0

    @property
    def capabilities(self) -> Capabilities:
        """What the peer offers."""
        return self._wire.core.capabilities

    def transcript(self) -> str:
        """The dialogue of the latest message, and of the opening if that was the first; no content, no credentials."""
        return self._wire.core.transcript.text()

    async def send(self, message: Outgoing) -> list[Outcome]:
        """One mail transaction; an outcome for each recipient, in order.

        When cancelled the connection is cut, and nothing is known of the recipients.
        """
        wire = self._wire
        self.messages += 1
        if not wire.is_alive:
            return [Disconnected(Stage.MAIL, "the connection had been closed")] * len(message.recipients)
        try:
            transaction, content = await _prepare(message, self._parameters(message))
            event: WireEvent | None = wire.core.begin(transaction)
            if event is None:
                wire.flush()
                event = await wire.next_event()
            if isinstance(event, ContentWanted):
                event = await self._send_content(content)
        except PostreeveError as error:
            # The content could not be read to its end: without the final dot the peer has no message.
            wire.abort()
            return [LocalProblem(LocalKind.STORE, str(error)[:500])] * len(message.recipients)
        except BaseException:
            wire.abort()
            raise
        return self._outcomes(event)

    def close(self) -> None:
        """Say goodbye; the rest happens by itself."""
        self._wire.close()

    async def wait_closed(self) -> None:
        """Until the goodbye that `close` began is over: at most the time allowed for QUIT."""
        await self._wire.closed.wait()

    def abort(self) -> None:
        """Cut the connection."""
        self._wire.abort()

    def _parameters(self, message: Outgoing) -> MailParameters:
        """RFC 2852 speaks of relays; LMTP is final delivery, and in time is in time whether the server knows or not."""
        parameters = message.parameters
        if self.step.dialogue is not Dialogue.LMTP or parameters.deliver_by is None or self.capabilities.deliver_by:
            return parameters
        return replace(parameters, deliver_by=None)

    async def _send_content(self, content: bytes | AsyncIterator[bytes]) -> WireEvent:
        wire = self._wire
        core = wire.core
        if isinstance(content, bytes):
            if len(content) <= PIECE_OCTETS:
                core.content(content)
                wire.flush()
                return await wire.next_event()
            content = _pieces(content)
        async for piece in content:
            core.content_piece(piece)
            wire.flush()
            if not await wire.wait_for_room():
                return await wire.next_event()
        if not wire.has_event:
            core.content_end()
            wire.flush()
        return await wire.next_event()

    def _outcomes(self, event: WireEvent) -> list[Outcome]:
        results = self._wire.core.results
        undecided = Disconnected(Stage.MAIL) if isinstance(event, Finished) else outcome_of(event)
        if len(results) == 1 and isinstance(event, Finished):
            return [self._outcome(results[0], undecided)]
        return [self._outcome(result, undecided) for result in results]

    def _outcome(self, result: RecipientResult, undecided: Outcome) -> Outcome:
        match result:
            case Answer(reply=reply, is_taken=True):
                return Delivered(reply, self._handover())
            case Answer(reply=reply, stage=stage):
                return Refused(reply, stage_of(stage))
            case Shortcoming():
                return Unsuitable(Lack(result.value))
            case None:
                return undecided

    def _handover(self) -> Handover:
        if self._wire.core.capabilities.dsn:
            return Handover.WITH_DSN
        return Handover.FINAL if self.step.dialogue is Dialogue.LMTP else Handover.WITHOUT_DSN


def _failure(made: NoConnection) -> tuple[str, Outcome]:
    return made.address, ConnectFailed(ConnectProblem(made.kind.value), made.detail)


def client_settings(hostname: str, step: Connect) -> ClientSettings:
    """The core's settings for a step of the plan."""
    credentials = step.credentials
    match step.tls.mode:
        case TlsMode.NONE | TlsMode.IMPLICIT:
            starttls = StartTlsUse.NEVER
        case TlsMode.OPPORTUNISTIC:
            starttls = StartTlsUse.IF_OFFERED
        case TlsMode.REQUIRED:
            starttls = StartTlsUse.REQUIRED
    return ClientSettings(
        hostname=hostname,
        is_lmtp=step.dialogue is Dialogue.LMTP,
        starttls=starttls,
        username="" if credentials is None else credentials.username,
        password="" if credentials is None else credentials.password,
    )


def outcome_of(event: WireEvent) -> Outcome:
    """The outcome for whoever was not decided when `event` ended it all."""
    match event:
        case Failed(kind=FailureKind.REFUSED, reply=reply, stage=stage) if reply is not None:
            return Refused(reply, stage_of(stage))
        case Failed(kind=FailureKind.DISCONNECTED, stage=stage, detail=detail):
            return Disconnected(stage_of(stage), detail)
        case Failed(kind=FailureKind.TLS_NOT_OFFERED, detail=detail):
            return TlsProblem(TlsKind.NOT_OFFERED, detail)
        case Failed(kind=FailureKind.AUTH_NOT_OFFERED, detail=detail):
            return Unsuitable(Lack.AUTH, detail)
        case Failed(stage=stage, detail=detail):
            return ProtocolProblem(stage_of(stage), detail)
        case Ready() | ContentWanted() | Finished():
            return LocalProblem(LocalKind.BUG, f"{type(event).__name__} out of turn")
        case _:
            return _as_outcome(event)


def _as_outcome(event: WireEvent) -> Outcome:
    if isinstance(event, Outcome):
        return event
    return LocalProblem(LocalKind.BUG, f"{type(event).__name__} out of turn")


def _is_sendable_name(name: str) -> bool:
    """True for a name that may stand in SNI; addresses and odd labels may not (RFC 6066, section 3)."""
    if not name.isascii() or name.startswith(".") or any(not 0 < len(label) < 64 for label in name.split(".")):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


async def _prepare(message: Outgoing, parameters: MailParameters) -> tuple[Transaction, bytes | AsyncIterator[bytes]]:
    """What the content is like decides which extensions are needed; of content in pieces only the first is seen."""
    content = message.content
    is_binary = parameters.body is BodyType.BINARY_MIME
    has_utf8_header = False
    if isinstance(content, bytes):
        is_eight_bit = not content.isascii()
        is_binary = is_binary and not is_clean(content)
        if parameters.smtputf8 and is_eight_bit:
            has_utf8_header = not content.partition(b"\r\n\r\n")[0].isascii()
    else:
        is_eight_bit = parameters.body is not BodyType.SEVEN_BIT
        if parameters.smtputf8:
            first = await anext(content, b"")
            has_utf8_header = not first.partition(b"\r\n\r\n")[0].isascii()
            content = _rejoin(first, content)
    left = None if parameters.deliver_by is None else int(parameters.deliver_by.deadline - message.now)
    transaction = Transaction(
        message.reverse_path,
        message.recipients,
        message.size_octets,
        parameters,
        is_eight_bit,
        is_binary,
        has_utf8_header,
        left,
        message.requires_tls,
        message.hold_for_seconds,
    )
    return transaction, content


async def _rejoin(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_OCTETS):
        yield content[start : start + PIECE_OCTETS]
