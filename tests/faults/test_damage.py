"""A queue file that was damaged while the server was down: it starts, the others flow, what is damaged is reported."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import site
from tests.faults.inject import try_to_send
from tests.faults.sink import LedgerSink
from tests.lab.server import Server

QUEUED = 200
VICTIM = "damage-7"

pytestmark = pytest.mark.slow


def flip_byte(path: Path) -> None:
    """One letter of one message's content; pages that are no longer in use may have copies of it."""
    path.write_bytes(path.read_bytes().replace(f"text of {VICTIM}\r\n".encode(), f"tezt of {VICTIM}\r\n".encode()))


def cut_tail(path: Path) -> None:
    """The last fifth is gone."""
    os.truncate(path, path.stat().st_size * 4 // 5 // 4096 * 4096)


def empty(path: Path) -> None:
    """No octet is left."""
    os.truncate(path, 0)


def fill_with_garbage(path: Path) -> None:
    """The size is all that is left."""
    path.write_bytes(b"no database at all" * (path.stat().st_size // 18))


async def run(tmp_path: Path, damage: Callable[[Path], None], least: int, most: int) -> None:
    async with LedgerSink(judge=lambda _: b"451 4.2.0 later") as sink:
        server = Server(tmp_path, site.settings(sink.port))
        await asyncio.to_thread(server.start)
        try:
            for number in range(QUEUED):
                reply = await asyncio.to_thread(try_to_send, server.port("mx"), f"damage-{number}")
                assert reply[0] == 250, reply
            # A clean stop leaves all in the file itself.
            assert await asyncio.to_thread(server.stop) == 0
            damage(server.data_dir / "queue-0.db")
            sink.judge = lambda _: b"250 2.1.5 taken"
            await asyncio.to_thread(server.start)
            reply = await asyncio.to_thread(try_to_send, server.port("mx"), "after-damage")
            assert reply[0] == 250, reply
            await asyncio.to_thread(server.wait_for_log, "recipient=box.after-damage@example.org")
            await site.drain(server.data_dir, 30)
            await asyncio.to_thread(server.wait_for_log, "event=record_quarantined")
            assert (await asyncio.to_thread(site.ask, server, "queue", "stats"))["quarantined"] >= 1
            assert "set aside" in str((await asyncio.to_thread(site.ask, server, "status"))["notes"])
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()
    print(f"{len(sink.deliveries) - 1} of {QUEUED} arrived")
    arrived = [one.ident for one in sink.deliveries]
    assert len(set(arrived)) == len(arrived)
    assert "after-damage" in arrived
    assert least <= len(arrived) - 1 <= most, (len(arrived), server.log()[-3000:])
    if damage is flip_byte:
        assert VICTIM not in arrived
    site.assert_no_traceback(server.log())


@pytest.mark.parametrize(
    ("damage", "least", "most"),
    [
        pytest.param(flip_byte, QUEUED - 1, QUEUED - 1, id="flipped byte"),
        pytest.param(cut_tail, QUEUED // 2, QUEUED, id="truncated"),
        pytest.param(empty, 0, 0, id="zero length"),
        pytest.param(fill_with_garbage, 0, 0, id="garbage"),
    ],
)
def test_damage_stops_neither_the_start_nor_the_others(
    tmp_path: Path, damage: Callable[[Path], None], least: int, most: int
) -> None:
    asyncio.run(run(tmp_path, damage, least, most))
