"""Settling: the end of a lease, for many leases in one transaction.

Most messages have one destination and are delivered at the first try: such settlements are *whole*, and a batch of them
is one check, one copy into the history and one DELETE, whatever their number. When a next hop is down all its messages
are put off: such *deferrals* are one UPDATE and one INSERT. All others are written one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Final, TypeVar

from postreeve.queue.model import RecipientRecord, RecipientState, Settlement
from postreeve.store.face import LeaseLost
from postreeve.store.sqlite.arrival import Arrival, write_arrivals
from postreeve.store.sqlite.rows import (
    RECIPIENT_COLUMNS,
    Row,
    decode_envelope,
    decode_recipient,
    encode_attempt,
    encode_last,
    recipient_row,
)
from postreeve.store.sqlite.statement import marks, values
from postreeve.store.transition import MAX_PROBLEM_CHARACTERS, is_finished, settled

_HISTORY_RECIPIENTS = (
    "(SELECT json_group_array(json_array(n, state, destination, priority, due, lease, attempts, first_attempt, problem,"
    " warned, doomed, address)) FROM recipient WHERE message_id = m.id)"
)
_HISTORY_ATTEMPTS = "(SELECT json_group_array(data) FROM attempt WHERE message_id = m.id)"
MAX_ATTEMPTS_KEPT: Final = 64
_MOST_ROWS: Final = 256

Part = TypeVar("Part")


class EndingKind(Enum):
    """How a settlement is written."""

    WHOLE = "whole"
    """The message ends with it."""
    DEFERRAL = "deferral"
    """All its recipients go on waiting."""
    OTHER = "other"


@dataclass(slots=True)
class Ending:
    """A settlement on its way to the writer, with its JSON and its spawned messages already made."""

    settlement: Settlement
    spawned: tuple[Arrival, ...]
    kind: EndingKind
    stories: list[str]
    """The attempts as JSON."""
    last: str
    """JSON of the final results and attempts: what the history adds to the rows it copies."""


def make_ending(settlement: Settlement, spawned: tuple[Arrival, ...], keep_history: bool) -> Ending:
    """Prepare `settlement` in the event loop, so that the writer only executes."""
    kind = _kind(settlement) if not spawned else EndingKind.OTHER
    if kind is EndingKind.WHOLE and not keep_history:
        return Ending(settlement, spawned, kind, [], "")
    stories = [encode_attempt(attempt) for attempt in settlement.attempts]
    last = encode_last(settlement.results, stories) if kind is EndingKind.WHOLE else ""
    return Ending(settlement, spawned, kind, stories, last)


def _kind(settlement: Settlement) -> EndingKind:
    lease, results = settlement.lease, settlement.results
    if len(results) != len(lease.recipients):
        return EndingKind.OTHER
    if lease.whole and all(result.state.is_final for result in results):
        return EndingKind.WHOLE
    is_deferral = all(result.state is RecipientState.QUEUED for result in results)
    return EndingKind.DEFERRAL if is_deferral else EndingKind.OTHER


def hold_all(connection: sqlite3.Connection, endings: Sequence[Ending]) -> bool:
    """True when every recipient of these leases is still held under its number, and no lease occurs twice."""
    keys = [
        (lease.ident, index, lease.number)
        for lease in [ending.settlement.lease for ending in endings]
        for index in lease.recipients
    ]
    if len({(ident, index) for ident, index, _ in keys}) != len(keys):
        return False
    return all(
        connection.execute(
            f"WITH wanted(id, n, number) AS (VALUES {values(3, len(part))}) SELECT count(*) FROM wanted"
            " CROSS JOIN recipient AS r WHERE r.message_id = wanted.id AND r.n = wanted.n AND r.lease = wanted.number",
            [*chain.from_iterable(part)],
        ).fetchone()[0]
        == len(part)
        for part in _parts(keys)
    )


def _parts(rows: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """A statement has room for some thousands of values only, and a message may have a thousand recipients."""
    for start in range(0, len(rows), _MOST_ROWS):
        yield rows[start : start + _MOST_ROWS]


def end_whole(connection: sqlite3.Connection, endings: Sequence[Ending], keep_history: bool) -> None:
    """Remove the messages of whole settlements; the caller has checked that their leases hold."""
    if keep_history:
        rows: list[object] = []
        for ending in endings:
            rows += (ending.settlement.lease.ident, ending.settlement.settled_at, ending.last)
        connection.execute(
            f"WITH ended(id, at, last) AS (VALUES {values(3, len(endings))}) {_copy_into_history('ended.last')}"
            " FROM ended CROSS JOIN message AS m ON m.id = ended.id",
            rows,
        )
    idents = [ending.settlement.lease.ident for ending in endings]
    connection.execute(f"DELETE FROM message WHERE id IN ({marks(len(idents))})", idents)


def defer_all(connection: sqlite3.Connection, endings: Sequence[Ending]) -> None:
    """Put off all recipients of these leases; the caller has checked that the leases hold."""
    after: list[Row] = []
    for ending in endings:
        settlement = ending.settlement
        ident, at = settlement.lease.ident, settlement.settled_at
        for one in settlement.results:
            tried = int(one.counts_as_attempt)
            problem = one.problem[:MAX_PROBLEM_CHARACTERS]
            after.append((ident, one.index, one.due, problem, int(one.warned), tried, at if tried else None))
    for part in _parts(after):
        connection.execute(
            f"WITH late(id, n, due, problem, warned, tried, at) AS (VALUES {values(7, len(part))})"
            " UPDATE recipient SET due = late.due, lease = 0, problem = late.problem,"
            " warned = max(recipient.warned, late.warned), attempts = attempts + late.tried,"
            " first_attempt = coalesce(first_attempt, late.at)"
            " FROM late WHERE recipient.message_id = late.id AND recipient.n = late.n",
            [*chain.from_iterable(part)],
        )
    add_attempts(connection, [(ending.settlement.lease.ident, story) for ending in endings for story in ending.stories])


def _copy_into_history(last: str) -> str:
    return (
        "INSERT OR REPLACE INTO history SELECT m.id, ended.at, m.accepted, m.sender, m.size, m.priority, m.expires,"
        f" m.envelope, m.origin, {_HISTORY_RECIPIENTS}, {_HISTORY_ATTEMPTS}, {last}"
    )


def end_one(connection: sqlite3.Connection, ending: Ending, keep_history: bool) -> None:
    """Any settlement: what became of its recipients, and what it spawned; raises LeaseLost before any change."""
    settlement = ending.settlement
    lease = settlement.lease
    records = load_recipients(connection, lease.ident)
    if not _holds(connection, settlement):
        raise LeaseLost(f"lease {lease.number} of message {lease.ident} is no longer held")
    if ending.spawned:
        write_arrivals(connection, ending.spawned)
    results = {result.index: result for result in settlement.results}
    leased = set(lease.recipients)
    after = [
        settled(record, results.get(record.index), settlement.settled_at) if record.index in leased else record
        for record in records
    ]
    add_attempts(connection, [(lease.ident, story) for story in ending.stories])
    write_recipients(connection, lease.ident, [record for record in after if record.index in leased])
    if is_finished(after):
        finish(connection, lease.ident, settlement.settled_at, keep_history)


def _holds(connection: sqlite3.Connection, settlement: Settlement) -> bool:
    lease = settlement.lease
    (held,) = connection.execute(
        f"SELECT count(*) FROM recipient WHERE message_id = ? AND lease = ? AND n IN ({marks(len(lease.recipients))})",
        (lease.ident, lease.number, *lease.recipients),
    ).fetchone()
    return bool(held == len(lease.recipients))


def load_recipients(connection: sqlite3.Connection, ident: int) -> list[RecipientRecord]:
    """All recipients of a message; raises LeaseLost when there is none, Undecodable when damaged."""
    row = connection.execute("SELECT envelope FROM message WHERE id = ?", (ident,)).fetchone()
    if row is None:
        raise LeaseLost(f"message {ident} is no longer in the queue")
    envelope = decode_envelope(row[0])
    rows = connection.execute(
        f"SELECT {RECIPIENT_COLUMNS} FROM recipient WHERE message_id = ? ORDER BY n", (ident,)
    ).fetchall()
    return [decode_recipient(row, envelope) for row in rows]


def write_recipients(connection: sqlite3.Connection, ident: int, records: Sequence[RecipientRecord]) -> None:
    """Write changed recipients back; none of them is leased any more."""
    rows: list[Row] = [recipient_row(record, ident, 0, 0) for record in records]
    for row in rows:
        _, n, state, _, _, due, lease, attempts, first_attempt, problem, warned, doomed, _ = row
        connection.execute(
            "UPDATE recipient SET state = ?, due = ?, lease = ?, attempts = ?, first_attempt = ?, problem = ?,"
            " warned = ?, doomed = ? WHERE message_id = ? AND n = ?",
            (state, due, lease, attempts, first_attempt, problem, warned, doomed, ident, n),
        )


def add_attempts(connection: sqlite3.Connection, told: Sequence[tuple[int, str]]) -> None:
    """Keep the stories of attempts at messages; of a message that is tried for weeks, the latest."""
    for part in _parts(told):
        counts: dict[int, int] = {}
        rows: list[Row] = []
        for ident, story in part:
            counts[ident] = counts.get(ident, 0) + 1
            rows.append((ident, counts[ident], story))
        # SQLite finishes reading a table that it selects from before it inserts into it.
        connection.execute(
            f"WITH told(id, place, data) AS (VALUES {values(3, len(rows))}) INSERT INTO attempt SELECT id,"
            " place + coalesce((SELECT max(seq) FROM attempt WHERE message_id = told.id), 0), data FROM told",
            [*chain.from_iterable(rows)],
        )
        # For each one that came, the one that was the latest so many before it goes.
        gone = [(ident, MAX_ATTEMPTS_KEPT + place) for ident, count in counts.items() for place in range(count)]
        connection.execute(
            f"WITH gone(id, back) AS (VALUES {values(2, len(gone))}) DELETE FROM attempt WHERE (message_id, seq) IN"
            " (SELECT id, (SELECT max(seq) FROM attempt WHERE message_id = gone.id) - back FROM gone)",
            [*chain.from_iterable(gone)],
        )


def finish(connection: sqlite3.Connection, ident: int, at: float, keep_history: bool) -> None:
    """The message leaves the queue."""
    if keep_history:
        connection.execute(
            f"WITH ended(id, at) AS (VALUES (?, ?)) {_copy_into_history('NULL')}"
            " FROM ended CROSS JOIN message AS m ON m.id = ended.id",
            (ident, at),
        )
    connection.execute("DELETE FROM message WHERE id = ?", (ident,))
