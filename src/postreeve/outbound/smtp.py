"""Connections to next hops, SMTP and LMTP: opened as a `queue.step.Connect` says, used for one message at a time.

    connector = Connector(settings, trust, clock)
    opened = await connector.open(connect)               # a Connection, or NotOpened with what stood in the way
    outcomes = await opened.send(message)                # one per recipient
    opened.close()

Nothing here judges: whatever happens becomes an Outcome, and no peer's words become an exception.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from postreeve.mail.envelope import MailParameters
from postreeve.mail.error import PostreeveError
from postreeve.net.certificate import ClientTrust
from postreeve.net.connect import Connected, NoConnection, Source, connect
from postreeve.net.poller import Poller
from postreeve.outbound.lmtp import connect_socket
from postreeve.outbound.outgoing import Outgoing, prepare
from postreeve.outbound.pieces import PIECE_OCTETS, in_pieces
from postreeve.outbound.wire import Wire, WireEvent, WireTls, stage_of
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Handover,
    Lack,
    LeftOut,
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
from postreeve.queue.settings import DeliverySettings, EightBit, TlsMode
from postreeve.queue.step import Connect, Dialogue
from postreeve.smtp.capability import Capabilities
from postreeve.smtp.client import ClientProtocol
from postreeve.smtp.client_command import Shortcoming
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


class Connector:
    """Opens connections the way the settings say."""

    __slots__ = ("_clock", "_poller", "_source", "settings", "trust")

    def __init__(self, settings: DeliverySettings, trust: ClientTrust, clock: Callable[[], float]) -> None:
        """`clock` gives POSIX seconds (certificates are judged by it)."""
        self.settings = settings
        self.trust = trust
        self._clock = clock
        self._source = Source(settings.source_ipv4, settings.source_ipv6)
        self._poller: Poller | None = None

    async def open(self, step: Connect) -> Connection | NotOpened:
        """Connect, greet, start TLS, log in. Never raises for anything a peer or the network does.

        The connection's own step names the one address that was reached.
        """
        tls = self._tls(step)
        made = await self._connect(step)
        if isinstance(made, NoConnection):
            return NotOpened(_failure(made)[1], made.address, tuple([_failure(one) for one in made.earlier]))
        failed = tuple([_failure(one) for one in made.failed])
        core = ClientProtocol(client_settings(self.settings, step), is_tls_active=tls is not None and tls.is_implicit)
        wire = Wire(core, self.settings.timeouts, tls)
        wire.begin(self._poll(), made.connection)
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

    async def _connect(self, step: Connect) -> Connected | NoConnection:
        seconds = self.settings.timeouts.connect
        if step.socket:
            return await connect_socket(step.socket, timeout_seconds=seconds)
        return await connect(step.addresses, step.port, timeout_seconds=seconds, source=self._source)

    def _poll(self) -> Poller:
        """All connections are woken together."""
        if self._poller is None:
            self._poller = Poller(asyncio.get_running_loop())
        return self._poller

    def _describe_tls(self, step: Connect, wire: Wire) -> str:
        info = wire.tls_info
        if info is None:
            return ""
        if step.tls.verify:
            trust = "verified"
        else:
            would = self.trust.recorder.would_verify(info.peer_chain_der, step.tls.name or step.host, self._clock())
            trust = "trusted" if would else "unverified"
        return f"{info.version} {info.cipher} {trust}"


class Connection:
    """An open connection, ready for messages one after the other."""

    __slots__ = ("_domains", "_is_spent", "_wire", "failed", "messages", "step", "tls")

    def __init__(self, step: Connect, wire: Wire, tls: str, failed: tuple[tuple[str, Outcome], ...] = ()) -> None:
        self.step = step
        self.failed = failed
        """How other addresses failed before this one was reached; forgotten once it served."""
        self.tls = tls
        """As in `Attempt.tls`: version, cipher and verified, trusted (not asked, but would have been) or unverified."""
        self.messages = 0
        self._wire = wire
        self._domains: set[str] = set()
        """Of the recipients told of in this session, where the peer bounds them."""
        self._is_spent = False

    @property
    def is_usable(self) -> bool:
        """True while another message may be sent."""
        return self._wire.is_alive and not self._is_spent

    @property
    def is_for_any_domain(self) -> bool:
        """True when the peer does not bound the domains of a session's recipients (RFC 9422)."""
        return self.capabilities.max_domains is None

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
        most = self._wire.core.capabilities.max_domains
        return await (self._send(message) if most is None else self._send_within(message, most))

    async def _send_within(self, message: Outgoing, most: int) -> list[Outcome]:
        """To those recipients whose domains the session still has room for; the others need another connection."""
        places = []
        for place, recipient in enumerate(message.recipients):
            domain = recipient.mailbox.domain.ascii
            if domain in self._domains or len(self._domains) < most:
                self._domains.add(domain)
                places.append(place)
        if len(places) == len(message.recipients):
            return await self._send(message)
        self._is_spent = True
        outcomes: list[Outcome] = [LeftOut()] * len(message.recipients)
        if places:
            some = replace(message, recipients=[message.recipients[place] for place in places])
            for place, outcome in zip(places, await self._send(some), strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _send(self, message: Outgoing) -> list[Outcome]:
        wire = self._wire
        self.messages += 1
        if not wire.is_alive:
            return [Disconnected(Stage.MAIL, "the connection had been closed")] * len(message.recipients)
        try:
            transaction, content = await prepare(message, self._parameters(message))
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
            content = in_pieces(content)
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
                return Delivered(reply, self._handover(), self.capabilities.deliver_by)
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


def client_settings(settings: DeliverySettings, step: Connect) -> ClientSettings:
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
        hostname=settings.hostname,
        is_lmtp=step.dialogue is Dialogue.LMTP,
        starttls=starttls,
        username="" if credentials is None else credentials.username,
        password="" if credentials is None else credentials.password,
        eight_bit_anyway=settings.eight_bit is EightBit.SEND,
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
