"""Counts that several worker processes share without locks: connections per client, failed logins per account.

The memory is anonymous and shared, made before the workers are forked. Every worker writes its own column only; the sum
over the columns is the count. A key is hashed (with a secret of this start, so nobody can aim at another's slot) to two
slots; the smaller sum counts: two clients must share both slots before one of them is mistaken for the other.

A gauge goes up and down; a rate counts within a window of time and forgets the window before.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
from copy import copy
from typing import Final

_CELL_OCTETS: Final = 4
_MOST: Final = 0xFFFF
_TAGS: Final = 0x10000


class SharedCounters:
    """Make it once, before forking; then each worker takes its own face with `of_worker`."""

    __slots__ = ("_gauges", "_key", "_rates", "slots", "worker", "workers")

    def __init__(self, slots: int = 65_536, workers: int = 1) -> None:
        """Memory: 8 octets for each slot and worker."""
        self.slots = slots
        self.workers = workers
        self.worker = 0
        self._key = secrets.token_bytes(16)
        octets = slots * workers * _CELL_OCTETS
        self._gauges = memoryview(mmap.mmap(-1, octets)).cast("i")
        self._rates = memoryview(mmap.mmap(-1, octets)).cast("I")

    def of_worker(self, worker: int) -> SharedCounters:
        """The same counts, written to in the column of `worker` (from 0)."""
        if not 0 <= worker < self.workers:
            raise ValueError(f"worker must be 0 … {self.workers - 1}, not {worker}")
        face = copy(self)
        face.worker = worker
        return face

    def forget_worker(self, worker: int) -> None:
        """The worker is dead: its connections are gone. For the supervisor, before it starts another in its place."""
        start = worker * self.slots
        octets = self._gauges.cast("B")
        octets[start * _CELL_OCTETS : (start + self.slots) * _CELL_OCTETS] = bytes(self.slots * _CELL_OCTETS)

    def find(self, key: bytes) -> tuple[int, int]:
        """The place of `key`: compute it once per connection, then use it with the methods below."""
        digest = hashlib.blake2b(key, digest_size=16, key=self._key).digest()
        return int.from_bytes(digest[:8], "little") % self.slots, int.from_bytes(digest[8:], "little") % self.slots

    def change(self, place: tuple[int, int], by: int) -> None:
        """Move the gauge; the sum of what one worker adds must never fall below nought."""
        start = self.worker * self.slots
        first, second = place
        self._gauges[start + first] += by
        if second != first:
            self._gauges[start + second] += by

    def gauge(self, place: tuple[int, int]) -> int:
        """The gauge over all workers."""
        gauges, slots = self._gauges, self.slots
        first, second = place
        if self.workers == 1:
            return min(gauges[first], gauges[second])
        columns = range(0, self.workers * slots, slots)
        return min(sum(gauges[at + first] for at in columns), sum(gauges[at + second] for at in columns))

    def note(self, place: tuple[int, int], window: int) -> None:
        """One more within `window`, any number that changes when a new window begins."""
        rates, start = self._rates, self.worker * self.slots
        tag = (window % _TAGS) << 16
        for slot in set(place):
            cell = rates[start + slot]
            count = cell & _MOST if cell & ~_MOST == tag else 0
            rates[start + slot] = tag | min(count + 1, _MOST)

    def rate(self, place: tuple[int, int], window: int) -> int:
        """How many within `window`, over all workers."""
        tag = window % _TAGS
        sums = [0, 0]
        for at in range(0, self.workers * self.slots, self.slots):
            for which, slot in enumerate(place):
                cell = self._rates[at + slot]
                if cell >> 16 == tag:
                    sums[which] += cell & _MOST
        return min(sums)
