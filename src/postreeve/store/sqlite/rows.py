"""How values become columns and come back: compact JSON lists, no pickles, nothing that can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    BodyType,
    DeliverBy,
    Envelope,
    EnvelopeRecipient,
    MailParameters,
    Notify,
    OriginalRecipient,
    RecipientParameters,
    Return,
)
from postreeve.queue.model import Attempt, NewMessage, NewRecipient, Origin, RecipientRecord, RecipientState, Result
from postreeve.store.match import sender_text
from postreeve.store.transition import MAX_PROBLEM_CHARACTERS

QUEUED: Final = 0
STATES: Final = tuple(RecipientState)
STATE_CODES: Final = {state: code for code, state in enumerate(STATES)}
RECIPIENT_COLUMNS: Final = (
    "n, state, destination, priority, due, lease, attempts, first_attempt, problem, warned, doomed, address"
)

Row = tuple[Any, ...]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Undecodable(Exception):
    """A row that does not say what a row of its table says; the message is quarantined."""


def to_json(value: object) -> str:
    """Compact JSON in ASCII."""
    return _encode(value)


def digest_of(content: bytes) -> bytes:
    """What proves the content undamaged when it is read again."""
    return hashlib.sha256(content).digest()


def encode_envelope(envelope: Envelope) -> str:
    """The envelope with all its recipients, as JSON: `[path, parameters, [[local, domain, parameters], …]]`."""
    path, given = envelope.reverse_path, envelope.parameters
    # Put together by hand: an encoder made anew for every message costs more than all that it encodes.
    sender = "null" if path is None else f"[{quoted(path.local)},{quoted(path.domain.ascii)}]"
    parameters = "null" if given is NO_MAIL_PARAMETERS else to_json(_mail_parameters(given))
    recipients = [
        f"[{quoted(to.mailbox.local)},{quoted(to.mailbox.domain.ascii)},"
        f"{'null' if to.parameters is NO_RECIPIENT_PARAMETERS else to_json(_recipient_parameters(to.parameters))}]"
        for to in envelope.recipients
    ]
    return f"[{sender},{parameters},[{','.join(recipients)}]]"


def _mail_parameters(given: MailParameters) -> Row:
    by = given.deliver_by
    return (
        given.size_octets,
        None if given.body is None else given.body.value,
        given.smtputf8,
        None if given.ret is None else given.ret.value,
        given.envid,
        given.auth,
        given.hold_until,
        None if by is None else (by.deadline, by.must_return, by.trace),
        given.priority,
    )


def _recipient_parameters(given: RecipientParameters) -> Row:
    notify, orcpt = given.notify, given.orcpt
    return (
        None if notify is None else sorted(item.value for item in notify),
        None if orcpt is None else (orcpt.address_type, orcpt.address),
    )


def decode_envelope(text: str) -> Envelope:
    """The reverse of `encode_envelope`; raises Undecodable."""
    try:
        path, parameters, recipients = json.loads(text)
        return Envelope(
            None if path is None else Mailbox(path[0], Domain(path[1])),
            tuple(
                EnvelopeRecipient(Mailbox(local, Domain(domain)), _read_recipient_parameters(row))
                for local, domain, row in recipients
            ),
            _read_mail_parameters(parameters),
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise Undecodable(f"the envelope cannot be read: {error}") from error


def _read_mail_parameters(row: Sequence[Any] | None) -> MailParameters:
    if row is None:
        return NO_MAIL_PARAMETERS
    size, body, smtputf8, ret, envid, auth, hold_until, by, priority = row
    return MailParameters(
        size,
        None if body is None else BodyType(body),
        smtputf8,
        None if ret is None else Return(ret),
        envid,
        auth,
        hold_until,
        None if by is None else DeliverBy(*by),
        priority,
    )


def _read_recipient_parameters(row: Sequence[Any] | None) -> RecipientParameters:
    if row is None:
        return NO_RECIPIENT_PARAMETERS
    notify, orcpt = row
    return RecipientParameters(
        None if notify is None else frozenset(map(Notify, notify)),
        None if orcpt is None else OriginalRecipient(*orcpt),
    )


@lru_cache(maxsize=1024)
def encode_origin(origin: Origin) -> str:
    """Where the message came from; the messages of one session share it."""
    return _encode(
        (origin.listener, origin.client_address, origin.hello, origin.account, origin.protocol, origin.session)
    )


def decode_origin(text: str) -> Origin:
    """The reverse of `encode_origin`; raises Undecodable."""
    try:
        return Origin(*json.loads(text))
    except (ValueError, TypeError) as error:
        raise Undecodable(f"the origin cannot be read: {error}") from error


def encode_attempt(attempt: Attempt) -> str:
    """The story of an attempt as a JSON list of its fields, put together by hand like the envelope."""
    recipients = ",".join(map(str, attempt.recipients))
    return (
        f"[{attempt.at!r},{attempt.duration_seconds!r},[{recipients}],{quoted(attempt.destination)},"
        f"{quoted(attempt.host)},{quoted(attempt.address)},{quoted(attempt.tls)},{quoted(attempt.stage)},"
        f"{quoted(attempt.outcome)},{quoted(attempt.reply)},{quoted(attempt.conversation)}]"
    )


def encode_last(results: Iterable[Result], attempts: Iterable[str]) -> str:
    """What ended a message, as JSON: `[[[index, state, due, problem, warned, tried], …], [attempt, …]]`."""
    ends = [
        f"[{one.index},{quoted(one.state.value)},{one.due!r},{quoted(one.problem)},{int(one.warned)},"
        f"{'true' if one.counts_as_attempt else 'false'}]"
        for one in results
    ]
    return f"[[{','.join(ends)}],[{','.join(attempts)}]]"


def decode_attempt(row: Sequence[Any]) -> Attempt:
    """The reverse of `encode_attempt`; raises Undecodable."""
    try:
        at, duration, recipients, *rest = row
        return Attempt(at, duration, tuple(recipients), *rest)
    except (ValueError, TypeError) as error:
        raise Undecodable(f"an attempt cannot be read: {error}") from error


def message_row(message: NewMessage, digest: bytes, chunks: int) -> Row:
    """The row of table message."""
    return (
        message.ident,
        message.accepted_at,
        sender_text(message.envelope),
        message.size_octets,
        message.priority,
        message.expires_at,
        encode_envelope(message.envelope),
        encode_origin(message.origin),
        digest,
        chunks,
    )


def new_recipient_row(new: NewRecipient, ident: int, index: int, priority: int, due: float, lease: int) -> Row:
    """The row of a recipient at acceptance."""
    address = str(new.recipient.mailbox)
    return (ident, index, STATE_CODES[new.state], new.destination, priority, due, lease, 0, None, "", 0, 0, address)


def recipient_row(record: RecipientRecord, ident: int, priority: int, lease: int) -> Row:
    """The row of table recipient."""
    return (
        ident,
        record.index,
        STATE_CODES[record.state],
        record.destination,
        priority,
        record.due,
        lease,
        record.attempts,
        record.first_attempt_at,
        record.last_problem[:MAX_PROBLEM_CHARACTERS],
        record.warned,
        record.doomed,
        str(record.recipient.mailbox),
    )


def decode_recipient(row: Sequence[Any], envelope: Envelope) -> RecipientRecord:
    """The recipient of the columns RECIPIENT_COLUMNS; raises Undecodable."""
    try:
        n, state, destination, _, due, lease, attempts, first_attempt, problem, warned, doomed, _ = row
        return RecipientRecord(
            n,
            envelope.recipients[n],
            destination,
            STATES[state],
            due,
            attempts,
            first_attempt,
            problem,
            int(warned),
            due if lease else None,
            bool(doomed),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise Undecodable(f"a recipient cannot be read: {error}") from error
