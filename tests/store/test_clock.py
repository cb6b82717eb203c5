"""A wall clock that goes back, as the queue file's owner sees it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.queue.model import NewMessage, RecipientState, Result, Settlement
from postreeve.store.sqlite import SqliteStore
from postreeve.store.sqlite.clock import KEPT_AS, STEP_SECONDS, WallClock
from postreeve.store.sqlite.schema import write_meta
from tests.store.test_sqlite_faults import message, take

HOUR = 3600.0


class Clocks:
    """A wall clock and a steady one that a test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 50.0

    def pass_by(self, seconds: float, jump: float = 0.0) -> None:
        self.steady += seconds
        self.wall += seconds + jump


JUMPS = {
    "none": (0.0, 0.0),
    "ahead": (HOUR, 0.0),
    "a little back": (-(STEP_SECONDS - 1), 0.0),
    "back": (-HOUR, HOUR),
}


@pytest.mark.parametrize(("jump", "back"), JUMPS.values(), ids=JUMPS)
def test_wall_clock_notices_steps_back_only(jump: float, back: float) -> None:
    clocks = Clocks()
    clock = WallClock(lambda: clocks.wall, lambda: clocks.steady)
    clocks.pass_by(10, jump)
    assert clock.went_back() == back
    clocks.pass_by(10)
    assert clock.went_back() == 0


def test_wall_clock_notices_a_step_back_over_a_restart() -> None:
    clocks = Clocks()
    clock = WallClock(lambda: clocks.wall, lambda: clocks.steady)
    assert clock.went_back_since(0) == 0
    assert clock.went_back_since(clocks.wall - 10) == 0
    assert clock.went_back_since(clocks.wall + HOUR) == HOUR


def test_wall_clock_is_kept_once_a_minute() -> None:
    clocks = Clocks()
    clock = WallClock(lambda: clocks.wall, lambda: clocks.steady)
    kept = []
    for _ in range(180):
        clocks.pass_by(1)
        kept.append(clock.is_to_be_kept())
    assert sum(kept) == 3


def due_at(one: NewMessage, due: float) -> NewMessage:
    return replace(one, recipients=tuple(replace(recipient, due=due) for recipient in one.recipients))


@pytest.mark.asyncio
async def test_clock_set_back_while_closed_brings_retries_forward_but_not_held_back_mail(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    now = time.time()
    await store.accept(message(store))
    (claim,) = await take(store)
    due = now + HOUR + 300
    await store.settle(Settlement(claim.lease, (Result(0, RecipientState.QUEUED, due, "later"),), settled_at=now))
    await store.accept(due_at(message(store, destination="mx:example.net"), now + HOUR - 10))
    await store.accept(due_at(message(store, destination="mx:example.org"), now + 10 * HOUR))
    assert store._writer is not None
    await store._writer.run(write_meta, KEPT_AS, int(now + HOUR))
    await store.close()
    await store.open()
    woken = asyncio.Event()
    store.watch(woken.set)
    await asyncio.wait_for(woken.wait(), 10)
    found = {one.destination: one.due - now for one in await store.upcoming()}
    assert found["mx:example.com"] == pytest.approx(300, abs=5)
    assert found["mx:example.net"] == pytest.approx(0, abs=5)
    assert found["mx:example.org"] == pytest.approx(10 * HOUR)
    await store.close()
