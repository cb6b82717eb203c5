"""The events. Field names are the keys of the log line; units are in the names. No content, no credentials, ever.

`session` and `message` tie the events of one conversation and one message together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How loudly an event speaks."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A client connected."""

    session: str
    listener: str
    client: str


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The conversation ended; `reason` is quit, eof, timeout, limit, error, shutdown, protocol."""

    session: str
    listener: str
    client: str
    reason: str
    seconds: float
    messages: int
    commands: int


@dataclass(frozen=True, slots=True)
class TlsEstablished:
    """A TLS handshake with a client succeeded."""

    session: str
    version: str
    cipher: str
    server_name: str


@dataclass(frozen=True, slots=True)
class TlsFailed:
    """A TLS handshake with a client failed; `hint` says what it usually means."""

    session: str
    client: str
    problem: str
    hint: str


@dataclass(frozen=True, slots=True)
class WrongProtocolSeen:
    """The client spoke another protocol (TLS on a plaintext port, HTTP …)."""

    session: str
    listener: str
    client: str
    sniffed: str
    hint: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A login succeeded."""

    session: str
    client: str
    account: str
    mechanism: str


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """A login failed; `reason` is for the operator only (unknown, password, disabled, throttled)."""

    session: str
    client: str
    username: str
    mechanism: str
    reason: str


@dataclass(frozen=True, slots=True)
class CredentialsMisplaced:
    """AUTH was tried where none belongs (port 25, or without TLS): a wrong setting, or a compromised machine."""

    session: str
    listener: str
    client: str


@dataclass(frozen=True, slots=True)
class AddressBanned:
    """The firewall was asked to keep an address (IPv6: its /64) out; `problem` is set when nobody took the request."""

    client: str
    seconds: int
    failures: int
    problem: str


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A command was refused, by protocol or policy."""

    session: str
    client: str
    command: str
    reply: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A connection was turned away before a session began; counted and logged at a bounded rate."""

    listener: str
    client: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """The message is durable and 250 is said."""

    session: str
    message: str
    listener: str
    client: str
    account: str
    sender: str
    recipients: int
    first_recipient: str
    octets: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """Content was refused after the final dot."""

    session: str
    client: str
    sender: str
    reply: str
    octets: int


@dataclass(frozen=True, slots=True)
class RecipientDelivered:
    """A next hop took responsibility."""

    message: str
    recipient: str
    destination: str
    host: str
    tls: str
    reply: str
    attempts: int
    queued_seconds: float


@dataclass(frozen=True, slots=True)
class RecipientDeferred:
    """An attempt failed for now; `due` is the next one, POSIX seconds."""

    message: str
    recipient: str
    destination: str
    host: str
    stage: str
    reply: str
    attempts: int
    due: float


@dataclass(frozen=True, slots=True)
class RecipientFailed:
    """Bounced, expired or dropped."""

    message: str
    recipient: str
    destination: str
    host: str
    stage: str
    reply: str
    outcome: str
    dsn: str


@dataclass(frozen=True, slots=True)
class MessageSpawned:
    """A machine-made message (a DSN) was queued."""

    message: str
    about: str
    kind: str
    recipient: str


@dataclass(frozen=True, slots=True)
class DestinationChanged:
    """A destination was found dead, alive again, slowed or sped up."""

    destination: str
    state: str
    reason: str
    concurrency: int


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """An operator changed the queue."""

    change: str
    recipients: int
    filter: str


@dataclass(frozen=True, slots=True)
class RecordQuarantined:
    """A damaged record was set aside."""

    message: str
    problem: str


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """The store cannot promise durability, or has no room; `state` is unavailable, full, damaged, recovered."""

    state: str
    problem: str


@dataclass(frozen=True, slots=True)
class AccountsTrouble:
    """Nobody can log in, other mail flows; `state` is damaged, unavailable, recovered; `hint` says what to do."""

    state: str
    problem: str
    hint: str


@dataclass(frozen=True, slots=True)
class StressChanged:
    """Near the connection limit: short deadlines and one error (on), or normal again (off)."""

    listener: str
    on: bool
    sessions: int


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    """SIGHUP or a changed file; `problem` is set when the old configuration stays, `note` tells what has to wait."""

    source: str
    problem: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class CertificateLoaded:
    """A certificate is in use from now on; `problem` is set when the old one stays."""

    path: str
    names: str
    not_after: str
    problem: str


@dataclass(frozen=True, slots=True)
class FindingAppeared:
    """The self-check found something that was not there before; `level` is error, warning or note."""

    check: str
    level: str
    subject: str
    because: str
    fix: str


@dataclass(frozen=True, slots=True)
class FindingGone:
    """What the self-check had found is no longer so."""

    check: str
    subject: str


@dataclass(frozen=True, slots=True)
class ServerStarted:
    """Ready: all listeners accept."""

    version: str
    workers: int
    listeners: str


@dataclass(frozen=True, slots=True)
class ServerStopping:
    """Shutdown began."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """The last line of a server that ended in order; `killed` workers had not finished within the time for it."""

    seconds: float
    killed: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker process ended; unless the server is stopping, another takes its place."""

    worker: int
    status: str


@dataclass(frozen=True, slots=True)
class InternalError:
    """A bug: the traceback as one escaped line."""

    where: str
    session: str
    traceback: str


TelemetryEvent = (
    SessionOpened | SessionClosed | TlsEstablished | TlsFailed | WrongProtocolSeen | Authenticated
    | AuthenticationFailed | CredentialsMisplaced | AddressBanned | CommandRefused | ConnectionRefused | MessageAccepted
    | MessageRefused | RecipientDelivered | RecipientDeferred | RecipientFailed | MessageSpawned
    | DestinationChanged | QueueChanged | RecordQuarantined | StoreTrouble | AccountsTrouble | StressChanged
    | ConfigReloaded | CertificateLoaded | FindingAppeared | FindingGone
    | ServerStarted | ServerStopping | ServerStopped | WorkerExited
    | InternalError
)  # fmt: skip

Tell = Callable[[TelemetryEvent], None]
"""How a package reports: called synchronously, never blocks, never raises."""
