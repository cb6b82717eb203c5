"""The server looks at itself: changes are confirmed, told once, mailed to the postmaster, and survive restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.app.configuration import Installation, read
from postreeve.app.selfcheck import FILE_NAME, LookFailed, SelfCheck, look_by_process
from postreeve.checks.doctor.change import Change
from postreeve.checks.finding import Finding, Level
from postreeve.queue.model import QueueFilter
from postreeve.queue.route import Router
from postreeve.store.memory import MemoryStore
from postreeve.telemetry.event import FindingAppeared, FindingGone, InternalError, TelemetryEvent
from tests.lab.server import Server

pytestmark = pytest.mark.asyncio

EXPIRED = Finding(
    "certificate-expired",
    Level.ERROR,
    "An expired certificate is served",
    "mx :25",
    ("it ended 3 h ago",),
    "renew it\nnow",
)
LATE = Finding(
    "queue-old", Level.WARNING, "Mail waits for long", "queue", ("2 × 451 évil\x1b[2J\r\n.",), "postreeve queue list"
)
CLOCK = Finding("clock-unsynchronised", Level.NOTE, "Nothing keeps the clock right", "clock", (), "timedatectl")


class Looks:
    """What successive looks find; the last repeats."""

    def __init__(self, *found: Sequence[Finding]) -> None:
        self.found = [tuple(one) for one in found]
        self.count = 0
        self.looked = asyncio.Event()

    async def __call__(self, _: Installation) -> tuple[Finding, ...]:
        self.count += 1
        self.looked.set()
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


class Yard:
    """A self-check over a store in memory."""

    def __init__(self, directory: Path, looks: Looks, **doctor: object) -> None:
        server = Server(directory, {"doctor": {"enabled": True, **doctor}})
        server.prepare()
        server.data_dir.mkdir(exist_ok=True)
        self.installation = read(server.config_file)
        self.store = MemoryStore()
        self.events: list[TelemetryEvent] = []
        self.told = asyncio.Event()
        self.is_open = False
        self.check = SelfCheck(
            self.installation, self.store, Router(()).route, self.tell, looks, first_seconds=0, again_seconds=0
        )

    def tell(self, event: TelemetryEvent) -> None:
        self.events.append(event)
        self.told.set()

    async def look(self) -> Change:
        if not self.is_open:
            await self.store.open()
            self.is_open = True
        return await self.check.look()

    async def mail(self) -> list[bytes]:
        found = await self.store.find(QueueFilter(), 100)
        return [b"".join([piece async for piece in self.store.content(one.ident)]) for one in found]


async def test_change_is_told_and_mailed_once(tmp_path: Path) -> None:
    yard = Yard(tmp_path, Looks([EXPIRED, LATE]))
    await yard.look()
    assert [type(event) for event in yard.events] == [FindingAppeared, FindingAppeared]
    await yard.look()
    assert len(yard.events) == 2
    (content,) = await yard.mail()
    assert b"Subject: mail.example.org: 2 new findings\r\n" in content
    assert b"Auto-Submitted: auto-generated\r\n" in content
    assert b"error: An expired certificate is served: mx :25" in content
    assert b"fix: renew it\r\n" in content
    assert b"\x1b" not in content
    assert content.count(b"\n") == content.count(b"\r\n")
    (summary,) = await yard.store.find(QueueFilter(), 1)
    assert summary.sender == "<>"
    assert [str(one.recipient.mailbox) for one in summary.recipients] == ["postmaster@example.org"]


async def test_what_is_over_is_told(tmp_path: Path) -> None:
    yard = Yard(tmp_path, Looks([EXPIRED], [EXPIRED], [], []))
    await yard.look()
    await yard.look()
    assert isinstance(yard.events[-1], FindingGone)
    assert b"Subject: mail.example.org: fine again\r\n" in (await yard.mail())[1]


async def test_hiccup_is_no_news(tmp_path: Path) -> None:
    looks = Looks([EXPIRED], [], [EXPIRED], [LATE])
    yard = Yard(tmp_path, looks)
    assert not await yard.look()
    assert not await yard.look()
    assert looks.count == 4
    assert yard.events == []
    assert await yard.mail() == []


async def test_restart_tells_nothing_twice(tmp_path: Path) -> None:
    await Yard(tmp_path, Looks([EXPIRED])).look()
    again = Yard(tmp_path, Looks([EXPIRED]))
    await again.look()
    assert again.events == []
    assert (again.installation.data_dir / FILE_NAME).exists()


async def test_damaged_memory_is_no_trouble(tmp_path: Path) -> None:
    yard = Yard(tmp_path, Looks([EXPIRED]))
    (yard.installation.data_dir / FILE_NAME).write_bytes(b'[{"check": 1}, 7, \xff')
    await yard.look()
    assert len(yard.events) == 1


async def test_notes_alone_are_told_and_not_mailed(tmp_path: Path) -> None:
    yard = Yard(tmp_path, Looks([CLOCK]))
    await yard.look()
    assert len(yard.events) == 1
    assert await yard.mail() == []


async def test_summary_can_be_switched_off(tmp_path: Path) -> None:
    yard = Yard(tmp_path, Looks([EXPIRED]), summary=False)
    await yard.look()
    assert len(yard.events) == 1
    assert await yard.mail() == []


async def test_it_runs_by_itself_and_says_when_it_cannot_look(tmp_path: Path) -> None:
    async def fail(_: Installation) -> tuple[Finding, ...]:
        raise LookFailed("no such program")

    yard = Yard(tmp_path, Looks([]))
    check = SelfCheck(yard.installation, yard.store, Router(()).route, yard.tell, fail, first_seconds=0)
    check.start()
    async with asyncio.timeout(10):
        await yard.told.wait()
    check.stop()
    assert isinstance(yard.events[0], InternalError)


async def test_it_does_not_run_where_the_configuration_says_so(tmp_path: Path) -> None:
    looks = Looks([EXPIRED])
    yard = Yard(tmp_path, looks, enabled=False)
    yard.check.start()
    await asyncio.sleep(0.05)
    assert looks.count == 0
    config = yard.installation.config
    switched = config.model_copy(update={"doctor": config.doctor.model_copy(update={"enabled": True})})
    yard.check.reload(replace(yard.installation, config=switched))
    async with asyncio.timeout(10):
        await looks.looked.wait()
    yard.check.stop()


async def test_look_by_process_finds_what_the_command_finds(tmp_path: Path) -> None:
    config = {
        "doctor": {"known_good": [], "block_lists": []},
        "dns": {"servers": ["127.0.0.1:1"], "timeout": "1s", "total": "1s"},
    }
    server = Server(tmp_path, config)
    server.prepare()
    server.data_dir.mkdir()
    began = time.monotonic()
    found = {one.check for one in await look_by_process(read(server.config_file))}
    assert "server-not-running" in found
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("text", ["[", "", "{}"], ids=["broken", "empty", "nothing"])
async def test_look_by_process_says_when_the_command_fails(tmp_path: Path, text: str) -> None:
    server = Server(tmp_path, {})
    server.prepare()
    installation = read(server.config_file)
    server.config_file.write_text("nonsense = [")
    with pytest.raises(LookFailed):
        await look_by_process(installation)
