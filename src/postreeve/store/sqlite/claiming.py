"""Leases: claimed, renewed, and released when their owner is dead. All of this runs in the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from postreeve.queue.model import Lease
from postreeve.store.sqlite.statement import marks

RELEASE_ROWS: Final = 5000
_DUE = "destination = ? AND priority = ? AND state = 0 AND due <= ?"


def lease_due(
    connection: sqlite3.Connection, destination: str, priority: int, now: float, limit: int, number: int, until: float
) -> list[int]:
    """Lease what is due under `number`; returns the messages' identifiers, earliest due first."""
    where = (destination, priority, now)
    wanted = limit
    while True:
        (found,) = connection.execute(
            "SELECT group_concat(message_id) FROM (SELECT message_id FROM recipient INDEXED BY queued"
            f" WHERE {_DUE} ORDER BY due LIMIT ?)",
            (*where, wanted),
        ).fetchone()
        rows = [int(text) for text in found.split(",")] if found else []
        idents = list(dict.fromkeys(rows))
        # A message with many recipients fills many rows of the index: look further until there are enough messages.
        if len(rows) < wanted or len(idents) >= limit:
            break
        wanted *= 4
    if idents:
        del idents[limit:]
        connection.execute(
            f"UPDATE recipient SET lease = ?, due = ? WHERE message_id IN ({marks(len(idents))}) AND {_DUE}",
            (number, until, *idents, *where),
        )
    return idents


def renew_leases(connection: sqlite3.Connection, leases: Sequence[Lease], until: float) -> tuple[Lease, ...]:
    """Extend the leases that hold; a lease of which any recipient is lost is lost."""
    renewed = []
    for lease in leases:
        which = (lease.ident, lease.number, *lease.recipients)
        where = f"message_id = ? AND lease = ? AND n IN ({marks(len(lease.recipients))})"
        (held,) = connection.execute(f"SELECT count(*) FROM recipient WHERE {where}", which).fetchone()
        if held == len(lease.recipients):
            connection.execute(f"UPDATE recipient SET due = ? WHERE {where}", (until, *which))
            renewed.append(replace(lease, until=until))
    return tuple(renewed)


def release_dead(connection: sqlite3.Connection, after: int, first_number: int, now: float) -> tuple[int | None, int]:
    """Make a slice of a dead owner's leases claimable; returns where the next slice begins (None at the end), and how
    many recipients were released.

    Only this process may own the file, so that every lease with a number below `first_number` is a dead owner's.
    """
    row = connection.execute(
        "SELECT message_id FROM recipient WHERE message_id > ? ORDER BY message_id LIMIT 1 OFFSET ?",
        (after, RELEASE_ROWS),
    ).fetchone()
    end = row[0] if row else (1 << 63) - 1
    released = connection.execute(
        "UPDATE recipient SET lease = 0, due = ? WHERE message_id > ? AND message_id <= ? AND state = 0"
        " AND lease > 0 AND lease < ?",
        (now, after, end, first_number),
    ).rowcount
    return int(row[0]) if row else None, released
