"""A queue file that cannot be read is set aside, a new one begun, and what can be read of the old one carried over.

The carrying happens while the server runs: it takes as long as it takes, and mail is accepted meanwhile.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from postreeve.store.sqlite.failure import code_of

SLICE: Final = 100
TABLES: Final = (("message", "id"), ("content", "id"), ("chunk", "message_id"), ("recipient", "message_id"))


@dataclass(slots=True)
class Rescued:
    """Some messages' rows by table, and where to go on; `after` is None at the end."""

    rows: dict[str, list[tuple[Any, ...]]]
    messages: int
    after: int | None


def set_aside(path: Path) -> Path:
    """Rename the file and its log; returns the new name."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def connect(aside: Path) -> sqlite3.Connection:
    """A connection to what was set aside, which reads what there is of a file that was cut off."""
    connection = sqlite3.connect(aside, isolation_level=None)
    try:
        # Without this SQLite reads nothing at all of a file shorter than its header says.
        connection.execute("PRAGMA writable_schema = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def read_slice(connection: sqlite3.Connection, after: int) -> Rescued:
    """The next readable messages greater than `after`; unreadable stretches are skipped in ever longer steps."""
    idents, end = _idents(connection, after)
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table, _ in TABLES}
    messages = 0
    for ident in idents:
        try:
            found = {
                table: connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (ident,)).fetchall()
                for table, key in TABLES
            }
        except sqlite3.DatabaseError:
            continue
        messages += 1
        for table, part in found.items():
            rows[table] += part
    return Rescued(rows, messages, end)


def _idents(connection: sqlite3.Connection, after: int) -> tuple[list[int], int | None]:
    step = 1
    while after < (1 << 63) - 1:
        found: list[int] = []
        try:
            cursor = connection.execute("SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?", (after, SLICE))
            while (row := cursor.fetchone()) is not None:
                found.append(row[0])
            return found, found[-1] if len(found) == SLICE else None
        except sqlite3.DatabaseError as error:
            if code_of(error) == sqlite3.SQLITE_NOTADB:
                return [], None
            if found:
                return found, found[-1]
        after = min(after + step, (1 << 63) - 1)
        step *= 2
    return [], None


def write_slice(connection: sqlite3.Connection, rescued: Rescued) -> None:
    """Carry the rows over; leases of the past are void."""
    for table, rows in rescued.rows.items():
        for row in rows:
            marks = ",".join("?" * len(row))
            connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
    idents = [row[0] for row in rescued.rows["message"]]
    for ident in idents:
        connection.execute("UPDATE recipient SET lease = 0 WHERE message_id = ?", (ident,))


def note_damage(connection: sqlite3.Connection, aside: Path, problem: str, at: float) -> None:
    """Make the damaged file appear among what was set aside."""
    connection.execute(
        "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, '[]', '[]', NULL)",
        (-int(at), f"the queue file was damaged ({problem}) and set aside as {aside.name}", at),
    )


def note_rescue(connection: sqlite3.Connection, at: float, count: int) -> None:
    """Add to the note how many messages were carried over."""
    connection.execute(
        "UPDATE quarantine SET problem = problem || ? WHERE id = ?", (f"; {count} messages carried over", -int(at))
    )
