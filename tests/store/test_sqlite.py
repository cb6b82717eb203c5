"""The embedded store beyond the contract: restarts, owners and visitors, spools left behind, several queue files."""

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.mail.ident import node_of
from postreeve.queue.model import Attempt, Change, QueueFilter, RecipientState, Result, Settlement
from postreeve.store.face import LeaseTerms, StoreError, StoreUnavailable
from postreeve.store.shards import ShardedStore, add_stats, find_nodes, open_visitors
from postreeve.store.sqlite import SqliteStore
from tests.store.test_sqlite_faults import content_of, delivered, message, queued_idents, take

pytestmark = pytest.mark.asyncio
ANY = QueueFilter()


async def reopened(store: SqliteStore) -> SqliteStore:
    await store.close()
    again = SqliteStore(store.path.parent)
    await again.open()
    return again


async def test_restart_keeps_the_queue_and_frees_the_leases(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    terms = LeaseTerms(time.time() + 100_000)
    first, second = message(store), message(store, b"q" * 200_000)
    (claim,) = await store.accept(first, terms)
    await store.accept(second, terms)
    store = await reopened(store)
    claims: list[int] = []
    async with asyncio.timeout(10):
        while len(claims) < 2:
            claims += [claim.lease.ident for claim in await take(store)]
            await asyncio.sleep(0)
    assert sorted(claims) == [first.ident, second.ident]
    assert await content_of(store, second.ident) == second.content
    with pytest.raises(StoreError, match="no longer held"):
        await store.settle(delivered(claim))
    await store.close()


async def test_restart_never_repeats_an_identifier(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, keep_history=False)
    await store.open()
    last = store.new_ident(4_000_000_000.0)
    store = await reopened(store)
    assert store.new_ident(time.time()) > last
    await store.close()


async def test_restart_keeps_no_history_when_none_is_wanted(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, keep_history=False)
    await store.open()
    one = message(store)
    (claim,) = await store.accept(one, LeaseTerms(time.time() + 60))
    await store.settle(delivered(claim))
    assert await store.story(one.ident) is None
    await store.close()


async def test_story_keeps_the_latest_attempts(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, 0)
    await store.open()
    now = time.time()
    (claim,) = await store.accept(message(store), LeaseTerms(now + 600))
    for number in range(0, 90, 3):
        told = [Attempt(now, 0.1, (0,), "mx:example.com", reply=f"451 {number + place}") for place in range(3)]
        late = (Result(0, RecipientState.QUEUED, 0.0, "451"),)
        await store.settle(Settlement(claim.lease, late, tuple(told), settled_at=now))
        (claim,) = await store.claim(claim.recipients[0].destination, 0, now, 1, LeaseTerms(now + 600))
    story = await store.story(claim.lease.ident)
    assert story is not None
    assert [attempt.reply for attempt in story.attempts] == [f"451 {number}" for number in range(26, 90)]
    await store.close()


async def test_spool_left_by_a_crash_is_swept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    ident = store.new_ident(time.time())
    spool = await store.spool(ident)
    await spool.write(b"x" * 1_000_000)
    assert await store.sweep(time.time(), 0) == 0
    store = await reopened(store)
    assert await store.sweep(time.time(), 0) == 1
    await store.close()
    assert rows(store, "chunk") == 0


def rows(store: SqliteStore, table: str) -> int:
    connection = sqlite3.connect(store.path)
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return int(count)


async def test_finished_messages_leave_no_rows(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, keep_history=False)
    await store.open()
    for content in (b"small", b"L" * 300_000):
        (claim,) = await store.accept(message(store, content), LeaseTerms(time.time() + 60))
        deferred = Settlement(claim.lease, (Result(0, RecipientState.QUEUED, time.time()),), settled_at=time.time())
        await store.settle(deferred)
        (claim,) = await take(store)
        await store.settle(delivered(claim))
    await store.close()
    assert {
        table: rows(store, table) for table in ("message", "recipient", "content", "chunk", "attempt", "spool")
    } == (dict.fromkeys(("message", "recipient", "content", "chunk", "attempt", "spool"), 0))


async def test_spool_of_another_message_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    spool = await store.spool(store.new_ident(time.time()))
    with pytest.raises(ValueError, match="another message"):
        await store.accept(replace(message(store), content=None), None, spool)
    await store.close()


async def test_visitor_changes_the_queue_and_the_owner_notices(tmp_path: Path) -> None:
    owner, visitor = SqliteStore(tmp_path), SqliteStore(tmp_path)
    await owner.open()
    noticed = asyncio.Event()
    owner.watch(noticed.set)
    (claim,) = await owner.accept(message(owner), LeaseTerms(time.time() + 600))
    await visitor.open(owner=False)
    assert len(await visitor.find(ANY, 10)) == 1
    # The owner compares with what it saw at its last look, which must have been before the change.
    async with asyncio.timeout(10):
        while not noticed.is_set():
            await visitor.change(ANY, Change.HOLD, time.time())
            await visitor.change(ANY, Change.RELEASE, time.time())
            await asyncio.sleep(0.05)
    with pytest.raises(StoreError, match="no longer held"):
        await owner.settle(delivered(claim))
    with pytest.raises(StoreError, match="only the owner"):
        await take(visitor)
    await visitor.close()
    await owner.close()


async def test_own_commits_are_not_taken_for_a_visitor(tmp_path: Path) -> None:
    owner = SqliteStore(tmp_path)
    await owner.open()
    noticed: list[int] = []
    owner.watch(lambda: noticed.append(1))
    for _ in range(30):
        await owner.accept(message(owner))
        await asyncio.sleep(0.05)
    assert noticed == []
    await owner.close()


async def test_change_of_many_messages_goes_in_slices(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    await asyncio.gather(*(store.accept(message(store)) for _ in range(1203)))
    assert await store.change(ANY, Change.HOLD, time.time()) == 1203
    assert (await store.stats(time.time())).recipients == {"held": 1203}
    assert await store.change(QueueFilter(state=RecipientState.HELD), Change.DROP, time.time()) == 1203
    assert (await store.stats(time.time())).messages == 0
    await store.close()


async def test_backpressure_lets_everybody_through(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, keep_history=False)
    await store.open()
    await asyncio.gather(*(store.accept(message(store)) for _ in range(5000)))
    assert len(await queued_idents(store)) == 5000
    await store.close()


async def test_close_finishes_what_was_begun(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    tasks = [asyncio.create_task(store.accept(message(store))) for _ in range(100)]
    await asyncio.sleep(0)
    await store.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    done = sum(outcome == () for outcome in outcomes)
    assert all(outcome == () or isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await store.open()
    assert len(await queued_idents(store)) == done
    await store.close()


async def test_cancelled_accept_is_whole_or_absent(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    task = asyncio.create_task(store.accept(message(store, b"c" * 5000)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.accept(message(store))
    for ident in await queued_idents(store):
        assert await content_of(store, ident)
    await store.close()


async def test_shards_are_one_queue_to_the_tools(tmp_path: Path) -> None:
    owners = {node: SqliteStore(tmp_path, node) for node in (0, 3)}
    idents = []
    for node, owner in owners.items():
        await owner.open()
        for destination in ("mx:a", f"mx:{node}"):
            one = message(owner, b"%d" % node, destination)
            await owner.accept(one)
            idents.append(one.ident)
    assert find_nodes(tmp_path) == (0, 3)
    tools = await open_visitors(tmp_path)
    assert [summary.ident for summary in await tools.find(ANY, 10)] == sorted(idents)
    assert [summary.ident for summary in await tools.find(ANY, 2)] == sorted(idents)[:2]
    assert [node_of(ident) for ident in idents] == [0, 0, 3, 3]
    story = await tools.story(idents[2])
    assert story is not None
    assert story.summary.recipients[0].destination == "mx:a"
    assert [place.destination for place in await tools.upcoming()] == ["mx:0", "mx:3", "mx:a"]
    assert b"".join([piece async for piece in tools.content(idents[3])]) == b"3"
    assert await tools.change(QueueFilter(destination="mx:a"), Change.HOLD, time.time()) == 2
    assert await tools.change(QueueFilter(idents=(idents[3],)), Change.DROP, time.time()) == 1
    stats = await tools.stats(time.time())
    assert (stats.messages, stats.recipients, stats.destinations) == (3, {"held": 2, "queued": 1}, {"mx:0": 1})
    assert await tools.quarantined() == ()
    assert await tools.story(owners[3].new_ident(time.time())) is None
    await tools.close()
    for owner in owners.values():
        await owner.close()


async def test_shards_of_an_empty_directory_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no queue"):
        await open_visitors(tmp_path)


async def test_shards_say_which_message_they_do_not_have(tmp_path: Path) -> None:
    empty = ShardedStore({})
    assert add_stats([]).messages == 0
    with pytest.raises(StoreError, match="no queue file"):
        empty.content(5)
