"""Acceptance: a message becomes rows in the event loop, and the rows of many messages become one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from postreeve.queue.model import Claim, Lease, NewMessage, RecipientRecord
from postreeve.store.sqlite.rows import Row, digest_of, message_row, new_recipient_row
from postreeve.store.sqlite.statement import insert_rows
from postreeve.store.transition import by_destination, is_due_at_birth

INLINE_OCTETS: Final = 64 * 1024
"""Content up to here is one value, read together with its message; above, it is kept in chunks."""
CHUNK_OCTETS: Final = 256 * 1024


@dataclass(slots=True)
class Spooled:
    """What a spool has to say of its content: how many chunks are written, what remains, and the digest of all."""

    chunks: int
    rest: bytes
    digest: bytes


@dataclass(slots=True)
class Arrival:
    """A message as rows, and the claims its acceptor gets once they are on stable storage."""

    message: Row
    recipients: list[Row] = field(default_factory=list)
    content: Row | None = None
    chunks: list[Row] = field(default_factory=list)
    is_spooled: bool = False
    octets: int = 0
    """About how much it adds to the file."""
    claims: tuple[Claim, ...] = ()

    @property
    def ident(self) -> int:
        """The message's identifier."""
        return int(self.message[0])


def make_arrival(message: NewMessage, spooled: Spooled | None, lease_number: int, leased_until: float) -> Arrival:
    """`message` as rows; its recipients that are due are born leased when `lease_number` is not 0."""
    content = message.content
    ident = message.ident
    if (content is None) == (spooled is None):
        raise ValueError("give either the content or a spool")
    if spooled is not None and not spooled.chunks:
        content, spooled = spooled.rest, None
    if spooled is not None:
        arrival = Arrival(message_row(message, spooled.digest, spooled.chunks + 1), is_spooled=True)
        arrival.chunks.append((ident, spooled.chunks, spooled.rest))
    elif content is None:  # pragma: no cover - excluded above, said for the type checker
        raise ValueError("no content")
    elif len(content) <= INLINE_OCTETS:
        arrival = Arrival(message_row(message, digest_of(content), 0), content=(ident, content))
    else:
        starts = range(0, len(content), CHUNK_OCTETS)
        arrival = Arrival(message_row(message, digest_of(content), len(starts)))
        arrival.chunks.extend((ident, n, content[start : start + CHUNK_OCTETS]) for n, start in enumerate(starts))
    _add_recipients(arrival, message, lease_number, leased_until)
    arrival.octets = len(content or b"") + 512 * (1 + len(arrival.recipients))
    return arrival


def _add_recipients(arrival: Arrival, message: NewMessage, lease_number: int, leased_until: float) -> None:
    leased = []
    ident, priority = message.ident, message.priority
    for index, new in enumerate(message.recipients):
        number, due = 0, new.due
        if lease_number and is_due_at_birth(message, new):
            number, due = lease_number, leased_until
            record = RecipientRecord(index, new.recipient, new.destination, new.state, due, leased_until=due)
            leased.append(record)
        arrival.recipients.append(new_recipient_row(new, ident, index, priority, due, number))
    if leased:
        arrival.claims = _claims(message, leased, lease_number, leased_until)


def _claims(message: NewMessage, leased: list[RecipientRecord], number: int, until: float) -> tuple[Claim, ...]:
    claims = []
    for group in by_destination(leased).values():
        indexes = tuple(record.index for record in group)
        lease = Lease(message.ident, indexes, number, until, whole=len(indexes) == len(message.recipients))
        claims.append(
            Claim(
                lease,
                message.accepted_at,
                message.envelope,
                message.origin,
                message.size_octets,
                message.priority,
                message.expires_at,
                tuple(group),
                message.content,
            )
        )
    return tuple(claims)


def write_arrivals(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> None:
    """Insert them all; raises sqlite3.IntegrityError, possibly half-way, when an identifier is taken."""
    insert_rows(connection, "message", [arrival.message for arrival in arrivals])
    insert_rows(connection, "content", [arrival.content for arrival in arrivals if arrival.content is not None])
    insert_rows(connection, "recipient", [row for arrival in arrivals for row in arrival.recipients])
    for arrival in arrivals:
        if arrival.chunks:
            insert_rows(connection, "chunk", arrival.chunks)
        if arrival.is_spooled:
            connection.execute("DELETE FROM spool WHERE message_id = ?", (arrival.ident,))


def write_chunk(connection: sqlite3.Connection, ident: int, seq: int, data: bytes) -> None:
    """One chunk of content that does not count yet."""
    if seq == 0:
        connection.execute("INSERT INTO spool VALUES (?)", (ident,))
    connection.execute("INSERT INTO chunk VALUES (?, ?, ?)", (ident, seq, data))


def remove_spool(connection: sqlite3.Connection, ident: int) -> None:
    """Remove what an abandoned spool has written."""
    connection.execute("DELETE FROM chunk WHERE message_id = ?", (ident,))
    connection.execute("DELETE FROM spool WHERE message_id = ?", (ident,))
