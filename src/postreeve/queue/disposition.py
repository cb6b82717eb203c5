"""THE error policy: outcome × context → what follows, with an enhanced status code (RFC 3463) and one line of text.

One table, `ROWS`. A row says what to do while other hosts are left (`ahead`) and at the last one (`last`). Around it
stand only the rules that look at more than the kind of outcome:

- 4yz and 5yz are told by the first digit (RFC 5321, section 4.3.2); a code of no class decides nothing and defers.
- Before the peer has the message, another host may be tried. After the final dot an unanswered attempt is ambiguous
  (RFC 1047): the peer may have taken it, so it waits instead of going elsewhere at once.
- 421 and 5yz at the greeting or EHLO speak of the host, not of the message: the next host is asked first.
- What the operator configured wrongly (a smarthost that does not resolve, a refused login) defers: it can be put right.
- A mailbox's temporary refusal (4yz to RCPT, mostly greylisting) and one of the content (after the dot) are not argued
  with at other hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    DestinationDead,
    Discarded,
    Disconnected,
    Ended,
    EndReason,
    Interrupted,
    Lack,
    LeftOut,
    LocalKind,
    LocalProblem,
    LookupKind,
    LookupProblem,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TimedOut,
    TlsKind,
    TlsProblem,
    Unsuitable,
    Withheld,
)
from postreeve.queue.settings import TlsMode

MAX_TEXT: Final = 1_000
"""Characters of text kept; a peer's words beyond that tell nobody anything."""


class Action(Enum):
    """What we do about an outcome."""

    DELIVERED = "delivered"
    DISCARDED = "discarded"
    HELD = "held"
    NEXT_TRANSACTION = "next transaction"
    """Send it again at once on the same connection, with fewer recipients."""
    RETRY_PLAINTEXT = "retry in plaintext"
    """The same host and address again without TLS: opportunistic TLS only."""
    NEXT_HOST = "next host"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    RELEASED = "released"
    """Back to the queue as if never tried."""


@dataclass(frozen=True, slots=True)
class Disposition:
    """What follows. `is_site_trouble`: the destination as a whole does not work, which `throttle` wants to know."""

    action: Action
    status: str
    text: str
    is_site_trouble: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What the judgement needs to know beside the outcome."""

    more_hosts: bool = False
    """Another address or host is left to try in this attempt."""
    tls: TlsMode = TlsMode.NONE
    """How the connection was tried."""
    others_accepted: bool = False
    """In the same transaction other recipients were accepted."""
    is_configured: bool = False
    """The operator named the next hop (smarthost, LMTP), not the recipient's domain."""


class Kind(Enum):
    """Which part of the table a refusal belongs to."""

    TRANSIENT = "4yz"
    PERMANENT = "5yz"
    CLOSING = "421"
    NONSENSE = "no class"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    ahead: Action
    last: Action
    status: str
    is_site_trouble: bool = False


# status-code = class "." subject "." detail; subject and detail are 1*3digit     RFC 3463, section 2
_STATUS: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")

Case = tuple[type, Enum] | tuple[type, Enum, Enum] | tuple[type]

_DELIVERED, _DEFERRED, _BOUNCED, _NEXT = Action.DELIVERED, Action.DEFERRED, Action.BOUNCED, Action.NEXT_HOST
_BEFORE_MAIL: Final = (Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH)
_TRANSACTION: Final = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT)


def _refusals() -> dict[Case, Row]:
    rows: dict[Case, Row] = {}
    for stage in Stage:
        at_site = stage in _BEFORE_MAIL
        rows[Refused, stage, Kind.CLOSING] = Row(_NEXT, _DEFERRED, "4.3.2", at_site)
        rows[Refused, stage, Kind.NONSENSE] = Row(_NEXT, _DEFERRED, "4.5.0", at_site)
        rows[Refused, stage, Kind.TRANSIENT] = Row(_NEXT, _DEFERRED, "4.0.0", at_site)
        rows[Refused, stage, Kind.PERMANENT] = Row(_BOUNCED, _BOUNCED, "5.0.0")
    for stage in (Stage.CONNECT, Stage.GREETING, Stage.EHLO):
        rows[Refused, stage, Kind.PERMANENT] = Row(_NEXT, _BOUNCED, "5.0.0")
    for stage in (Stage.STARTTLS, Stage.AUTH):
        rows[Refused, stage, Kind.PERMANENT] = Row(_NEXT, _DEFERRED, "4.7.0", is_site_trouble=True)
    for stage in (Stage.RCPT, Stage.CONTENT, Stage.FINAL):
        rows[Refused, stage, Kind.TRANSIENT] = Row(_DEFERRED, _DEFERRED, "4.0.0")
    rows[Refused, Stage.FINAL, Kind.NONSENSE] = Row(_DEFERRED, _DEFERRED, "4.5.0")
    for stage in (Stage.DNS, Stage.LOCAL):
        rows[Refused, stage, Kind.PERMANENT] = Row(_DEFERRED, _DEFERRED, "4.3.0")
    return rows


def _broken_conversations() -> dict[Case, Row]:
    rows: dict[Case, Row] = {}
    for outcome, status in ((TimedOut, "4.4.2"), (Disconnected, "4.4.2"), (ProtocolProblem, "4.5.0")):
        for stage in _BEFORE_MAIL:
            rows[outcome, stage] = Row(_NEXT, _DEFERRED, status, is_site_trouble=True)
        for stage in _TRANSACTION:
            rows[outcome, stage] = Row(_NEXT, _DEFERRED, status)
        rows[outcome, Stage.FINAL] = Row(_DEFERRED, _DEFERRED, status)
        rows[outcome, Stage.LOCAL] = Row(_DEFERRED, _DEFERRED, "4.3.0")
        rows[outcome, Stage.DNS] = Row(_NEXT, _DEFERRED, "4.4.3", is_site_trouble=True)
    return rows


ROWS: Final[dict[Case, Row]] = {
    **_refusals(),
    **_broken_conversations(),
    **{(ConnectFailed, kind): Row(_NEXT, _DEFERRED, "4.4.1", is_site_trouble=True) for kind in ConnectProblem},
    (LookupProblem, LookupKind.TEMPORARY): Row(_NEXT, _DEFERRED, "4.4.3", is_site_trouble=True),
    (LookupProblem, LookupKind.NO_SUCH_DOMAIN): Row(_BOUNCED, _BOUNCED, "5.1.2"),
    (LookupProblem, LookupKind.NO_HOST): Row(_BOUNCED, _BOUNCED, "5.4.4"),
    (LookupProblem, LookupKind.NO_USABLE_HOST): Row(_NEXT, _BOUNCED, "5.4.4"),
    (LookupProblem, LookupKind.NULL_MX): Row(_BOUNCED, _BOUNCED, "5.1.10"),  # RFC 7505, section 3
    (LookupProblem, LookupKind.LOOP): Row(_BOUNCED, _BOUNCED, "5.4.6"),  # RFC 5321, section 5.1
    (TlsProblem, TlsKind.HANDSHAKE): Row(_NEXT, _DEFERRED, "4.7.5", is_site_trouble=True),
    (TlsProblem, TlsKind.CERTIFICATE): Row(_NEXT, _DEFERRED, "4.7.5", is_site_trouble=True),
    (TlsProblem, TlsKind.NOT_OFFERED): Row(_NEXT, _DEFERRED, "4.7.4", is_site_trouble=True),
    (Unsuitable, Lack.SMTPUTF8): Row(_NEXT, _BOUNCED, "5.6.7"),  # RFC 6531, section 3.5
    (Unsuitable, Lack.EIGHT_BIT_MIME): Row(_NEXT, _BOUNCED, "5.6.3"),
    (Unsuitable, Lack.BINARY_MIME): Row(_NEXT, _BOUNCED, "5.6.3"),
    (Unsuitable, Lack.SIZE): Row(_NEXT, _BOUNCED, "5.3.4"),  # RFC 1870, section 6.1
    (Unsuitable, Lack.REQUIRE_TLS): Row(_NEXT, _BOUNCED, "5.7.30"),  # RFC 8689, section 4.2.1
    (Unsuitable, Lack.DELIVER_BY): Row(_NEXT, _BOUNCED, "5.3.3"),  # RFC 2852, section 4.2
    (Unsuitable, Lack.AUTH): Row(_NEXT, _DEFERRED, "4.7.4", is_site_trouble=True),
    (LeftOut,): Row(Action.NEXT_TRANSACTION, _DEFERRED, "4.5.3"),
    (LocalProblem, LocalKind.STORE): Row(_DEFERRED, _DEFERRED, "4.3.0"),
    (LocalProblem, LocalKind.DISK): Row(_DEFERRED, _DEFERRED, "4.3.0"),
    (LocalProblem, LocalKind.DISK_FULL): Row(_DEFERRED, _DEFERRED, "4.3.1"),
    (LocalProblem, LocalKind.NO_ROUTE): Row(_DEFERRED, _DEFERRED, "4.3.5"),
    (LocalProblem, LocalKind.BUG): Row(_DEFERRED, _DEFERRED, "4.3.0"),
    (DestinationDead,): Row(_DEFERRED, _DEFERRED, "4.4.1"),
    (Delivered,): Row(_DELIVERED, _DELIVERED, "2.0.0"),
    (Discarded,): Row(Action.DISCARDED, Action.DISCARDED, "2.0.0"),
    (Withheld,): Row(Action.HELD, Action.HELD, "4.3.0"),
    (Ended, EndReason.OPERATOR): Row(_BOUNCED, _BOUNCED, "5.0.0"),
    (Ended, EndReason.DEADLINE): Row(_BOUNCED, _BOUNCED, "5.4.7"),
    (Interrupted,): Row(Action.RELEASED, Action.RELEASED, "4.3.2"),
}


def judge(outcome: Outcome, context: Context) -> Disposition:
    """What follows from `outcome`: the table and the few rules around it."""
    if type(outcome) is Delivered:  # nearly all mail, and its row knows no context
        theirs = outcome.reply.enhanced
        status = theirs if theirs[:2] == "2." and _STATUS.fullmatch(theirs) else "2.0.0"
        return Disposition(Action.DELIVERED, status, text_of(outcome))
    row = ROWS[case_of(outcome)]
    action = row.ahead if context.more_hosts else row.last
    status = _status(outcome, row, action)
    match outcome:
        case Refused(stage=Stage.RCPT) if context.others_accepted and is_too_many_recipients(outcome.reply):
            return Disposition(Action.NEXT_TRANSACTION, "4.5.3", text_of(outcome))
        case LookupProblem() if context.is_configured and action is Action.BOUNCED:
            return Disposition(Action.DEFERRED, "4.3.5", text_of(outcome), is_site_trouble=True)
        case (
            TlsProblem()
            | Refused(stage=Stage.STARTTLS)
            | TimedOut(stage=Stage.STARTTLS)
            | Disconnected(stage=Stage.STARTTLS)
            | ProtocolProblem(stage=Stage.STARTTLS)
        ) if context.tls is TlsMode.OPPORTUNISTIC:
            return Disposition(Action.RETRY_PLAINTEXT, status, text_of(outcome))
    return Disposition(action, status, text_of(outcome), row.is_site_trouble)


def case_of(outcome: Outcome) -> Case:
    """Which row speaks of `outcome`."""
    match outcome:
        case Refused():
            return (Refused, outcome.stage, kind_of(outcome.reply.code))
        case TimedOut() | Disconnected() | ProtocolProblem():
            return (type(outcome), outcome.stage)
        case ConnectFailed() | LookupProblem() | TlsProblem() | LocalProblem():
            return (type(outcome), outcome.kind)
        case Unsuitable():
            return (Unsuitable, outcome.lack)
        case Ended():
            return (Ended, outcome.reason)
        case _:
            return (type(outcome),)


def kind_of(code: int) -> Kind:
    """The class of a refusal by its first digit; anything that is no refusal is nonsense here."""
    if code == 421:
        return Kind.CLOSING
    if 400 <= code < 500:
        return Kind.TRANSIENT
    return Kind.PERMANENT if 500 <= code < 600 else Kind.NONSENSE


def is_too_many_recipients(reply: Reply) -> bool:
    """True for "too many recipients": 452, and 552 from old servers (RFC 5321, section 4.5.3.1.10).

    Both codes also speak of storage, so an enhanced status decides where there is one.
    """
    return reply.code in (452, 552) and (not reply.enhanced or reply.enhanced[1:] == ".5.3")


def _status(outcome: Outcome, row: Row, action: Action) -> str:
    """The peer's own enhanced status where it gave one, with the class that our action has."""
    if not isinstance(outcome, Refused):
        return row.status
    theirs = outcome.reply.enhanced
    first = "5" if action is Action.BOUNCED else "4"
    return first + theirs[1:] if _STATUS.fullmatch(theirs) else row.status


def text_of(outcome: Outcome) -> str:
    """One bounded line that says what happened; a peer's words come after our own."""
    match outcome:
        case Refused(reply=reply) | Delivered(reply=reply):
            text = str(reply)
        case TimedOut(stage=stage):
            text = f"no answer in time ({stage.value})"
        case Disconnected(stage=stage):
            text = _with_detail(f"connection lost ({stage.value})", outcome.detail)
        case ProtocolProblem(stage=stage):
            text = _with_detail(f"peer does not speak SMTP ({stage.value})", outcome.detail)
        case LookupProblem():
            text = _with_detail(f"{outcome.name}: {outcome.kind.value}", outcome.detail)
        case ConnectFailed() | TlsProblem() | LocalProblem():
            text = _with_detail(outcome.kind.value, outcome.detail)
        case Unsuitable():
            text = _with_detail(f"the next hop has no {outcome.lack.value} for this message", outcome.detail)
        case LeftOut():
            text = "the next hop takes no more domains in one session"
        case DestinationDead():
            text = f"not tried, the destination does not answer: {outcome.reason}"
        case Discarded():
            text = "discarded as its route says"
        case Withheld():
            text = "held as its route says"
        case Ended():
            text = outcome.reason.value
        case Interrupted():
            text = outcome.reason
    text = text[:MAX_TEXT]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text
