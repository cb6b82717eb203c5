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
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from postreeve.store.face import LeaseLost, StoreError, StoreFull, StoreUnavailable
from postreeve.store.sqlite.arrival import Arrival, write_arrivals
from postreeve.store.sqlite.changing import quarantine
from postreeve.store.sqlite.reserve import Reserve
from postreeve.store.sqlite.rows import Undecodable
from postreeve.store.sqlite.settling import Ending, end_one, end_whole, hold_all

P = ParamSpec("P")
T = TypeVar("T")
MAX_BATCH: Final = 256
ROOM: Final = 2048
"""Jobs that may wait for the writer before callers wait for room."""


class Full(Exception):
    """The transaction found no room."""


@dataclass(slots=True, eq=False)
class Job:
    """One operation on its way through the writer: an arrival, an ending, or any function of the connection."""

    future: asyncio.Future[Any]
    arrival: Arrival | None = None
    ending: Ending | None = None
    call: Callable[[sqlite3.Connection], Any] | None = None
    outside: bool = False
    """`call` runs between transactions."""
    takes_room: bool = False
    """It makes the file larger for a new message: refused first when the disk is full."""
    result: Any = None
    error: BaseException | None = field(default=None)


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
        self.commits = 0
        """Transactions so far, for whoever decides when to checkpoint."""
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
        await self._submit(Job(self._loop.create_future(), arrival=arrival, takes_room=True))

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
        result: T = await self._submit(job)
        return result

    async def run_outside(
        self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same between two transactions, for what cannot be part of one."""
        job = Job(self._loop.create_future(), call=lambda connection: call(connection, *args, **kwargs), outside=True)
        result: T = await self._submit(job)
        return result

    async def _submit(self, job: Job) -> Any:
        while self._waiting >= ROOM and not self._is_closing:
            self._room.clear()
            await self._room.wait()
        if self._is_closing:
            raise StoreUnavailable("the store is closed")
        if self._trouble is not None:
            raise StoreUnavailable(str(self._trouble))
        self._waiting += 1
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(job)
        return await job.future

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
                job.future.set_exception(job.error)
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
                self._write(connection, batch)
                self._tell(self._resolve, batch)

    def _write(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        jobs = []
        for job in batch:
            if job.outside and job.call is not None:
                run_outside(connection, job, job.call)
            else:
                jobs.append(job)
        if self._reserve is not None and self._reserve.is_spent:
            if self._reserve.restore():
                self._tell(self._report, "recovered", "there is room again")
            else:
                jobs = refuse(jobs)
        try:
            self._transact(connection, jobs)
        except Full:
            if self._reserve is not None:
                self._reserve.spend()
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
            self._execute(connection, jobs)
            connection.execute("COMMIT")
            self.commits += 1
        except sqlite3.Error as error:
            roll_back(connection)
            if is_full(error):
                raise Full from error
            trouble = StoreUnavailable(f"the queue file cannot be written: {error}")
            # Somebody else's long transaction is no damage: the next batch may fare better.
            if not is_busy(error):
                self._trouble = trouble
                self._tell(self._report, "unavailable", str(trouble))
            fail_all(jobs, trouble)
        except BaseException as error:
            roll_back(connection)
            fail_all(jobs, error)

    def _execute(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = None
        arrivals = [job for job in jobs if job.arrival is not None]
        if arrivals:
            self._write_arrivals(connection, arrivals)
        endings = [job for job in jobs if job.ending is not None]
        if endings:
            self._write_endings(connection, endings)
        for job in jobs:
            if job.call is not None:
                alone(connection, job, job.call)

    def _write_arrivals(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        arrivals = [job.arrival for job in jobs if job.arrival is not None]
        together = Job(jobs[0].future)
        alone(connection, together, lambda c: write_arrivals(c, arrivals))
        if together.error is None:
            return
        # One of them does not fit (an identifier that is taken): find out which.
        for job, arrival in zip(jobs, arrivals, strict=True):
            alone(connection, job, lambda c, arrival=arrival: write_arrivals(c, [arrival]))  # type: ignore[misc]

    def _write_endings(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        whole = [job.ending for job in jobs if job.ending is not None and job.ending.is_whole]
        together = bool(whole) and hold_all(connection, whole)
        if together:
            end_whole(connection, whole, self._keep_history)
        for job in jobs:
            ending = job.ending
            if ending is not None and not (together and ending.is_whole):
                self._end_one(connection, job, ending)

    def _end_one(self, connection: sqlite3.Connection, job: Job, ending: Ending) -> None:
        alone(connection, job, lambda c: end_one(c, ending, self._keep_history))
        if isinstance(job.error, Undecodable):
            settlement = ending.settlement
            quarantine(connection, settlement.lease.ident, str(job.error), settlement.settled_at)
            job.error = LeaseLost(f"message {settlement.lease.ident} is damaged and was set aside")


def alone(connection: sqlite3.Connection, job: Job, call: Callable[[sqlite3.Connection], Any]) -> None:
    """Run `call` so that its failure is `job`'s alone; a failing file is everybody's and is raised."""
    connection.execute("SAVEPOINT alone")
    try:
        job.result = call(connection)
    except (StoreError, Undecodable) as error:
        connection.execute("ROLLBACK TO alone")
        job.error = error
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and not is_own_fault(error):
            raise
        connection.execute("ROLLBACK TO alone")
        job.error = StoreError(f"cannot be stored: {error}")
    connection.execute("RELEASE alone")


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


def run_outside(connection: sqlite3.Connection, job: Job, call: Callable[[sqlite3.Connection], Any]) -> None:
    """Run `call` in autocommit; its failure is its caller's."""
    try:
        job.result = call(connection)
    except (StoreError, sqlite3.Error) as error:
        job.error = error if isinstance(error, StoreError) else StoreError(f"the queue file: {error}")


def is_own_fault(error: sqlite3.Error) -> bool:
    """True when it concerns the operation (a taken identifier, a damaged page it came across), not the whole file."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return True
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)


def code_of(error: sqlite3.Error) -> int:
    """The primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_full(error: sqlite3.Error) -> bool:
    """True for the one failure that passes: no room."""
    return code_of(error) == sqlite3.SQLITE_FULL


def is_busy(error: sqlite3.Error) -> bool:
    """True when another process held the file for longer than we wait."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
