"""The queue's nouns: messages, recipients, destinations, attempts, leases, settlements.

Times are POSIX seconds. A *destination* is what is throttled: the next hop's key, such as `mx:example.org`,
`smarthost:provider`, `lmtp:dovecot` or `maildir:local`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postreeve.mail.envelope import Envelope, EnvelopeRecipient


class RecipientState(Enum):
    """Where one recipient of a queued message stands; the last five are final."""

    QUEUED = "queued"
    HELD = "held"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    """Delivered, to a next hop that takes no DSN parameters."""
    BOUNCED = "bounced"
    EXPIRED = "expired"
    DROPPED = "dropped"

    @property
    def is_final(self) -> bool:
        """True when nothing more will be done for this recipient."""
        return self not in (RecipientState.QUEUED, RecipientState.HELD)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from: kept for the log, for `queue show` and for filters."""

    listener: str
    """Listener name, or "dsn", "report" for machine-made messages."""
    client_address: str = ""
    hello: str = ""
    account: str = ""
    protocol: str = ""
    """ESMTP, ESMTPS, ESMTPSA, UTF8SMTPS … (RFC 3848, RFC 6531)."""
    session: str = ""


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One recipient at acceptance: where it goes and when the first attempt is due."""

    recipient: EnvelopeRecipient
    destination: str
    due: float
    state: RecipientState = RecipientState.QUEUED
    """QUEUED or HELD."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about to be queued. `content` is all of it, or None when it was spooled (see `Store.spool`)."""

    ident: int
    accepted_at: float
    envelope: Envelope
    recipients: tuple[NewRecipient, ...]
    origin: Origin
    size_octets: int
    content: bytes | None
    priority: int = 0
    """MT-PRIORITY −9 … 9; higher goes first within a destination."""
    expires_at: float | None = None
    """When to give up; None = the route's lifetime."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to deliver some recipients of one message until `until`; `number` fences out late holders."""

    ident: int
    recipients: tuple[int, ...]
    number: int
    until: float
    whole: bool = False
    """Set by the store when these are all the recipients the message has: then settling it may end the message."""


@dataclass(frozen=True, slots=True)
class RecipientRecord:
    """One recipient as the store knows it. `index` is its place in the message, from 0."""

    index: int
    recipient: EnvelopeRecipient
    destination: str
    state: RecipientState
    due: float
    attempts: int = 0
    first_attempt_at: float | None = None
    last_problem: str = ""
    """One line: the last reply or error, bounded."""
    warned: int = 0
    """How many of the ages to warn at the sender was told of; not 0: a delay DSN was sent."""
    leased_until: float | None = None
    doomed: bool = False
    """An operator wants it to end with a failure DSN: whoever claims it bounces it without an attempt."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One message with those of its recipients that go to one destination, leased to the claimer.

    `content` is present when it is small or at hand; None means: read it with `Store.content`.
    """

    lease: Lease
    accepted_at: float
    envelope: Envelope
    origin: Origin
    size_octets: int
    priority: int
    expires_at: float | None
    recipients: tuple[RecipientRecord, ...]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The story of one attempt, for `queue show`. All strings bounded; the remote's words stand verbatim in `reply`."""

    at: float
    duration_seconds: float
    recipients: tuple[int, ...]
    destination: str
    host: str = ""
    address: str = ""
    tls: str = ""
    """Such as "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified"; "" for none."""
    stage: str = ""
    """Where it ended: dns, connect, greeting, ehlo, starttls, auth, mail, rcpt, data, content, final, local."""
    outcome: str = ""
    """delivered, deferred, bounced, expired."""
    reply: str = ""
    conversation: str = ""
    """The dialogue without content and credentials, kept as configured."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one leased recipient."""

    index: int
    state: RecipientState
    due: float = 0.0
    """The next attempt, when `state` is QUEUED."""
    problem: str = ""
    warned: int = 0
    """As `RecipientRecord.warned` is to be when this attempt told of a delay, else 0."""
    counts_as_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a lease: results, the attempts' stories, and messages that begin with it (DSNs), all or nothing."""

    lease: Lease
    results: tuple[Result, ...]
    attempts: tuple[Attempt, ...] = ()
    spawned: tuple[NewMessage, ...] = ()
    settled_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Work that waits: the earliest due time of a destination at one priority."""

    destination: str
    priority: int
    due: float


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which recipients: every condition given must hold. Patterns are shell-style, compared without case."""

    idents: tuple[int, ...] = ()
    sender: str | None = None
    """Pattern on the reverse-path; "<>" for the null one."""
    recipient: str | None = None
    destination: str | None = None
    state: RecipientState | None = None
    older_than: float | None = None
    """Accepted before this time."""
    younger_than: float | None = None
    reason: str | None = None
    """Pattern on the last problem."""
    account: str | None = None


class Change(Enum):
    """What an operator does to queued recipients."""

    RETRY = "retry"
    """Due now."""
    HOLD = "hold"
    RELEASE = "release"
    BOUNCE = "bounce"
    """End with a failure DSN (made by the queue's owner at its next turn)."""
    DROP = "drop"
    """End without a word."""


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A line of `queue list`."""

    ident: int
    accepted_at: float
    sender: str
    size_octets: int
    origin: Origin
    priority: int
    recipients: tuple[RecipientRecord, ...]


@dataclass(frozen=True, slots=True)
class MessageStory:
    """Everything `queue show` tells; `finished_at` is set for a message that has left the queue."""

    summary: MessageSummary
    envelope: Envelope
    attempts: tuple[Attempt, ...]
    expires_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counts for `queue stats` and the metrics."""

    messages: int
    recipients: dict[str, int] = field(default_factory=dict)
    """By state value, for what is still in the queue."""
    octets: int = 0
    oldest_accepted_at: float | None = None
    due_now: int = 0
    destinations: dict[str, int] = field(default_factory=dict)
    """The largest destinations by queued recipients, at most 50."""
    quarantined: int = 0
