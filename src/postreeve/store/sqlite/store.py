"""The embedded store: one queue file, its writer, its reader, its owner."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Final

from postreeve.mail.ident import IdentSource
from postreeve.queue.model import Claim, Lease, MessageStory, NewMessage, Settlement, Upcoming
from postreeve.store.face import LeaseTerms, Spool, StoreError, StoreUnavailable
from postreeve.store.sqlite import reading
from postreeve.store.sqlite.arrival import make_arrival
from postreeve.store.sqlite.claiming import lease_due, release_dead, renew_leases
from postreeve.store.sqlite.ownership import Ownership
from postreeve.store.sqlite.reader import Reader
from postreeve.store.sqlite.reserve import RESERVE_OCTETS, Reserve
from postreeve.store.sqlite.schema import connect, prepare, read_meta, write_meta
from postreeve.store.sqlite.settling import make_ending
from postreeve.store.sqlite.spool import SqliteSpool
from postreeve.store.sqlite.writer import Writer
from postreeve.store.transition import check_results

EPOCH_BITS: Final = 40
"""Lease numbers are epoch << 40 | counter, and each owner has a new epoch: a dead owner's are all smaller."""


class SqliteStore:
    """See `face.Store`. `node` is the number of the queue file, and of the identifiers made here."""

    def __init__(
        self, directory: Path, node: int = 0, keep_history: bool = True, reserve_octets: int = RESERVE_OCTETS
    ) -> None:
        self.path = directory / f"queue-{node}.db"
        self._node = node
        self._keep_history = keep_history
        self._reserve = Reserve(self.path.with_suffix(".reserve"), reserve_octets)
        self._ownership = Ownership(self.path.with_suffix(".lock"))
        self._is_owner = False
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._idents = IdentSource(node)
        self._first_number = 0
        self._last_number = 0
        self._live_spools: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, owner: bool = True) -> None:
        """See `face.Store`. An owner holds the file against other owners; a visitor (a tool) reads and changes."""
        if self._writer is not None:
            raise StoreError("the store is open")
        self._is_owner = owner
        if owner:
            self._ownership.take()
        writer = Writer(self._connect, self._reserve if owner else None, self._keep_history, f"store-{self._node}")
        try:
            await writer.start()
        except BaseException:
            self._ownership.give_up()
            raise
        self._writer = writer
        self._reader = Reader(lambda: connect(self.path, is_reader=True), f"store-{self._node}-reader")
        if owner:
            self._begin(self._release_dead())

    def _connect(self) -> sqlite3.Connection:
        """In the writer's thread: the file, its tables, and what this owner must know before it begins."""
        try:
            connection = connect(self.path, is_owner=self._is_owner)
            prepare(connection, self.path)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from error
        if self._is_owner:
            epoch = read_meta(connection, "epoch") + 1
            write_meta(connection, "epoch", epoch)
            self._first_number = self._last_number = epoch << EPOCH_BITS
            self._idents = IdentSource(self._node, _greatest_ident(connection))
            self._reserve.open()
        return connection

    async def close(self) -> None:
        """See `face.Store`."""
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        for task in self._tasks:
            task.cancel()
        if writer is not None:
            await writer.close()
        if reader is not None:
            await reader.close()
        self._ownership.give_up()

    def new_ident(self, now: float) -> int:
        """See `face.Store`."""
        return self._idents.next(now, time.monotonic_ns())

    async def spool(self, ident: int) -> Spool:
        """See `face.Store`."""
        return SqliteSpool(self._writing(), ident, self._live_spools)

    async def accept(
        self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
    ) -> tuple[Claim, ...]:
        """See `face.Store`."""
        writer = self._writing()
        spooled = None
        if spool is not None:
            if not isinstance(spool, SqliteSpool):
                raise TypeError("this spool belongs to another store")
            spooled = spool.finish()
        number = 0 if lease is None else self._number()
        arrival = make_arrival(message, spooled, number, 0.0 if lease is None else lease.until)
        await writer.arrive(arrival)
        if isinstance(spool, SqliteSpool):
            spool.accepted()
        return arrival.claims

    async def claim(
        self, destination: str, priority: int, now: float, limit: int, terms: LeaseTerms
    ) -> tuple[Claim, ...]:
        """See `face.Store`."""
        writer, number, until = self._writing(), self._number(), terms.until
        idents = await writer.run(lease_due, destination, priority, now, limit, number, until)
        if not idents:
            return ()
        loaded = await self._reading().run(reading.load_claims, idents, number, until)
        return tuple(loaded.claims)

    async def renew(self, leases: Sequence[Lease], terms: LeaseTerms) -> tuple[Lease, ...]:
        """See `face.Store`."""
        if not leases:
            return ()
        return await self._writing().run(renew_leases, leases, terms.until)

    async def settle(self, settlement: Settlement) -> None:
        """See `face.Store`."""
        check_results(settlement)
        spawned = tuple(make_arrival(message, None, 0, 0.0) for message in settlement.spawned)
        await self._writing().end(make_ending(settlement, spawned))

    async def upcoming(self) -> tuple[Upcoming, ...]:
        """See `face.Store`."""
        return await self._reading().run(reading.load_upcoming)

    async def content(self, ident: int) -> AsyncIterator[bytes]:
        """See `face.Store`."""
        reader = self._reading()
        head = await reader.run(reading.load_content_head, ident)
        if head is None:
            raise StoreError(f"message {ident} is not in the queue")
        digest, chunks, data = head
        check = hashlib.sha256()
        for seq in range(max(1, chunks)):
            if chunks:
                data = await reader.run(reading.load_chunk, ident, seq)
            if data is not None:
                check.update(data)
            if data is None or (seq + 1 >= chunks and check.digest() != digest):
                raise StoreError(f"the content of message {ident} is damaged")
            if data:
                yield data

    async def story(self, ident: int) -> MessageStory | None:
        """See `face.Store`."""
        return await self._reading().run(reading.load_story, ident)

    def _number(self) -> int:
        if not self._is_owner:
            raise StoreError("only the owner of the queue claims")
        self._last_number += 1
        return self._last_number

    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        return self._writer

    def _reading(self) -> Reader:
        if self._reader is None:
            raise StoreUnavailable("the store is closed")
        return self._reader

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release_dead(self) -> None:
        after: int | None = 0
        now = time.time()
        while after is not None:
            after = await self._writing().run(release_dead, after, self._first_number, now)


def _greatest_ident(connection: sqlite3.Connection) -> int:
    tables = ("SELECT max(id) FROM message", "SELECT max(id) FROM history", "SELECT max(message_id) FROM spool")
    found = [connection.execute(query).fetchone()[0] or 0 for query in tables]
    return max(*found, read_meta(connection, "last_ident"))
