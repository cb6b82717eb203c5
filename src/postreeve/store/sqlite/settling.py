"""Settling: the end of a lease, for many leases in one transaction.

Most messages have one destination and are delivered at the first try: such settlements are *whole*, and a batch of them
is one check, one copy into the history and one DELETE, whatever their number. All others are written one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from postreeve.queue.model import RecipientRecord, Settlement
from postreeve.store.face import LeaseLost
from postreeve.store.sqlite.arrival import Arrival, write_arrivals
from postreeve.store.sqlite.rows import (
    RECIPIENT_COLUMNS,
    Row,
    decode_envelope,
    decode_recipient,
    encode_attempt,
    recipient_row,
    to_json,
)
from postreeve.store.sqlite.statement import marks, values
from postreeve.store.transition import is_finished, settled

_HISTORY_RECIPIENTS = (
    "(SELECT json_group_array(json_array(n, state, destination, priority, due, lease, attempts, first_attempt, problem,"
    " warned, doomed, address)) FROM recipient WHERE message_id = m.id)"
)
_HISTORY_ATTEMPTS = "(SELECT json_group_array(data) FROM attempt WHERE message_id = m.id)"
MAX_ATTEMPTS_KEPT = 64


@dataclass(slots=True)
class Ending:
    """A settlement on its way to the writer, with its JSON and its spawned messages already made."""

    settlement: Settlement
    spawned: tuple[Arrival, ...]
    is_whole: bool
    last: str
    """JSON of the final results and attempts: what the history adds to the rows it copies."""


def make_ending(settlement: Settlement, spawned: tuple[Arrival, ...], keep_history: bool) -> Ending:
    """Prepare `settlement` in the event loop, so that the writer only executes."""
    lease = settlement.lease
    is_whole = (
        lease.whole
        and not spawned
        and len(settlement.results) == len(lease.recipients)
        and all(result.state.is_final for result in settlement.results)
    )
    last = ""
    if is_whole and keep_history:
        results = [
            (result.index, result.state.value, result.due, result.problem, result.warned, result.counts_as_attempt)
            for result in settlement.results
        ]
        last = to_json((results, [encode_attempt(attempt) for attempt in settlement.attempts]))
    return Ending(settlement, spawned, is_whole, last)


def hold_all(connection: sqlite3.Connection, endings: Sequence[Ending]) -> bool:
    """True when every recipient of these leases is still held under its number, and no lease occurs twice."""
    keys: list[int] = []
    for ending in endings:
        lease = ending.settlement.lease
        for index in lease.recipients:
            keys += (lease.ident, index, lease.number)
    count = len(keys) // 3
    if len({(keys[at], keys[at + 1]) for at in range(0, len(keys), 3)}) != count:
        return False
    (held,) = connection.execute(
        f"WITH wanted(id, n, number) AS (VALUES {values(3, count)}) SELECT count(*) FROM wanted"
        " CROSS JOIN recipient AS r WHERE r.message_id = wanted.id AND r.n = wanted.n AND r.lease = wanted.number",
        keys,
    ).fetchone()
    return bool(held == count)


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
    add_attempts(connection, settlement)
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


def add_attempts(connection: sqlite3.Connection, settlement: Settlement) -> None:
    """Keep the stories of the attempts; of a message that is tried for weeks, the latest."""
    ident = settlement.lease.ident
    for attempt in settlement.attempts:
        connection.execute(
            "INSERT INTO attempt SELECT ?, coalesce(max(seq), 0) + 1, ? FROM attempt WHERE message_id = ?",
            (ident, to_json(encode_attempt(attempt)), ident),
        )
    if settlement.attempts:
        connection.execute(
            "DELETE FROM attempt WHERE message_id = ? AND seq <="
            " (SELECT max(seq) FROM attempt WHERE message_id = ?) - ?",
            (ident, ident, MAX_ATTEMPTS_KEPT),
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
