"""`queue show` for people: the whole story of one message."""

from __future__ import annotations

from typing import Final

from postreeve.cli import document, moment
from postreeve.cli.moment import Clock, span
from postreeve.cli.output import clean, clean_lines, console, plural
from postreeve.mail.ident import to_text
from postreeve.queue.model import Attempt, MessageStory, Origin, RecipientRecord, RecipientState
from postreeve.queue.settings import Schedule

_LABEL: Final = 12
_KEYWORDS: Final = {"hold_until": "HOLDUNTIL", "deliver_by": "BY", "priority": "MT-PRIORITY"}


def print_story(told: MessageStory, prospects: list[str], clock: Clock, schedule: Schedule) -> None:
    """Envelope and origin, then every recipient with what comes next, then every attempt."""
    lines = [*_head(told, clock, schedule), "", "Recipients"]
    for record, prospect in zip(told.summary.recipients, prospects, strict=True):
        lines += _recipient(record, prospect)
    lines += ["", f"Attempts: {len(told.attempts)}" if told.attempts else "Attempts: none yet"]
    for number, attempt in enumerate(told.attempts, 1):
        lines += _attempt(number, attempt, told, clock)
    for line in lines:
        console().print(line, soft_wrap=True)


def _head(told: MessageStory, clock: Clock, schedule: Schedule) -> list[str]:
    summary, both = told.summary, Clock(clock.now, is_absolute=True)
    accepted = both.tell(summary.accepted_at)
    accepted += "" if clock.is_absolute else f" ({clock.tell(summary.accepted_at)})"
    lines = [
        _labelled("Message", to_text(summary.ident)),
        _labelled("Sender", summary.sender + _words(document.mail_parameters(told.envelope))),
        _labelled("Accepted", accepted),
        _labelled("Came", _origin(summary.origin)),
        _labelled("Size", _size(summary.size_octets)),
    ]
    if summary.priority:
        lines.append(_labelled("Priority", f"{summary.priority:+d} (MT-PRIORITY)"))
    if told.finished_at is not None:
        lines.append(
            _labelled(
                "Finished", f"{clock.tell(told.finished_at)}, after {span(told.finished_at - summary.accepted_at)}"
            )
        )
        return lines
    return [*lines, _labelled("Gives up", _expiry(told, clock, schedule))]


def _size(octets: int) -> str:
    return f"{moment.size(octets)} ({octets:,} octets)" if octets >= 1024 else f"{octets} octets"


def _expiry(told: MessageStory, clock: Clock, schedule: Schedule) -> str:
    if told.expires_at is not None:
        return f"{clock.tell(told.expires_at)} (set for this message)"
    begun = max(told.summary.accepted_at, told.envelope.parameters.hold_until or 0.0)
    return f"{clock.tell(begun + schedule.lifetime_seconds)} (lifetime {span(schedule.lifetime_seconds)})"


def _origin(came: Origin) -> str:
    if not came.client_address:
        return f"made here: {came.listener}" + (f", in session {came.session}" if came.session else "")
    words = [f"from {came.client_address}"]
    if came.hello:
        words.append(f"({came.hello})")
    if came.protocol:
        words.append(f"with {came.protocol}")
    words.append(f"on listener {came.listener}")
    if came.account:
        words.append(f"as account {came.account}")
    if came.session:
        words.append(f"in session {came.session}")
    return " ".join(words)


def _recipient(record: RecipientRecord, prospect: str) -> list[str]:
    given = document.recipient_parameters(record.recipient)
    lines = [f"  {clean(str(record.recipient.mailbox))}{clean(_words(given))}"]
    tries = f", {plural(record.attempts, 'attempt')}" if record.attempts else ""
    warned = ", sender told of the delay" if record.warned else ""
    lines.append(f"    {record.state.value} for {clean(record.destination)}{tries}{warned}")
    if record.last_problem and record.state not in (RecipientState.DELIVERED, RecipientState.RELAYED):
        lines.append(f"    last: {clean(record.last_problem)}")
    return [*lines, f"    {clean(prospect)}"]


def _attempt(number: int, attempt: Attempt, told: MessageStory, clock: Clock) -> list[str]:
    where = " ".join(part for part in (attempt.host, f"[{attempt.address}]" if attempt.address else "") if part)
    words = [clock.tell(attempt.at), where or attempt.destination, attempt.tls or "no TLS"]
    words.append(f"{attempt.outcome} at {attempt.stage}" if attempt.stage else attempt.outcome)
    words.append(f"{attempt.duration_seconds:.2f}s")
    lines = [f"  {number}. " + clean(", ".join(words))]
    if len(told.summary.recipients) > 1:
        lines.append(f"     for {clean(_addressees(attempt, told))}")
    if attempt.reply:
        lines.append(f"     {clean(attempt.reply)}")
    if attempt.conversation:
        lines += [f"       {line}" for line in clean_lines(attempt.conversation.rstrip("\n"))]
    return lines


def _addressees(attempt: Attempt, told: MessageStory) -> str:
    records = told.summary.recipients
    names = [str(records[index].recipient.mailbox) for index in attempt.recipients if index < len(records)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _words(parameters: dict[str, object]) -> str:
    """ESMTP parameters much as on the wire: `RET=HDRS ENVID=x`; times are those that were counted from then."""
    texts = []
    for field, value in parameters.items():
        name = _KEYWORDS.get(field, field.upper())
        match value:
            case list():
                texts.append(f"{name}={','.join(value)}")
            case {"deadline": deadline, "mode": mode, "trace": trace}:
                texts.append(f"{name}={deadline};{mode}{'T' if trace else ''}")
            case True:
                texts.append(name)
            case _:
                texts.append(f"{name}={value}")
    return f"  {' '.join(texts)}" if texts else ""


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{clean(text)}"
