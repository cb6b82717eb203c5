"""Queued messages as JSON: times RFC 3339 in UTC, sizes in octets, identifiers as everywhere else."""

from __future__ import annotations

from typing import Any

from postreeve.cli.moment import iso
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.mail.ident import to_text
from postreeve.queue.model import Attempt, MessageStory, MessageSummary, Origin, QueueStats, RecipientRecord

Document = dict[str, Any]


def message(summary: MessageSummary) -> Document:
    """A line of `queue list`."""
    return {
        "id": to_text(summary.ident),
        "accepted_at": iso(summary.accepted_at),
        "sender": summary.sender,
        "size_octets": summary.size_octets,
        "priority": summary.priority,
        "origin": origin(summary.origin),
        "recipients": [recipient(record) for record in summary.recipients],
    }


def origin(came: Origin) -> Document:
    """Where a message came from."""
    return {
        "listener": came.listener,
        "client_address": came.client_address,
        "hello": came.hello,
        "account": came.account,
        "protocol": came.protocol,
        "session": came.session,
    }


def recipient(record: RecipientRecord) -> Document:
    """One recipient as it stands."""
    return {
        "index": record.index,
        "address": str(record.recipient.mailbox),
        "destination": record.destination,
        "state": record.state.value,
        "due": None if record.state.is_final else iso(record.due),
        "attempts": record.attempts,
        "first_attempt_at": iso(record.first_attempt_at),
        "last_problem": record.last_problem,
        "delay_reported": record.warned > 0,
        "leased_until": iso(record.leased_until),
        "to_be_bounced": record.doomed,
    }


def story(told: MessageStory, prospects: list[str]) -> Document:
    """All that `queue show` knows; `prospects` are what comes next, by recipient."""
    document = message(told.summary)
    for entry, record, prospect in zip(document["recipients"], told.summary.recipients, prospects, strict=True):
        entry["parameters"] = recipient_parameters(record.recipient)
        entry["prospect"] = prospect
    document["parameters"] = mail_parameters(told.envelope)
    document["expires_at"] = iso(told.expires_at)
    document["finished_at"] = iso(told.finished_at)
    document["attempts"] = [attempt(one) for one in told.attempts]
    return document


def mail_parameters(envelope: Envelope) -> Document:
    """What MAIL FROM said beyond the path; what it did not say is absent."""
    given = envelope.parameters
    by = given.deliver_by
    everything = {
        "body": None if given.body is None else given.body.value,
        "smtputf8": given.smtputf8 or None,
        "ret": None if given.ret is None else given.ret.value,
        "envid": given.envid,
        "auth": given.auth,
        "hold_until": iso(given.hold_until),
        "deliver_by": by and {"deadline": iso(by.deadline), "mode": "R" if by.must_return else "N", "trace": by.trace},
        "priority": given.priority,
    }
    return {name: value for name, value in everything.items() if value is not None}


def recipient_parameters(one: EnvelopeRecipient) -> Document:
    """What RCPT TO said beyond the path; what it did not say is absent."""
    document: Document = {}
    if one.parameters.notify is not None:
        document["notify"] = sorted(when.value for when in one.parameters.notify)
    if one.parameters.orcpt is not None:
        document["orcpt"] = f"{one.parameters.orcpt.address_type};{one.parameters.orcpt.address}"
    return document


def attempt(one: Attempt) -> Document:
    """One attempt."""
    return {
        "at": iso(one.at),
        "duration_seconds": round(one.duration_seconds, 3),
        "recipients": list(one.recipients),
        "destination": one.destination,
        "host": one.host,
        "address": one.address,
        "tls": one.tls,
        "stage": one.stage,
        "outcome": one.outcome,
        "reply": one.reply,
        "conversation": one.conversation.splitlines(),
    }


def stats(counted: QueueStats) -> Document:
    """The counts of the queue."""
    return {
        "messages": counted.messages,
        "octets": counted.octets,
        "recipients": counted.recipients,
        "due_now": counted.due_now,
        "oldest_accepted_at": iso(counted.oldest_accepted_at),
        "destinations": counted.destinations,
        "quarantined": counted.quarantined,
    }
