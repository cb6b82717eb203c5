"""Counting queued messages one by one, where the store's own counts do not say enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from postreeve.queue.model import MessageSummary, QueueFilter, QueueStats, RecipientState
from postreeve.store.match import recipient_fits
from postreeve.store.shards import ShardedStore

_PAGE: Final = 1000
_SAMPLE: Final = 5000
"""Messages looked at for the most frequent reasons: enough to see what is wrong with a million."""
_MOST_DESTINATIONS: Final = 50
_MOST_REASONS: Final = 10


class Tally:
    """Counts messages, and of their waiting recipients those that `where` is about."""

    def __init__(self, where: QueueFilter, now: float) -> None:
        self._where = where
        self._now = now
        self._messages = self._octets = self._due = 0
        self._oldest: float | None = None
        self._states: Counter[str] = Counter()
        self._destinations: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, summary: MessageSummary) -> None:
        """Count one message."""
        self._messages += 1
        self._octets += summary.size_octets
        self._oldest = summary.accepted_at if self._oldest is None else min(self._oldest, summary.accepted_at)
        for record in summary.recipients:
            if record.state.is_final or not recipient_fits(self._where, record):
                continue
            self._states[record.state.value] += 1
            if record.last_problem:
                self._reasons[record.last_problem] += 1
            if record.state is RecipientState.QUEUED:
                self._destinations[record.destination] += 1
                self._due += record.leased_until is None and record.due <= self._now

    def stats(self) -> QueueStats:
        """The counts."""
        largest = dict(self._destinations.most_common(_MOST_DESTINATIONS))
        return QueueStats(self._messages, dict(self._states), self._octets, self._oldest, self._due, largest)

    def reasons(self) -> dict[str, int]:
        """The most frequent last problems, with how many recipients have them."""
        return dict(self._reasons.most_common(_MOST_REASONS))


async def each(queue: ShardedStore, where: QueueFilter) -> AsyncIterator[MessageSummary]:
    """All that match, by ident, without holding them all."""
    after = 0
    while found := await queue.find(where, _PAGE, after):
        for summary in found:
            yield summary
        after = found[-1].ident


async def sample(queue: ShardedStore, now: float) -> Tally:
    """A tally of the oldest messages."""
    tally = Tally(QueueFilter(), now)
    for summary in await queue.find(QueueFilter(), _SAMPLE):
        tally.add(summary)
    return tally
