"""Group commit: whatever has queued up while the previous commit was under way goes into one transaction with one sync.

Two threads take turns with one connection. The usual batch, messages that come and messages that are done, is *staged*
by the event loop itself (BEGIN and a few statements that touch pages in memory) and committed by the writer's thread:
only the sync takes time, and the threads hand the interpreter over twice instead of at every statement. All else, and
everything when the file is slow or in trouble, is left to the thread whole.

An operation that fails (LeaseLost) fails alone. A failed commit fails all in the batch and latches: after a failed sync
nobody knows what is on the disk.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from postreeve.store.face import StoreError, StoreFull, StoreUnavailable
from postreeve.store.sqlite.arrival import CHUNK_OCTETS, Arrival
from postreeve.store.sqlite.batch import Job, execute, fail_all, refuse, run_outside
from postreeve.store.sqlite.failure import Damaged, is_busy, is_damage, is_full
from postreeve.store.sqlite.reserve import Reserve
from postreeve.store.sqlite.schema import checkpoint, wait_for_nobody, wait_for_others
from postreeve.store.sqlite.settling import Ending

P = ParamSpec("P")
T = TypeVar("T")
MAX_BATCH: Final = 256
ROOM: Final = 2048
"""Jobs that may wait for the writer before callers wait for room."""
BATCH_OCTETS: Final = 32 * 1024
"""What a batch adds to the log beside its content: the pages of its indexes, each once."""
MAX_TURNS: Final = 8
"""Turns of the event loop that a batch waits for more at the most."""
SLOW_STAGING_SECONDS: Final = 0.02
"""A batch that took longer to stage met a cold file: the event loop must not wait for the disk."""
COOLING_SECONDS: Final = 1.0
"""How long the thread then does everything."""
LONGEST_LOG_OCTETS: Final = 48 << 20
"""Where a writer without a reserve stops to checkpoint although commits wait; see `Reserve.log_octets`."""


class Full(Exception):
    """The transaction found no room."""


class Writer:
    """The writing connection and its thread. Methods are for the event loop that started it."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        reserve: Reserve | None,
        keep_history: bool,
        name: str,
        tell: Callable[[str, str], None],
    ) -> None:
        """`tell(state, problem)` is called in the event loop when writing begins to fail, and when it works again."""
        self._report = tell
        self._connect = connect
        self._reserve = reserve
        self._keep_history = keep_history
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[tuple[list[Job], bool] | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        """The loop's while `_is_free`, the thread's otherwise."""
        self._is_free = True
        self._is_gathering = False
        self._seen = self._turns = 0
        self._stages_from = 0.0
        self._gathered: list[Job] = []
        self._waiting = 0
        self.appended_octets = 0
        """About how much has been appended to the log so far, for whoever decides when to copy it."""
        self._copied_octets = 0
        self._room = asyncio.Event()
        self._room.set()
        self._freed = asyncio.Event()
        self._trouble: StoreUnavailable | None = None
        self._is_closing = False
        self._worker = threading.Thread(target=self._run, name=name, daemon=True)
        self._started: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Open the connection; raises what opening raised."""
        self._worker.start()
        await asyncio.shield(self._started)

    async def close(self) -> None:
        """Finish what was begun and end the thread."""
        self._is_closing = True
        self._flush()
        while not self._is_free or self._gathered:
            self._freed.clear()
            await self._freed.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._worker.join)

    @property
    def trouble(self) -> StoreUnavailable | None:
        """Why nothing more is written, once a commit has failed."""
        return self._trouble

    async def arrive(self, arrival: Arrival) -> None:
        """Make the message durable."""
        await self._submit(Job(self._loop.create_future(), arrival=arrival, takes_room=True, octets=arrival.octets))

    async def end(self, ending: Ending) -> None:
        """Settle."""
        await self._submit(Job(self._loop.create_future(), ending=ending))

    async def run(self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call(connection, …)` within the next transaction; when it raises, what it did is undone."""
        job = Job(self._loop.create_future(), call=lambda connection: call(connection, *args, **kwargs))
        result: T = await self._submit(job)
        return result

    async def run_growing(
        self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for what takes room for a new message: refused first when the disk is full."""
        job = Job(self._loop.create_future(), call=lambda connection: call(connection, *args, **kwargs))
        job.takes_room = True
        job.octets = CHUNK_OCTETS
        result: T = await self._submit(job)
        return result

    async def run_outside(
        self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same between two transactions, for what cannot be part of one."""
        job = Job(self._loop.create_future(), call=lambda connection: call(connection, *args, **kwargs), outside=True)
        result: T = await self._submit(job)
        return result

    async def checkpoint(self) -> None:
        """Copy the rest of the log into the file, so that the log starts over."""
        await self.run_outside(self._checkpoint)

    async def _submit(self, job: Job) -> Any:
        while self._waiting >= ROOM and not self._is_closing:
            self._room.clear()
            await self._room.wait()
        return await self._enqueue(job)

    def _enqueue(self, job: Job) -> asyncio.Future[Any]:
        if self._is_closing:
            raise StoreUnavailable("the store is closed")
        if self._trouble is not None:
            raise StoreUnavailable(str(self._trouble))
        self._waiting += 1
        self._gathered.append(job)
        if self._is_free and not self._is_gathering:
            self._begin_gathering()
        return job.future

    def _gather(self) -> None:
        """Begin the next batch once a turn of the loop has brought no more jobs, or enough turns have passed."""
        self._turns += 1
        if len(self._gathered) > self._seen and self._turns < MAX_TURNS:
            self._seen = len(self._gathered)
            self._loop.call_soon(self._gather)
        else:
            self._is_gathering = False
            self._flush()

    def _flush(self) -> None:
        """Begin the next batch, unless one is under way: its end comes back here."""
        connection, gathered = self._connection, self._gathered
        if not self._is_free or not gathered or connection is None:
            return
        self._is_free = False
        batch, self._gathered = gathered[:MAX_BATCH], gathered[MAX_BATCH:]
        self._batches.put((batch, self._stage(connection, batch)))

    def _stage(self, connection: sqlite3.Connection, batch: list[Job]) -> bool:
        """Do the batch up to its commit; False, with nothing done, for what is better left to the thread."""
        if self._trouble is not None or (self._reserve is not None and self._reserve.is_spent):
            return False
        if any(job.call is not None for job in batch):
            return False
        started = time.monotonic()
        if started < self._stages_from:
            return False
        try:
            connection.execute("BEGIN IMMEDIATE")
            execute(connection, batch, self._keep_history)
        except BaseException:
            # Whatever it is, the thread will meet it again, and has the time and the means to deal with it.
            roll_back(connection)
            return False
        ended = time.monotonic()
        if ended - started > SLOW_STAGING_SECONDS:
            self._stages_from = ended + COOLING_SECONDS
        return True

    def _end(self, jobs: list[Job]) -> None:
        """A batch has been committed, or has failed."""
        self._free()
        self._resolve(jobs)

    def _begin_gathering(self) -> None:
        self._is_gathering = True
        self._seen = self._turns = 0
        self._loop.call_soon(self._gather)

    def _free(self) -> None:
        self._is_free = True
        if not self._gathered:
            self._freed.set()
        elif self._is_closing:
            self._flush()
        else:
            self._begin_gathering()

    def _resolve(self, jobs: list[Job]) -> None:
        self._waiting -= len(jobs)
        if self._waiting < ROOM:
            self._room.set()
        for job in jobs:
            if job.future.done():
                continue
            if job.error is not None:
                # Each waiting session gets an exception of its own: tracebacks grow along the way.
                error = job.error
                job.future.set_exception(type(error)(*error.args) if isinstance(error, StoreError) else error)
            else:
                job.future.set_result(job.result)

    def _start(self) -> None:
        if not self._started.done():
            self._started.set_result(None)
        self._flush()

    # From here on: the thread.

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop is gone: nobody waits any more

    def _run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # whatever it is, it belongs to whoever opens the store
            self._tell(self._fail_start, error)
            return
        wait_for_nobody(connection)  # the event loop must not; see `_stage`
        self._connection = connection
        self._tell(self._start)
        try:
            self._serve(connection)
        finally:
            connection.close()

    def _fail_start(self, error: BaseException) -> None:
        if not self._started.done():
            self._started.set_exception(error)

    def _serve(self, connection: sqlite3.Connection) -> None:
        longest_log = LONGEST_LOG_OCTETS if self._reserve is None else self._reserve.log_octets
        while (work := self._batches.get()) is not None:
            batch, is_staged = work
            try:
                self._finish(connection, batch, is_staged)
            except BaseException as error:  # our own mistake: nobody may wait for ever because of it
                roll_back(connection)
                fail_all(batch, error)
            if self.appended_octets - self._copied_octets > longest_log:
                self._tell(self._resolve, batch)
                self._checkpoint(connection)
                self._tell(self._free)
            else:
                self._tell(self._end, batch)

    def _finish(self, connection: sqlite3.Connection, batch: list[Job], is_staged: bool) -> None:
        if not is_staged:
            with wait_for_others(connection):
                self._write(connection, batch)
            return
        try:
            self._commit(connection, batch)
        except Full:
            with wait_for_others(connection):
                self._relieve(connection, batch)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        self._copied_octets = self.appended_octets
        try:
            checkpoint(connection)
        except sqlite3.Error:
            pass  # the log still has everything, and the next commit tells whether the file is well

    def _write(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        jobs = []
        for job in batch:
            if job.outside and job.call is not None:
                run_outside(connection, job, job.call)
            else:
                jobs.append(job)
        if self._reserve is not None and self._reserve.is_spent:
            if self._reserve.restore(lambda: free_octets(connection)):
                self._tell(self._report, "recovered", "there is room again")
            else:
                jobs = refuse(jobs, self._shortage())
        try:
            self._transact(connection, jobs)
        except Full:
            self._relieve(connection, jobs)

    def _relieve(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        """There was no room: give up the reserve, refuse what needs more, and do the rest."""
        shortage = self._shortage()
        if self._reserve is not None:
            self._reserve.spend()
            # With the log copied into the file, the log's own room serves what follows.
            self._checkpoint(connection)
            self._tell(self._report, "full", f"{shortage}: new messages are refused, queued mail still leaves")
        try:
            self._transact(connection, refuse(jobs, shortage))
        except Full:
            for job in jobs:
                job.error = job.error or StoreFull(shortage)

    def _shortage(self) -> str:
        try:
            return "no room on the disk" if self._reserve is None else self._reserve.describe()
        except OSError:
            return "no room on the disk"

    def _transact(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        """One transaction; raises Full, undone, when there is no room."""
        if not jobs:
            return
        try:
            if self._trouble is not None:
                raise self._trouble
            connection.execute("BEGIN IMMEDIATE")
            execute(connection, jobs, self._keep_history)
        except BaseException as error:
            self._fail(connection, jobs, error)
        else:
            self._commit(connection, jobs)

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        """The end of a transaction: here, and only here, is waited for the disk. Raises Full, undone."""
        try:
            connection.execute("COMMIT")
        except BaseException as error:
            self._fail(connection, jobs, error)
        else:
            self.appended_octets += BATCH_OCTETS + sum([job.octets for job in jobs])

    def _fail(self, connection: sqlite3.Connection, jobs: list[Job], error: BaseException) -> None:
        """Undo the transaction and judge why it failed; raises Full."""
        roll_back(connection)
        if isinstance(error, sqlite3.Error):
            if is_full(error):
                raise Full from error
            if is_damage(error):
                self._isolate(connection, jobs, error)
                return
            trouble = StoreUnavailable(f"the queue file cannot be written: {error}")
            # Somebody else's long transaction is no damage: the next batch may fare better.
            if not is_busy(error):
                self._trouble = trouble
                self._tell(self._report, "unavailable", str(trouble))
            error = trouble
        fail_all(jobs, error)

    def _isolate(self, connection: sqlite3.Connection, jobs: list[Job], error: sqlite3.Error) -> None:
        """A damaged page ends the transaction of whoever comes across it: each job gets one of its own."""
        if len(jobs) > 1:
            for job in jobs:
                self._transact(connection, [job])
            return
        jobs[0].error = Damaged(f"the queue file is damaged: {error}")
        self._tell(self._report, "damaged", "the queue file is damaged: it will be rebuilt at the next start")


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction, if one is open and the file still lets us."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the error that led here is the one to report


def free_octets(connection: sqlite3.Connection) -> int:
    """Room inside the file, left by messages that are gone."""
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * page)
