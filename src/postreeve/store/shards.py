"""Several queue files as one, for the tools: what `queue list` and `queue hold` see of a server with several workers.

Nothing is accepted or claimed here: that is each worker's business, with its own file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from postreeve.mail.ident import node_of
from postreeve.queue.model import Change, MessageStory, MessageSummary, QueueFilter, QueueStats, Upcoming
from postreeve.store.face import Quarantined, Store, StoreError
from postreeve.store.sqlite import SqliteStore


def find_nodes(directory: Path) -> tuple[int, ...]:
    """The numbers of the queue files in `directory`, in order; also those of workers that are no longer configured."""
    numbers = (path.name.removeprefix("queue-").removesuffix(".db") for path in directory.glob("queue-*.db"))
    return tuple(sorted(int(number) for number in numbers if number.isdecimal() and int(number) < 256))


async def open_visitors(directory: Path) -> ShardedStore:
    """All queue files of `directory`, opened beside their owners; raises StoreError when there is none."""
    nodes = find_nodes(directory)
    if not nodes:
        raise StoreError(f"there is no queue in {directory}: has the server run with this data directory?")
    shards: dict[int, Store] = {}
    for node in nodes:
        store = SqliteStore(directory, node)
        try:
            await store.open(owner=False)
        except BaseException:
            await ShardedStore(shards).close()
            raise
        shards[node] = store
    return ShardedStore(shards)


class ShardedStore:
    """The reading and changing half of `face.Store` over the stores of several nodes."""

    def __init__(self, shards: dict[int, Store]) -> None:
        """`shards` are open stores by node; they are ours to close."""
        self._shards = shards

    async def close(self) -> None:
        """Close them all."""
        for store in self._shards.values():
            await store.close()

    def shard_of(self, ident: int) -> Store | None:
        """The store that made `ident`."""
        return self._shards.get(node_of(ident))

    def content(self, ident: int) -> AsyncIterator[bytes]:
        """See `face.Store.content`; raises StoreError when no queue file here made `ident`."""
        store = self.shard_of(ident)
        if store is None:
            raise StoreError(f"no queue file here has message {ident}")
        return store.content(ident)

    async def find(self, where: QueueFilter, limit: int, after: int = 0) -> tuple[MessageSummary, ...]:
        """See `face.Store.find`: in order over all."""
        found: list[MessageSummary] = []
        for store, part in self._parts(where):
            found += await store.find(part, limit, after)
        found.sort(key=lambda summary: summary.ident)
        return tuple(found[:limit])

    async def story(self, ident: int) -> MessageStory | None:
        """See `face.Store.story`."""
        store = self.shard_of(ident)
        return None if store is None else await store.story(ident)

    async def change(self, where: QueueFilter, change: Change, now: float) -> int:
        """See `face.Store.change`; queue file by queue file, not all or nothing."""
        total = 0
        for store, part in self._parts(where):
            total += await store.change(part, change, now)
        return total

    async def upcoming(self) -> tuple[Upcoming, ...]:
        """See `face.Store.upcoming`: the earliest of all."""
        earliest: dict[tuple[str, int], float] = {}
        for store in self._shards.values():
            for item in await store.upcoming():
                key = item.destination, item.priority
                earliest[key] = min(item.due, earliest.get(key, item.due))
        return tuple(Upcoming(*key, due) for key, due in sorted(earliest.items()))

    async def stats(self, now: float) -> QueueStats:
        """See `face.Store.stats`: the sum."""
        return add_stats([await store.stats(now) for store in self._shards.values()])

    async def quarantined(self) -> tuple[Quarantined, ...]:
        """See `face.Store.quarantined`."""
        found: list[Quarantined] = []
        for store in self._shards.values():
            found += await store.quarantined()
        return tuple(found)

    def _parts(self, where: QueueFilter) -> list[tuple[Store, QueueFilter]]:
        """The stores that can hold what `where` asks for."""
        if not where.idents:
            return [(store, where) for store in self._shards.values()]
        nodes = {node_of(ident) for ident in where.idents}
        return [(store, where) for node, store in self._shards.items() if node in nodes]


def add_stats(parts: Sequence[QueueStats]) -> QueueStats:
    """The counts of several queue files as one."""
    recipients: Counter[str] = Counter()
    destinations: Counter[str] = Counter()
    for part in parts:
        recipients.update(part.recipients)
        destinations.update(part.destinations)
    return QueueStats(
        messages=sum(part.messages for part in parts),
        recipients=dict(recipients),
        octets=sum(part.octets for part in parts),
        oldest_accepted_at=min(
            (part.oldest_accepted_at for part in parts if part.oldest_accepted_at is not None), default=None
        ),
        due_now=sum(part.due_now for part in parts),
        destinations=dict(destinations.most_common(50)),
        quarantined=sum(part.quarantined for part in parts),
    )
