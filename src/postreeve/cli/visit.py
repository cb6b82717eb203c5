"""The queue as operators' commands use it: all its files at once, beside the server or without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from postreeve.app.configuration import Installation
from postreeve.cli.opening import check_access
from postreeve.store.shards import ShardedStore, find_nodes, open_visitors

T = TypeVar("T")


def with_queue(installation: Installation, work: Callable[[ShardedStore], Awaitable[T]]) -> T:
    """`work` with the queue, to its end."""

    async def run() -> T:
        async with open_queue(installation) as queue:
            return await work(queue)

    return asyncio.run(run())


@asynccontextmanager
async def open_queue(installation: Installation) -> AsyncIterator[ShardedStore]:
    """The queue, whether the server runs or not; an empty one where it never ran."""
    nodes = find_nodes(installation.data_dir)
    for node in nodes:
        check_access(installation, f"queue-{node}.db")
    queue = await open_visitors(installation.data_dir) if nodes else ShardedStore({})
    try:
        yield queue
    finally:
        await queue.close()
