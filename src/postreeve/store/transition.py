"""What settling and an operator's change do to one recipient: the same arithmetic for every back end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from postreeve.queue.model import (
    Change,
    NewMessage,
    NewRecipient,
    RecipientRecord,
    RecipientState,
    Result,
    Settlement,
)

MAX_PROBLEM_CHARACTERS: Final = 512
"""A remote server's line is kept verbatim, but bounded."""


def born(index: int, new: NewRecipient) -> RecipientRecord:
    """A recipient at acceptance."""
    return RecipientRecord(index, new.recipient, new.destination, new.state, new.due)


def is_due_at_birth(message: NewMessage, new: NewRecipient) -> bool:
    """True when the acceptor may deliver this recipient at once."""
    return new.state is RecipientState.QUEUED and new.due <= message.accepted_at


def check_results(settlement: Settlement) -> None:
    """Raises ValueError for results that name a recipient outside the lease, or one twice: the caller's mistake."""
    indexes = [result.index for result in settlement.results]
    if len(set(indexes)) != len(indexes) or not set(indexes) <= set(settlement.lease.recipients):
        raise ValueError(f"results {indexes} do not fit the lease of {settlement.lease.recipients}")


def settled(record: RecipientRecord, result: Result | None, at: float) -> RecipientRecord:
    """`record` after its lease ended with `result`; without one it is due again at once."""
    if result is None:
        return replace(record, leased_until=None, due=at)
    tried = result.counts_as_attempt
    first = record.first_attempt_at if record.first_attempt_at is not None or not tried else at
    return replace(
        record,
        state=result.state,
        due=result.due,
        attempts=record.attempts + tried,
        first_attempt_at=first,
        last_problem=result.problem[:MAX_PROBLEM_CHARACTERS],
        warned=max(record.warned, result.warned),
        leased_until=None,
    )


def changed(record: RecipientRecord, change: Change, now: float) -> RecipientRecord | None:
    """`record` after an operator's `change`, or None where it does not apply (final, already so, under way)."""
    queued = record.state is RecipientState.QUEUED
    held = record.state is RecipientState.HELD
    match change:
        case Change.RETRY if queued and record.leased_until is None:
            return replace(record, due=now)
        case Change.HOLD if queued:
            return replace(record, state=RecipientState.HELD, leased_until=None, due=now)
        case Change.RELEASE if held:
            return replace(record, state=RecipientState.QUEUED, due=now)
        case Change.BOUNCE if (queued or held) and not record.doomed:
            return replace(record, state=RecipientState.QUEUED, leased_until=None, due=now, doomed=True)
        case Change.DROP if queued or held:
            return replace(record, state=RecipientState.DROPPED, leased_until=None)
        case _:
            return None


def is_finished(records: Iterable[RecipientRecord]) -> bool:
    """True when the message leaves the queue."""
    return all(record.state.is_final for record in records)


def by_destination(records: Sequence[RecipientRecord]) -> dict[str, list[RecipientRecord]]:
    """The recipients grouped by where they go, in their order."""
    groups: dict[str, list[RecipientRecord]] = {}
    for record in records:
        groups.setdefault(record.destination, []).append(record)
    return groups
