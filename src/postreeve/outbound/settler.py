"""Settles: on behalf of the agents, who wait for it, and of whoever gives something up, who does not.

An agent sends nothing more before its last delivery is on the disk, so that a crash makes no more duplicates than there
are agents. Group commit serves all who wait with one sync. A settlement that the store cannot write is kept and tried
again, for what was delivered must not be delivered again; meanwhile `failing` is not 0 and nothing new is attempted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from postreeve.outbound.lane import Holding
from postreeve.queue.model import Settlement
from postreeve.store.face import LeaseLost, Store, StoreError

AT_ONCE: Final = 64
MOST_WAITING: Final = 512
PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Item:
    holding: Holding
    settlement: Settlement


class Settler:
    """`done` is called in the event loop for each settlement: True when it is written, False when the lease was lost.

    `fell` is called with the store's words when it cannot write.
    """

    __slots__ = ("_done", "_fell", "_pause", "_queue", "_store", "_tasks", "failing")

    def __init__(
        self,
        store: Store,
        done: Callable[[Holding, Settlement, bool], None],
        fell: Callable[[str], None],
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """`pause_seconds` is waited before a settlement is tried again."""
        self._store = store
        self._done = done
        self._fell = fell
        self._pause = pause_seconds
        self._queue: asyncio.Queue[_Item] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.failing = 0
        """Settlements that the store could not write when last asked."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin; the group owns the tasks."""
        self._tasks = [group.create_task(self._work(), name="settle") for _ in range(AT_ONCE)]

    def stop(self) -> None:
        """End without waiting; see `flush`."""
        for task in self._tasks:
            task.cancel()

    async def flush(self) -> None:
        """Returns when all is settled that nobody waits for."""
        await self._queue.join()

    async def put(self, holding: Holding, settlement: Settlement) -> None:
        """Returns when it is settled; a caller that is cancelled meanwhile leaves the settlement to `flush`."""
        item = _Item(holding, settlement)
        try:
            is_written = await self._settle(item)
        except asyncio.CancelledError:
            # Should the store have it already, the lease is over and settling it again changes nothing.
            self._queue.put_nowait(item)
            raise
        self._done(holding, settlement, is_written)

    def put_at_once(self, holding: Holding, settlement: Settlement) -> bool:
        """Settle soon, or not at all: False when too many wait."""
        if self._queue.qsize() >= MOST_WAITING:
            return False
        self._queue.put_nowait(_Item(holding, settlement))
        return True

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            is_written = await self._settle(item)
            self._done(item.holding, item.settlement, is_written)
            self._queue.task_done()

    async def _settle(self, item: _Item) -> bool:
        try:
            return await self._try(item)
        except StoreError as error:
            self._fell(str(error))
        self.failing += 1
        try:
            while True:
                await asyncio.sleep(self._pause)
                try:
                    return await self._try(item)
                except StoreError as error:
                    self._fell(str(error))
        finally:
            self.failing -= 1

    async def _try(self, item: _Item) -> bool:
        settlement, lease = item.settlement, item.holding.lease
        if settlement.lease is not lease:
            settlement = replace(settlement, lease=lease)
        try:
            await self._store.settle(settlement)
        except LeaseLost:
            return False
        return True
