"""Settles in the background, so that a connection goes on with the next message while the disk works.

Bounded: when too many settlements are under way, whoever brings the next one waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from postreeve.outbound.lane import Holding
from postreeve.queue.model import Settlement
from postreeve.store.face import LeaseLost, Store, StoreError, StoreFull

AT_ONCE: Final = 256
MOST_WAITING: Final = 512
_FULL_TRIES: Final = 30


class Settled(Enum):
    """How a settlement ended."""

    DONE = "done"
    LOST = "lost"
    """The lease was no longer ours: nothing was written."""
    FAILED = "failed"
    """The store could not write it: the lease runs out and the recipients are tried again."""


@dataclass(frozen=True, slots=True)
class _Item:
    holding: Holding
    settlement: Settlement


class Settler:
    """`done` is called in the event loop for each settlement, with what became of it and the trouble, if any."""

    __slots__ = ("_done", "_pause", "_queue", "_store", "_tasks")

    def __init__(
        self, store: Store, done: Callable[[Holding, Settlement, Settled, str], None], pause_seconds: float = 1.0
    ) -> None:
        """`pause_seconds` is waited before a settlement is tried again that found the disk full."""
        self._store = store
        self._done = done
        self._pause = pause_seconds
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(MOST_WAITING)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin; the group owns the tasks."""
        self._tasks = [group.create_task(self._work(), name="settle") for _ in range(AT_ONCE)]

    def stop(self) -> None:
        """End without waiting; see `flush`."""
        for task in self._tasks:
            task.cancel()

    async def flush(self) -> None:
        """Returns when all that was brought is settled."""
        await self._queue.join()

    async def put(self, holding: Holding, settlement: Settlement) -> None:
        """Settle soon."""
        await self._queue.put(_Item(holding, settlement))

    def put_at_once(self, holding: Holding, settlement: Settlement) -> bool:
        """Settle soon, or not at all: False when too many wait."""
        try:
            self._queue.put_nowait(_Item(holding, settlement))
        except asyncio.QueueFull:
            return False
        return True

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            settlement = item.settlement
            if settlement.lease is not item.holding.lease:
                settlement = replace(settlement, lease=item.holding.lease)
            result, problem = await self._settle(settlement)
            self._done(item.holding, settlement, result, problem)
            self._queue.task_done()

    async def _settle(self, settlement: Settlement) -> tuple[Settled, str]:
        problem = ""
        for _ in range(_FULL_TRIES):
            try:
                await self._store.settle(settlement)
            except LeaseLost:
                return Settled.LOST, ""
            except StoreFull as error:
                problem = str(error)
                await asyncio.sleep(self._pause)
            except StoreError as error:
                return Settled.FAILED, str(error)
            else:
                return Settled.DONE, ""
        return Settled.FAILED, problem
