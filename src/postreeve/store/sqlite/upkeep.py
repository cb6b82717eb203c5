"""What the owner of a queue file does on the side: checkpoints, noticing visitors and clocks that jump, releasing the
leases of a dead owner.

Checkpoints. The log is copied into the file by a thread of its own while the writer goes on appending, so that no
commit waits. But as long as anything is appended meanwhile the copy is never complete and the log never starts over;
once it is long the writer is asked to copy the little that remains between two transactions.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Final

from postreeve.store.face import StoreError
from postreeve.store.sqlite.claiming import release_dead
from postreeve.store.sqlite.clock import KEPT_AS, WallClock, bring_forward
from postreeve.store.sqlite.reader import Reader
from postreeve.store.sqlite.schema import checkpoint, read_meta, write_meta
from postreeve.store.sqlite.writer import Writer

TICK_SECONDS: Final = 0.2
TICKS_PER_LOOK: Final = 3
"""How often the owner looks for visitors' changes, in ticks."""
COPY_OCTETS: Final = 16 << 20
"""So much appended, and the log is copied in the background."""
QUIET_SECONDS: Final = 5.0
"""After so long whatever there is."""
LONG_LOG_PAGES: Final = 8192


class Upkeep:
    """Runs beside one writer until cancelled."""

    def __init__(
        self, writer: Writer, checkpointer: Reader, first_number: int, watchers: list[Callable[[], None]]
    ) -> None:
        self._writer = writer
        self._checkpointer = checkpointer
        self._first_number = first_number
        self._watchers = watchers
        self._seen_version: int | None = None
        self._copied_octets = 0
        self._copied_at = time.monotonic()
        self._clock = WallClock(time.time, time.monotonic)

    async def run(self) -> None:
        """Until cancelled. A failing file is the writer's to report, not ours to repeat."""
        with suppress(StoreError):
            await self._look_for_visitors()
            await self._release_dead()
            await self._bring_forward(self._clock.went_back_since(await self._writer.run(read_meta, KEPT_AS)))
            await self._keep_clock()
        for tick in count():
            await asyncio.sleep(TICK_SECONDS)
            with suppress(StoreError):
                if tick % TICKS_PER_LOOK == 0:
                    await self._look_for_visitors()
                await self._bring_forward(self._clock.went_back())
                if self._clock.is_to_be_kept():
                    await self._keep_clock()
                await self._checkpoint()

    async def _bring_forward(self, seconds: float) -> None:
        """The wall clock went back by so much."""
        after: int | None = 0 if seconds else None
        while after is not None:
            after = await self._writer.run(bring_forward, after, seconds, self._clock.now())
        if seconds:
            await self._keep_clock()
            self._call_watchers()

    async def _keep_clock(self) -> None:
        await self._writer.run(write_meta, KEPT_AS, int(self._clock.now()))

    async def _release_dead(self) -> None:
        after: int | None = 0
        now = time.time()
        total = 0
        while after is not None:
            after, released = await self._writer.run(release_dead, after, self._first_number, now)
            total += released
        if total:
            self._call_watchers()

    async def _look_for_visitors(self) -> None:
        version = await self._writer.run_outside(data_version)
        if self._seen_version is not None and version != self._seen_version:
            self._call_watchers()
        self._seen_version = version

    def _call_watchers(self) -> None:
        for callback in self._watchers:
            callback()

    async def _checkpoint(self) -> None:
        appended = self._writer.appended_octets - self._copied_octets
        now = time.monotonic()
        if not appended or (appended < COPY_OCTETS and now - self._copied_at < QUIET_SECONDS):
            return
        self._copied_octets, self._copied_at = self._writer.appended_octets, now
        if await self._checkpointer.run(checkpoint) >= LONG_LOG_PAGES:
            await self._writer.checkpoint()


def data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection has changed the file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
