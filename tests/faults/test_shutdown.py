"""SIGTERM: what is in hand is finished, nothing acknowledged is lost, and nobody is alarmed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults import site
from tests.faults.ledger import Ledger, account
from tests.faults.sink import LedgerSink
from tests.lab.server import Server

IDLE_SESSIONS = 2000
STOPS = 3
STOP_SECONDS = 30.0

pytestmark = pytest.mark.slow


async def stop_under_load(tmp_path: Path) -> tuple[Ledger, LedgerSink, list[float], set[str], str]:
    ledger, seconds = Ledger(), []
    async with LedgerSink() as sink:
        server = Server(tmp_path, site.settings(sink.port), workers=2)
        site.add_account(server)
        await asyncio.to_thread(server.start)
        try:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for client in site.make_clients(server, ledger, 3, 12, 3):
                    group.create_task(client.run(stop))
                for _ in range(STOPS):
                    await ledger.wait_for(len(ledger.acknowledged) + 150)
                    started = time.monotonic()
                    assert await asyncio.to_thread(server.stop) == 0
                    seconds.append(time.monotonic() - started)
                    await asyncio.to_thread(server.start)
                await ledger.wait_for(len(ledger.acknowledged) + 50)
                stop.set()
            await site.drain(server.data_dir, 30)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()
        return ledger, sink, seconds, await site.queued_recipients(server.data_dir), server.log()


def test_stop_under_load_loses_and_repeats_nothing(tmp_path: Path) -> None:
    ledger, sink, seconds, queued, log = asyncio.run(stop_under_load(tmp_path))
    balance = account(ledger, sink, (), queued, 0)
    print(f"{len(ledger.acknowledged)} acknowledged, stops took {[f'{one:.2f}' for one in seconds]} s, {balance}")
    assert max(seconds) < STOP_SECONDS
    assert not balance.lost
    assert not balance.altered
    assert balance.queued == 0
    assert balance.duplicates == 0
    # What was being sent without having been acknowledged was refused, or finished: never taken in silence.
    site.assert_calm(log)


async def stop_with_idle_sessions(server: Server) -> tuple[float, list[bytes]]:
    """How long it took, and the last words to each session."""
    port = server.port("mx")
    sessions = []
    for _ in range(IDLE_SESSIONS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sessions.append((reader, writer))
    for reader, _ in sessions:
        assert (await reader.readline()).startswith(b"220 ")
    started = time.monotonic()
    assert await asyncio.to_thread(server.stop) == 0
    seconds = time.monotonic() - started
    last = [await reader.read() for reader, _ in sessions]
    for _, writer in sessions:
        writer.close()
    return seconds, last


def test_stop_with_idle_sessions_alarms_nobody(tmp_path: Path) -> None:
    server = Server(tmp_path, site.settings(9), workers=2)
    server.start()
    try:
        seconds, last = asyncio.run(stop_with_idle_sessions(server))
    finally:
        server.kill()
    print(f"{IDLE_SESSIONS} idle sessions, stopped in {seconds:.2f} s")
    assert seconds < STOP_SECONDS
    assert all(word.startswith(b"421 4.3.2 ") for word in last)
    log = server.log()
    site.assert_calm(log)
    assert "level=warning" not in log
