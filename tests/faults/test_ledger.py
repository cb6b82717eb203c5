"""Nothing acknowledged is lost, whoever is killed: many clients, a sink that counts, and kill -9 at random instants.

POSTREEVE_LEDGER_KILLS, _MESSAGES and _SEED make it longer or another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import site
from tests.faults.ledger import DEFERRED, REFUSED, Balance, Kill, Ledger, account
from tests.faults.sink import LedgerSink
from tests.lab.server import Server

KILLS = int(os.environ.get("POSTREEVE_LEDGER_KILLS", "50"))
MESSAGES = int(os.environ.get("POSTREEVE_LEDGER_MESSAGES", "5000"))
SEED = int(os.environ.get("POSTREEVE_LEDGER_SEED", "2821"))
CLIENTS = 20
BY_SUBMISSION = 4
MOST_IN_A_ROW = 3
"""Workers killed before everything is: each further death of the same one is replaced later."""
CONCURRENCY = 40
WINDOW_SECONDS = 1.0


@dataclass(slots=True)
class Judge:
    """The sink's opinion of recipients: some refused, some deferred once."""

    seen: set[str] = field(default_factory=set)

    def __call__(self, recipient: str) -> bytes:
        if recipient.startswith(REFUSED):
            return b"550 5.1.1 no such mailbox"
        if recipient.startswith(DEFERRED) and recipient not in self.seen:
            self.seen.add(recipient)
            return b"451 4.2.0 later"
        return b"250 2.1.5 taken"


@dataclass(slots=True)
class Killer:
    """Kills, and remembers when."""

    server: Server
    ledger: Ledger
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    _in_a_row: int = 0

    async def run(self, count: int) -> None:
        """Kill `count` times, each while messages are under way."""
        for number in range(count):
            await self.ledger.wait_for(len(self.ledger.acknowledged) + self.chance.randrange(10, 100))
            # Not just after a 250, but at any instant.
            await asyncio.sleep(self.chance.random() * 0.05)
            if number % 20 == 10:
                await self._kill_supervisor()
            elif self._in_a_row >= MOST_IN_A_ROW or self.chance.random() < 0.15:
                await self._kill_everything()
            else:
                self._kill_worker()

    def _kill_worker(self) -> None:
        pid = self.chance.choice(self.server.worker_pids())
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self.kills.append(Kill(begun, time.monotonic()))
        self.kinds["worker"] += 1
        self._in_a_row += 1

    async def _kill_everything(self) -> None:
        begun = time.monotonic()
        await asyncio.to_thread(self.server.kill)
        self.kills.append(Kill(begun, time.monotonic()))
        self.kinds["everything"] += 1
        self._in_a_row = 0
        await asyncio.to_thread(self.server.start)

    async def _kill_supervisor(self) -> None:
        """The workers find out by themselves, finish what they have in hand and end."""
        supervisor = self.server.facts()["pid"]
        workers = self.server.worker_pids()
        begun = time.monotonic()
        os.kill(supervisor, signal.SIGKILL)
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(site.wait_until_gone, workers, 30)
        self.kills.append(Kill(begun, time.monotonic()))
        self.kinds["supervisor"] += 1
        self._in_a_row = 0
        await asyncio.to_thread(self.server.start)


async def run(tmp_path: Path) -> tuple[Ledger, LedgerSink, Killer, Balance]:
    ledger, chance = Ledger(), random.Random(SEED)
    async with LedgerSink(Judge()) as sink:
        delivery = {"per_destination": CONCURRENCY, "concurrency": 2 * CONCURRENCY}
        server = Server(tmp_path, site.settings(sink.port, delivery=delivery), workers=2)
        site.add_account(server)
        killer = Killer(server, ledger, chance)
        await asyncio.to_thread(server.start)
        try:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for client in site.make_clients(server, ledger, SEED, CLIENTS, BY_SUBMISSION):
                    group.create_task(client.run(stop))
                await killer.run(KILLS)
                await ledger.wait_for(MESSAGES)
                stop.set()
            await site.drain(server.data_dir, 30)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()
        queued = await site.queued_recipients(server.data_dir)
        return ledger, sink, killer, account(ledger, sink, killer.kills, queued, WINDOW_SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * KILLS)
def test_ledger_of_acknowledged_messages_balances_after_kills_at_random(tmp_path: Path) -> None:
    started = time.monotonic()
    ledger, sink, killer, balance = asyncio.run(run(tmp_path))
    print(
        f"seed {SEED}: {len(ledger.acknowledged)} acknowledged, {len(killer.kills)} kills {dict(killer.kinds)},"
        f" {balance.delivered} delivered, {balance.bounced} bounced, {balance.queued} queued, {len(balance.lost)} lost,"
        f" {balance.duplicates} duplicates ({balance.most_at_one_kill} at one kill, window"
        f" {balance.longest_window:.3f} s), {len(sink.reports)} reports,"
        f" {balance.unacknowledged_delivered} unacknowledged delivered, {ledger.broken} connections broken,"
        f" refusals {dict(ledger.refusals)}, {time.monotonic() - started:.1f} s"
    )
    assert len(killer.kills) >= KILLS
    assert len(ledger.acknowledged) >= MESSAGES
    assert not balance.lost
    assert balance.queued == 0
    assert not balance.altered
    assert not balance.uninvited
    assert not sink.strangers
    assert not balance.unexplained
    assert balance.most_at_one_kill <= 2 * CONCURRENCY
    site.assert_calm((tmp_path / "server.log").read_text())
