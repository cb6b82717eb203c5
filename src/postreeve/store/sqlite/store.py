"""The embedded store: one queue file, its writer, its readers, its owner."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from postreeve.mail.ident import IdentSource, to_text
from postreeve.queue.model import (
    Change,
    Claim,
    Lease,
    MessageStory,
    MessageSummary,
    NewMessage,
    QueueFilter,
    QueueStats,
    Settlement,
    Upcoming,
)
from postreeve.store.face import LeaseTerms, Quarantined, Spool, StoreError, StoreUnavailable
from postreeve.store.sqlite import changing, finding, reading, salvage
from postreeve.store.sqlite.arrival import make_arrival
from postreeve.store.sqlite.claiming import lease_due, renew_leases
from postreeve.store.sqlite.content import read_content
from postreeve.store.sqlite.failure import Damaged, is_damage
from postreeve.store.sqlite.ownership import Ownership
from postreeve.store.sqlite.reader import Reader
from postreeve.store.sqlite.reserve import RESERVE_OCTETS, Reserve
from postreeve.store.sqlite.rows import Undecodable
from postreeve.store.sqlite.schema import connect, prepare, read_meta, write_meta
from postreeve.store.sqlite.settling import make_ending
from postreeve.store.sqlite.spool import SqliteSpool
from postreeve.store.sqlite.upkeep import Upkeep
from postreeve.store.sqlite.writer import Writer
from postreeve.store.transition import check_results
from postreeve.telemetry.event import RecordQuarantined, StoreTrouble

EPOCH_BITS: Final = 40
"""Lease numbers are epoch << 40 | counter, and each owner has a new epoch: a dead owner's are all smaller."""

Tell = Callable[[RecordQuarantined | StoreTrouble], None]


class SqliteStore:
    """See `face.Store`. `node` is the number of the queue file, and of the identifiers made here.

    `tell` is called in the event loop when something is set aside, or the store runs into trouble or out of it.
    """

    def __init__(
        self,
        directory: Path,
        node: int = 0,
        keep_history: bool = True,
        reserve_octets: int = RESERVE_OCTETS,
        tell: Tell | None = None,
        is_synchronous: bool = True,
    ) -> None:
        """Without `is_synchronous` nothing waits for stable storage and the promises are void: for throw-away data."""
        self.path = directory / f"queue-{node}.db"
        self._node = node
        self._keep_history = keep_history
        self._is_synchronous = is_synchronous
        self._reserve = Reserve(self.path.with_suffix(".reserve"), reserve_octets)
        self._suspect = self.path.with_suffix(".suspect")
        self._ownership = Ownership(self.path.with_suffix(".lock"))
        self._tell: Tell = tell or (lambda event: None)
        self._is_owner = False
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._checkpointer: Reader | None = None
        self._watchers: list[Callable[[], None]] = []
        self._idents = IdentSource(node)
        self._last_ident = 0
        self._last_number = 0
        self._live_spools: set[int] = set()
        self._damage: tuple[Path, float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, owner: bool = True) -> None:
        """See `face.Store`. An owner holds the file against other owners; a visitor (a tool) reads and changes.

        Raises StoreError when another process owns the file, or a newer postreeve wrote it.
        """
        if self._writer is not None:
            raise StoreError("the store is open")
        self._is_owner = owner
        if owner:
            self._ownership.take()
        writer = Writer(
            self._connect,
            self._reserve if owner else None,
            self._keep_history,
            f"store-{self._node}",
            self._report,
        )
        try:
            await writer.start()
        except BaseException:
            self._ownership.give_up()
            raise
        self._writer = writer
        self._reader = Reader(lambda: connect(self.path, is_reader=True), f"store-{self._node}-reader")
        self._checkpointer = Reader(lambda: connect(self.path, is_owner=True), f"store-{self._node}-checkpoint")
        if owner:
            upkeep = Upkeep(writer, self._checkpointer, self._last_number, self._watchers)
            self._tasks.add(asyncio.create_task(upkeep.run()))
        if self._damage is not None:
            self._tasks.add(asyncio.create_task(self._carry_over(writer, *self._damage)))

    def _report(self, state: str, problem: str) -> None:
        if state == "damaged":
            if self._suspect.exists():
                return
            self._suspect.touch()
        self._tell(StoreTrouble(state, problem))

    def _connect(self) -> sqlite3.Connection:
        """In the writer's thread: the file, its tables, and what this owner must know before it begins."""
        if self._is_owner and self._suspect.exists():
            connection = self._begin_anew("found while the server ran")
        elif self._is_owner and self._is_emptied():
            connection = self._begin_anew("it is empty")
        else:
            try:
                connection = self._open_file()
            except sqlite3.Error as error:
                if not self._is_owner or not is_damage(error):
                    raise StoreError(f"{self.path} cannot be opened: {error}") from error
                connection = self._begin_anew(str(error))
        if self._is_owner:
            self._reserve.open()
        return connection

    def _is_emptied(self) -> bool:
        """True for a file without an octet that is not new: the reserve beside it is made after the first opening."""
        return self._reserve.exists and self.path.exists() and self.path.stat().st_size == 0

    def _begin_anew(self, problem: str) -> sqlite3.Connection:
        """Set the file aside and begin another; `_carry_over` brings what can be read."""
        self._damage = (salvage.set_aside(self.path), time.time())
        connection = self._open_file()
        salvage.note_damage(connection, self._damage[0], problem, self._damage[1])
        self._suspect.unlink(missing_ok=True)
        return connection

    def _open_file(self) -> sqlite3.Connection:
        connection = connect(self.path, is_owner=self._is_owner)
        try:
            if not self._is_synchronous:
                connection.execute("PRAGMA synchronous = OFF")
            prepare(connection, self.path)
            if self._is_owner:
                epoch = read_meta(connection, "epoch") + 1
                write_meta(connection, "epoch", epoch)
                self._last_number = epoch << EPOCH_BITS
                self._last_ident = greatest_ident(connection)
                self._idents = IdentSource(self._node, self._last_ident)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _carry_over(self, writer: Writer, aside: Path, at: float) -> None:
        """Bring what can be read of a damaged file into the new one."""
        rescuer = Reader(lambda: salvage.connect(aside), f"store-{self._node}-salvage")
        after: int | None = 0
        count = 0
        try:
            while after is not None:
                rescued = await rescuer.run(salvage.read_slice, after)
                await writer.run(salvage.write_slice, rescued)
                count += rescued.messages
                after = rescued.after
        except StoreError as error:
            self._tell(StoreTrouble("unavailable", f"{aside.name}: {error}"))
        finally:
            await rescuer.close()
        await writer.run(salvage.note_rescue, at, count)
        self._damage = None
        for callback in self._watchers:
            callback()
        self._tell(RecordQuarantined("", f"{aside.name}: damaged queue file, {count} messages carried over"))

    async def close(self) -> None:
        """See `face.Store`."""
        writer, readers = self._writer, (self._reader, self._checkpointer)
        if writer is None:
            return
        self._writer = self._reader = self._checkpointer = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._is_owner:
            with suppress(StoreError):
                await writer.run(write_meta, "last_ident", self._last_ident)
        await writer.close()
        for reader in readers:
            if reader is not None:
                await reader.close()
        self._ownership.give_up()

    def new_ident(self, now: float) -> int:
        """See `face.Store`."""
        self._last_ident = self._idents.next(now, time.monotonic_ns())
        return self._last_ident

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
            if spool.ident != message.ident:
                raise ValueError("the spool was begun for another message")
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
        while True:
            idents = await writer.run(lease_due, destination, priority, now, limit, number, until)
            if not idents:
                return ()
            loaded = await self._reading().run(reading.load_claims, idents, number, terms)
            for ident, problem in loaded.damaged:
                await self._set_aside(ident, problem)
            if loaded.claims:
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
        try:
            await self._writing().end(make_ending(settlement, spawned, self._keep_history))
        except Damaged as error:
            # Its lease would run out, and it would be delivered again and again.
            await self._set_aside(settlement.lease.ident, str(error))
            raise

    async def upcoming(self) -> tuple[Upcoming, ...]:
        """See `face.Store`."""
        return await self._reading().run(reading.load_upcoming)

    def content(self, ident: int) -> AsyncIterator[bytes]:
        """See `face.Store`."""
        return read_content(self._reading, ident, self._set_aside)

    async def find(self, where: QueueFilter, limit: int, after: int = 0) -> tuple[MessageSummary, ...]:
        """See `face.Store`."""
        return await self._reading().run(finding.find, where, limit, after)

    async def story(self, ident: int) -> MessageStory | None:
        """See `face.Store`."""
        try:
            return await self._reading().run(reading.load_story, ident)
        except Undecodable as error:
            await self._set_aside(ident, str(error))
            return None

    async def change(self, where: QueueFilter, change: Change, now: float) -> int:
        """See `face.Store`."""
        total, after, limit = 0, 0, changing.CHANGE_MESSAGES
        while found := await self.find(where, limit, after):
            idents = [summary.ident for summary in found]
            total += await self._writing().run(changing.change_messages, idents, where, change, now, self._keep_history)
            after = idents[-1]
        return total

    async def stats(self, now: float) -> QueueStats:
        """See `face.Store`."""
        return await self._reading().run(reading.load_stats, now)

    async def sweep(self, now: float, keep_history_seconds: float) -> int:
        """See `face.Store`."""
        cutoff, live = now - keep_history_seconds, frozenset(self._live_spools)
        return await self._writing().run(changing.sweep_slice, cutoff, live, self._last_ident)

    async def quarantined(self) -> tuple[Quarantined, ...]:
        """See `face.Store`."""
        return await self._reading().run(changing.load_quarantined)

    def watch(self, callback: Callable[[], None]) -> None:
        """See `face.Store`; noticed within a second, by the owner."""
        self._watchers.append(callback)

    async def _set_aside(self, ident: int, problem: str) -> None:
        if not self._is_owner:
            return
        try:
            await self._writing().run(changing.quarantine, ident, problem, time.time())
        except Damaged:
            await self._writing().run(changing.stop, ident, problem, time.time())
        self._tell(RecordQuarantined(to_text(ident), problem))

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


def greatest_ident(connection: sqlite3.Connection) -> int:
    """No identifier up to this one may be made again."""
    tables = ("SELECT max(id) FROM message", "SELECT max(id) FROM history", "SELECT max(message_id) FROM spool")
    found = [connection.execute(query).fetchone()[0] or 0 for query in tables]
    return max(*found, read_meta(connection, "last_ident"))
