"""What operators and housekeeping do to the queue, in slices: others wait for a transaction that takes long."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from postreeve.queue.model import Change, QueueFilter
from postreeve.store.face import LeaseLost, Quarantined
from postreeve.store.match import recipient_fits
from postreeve.store.sqlite.arrival import remove_spool
from postreeve.store.sqlite.rows import RECIPIENT_COLUMNS, Undecodable, to_json
from postreeve.store.sqlite.schema import write_meta
from postreeve.store.sqlite.settling import finish, load_recipients, write_recipients
from postreeve.store.sqlite.statement import marks
from postreeve.store.transition import changed, is_finished

CHANGE_MESSAGES: Final = 500
SWEEP_MESSAGES: Final = 1000
SWEEP_SPOOLS: Final = 4


def change_messages(
    connection: sqlite3.Connection,
    idents: Sequence[int],
    where: QueueFilter,
    change: Change,
    now: float,
    keep_history: bool,
) -> int:
    """Change the recipients that match in messages found to match; returns how many were changed."""
    count = 0
    for ident in idents:
        try:
            count += _change_one(connection, ident, where, change, now, keep_history)
        except LeaseLost:
            continue  # it left the queue since it was found
        except Undecodable as error:
            quarantine(connection, ident, str(error), now)
    return count


def _change_one(
    connection: sqlite3.Connection, ident: int, where: QueueFilter, change: Change, now: float, keep_history: bool
) -> int:
    records = load_recipients(connection, ident)
    after = {}
    for record in records:
        new = changed(record, change, now) if recipient_fits(where, record) else None
        if new is not None:
            after[record.index] = new
    if after:
        write_recipients(connection, ident, list(after.values()))
        if is_finished([after.get(record.index, record) for record in records]):
            finish(connection, ident, now, keep_history)
    return len(after)


def quarantine(connection: sqlite3.Connection, ident: int, problem: str, now: float) -> None:
    """Set a damaged message aside: out of the queue, its rows kept as they are for whoever wants to rescue it.

    A message that is gone meanwhile is left alone.
    """
    row = connection.execute(
        "SELECT accepted, sender, size, priority, expires, envelope, origin, hex(digest), chunks FROM message"
        " WHERE id = ?",
        (ident,),
    ).fetchone()
    recipients = connection.execute(
        f"SELECT {RECIPIENT_COLUMNS} FROM recipient WHERE message_id = ?", (ident,)
    ).fetchall()
    if row is None and not recipients:
        return
    connection.execute(
        "INSERT OR REPLACE INTO quarantine SELECT ?, ?, ?, ?, ?, data FROM (SELECT 1) LEFT JOIN content ON id = ?",
        (ident, problem, now, to_json(printable(row or ())), to_json([printable(r) for r in recipients]), ident),
    )
    connection.execute("UPDATE chunk SET message_id = -message_id WHERE message_id = ?", (ident,))
    connection.execute("DELETE FROM recipient WHERE message_id = ?", (ident,))
    connection.execute("DELETE FROM message WHERE id = ?", (ident,))


def stop(connection: sqlite3.Connection, ident: int, problem: str, now: float) -> None:
    """Where even setting aside meets damaged pages: take out the recipients alone, so that nobody claims the message.

    Its other rows stay for the rebuilding of the file.
    """
    connection.execute("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, '[]', '[]', NULL)", (ident, problem, now))
    connection.execute("DELETE FROM recipient WHERE message_id = ?", (ident,))


def printable(row: Sequence[object]) -> list[object]:
    """A row as JSON can carry it, whatever damage made of its types."""
    return [value.hex() if isinstance(value, bytes) else value for value in row]


def load_quarantined(connection: sqlite3.Connection) -> tuple[Quarantined, ...]:
    """What was set aside."""
    return tuple(Quarantined(*row) for row in connection.execute("SELECT id, problem FROM quarantine ORDER BY id"))


def sweep_slice(connection: sqlite3.Connection, cutoff: float, live: frozenset[int], last_ident: int) -> int:
    """Remove some old history and abandoned spools; remember the greatest identifier the history will not tell."""
    write_meta(connection, "last_ident", last_ident)
    idents = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM history WHERE finished <= ? ORDER BY finished LIMIT ?", (cutoff, SWEEP_MESSAGES)
        )
    ]
    if idents:
        connection.execute(f"DELETE FROM history WHERE id IN ({marks(len(idents))})", idents)
    spools = [row[0] for row in connection.execute("SELECT message_id FROM spool") if row[0] not in live]
    for ident in spools[:SWEEP_SPOOLS]:
        remove_spool(connection, ident)
    return len(idents) + len(spools[:SWEEP_SPOOLS])
