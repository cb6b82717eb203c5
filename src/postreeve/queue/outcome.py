"""Outcomes: what happened to one recipient in one attempt at one host, before anybody judges it.

The wire says one of these per recipient; `disposition` says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postreeve.mail.reply import Reply


class Stage(Enum):
    """How far an attempt had come; the values stand in `Attempt.stage`."""

    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """Between DATA and its 354."""
    CONTENT = "content"
    """Content under way; the final dot (or last BDAT chunk) not yet sent: the peer cannot have taken the message."""
    FINAL = "final"
    """The final dot or the last chunk was, or may have been, sent: the peer may have taken the message."""
    LOCAL = "local"


class Handover(Enum):
    """Who speaks to the sender about a delivery (RFC 3461, section 5)."""

    FINAL = "final"
    """Into a mailbox: the success DSN, if wanted, is ours and says `delivered`."""
    WITH_DSN = "with DSN"
    """The next hop took the DSN parameters: it speaks, we are silent."""
    WITHOUT_DSN = "without DSN"
    """The next hop knows no DSN: ours says `relayed`."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop took responsibility."""

    reply: Reply
    handover: Handover = Handover.WITHOUT_DSN
    heeds_deliver_by: bool = False
    """The next hop offers DELIVERBY: it was told the sender's time (RFC 2852)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer answered `stage` with anything but what was hoped for, nonsense codes included."""

    reply: Reply
    stage: Stage


class ConnectProblem(Enum):
    """Why there is no connection."""

    REFUSED = "connection refused"
    TIMED_OUT = "connection timed out"
    UNREACHABLE = "network or host unreachable"
    RESET = "connection reset"
    OTHER = "cannot connect"


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """No connection came about."""

    kind: ConnectProblem
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The peer kept silent at `stage` for longer than allowed."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection broke at `stage` (end of file, reset, TLS alert); `detail` is our words."""

    stage: Stage
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProtocolProblem:
    """What the peer said at `stage` is no SMTP: no reply code, an endless reply, replies to nothing asked."""

    stage: Stage
    detail: str


class LookupKind(Enum):
    """What came of asking the DNS."""

    TEMPORARY = "temporary failure"
    NO_SUCH_DOMAIN = "no such domain"
    NO_HOST = "domain has neither MX nor address records"
    NO_USABLE_HOST = "no MX host has an address"
    NULL_MX = "domain takes no mail (null MX)"
    LOOP = "mail loops back to this server"


@dataclass(frozen=True, slots=True)
class LookupProblem:
    """The DNS gave no host to try."""

    kind: LookupKind
    name: str
    detail: str = ""


class TlsKind(Enum):
    """Which part of TLS failed."""

    HANDSHAKE = "TLS handshake failed"
    NOT_OFFERED = "STARTTLS not offered"
    CERTIFICATE = "certificate not trusted"


@dataclass(frozen=True, slots=True)
class TlsProblem:
    """TLS did not come about. A refused STARTTLS command is `Refused(reply, Stage.STARTTLS)`."""

    kind: TlsKind
    detail: str = ""


class Lack(Enum):
    """What this message needs and the peer does not have."""

    SMTPUTF8 = "SMTPUTF8"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"
    SIZE = "SIZE"
    REQUIRE_TLS = "REQUIRETLS"
    DELIVER_BY = "DELIVERBY"
    """Only for mode R (RFC 2852, section 4.2)."""
    AUTH = "AUTH"


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """The peer's EHLO reply rules this message out; nothing was sent."""

    lack: Lack
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Not told of: the peer's limits leave the recipient for another session (RFC 9422)."""


class LocalKind(Enum):
    """What is wrong on our side."""

    STORE = "cannot read the message"
    DISK = "cannot write"
    DISK_FULL = "no space or quota exceeded"
    NO_ROUTE = "no route"
    BUG = "internal error"


@dataclass(frozen=True, slots=True)
class LocalProblem:
    """Our own trouble: never the sender's fault, never the recipient's."""

    kind: LocalKind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DestinationDead:
    """Not tried: recent attempts at this destination all failed before any message could be sent."""

    reason: str
    until: float
    dead_seconds: float = 0.0
    """How long it has been dead, by a clock that does not jump."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """The route throws such mail away."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """The route holds such mail until an operator says otherwise."""


class EndReason(Enum):
    """Why no further attempt is made."""

    OPERATOR = "ended by the operator of this server"
    DEADLINE = "not delivered by the time the sender set"
    """DELIVERBY with mode R (RFC 2852)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Not tried, and never again."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class Interrupted:
    """We broke off ourselves before anything was decided (shutdown, lease lost): no attempt."""

    reason: str = "shutdown"


Outcome = (
    Delivered | Refused | ConnectFailed | TimedOut | Disconnected | ProtocolProblem | LookupProblem | TlsProblem
    | Unsuitable | LeftOut | LocalProblem | DestinationDead | Discarded | Withheld | Ended | Interrupted
)  # fmt: skip


def stage_of(outcome: Outcome) -> Stage:
    """Where `outcome` came about."""
    match outcome:
        case Refused(stage=stage) | TimedOut(stage=stage) | Disconnected(stage=stage) | ProtocolProblem(stage=stage):
            return stage
        case Delivered():
            return Stage.FINAL
        case ConnectFailed() | DestinationDead():
            return Stage.CONNECT
        case LookupProblem():
            return Stage.DNS
        case TlsProblem():
            return Stage.STARTTLS
        case LeftOut():
            return Stage.RCPT
        case Unsuitable():
            return Stage.EHLO
        case LocalProblem() | Discarded() | Withheld() | Ended() | Interrupted():
            return Stage.LOCAL
