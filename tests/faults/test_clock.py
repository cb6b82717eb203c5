"""Clocks that jump, and a worker that stands still: nothing expires, nothing waits for long, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.faults import site
from tests.faults.inject import try_to_send
from tests.faults.ledger import Ledger, account
from tests.faults.sink import LedgerSink
from tests.lab.server import Server

QUEUED: Final = 12
HOUR: Final = 3600.0
LIBRARY: Final = "libfaketimeMT.so.1"
DELAY_SECONDS: Final = 60.0
STOPPED_SECONDS: Final = 20.0

pytestmark = pytest.mark.slow


def find_library() -> Path:
    """Where the faketime program has its library."""
    for directory in Path("/usr/lib").glob("*/faketime"):
        if (directory / LIBRARY).exists():
            return directory / LIBRARY
    pytest.skip(f"{LIBRARY} is not below /usr/lib")


class Clock:
    """The wall clock of a server: real time and an offset, which may be changed while it runs."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.jump(0.0)

    def jump(self, seconds: float) -> None:
        """The server's clock is so far from the real one from now on."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+.0f}\n")
        draft.replace(self._file)

    def env(self) -> dict[str, str]:
        """For the server's process."""
        return {
            "LD_PRELOAD": str(find_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def later(_: str) -> bytes:
    return b"451 4.2.0 later"


def now(_: str) -> bytes:
    return b"250 2.1.5 taken"


async def send(server: Server, prefix: str, count: int) -> None:
    port = server.port("mx")
    names = [f"{prefix}-{number}" for number in range(count)]
    replies = await asyncio.gather(*(asyncio.to_thread(try_to_send, port, name) for name in names))
    assert {code for code, _ in replies} == {250}, replies


async def until(is_so: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, problem()
        await asyncio.sleep(0.05)


async def run(tmp_path: Path, seconds: float, restarts: bool) -> None:
    clock = Clock(tmp_path)
    async with LedgerSink(judge=later) as sink:
        server = Server(tmp_path, site.settings(sink.port, queue={"retry": ["3s"]}), env=clock.env())
        await asyncio.to_thread(server.start)
        try:
            await send(server, "before", QUEUED)
            # Each was tried: what is left to do is written with the old clock's time.
            await until(lambda: sink.refusals >= QUEUED, 30, server.log)
            if restarts:
                assert await asyncio.to_thread(server.stop) == 0
            clock.jump(seconds)
            if restarts:
                await asyncio.to_thread(server.start)
            sink.judge = now
            await send(server, "after", 3)
            wanted = {f"before-{n}" for n in range(QUEUED)} | {f"after-{n}" for n in range(3)}
            started = time.monotonic()
            await until(
                lambda: {one.ident for one in sink.deliveries} == wanted,
                DELAY_SECONDS,
                lambda: f"missing {wanted - {one.ident for one in sink.deliveries}}\n{server.log()[-2000:]}",
            )
            print(f"all within {time.monotonic() - started:.1f} s")
            await site.drain(server.data_dir, 10)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()
    assert len(sink.deliveries) == len(wanted)
    assert not sink.reports, "something expired"
    log = server.log()
    assert "event=recipient_bounced" not in log
    assert "event=recipient_expired" not in log
    site.assert_calm(log)


@pytest.mark.peer("faketime")
@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(
    "seconds", [HOUR, 24 * HOUR, 240 * HOUR, -HOUR], ids=["1 h ahead", "1 d ahead", "10 d ahead", "1 h back"]
)
def test_jump_of_the_clock_expires_and_delays_nothing(tmp_path: Path, seconds: float, restarts: bool) -> None:
    asyncio.run(run(tmp_path, seconds, restarts))


async def stop_a_worker(tmp_path: Path, seconds: float) -> None:
    ledger, chance = Ledger(), random.Random(1)
    async with LedgerSink() as sink:
        server = Server(tmp_path, site.settings(sink.port), workers=2)
        site.add_account(server)
        await asyncio.to_thread(server.start)
        try:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for client in site.make_clients(server, ledger, 7, 8, 0):
                    group.create_task(client.run(stop))
                await ledger.wait_for(300)
                pid = chance.choice(server.worker_pids())
                os.kill(pid, signal.SIGSTOP)
                # The time itself is what is tested: heartbeats are missed, connections hang, the other worker goes on.
                await asyncio.sleep(seconds)
                os.kill(pid, signal.SIGCONT)
                await ledger.wait_for(len(ledger.acknowledged) + 300)
                stop.set()
            await site.drain(server.data_dir, 30)
            assert pid in server.worker_pids()
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()
        queued = await site.queued_recipients(server.data_dir)
    balance = account(ledger, sink, (), queued, 0)
    print(f"{len(ledger.acknowledged)} acknowledged, {balance}")
    assert not balance.lost
    assert not balance.altered
    assert balance.queued == 0
    assert balance.duplicates <= 1
    site.assert_calm(server.log())


def test_worker_stopped_for_a_while_loses_nothing(tmp_path: Path) -> None:
    asyncio.run(stop_a_worker(tmp_path, STOPPED_SECONDS))
