"""Group commit: one thread writes, everything that has queued up goes into one transaction with one sync.

The event loop prepares rows and gathers jobs during one turn; the writer takes whatever has gathered while it was busy
with the previous commit, executes it, commits once, and wakes the loop once. An operation that fails (LeaseLost) fails
alone. A failed commit fails all in the batch and latches: after a failed sync nobody knows what is on the disk.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from postreeve.store.face import StoreError, StoreFull, StoreUnavailable
from postreeve.store.sqlite.arrival import CHUNK_OCTETS, Arrival
from postreeve.store.sqlite.batch import Job, execute, run_outside
from postreeve.store.sqlite.failure import Damaged, is_busy, is_damage, is_full
from postreeve.store.sqlite.reserve import Reserve
from postreeve.store.sqlite.schema import checkpoint
from postreeve.store.sqlite.settling import Ending

P = ParamSpec("P")
T = TypeVar("T")
MAX_BATCH: Final = 256
ROOM: Final = 2048
"""Jobs that may wait for the writer before callers wait for room."""
BATCH_OCTETS: Final = 32 * 1024
"""What a batch adds to the log beside its content: the pages of its indexes, each once."""
LONGEST_LOG_OCTETS: Final = 48 << 20
"""Where a writer without a reserve stops to checkpoint although commits wait; see `Reserve.log_octets`."""


class Full(Exception):
    """The transaction found no room."""


class Writer:
    """The thread that owns the writing connection. Methods are for the event loop that started it."""

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
        self._jobs: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._gathered: list[Job] = []
        self._waiting = 0
        self.appended_octets = 0
        """About how much has been appended to the log so far, for whoever decides when to copy it."""
        self._copied_octets = 0
        self._room = asyncio.Event()
        self._room.set()
        self._trouble: StoreUnavailable | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Open the connection; raises what opening raised."""
        self._thread.start()
        await asyncio.shield(self._started)

    async def close(self) -> None:
        """Finish what was begun and end the thread."""
        self._is_closing = True
        self._flush()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

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
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(job)
        return job.future

    def _flush(self) -> None:
        if self._gathered:
            self._jobs.put(self._gathered)
            self._gathered = []

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
        self._tell(self._started.set_result, None)
        try:
            self._serve(connection)
        finally:
            connection.close()

    def _fail_start(self, error: BaseException) -> None:
        if not self._started.done():
            self._started.set_exception(error)

    def _serve(self, connection: sqlite3.Connection) -> None:
        is_ending = False
        longest_log = LONGEST_LOG_OCTETS if self._reserve is None else self._reserve.log_octets
        while not is_ending:
            gathered = self._jobs.get()
            jobs: list[Job] = []
            while gathered is not None:
                jobs += gathered
                if len(jobs) >= MAX_BATCH:
                    break
                try:
                    gathered = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_ending = gathered is None
            for start in range(0, len(jobs), MAX_BATCH):
                batch = jobs[start : start + MAX_BATCH]
                try:
                    self._write(connection, batch)
                except BaseException as error:  # our own mistake: nobody may wait for ever because of it
                    fail_all(batch, error)
                self._tell(self._resolve, batch)
            if self.appended_octets - self._copied_octets > longest_log:
                self._checkpoint(connection)

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
                jobs = refuse(jobs)
        try:
            self._transact(connection, jobs)
        except Full:
            if self._reserve is not None:
                self._reserve.spend()
                # With the log copied into the file, the log's own room serves what follows.
                self._checkpoint(connection)
                self._tell(
                    self._report, "full", "no room on the disk: new messages are refused, queued mail still leaves"
                )
            try:
                self._transact(connection, refuse(jobs))
            except Full:
                for job in jobs:
                    job.error = job.error or StoreFull("no room on the disk")

    def _transact(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        """One transaction; raises Full, undone, when there is no room."""
        if not jobs:
            return
        try:
            if self._trouble is not None:
                raise self._trouble
            connection.execute("BEGIN IMMEDIATE")
            execute(connection, jobs, self._keep_history)
            connection.execute("COMMIT")
            self.appended_octets += BATCH_OCTETS + sum(job.octets for job in jobs)
        except sqlite3.Error as error:
            roll_back(connection)
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
            fail_all(jobs, trouble)
        except BaseException as error:
            roll_back(connection)
            fail_all(jobs, error)

    def _isolate(self, connection: sqlite3.Connection, jobs: list[Job], error: sqlite3.Error) -> None:
        """A damaged page ends the transaction of whoever comes across it: each job gets one of its own."""
        if len(jobs) > 1:
            for job in jobs:
                self._transact(connection, [job])
            return
        jobs[0].error = Damaged(f"the queue file is damaged: {error}")
        self._tell(self._report, "damaged", "the queue file is damaged: it will be rebuilt at the next start")


def refuse(jobs: list[Job]) -> list[Job]:
    """Those jobs that need no room of their own; the others are refused."""
    for job in jobs:
        if job.takes_room:
            job.error = StoreFull("no room on the disk")
    return [job for job in jobs if not job.takes_room]


def fail_all(jobs: list[Job], error: BaseException) -> None:
    """All in a batch share the fate of its commit."""
    for job in jobs:
        job.error = error if job.error is None else job.error


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
