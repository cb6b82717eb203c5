"""Filters as SQL: the walk over a large queue happens in SQLite, without the interpreter."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from postreeve.queue.model import MessageSummary, QueueFilter
from postreeve.store.match import summary_fits
from postreeve.store.sqlite.reading import MESSAGE_COLUMNS, load_summary
from postreeve.store.sqlite.rows import STATE_CODES, Undecodable

MAX_IDENT: Final = (1 << 63) - 1
WINDOW: Final = 20_000
"""How many messages one look covers, so that no snapshot is held for long (it would keep the log from being reused)."""


def _usable(pattern: str) -> bool:
    """True for a pattern that means the same to GLOB as to `match`, which looks at the rest again."""
    return pattern.isascii() and "[" not in pattern


def _conditions(where: QueueFilter) -> tuple[str, list[Any]]:
    """A superset of what `where` asks for: what GLOB sees otherwise is left to `match`."""
    terms: list[str] = []
    values: list[Any] = []
    for term, value in (("m.accepted < ?", where.older_than), ("m.accepted > ?", where.younger_than)):
        if value is not None:
            terms.append(term)
            values.append(value)
    for column, pattern in (("m.sender", where.sender), ("json_extract(m.origin, '$[3]')", where.account)):
        if pattern is not None and _usable(pattern):
            terms.append(f"lower({column}) GLOB ?")
            values.append(pattern.lower())
    inner: list[str] = []
    if where.state is not None:
        inner.append("r.state = ?")
        values.append(STATE_CODES[where.state])
    for column, pattern in (
        ("r.address", where.recipient),
        ("r.destination", where.destination),
        ("r.problem", where.reason),
    ):
        if pattern is not None and _usable(pattern):
            inner.append(f"lower({column}) GLOB ?")
            values.append(pattern.lower())
    if inner:
        terms.append(f"EXISTS (SELECT 1 FROM recipient AS r WHERE r.message_id = m.id AND {' AND '.join(inner)})")
    return "".join(f" AND {term}" for term in terms), values


def find_idents(
    connection: sqlite3.Connection, where: QueueFilter, limit: int, after: int, last: int = MAX_IDENT
) -> list[int]:
    """Messages that may fit, in order, greater than `after` and up to `last`."""
    terms, values = _conditions(where)
    if where.idents:
        chosen = sorted(ident for ident in set(where.idents) if after < ident <= last)[:WINDOW]
        if not chosen:
            return []
        listed = ",".join(str(int(ident)) for ident in chosen)
        query = f"SELECT m.id FROM message AS m WHERE m.id IN ({listed}){terms} ORDER BY m.id LIMIT ?"
        return [row[0] for row in connection.execute(query, (*values, limit))]
    found: list[int] = []
    while len(found) < limit:
        row = connection.execute(
            "SELECT id FROM message WHERE id > ? AND id <= ? ORDER BY id LIMIT 1 OFFSET ?", (after, last, WINDOW - 1)
        ).fetchone()
        end = row[0] if row else last
        query = f"SELECT m.id FROM message AS m WHERE m.id > ? AND m.id <= ?{terms} ORDER BY m.id LIMIT ?"
        found += [row[0] for row in connection.execute(query, (after, end, *values, limit - len(found)))]
        if row is None:
            break
        after = end
    return found


def find(connection: sqlite3.Connection, where: QueueFilter, limit: int, after: int) -> tuple[MessageSummary, ...]:
    """See `face.Store.find`; damaged messages are left out, they are quarantined when their turn comes."""
    found: list[MessageSummary] = []
    while len(found) < limit:
        wanted = limit - len(found)
        idents = find_idents(connection, where, wanted, after)
        for ident in idents:
            row = connection.execute(f"SELECT id, {MESSAGE_COLUMNS} FROM message WHERE id = ?", (ident,)).fetchone()
            if row is None:
                continue
            try:
                summary = load_summary(connection, row)
            except Undecodable:
                continue
            if summary_fits(where, summary):
                found.append(summary)
        if len(idents) < wanted:
            break
        after = idents[-1]
    return tuple(found)
