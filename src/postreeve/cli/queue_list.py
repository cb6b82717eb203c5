"""`queue list` and `queue stats` for people: one line per message, one line per destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from postreeve.cli import moment
from postreeve.cli.moment import Clock
from postreeve.cli.output import console, plural, say, table
from postreeve.mail.ident import to_text
from postreeve.queue.model import MessageSummary, QueueFilter, QueueStats, RecipientRecord, RecipientState
from postreeve.store.match import recipient_fits


def print_messages(found: Sequence[MessageSummary], where: QueueFilter, clock: Clock) -> None:
    """One line per message; of its recipients those that the filter is about come first."""
    rows = [_row(summary, where, clock) for summary in found]
    columns = ("ID", "Age", "Size", "Sender", "Recipients", "State", "Tries", "Next", "Last problem")
    console().print(table(columns, rows, right=("Age", "Size", "Tries"), cut="Last problem"))


def _row(summary: MessageSummary, where: QueueFilter, clock: Clock) -> tuple[str, ...]:
    waiting = [record for record in summary.recipients if not record.state.is_final] or list(summary.recipients)
    fitting = [record for record in waiting if recipient_fits(where, record)] or waiting
    chosen = min(fitting, key=lambda record: (record.state is not RecipientState.QUEUED, record.due))
    others = len(waiting) - 1
    return (
        to_text(summary.ident),
        clock.age(summary.accepted_at),
        moment.size(summary.size_octets),
        summary.sender,
        str(chosen.recipient.mailbox) + (f" +{others}" if others else ""),
        _states(waiting),
        str(max(record.attempts for record in waiting)),
        _next(chosen, clock),
        chosen.last_problem,
    )


def _states(records: Sequence[RecipientRecord]) -> str:
    counts = Counter(record.state.value for record in records)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _next(record: RecipientRecord, clock: Clock) -> str:
    if record.state is not RecipientState.QUEUED:
        return "-"
    if record.doomed:
        return "bounce"
    if record.leased_until is not None and record.leased_until > clock.now:
        return "trying"
    return "now" if record.due <= clock.now else clock.tell(record.due)


def print_stats(counted: QueueStats, reasons: Mapping[str, int], clock: Clock) -> None:
    """Totals, the largest destinations, the most frequent reasons."""
    say(totals(counted, clock))
    print_counts("Destination", counted.destinations)
    print_counts("Last problem", reasons)


def print_counts(name: str, counts: Mapping[str, int]) -> None:
    """A table of names by how many recipients they have; nothing where there is none."""
    if counts:
        say()
        rows = [(f"{count:,}", text) for text, count in counts.items()]
        console().print(table(("Recipients", name), rows, right=("Recipients",), cut=name))


def totals(counted: QueueStats, clock: Clock) -> str:
    """The queue in a line."""
    if not counted.messages:
        quarantined = f"; {plural(counted.quarantined, 'damaged record')} set aside" if counted.quarantined else ""
        return f"the queue is empty{quarantined}"
    words = [f"{plural(counted.messages, 'message')}, {moment.size(counted.octets)}"]
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(counted.recipients.items()) if count)
    words.append(f"recipients: {states}; due now: {counted.due_now:,}")
    if counted.oldest_accepted_at is not None:
        words.append(f"oldest: {clock.tell(counted.oldest_accepted_at)}")
    if counted.quarantined:
        words.append(f"{plural(counted.quarantined, 'damaged record')} set aside")
    return "; ".join(words)
