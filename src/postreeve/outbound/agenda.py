"""When which destination has work: hints from the store and from our settlements, and when to ask the store again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from postreeve.queue.model import Upcoming

REFRESH_SECONDS: Final = 30.0
DIRTY_REFRESH_SECONDS: Final = 1.0
URGENT_SHARE: Final = 0.1
"""Of the pause between two questions, when somebody says that there is news."""
_MOST_SHARE: Final = 20.0
"""Asking takes at most one part in so many of the time, however many destinations there are."""


class Agenda:
    """Hints are the earliest due time known per destination and priority. `now` is the wall clock where due times are
    meant, the steady one where it is about asking again."""

    __slots__ = ("_heap", "_hints", "_is_dirty", "_is_urgent", "_pause", "_refreshed_at")

    def __init__(self) -> None:
        self._hints: dict[tuple[str, int], float] = {}
        self._heap: list[tuple[float, str, int]] = []
        self._is_dirty = True
        self._is_urgent = False
        self._pause = DIRTY_REFRESH_SECONDS
        self._refreshed_at = -REFRESH_SECONDS

    def mark_dirty(self) -> None:
        """The store may know more than we do."""
        self._is_dirty = True

    def ask_now(self) -> None:
        """The store does know more."""
        self._is_dirty = self._is_urgent = True

    def is_stale(self, now: float) -> bool:
        """True when the store should be asked."""
        age = now - self._refreshed_at
        return age >= REFRESH_SECONDS or (self._is_dirty and age >= self._least_pause)

    @property
    def _least_pause(self) -> float:
        return self._pause * URGENT_SHARE if self._is_urgent else self._pause

    def begin_refresh(self) -> None:
        """The store is asked; what becomes dirty from now on stays so."""
        self._is_dirty = self._is_urgent = False

    def refresh(self, upcoming: Iterable[Upcoming], started: float, now: float) -> None:
        """What the store said."""
        self._hints = {(one.destination, one.priority): one.due for one in upcoming}
        self._heap = [(due, destination, priority) for (destination, priority), due in self._hints.items()]
        heapify(self._heap)
        self._refreshed_at = now
        self._pause = max(DIRTY_REFRESH_SECONDS, _MOST_SHARE * (now - started))

    def give_up_refresh(self, now: float) -> None:
        """The store could not say."""
        self._is_dirty = True
        self._refreshed_at = now

    def add(self, destination: str, priority: int, due: float) -> bool:
        """Something is due then; True when nothing is earlier."""
        key = destination, priority
        known = self._hints.get(key)
        if known is not None and known <= due:
            return False
        self._hints[key] = due
        heappush(self._heap, (due, destination, priority))
        return self._heap[0][0] == due

    def pop_due(self, now: float) -> Iterator[tuple[str, int]]:
        """Destinations and priorities that are due, the longest due first; each is forgotten as it is given out."""
        while self._heap and self._heap[0][0] <= now:
            due, destination, priority = heappop(self._heap)
            if self._hints.get((destination, priority)) == due:
                del self._hints[destination, priority]
                yield destination, priority

    def pause_seconds(self, now: float | None) -> float:
        """How long there is nothing to do; None when what is due cannot be begun anyway."""
        if now is None or not self._heap:
            return self._least_pause
        return max(0.01, min(self._least_pause, self._heap[0][0] - now))
