"""What is read from a queue file: messages for their claims, lists, stories, counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from postreeve.mail.envelope import Envelope
from postreeve.queue.model import (
    Attempt,
    Claim,
    Lease,
    MessageStory,
    MessageSummary,
    QueueStats,
    RecipientRecord,
    RecipientState,
    Result,
    Upcoming,
)
from postreeve.store.face import LeaseTerms
from postreeve.store.sqlite.failure import is_damage
from postreeve.store.sqlite.rows import (
    RECIPIENT_COLUMNS,
    STATES,
    Undecodable,
    decode_attempt,
    decode_envelope,
    decode_origin,
    decode_recipient,
    digest_of,
)
from postreeve.store.sqlite.statement import marks
from postreeve.store.transition import settled

MESSAGE_COLUMNS: Final = "accepted, sender, size, priority, expires, envelope, origin"

UPCOMING: Final = """
WITH RECURSIVE
  place(destination) AS (
    SELECT min(destination) FROM recipient INDEXED BY queued WHERE state = 0
    UNION ALL
    SELECT (SELECT min(destination) FROM recipient INDEXED BY queued
             WHERE state = 0 AND destination > place.destination)
      FROM place WHERE place.destination IS NOT NULL),
  line(destination, priority) AS (
    SELECT destination, (SELECT min(priority) FROM recipient INDEXED BY queued
             WHERE state = 0 AND destination = place.destination)
      FROM place WHERE destination IS NOT NULL
    UNION ALL
    SELECT destination, (SELECT min(priority) FROM recipient INDEXED BY queued
             WHERE state = 0 AND destination = line.destination AND priority > line.priority)
      FROM line WHERE line.priority IS NOT NULL)
SELECT destination, priority, (SELECT min(due) FROM recipient INDEXED BY queued
         WHERE state = 0 AND destination = line.destination AND priority = line.priority)
  FROM line WHERE priority IS NOT NULL ORDER BY destination, priority
"""


@dataclass(slots=True)
class Loaded:
    """Leased messages read for their claims, and those that turned out damaged."""

    claims: list[Claim] = field(default_factory=list)
    damaged: list[tuple[int, str]] = field(default_factory=list)


def load_claims(connection: sqlite3.Connection, idents: Sequence[int], number: int, terms: LeaseTerms) -> Loaded:
    """The messages just leased under `number`, with small content where `terms` want it."""
    try:
        return _load_together(connection, idents, number, terms)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    # One of them lies on a damaged page: find out which.
    loaded = Loaded()
    for ident in idents:
        try:
            one = _load_together(connection, [ident], number, terms)
        except sqlite3.DatabaseError as error:
            loaded.damaged.append((ident, f"the queue file is damaged: {error}"))
        else:
            loaded.claims += one.claims
            loaded.damaged += one.damaged
    return loaded


def _load_together(connection: sqlite3.Connection, idents: Sequence[int], number: int, terms: LeaseTerms) -> Loaded:
    where = f"IN ({marks(len(idents))})"
    data = "digest, chunks, data FROM message LEFT JOIN content USING (id)"
    source = data if terms.with_content else "NULL, 1, NULL FROM message"
    messages = {
        row[0]: row
        for row in connection.execute(
            f"SELECT id, {MESSAGE_COLUMNS}, {source} WHERE id {where}",
            idents,
        )
    }
    rows: dict[int, list[tuple[Any, ...]]] = {}
    for ident, *row in connection.execute(
        f"SELECT message_id, {RECIPIENT_COLUMNS} FROM recipient WHERE message_id {where} AND lease = ?"
        " ORDER BY message_id, n",
        (*idents, number),
    ):
        rows.setdefault(ident, []).append(tuple(row))
    loaded = Loaded()
    for ident in idents:
        try:
            if ident in rows:
                loaded.claims.append(_claim(ident, messages.get(ident), rows[ident], number, terms.until))
        except Undecodable as error:
            loaded.damaged.append((ident, str(error)))
    return loaded


def _claim(
    ident: int, message: Sequence[Any] | None, rows: Sequence[Sequence[Any]], number: int, until: float
) -> Claim:
    if message is None:
        raise Undecodable("its recipients have no message")
    _, accepted, _, size, priority, expires, envelope_text, origin, digest, chunks, data = message
    envelope = decode_envelope(envelope_text)
    if not chunks:
        if not isinstance(data, bytes):
            raise Undecodable("its content is missing")
        if digest_of(data) != digest:
            raise Undecodable("its content is not what was accepted: the digest differs")
    records = tuple(decode_recipient(row, envelope) for row in rows)
    indexes = tuple(record.index for record in records)
    lease = Lease(ident, indexes, number, until, whole=len(indexes) == len(envelope.recipients))
    return Claim(lease, accepted, envelope, decode_origin(origin), size, priority, expires, records, data)


def load_upcoming(connection: sqlite3.Connection) -> tuple[Upcoming, ...]:
    """One row per destination and priority, found by skipping through the index."""
    return tuple(Upcoming(*row) for row in connection.execute(UPCOMING))


def load_summary(
    connection: sqlite3.Connection, row: Sequence[Any], envelope: Envelope | None = None
) -> MessageSummary:
    """The summary of a message whose `id, MESSAGE_COLUMNS` are `row`; raises Undecodable."""
    ident, accepted, sender, size, priority, _, envelope_text, origin = row
    envelope = envelope or decode_envelope(envelope_text)
    rows = connection.execute(
        f"SELECT {RECIPIENT_COLUMNS} FROM recipient WHERE message_id = ? ORDER BY n", (ident,)
    ).fetchall()
    records = tuple(decode_recipient(recipient, envelope) for recipient in rows)
    return MessageSummary(ident, accepted, sender, size, decode_origin(origin), priority, records)


def load_story(connection: sqlite3.Connection, ident: int) -> MessageStory | None:
    """All that is known of a message in the queue or in the history; raises Undecodable."""
    row = connection.execute(f"SELECT id, {MESSAGE_COLUMNS} FROM message WHERE id = ?", (ident,)).fetchone()
    if row is None:
        return _load_history(connection, ident)
    envelope = decode_envelope(row[6])
    attempts = [
        decode_attempt(json.loads(data))
        for (data,) in connection.execute("SELECT data FROM attempt WHERE message_id = ? ORDER BY seq", (ident,))
    ]
    return MessageStory(load_summary(connection, row, envelope), envelope, tuple(attempts), row[5])


def _load_history(connection: sqlite3.Connection, ident: int) -> MessageStory | None:
    row = connection.execute(
        f"SELECT id, {MESSAGE_COLUMNS}, finished, recipients, attempts, last FROM history WHERE id = ?", (ident,)
    ).fetchone()
    if row is None:
        return None
    _, accepted, sender, size, priority, expires, envelope_text, origin, finished, recipients, attempts, last = row
    envelope = decode_envelope(envelope_text)
    records = [decode_recipient(item, envelope) for item in json.loads(recipients)]
    told = [decode_attempt(json.loads(item)) for item in json.loads(attempts)]
    if last is not None:
        records, told = _add_last(records, told, json.loads(last), finished)
    records.sort(key=lambda record: record.index)
    summary = MessageSummary(ident, accepted, sender, size, decode_origin(origin), priority, tuple(records))
    return MessageStory(summary, envelope, tuple(told), expires, finished)


def _add_last(
    records: list[RecipientRecord], told: list[Attempt], last: Sequence[Any], at: float
) -> tuple[list[RecipientRecord], list[Attempt]]:
    """The rows of a whole settlement were copied as they stood before it: apply its results to them."""
    results, attempts = last
    by_index = {row[0]: Result(row[0], RecipientState(row[1]), *row[2:]) for row in results}
    return (
        [settled(replace(record), by_index.get(record.index), at) for record in records],
        told + [decode_attempt(row) for row in attempts],
    )


def load_stats(connection: sqlite3.Connection, now: float) -> QueueStats:
    """Counts, by walking the tables without content."""
    messages, octets, oldest = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), min(accepted) FROM message"
    ).fetchone()
    states = connection.execute("SELECT state, count(*) FROM recipient GROUP BY state").fetchall()
    (due,) = connection.execute(
        "SELECT count(*) FROM recipient WHERE state = 0 AND lease = 0 AND due <= ?", (now,)
    ).fetchone()
    destinations = connection.execute(
        "SELECT destination, count(*) AS total FROM recipient INDEXED BY queued WHERE state = 0"
        " GROUP BY destination ORDER BY total DESC, destination LIMIT 50"
    ).fetchall()
    (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    return QueueStats(
        messages,
        {STATES[code].value: total for code, total in states},
        octets,
        oldest,
        due,
        dict(destinations),
        quarantined,
    )


def load_content_head(connection: sqlite3.Connection, ident: int) -> tuple[bytes, int, bytes | None] | None:
    """Digest, number of chunks and, when it has none, the content; None when there is no such message."""
    row = connection.execute(
        "SELECT digest, chunks, data FROM message LEFT JOIN content USING (id) WHERE id = ?", (ident,)
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def load_chunk(connection: sqlite3.Connection, ident: int, seq: int) -> bytes | None:
    """One piece of large content, None when it is missing."""
    row = connection.execute("SELECT data FROM chunk WHERE message_id = ? AND seq = ?", (ident, seq)).fetchone()
    return None if row is None else row[0]
