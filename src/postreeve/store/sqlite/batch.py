"""One batch: many operations in one transaction, of which one may fail without the others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from postreeve.store.face import LeaseLost, StoreError, StoreFull
from postreeve.store.sqlite.arrival import Arrival, write_arrivals
from postreeve.store.sqlite.changing import quarantine
from postreeve.store.sqlite.failure import is_own_fault
from postreeve.store.sqlite.rows import Undecodable
from postreeve.store.sqlite.settling import Ending, EndingKind, defer_all, end_one, end_whole, hold_all


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
    octets: int = 0
    """About how much it adds to the log."""
    result: Any = None
    error: BaseException | None = field(default=None)


def execute(connection: sqlite3.Connection, jobs: Sequence[Job], keep_history: bool) -> None:
    """Do all the jobs within the transaction that is open; raises sqlite3.Error when the file itself fails."""
    for job in jobs:
        job.error = None
    arrivals = [(job, job.arrival) for job in jobs if job.arrival is not None]
    if arrivals:
        _write_arrivals(connection, arrivals)
    endings = [(job, job.ending) for job in jobs if job.ending is not None]
    if endings:
        _write_endings(connection, endings, keep_history)
    for job in jobs:
        if job.call is not None:
            _alone(connection, job, job.call)


def _write_arrivals(connection: sqlite3.Connection, jobs: list[tuple[Job, Arrival]]) -> None:
    try:
        write_arrivals(connection, [arrival for _, arrival in jobs])
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and not is_own_fault(error):
            raise
        # One of them does not fit (an identifier that is taken): find out which. Arrivals are first in a batch, so that
        # nothing else is undone, and the ordinary batch needs no savepoint.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        for job, arrival in jobs:
            _alone(connection, job, partial(write_arrivals, arrivals=[arrival]))


def _write_endings(connection: sqlite3.Connection, jobs: list[tuple[Job, Ending]], keep_history: bool) -> None:
    done: set[EndingKind] = set()
    whole = [ending for _, ending in jobs if ending.kind is EndingKind.WHOLE]
    if whole and hold_all(connection, whole):
        end_whole(connection, whole, keep_history)
        done.add(EndingKind.WHOLE)
    deferrals = [ending for _, ending in jobs if ending.kind is EndingKind.DEFERRAL]
    if deferrals and hold_all(connection, deferrals):
        defer_all(connection, deferrals)
        done.add(EndingKind.DEFERRAL)
    for job, ending in jobs:
        if ending.kind in done:
            continue
        _alone(connection, job, partial(end_one, ending=ending, keep_history=keep_history))
        if isinstance(job.error, Undecodable):
            settlement = ending.settlement
            quarantine(connection, settlement.lease.ident, str(job.error), settlement.settled_at)
            job.error = LeaseLost(f"message {settlement.lease.ident} is damaged and was set aside")


def _alone(connection: sqlite3.Connection, job: Job, call: Callable[[sqlite3.Connection], Any]) -> None:
    """Run `call` so that its failure is `job`'s alone; a failing file is everybody's and is raised."""
    connection.execute("SAVEPOINT alone")
    try:
        job.result = call(connection)
    except (StoreError, Undecodable) as refusal:
        connection.execute("ROLLBACK TO alone")
        job.error = refusal
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and not is_own_fault(error):
            raise
        connection.execute("ROLLBACK TO alone")
        job.error = StoreError(f"cannot be stored: {error}")
    connection.execute("RELEASE alone")


def run_outside(connection: sqlite3.Connection, job: Job, call: Callable[[sqlite3.Connection], Any]) -> None:
    """Run `call` in autocommit; its failure is its caller's."""
    try:
        job.result = call(connection)
    except (StoreError, sqlite3.Error) as error:
        job.error = error if isinstance(error, StoreError) else StoreError(f"the queue file: {error}")


def refuse(jobs: list[Job], problem: str) -> list[Job]:
    """Those jobs that need no room of their own; the others are refused with `problem`."""
    for job in jobs:
        if job.takes_room:
            job.error = StoreFull(problem)
    return [job for job in jobs if not job.takes_room]


def fail_all(jobs: list[Job], error: BaseException) -> None:
    """All in a batch share the fate of its commit."""
    for job in jobs:
        job.error = error if job.error is None else job.error
