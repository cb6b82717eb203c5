"""Fills a small file system (argv[1]) with messages and says what happens: for the fault tests, in a namespace."""

import asyncio
import re
import sys
import time
from pathlib import Path

from postreeve.queue.model import Claim
from postreeve.store.face import LeaseTerms, StoreFull
from postreeve.store.sqlite import SqliteStore
from postreeve.telemetry.event import RecordQuarantined, StoreTrouble
from tests.store.test_sqlite_faults import delivered, message


async def main() -> None:
    told: list[StoreTrouble | RecordQuarantined] = []
    directory = Path(sys.argv[1])
    store = SqliteStore(directory, keep_history=False, tell=told.append)
    await store.open()
    claims: list[Claim] = []
    try:
        while True:
            claims += await store.accept(message(store, b"z" * 60_000), LeaseTerms(time.time() + 600))
    except StoreFull:
        print("full")
    for claim in claims:
        await store.settle(delivered(claim))
    assert (await store.stats(time.time())).messages == 0
    print("settled")
    # The queue file does not shrink: the room that makes it accept again is inside it.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await store.accept(message(store))
            print("recovered")
            break
        except StoreFull:
            await asyncio.sleep(0.1)
    full = next(event for event in told if isinstance(event, StoreTrouble))
    assert re.fullmatch(
        rf"no room on the disk: {re.escape(str(directory))} has [0-9.]+ [KM]?i?B free: .*", full.problem
    )
    assert [event.state for event in told if isinstance(event, StoreTrouble)] == ["full", "recovered"], told
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
