"""A server whose data is on a small file system of its own, which fills up: for test_disk_full, in a mount namespace.

Prints a line for each thing that came out as it has to, and fails at the first that does not.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import site
from tests.faults.inject import try_to_send
from tests.faults.sink import LedgerSink
from tests.lab.server import Server

SIZE_MIB = 64
MIN_FREE_MIB = 16
QUEUED = 20


def fill(path: Path, keep_free: int) -> None:
    """Make a file that leaves so many octets of the file system free."""
    room = os.statvfs(path.parent)
    octets = room.f_bavail * room.f_frsize - keep_free
    with path.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, octets)


async def until(what: str, seconds: float, is_so: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.1)
    print(what, flush=True)


class Attempts:
    """Messages tried on port 25, and those that were accepted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._count = 0
        self.accepted: set[str] = set()
        self.last = (0, "")

    def send(self) -> tuple[int, str]:
        """Try the next."""
        self._count += 1
        ident = f"full-{self._count}"
        self.last = try_to_send(self._server.port("mx"), ident)
        if self.last[0] == 250:
            self.accepted.add(ident)
        return self.last

    def is_refused(self) -> bool:
        """True when the next is answered with 452 4.3.1."""
        code, text = self.send()
        assert code in (250, 452), text
        return code == 452 and "4.3.1" in text

    def is_accepted(self) -> bool:
        """True when the next is accepted."""
        return self.send()[0] == 250


async def scenario(server: Server, sink: LedgerSink) -> None:
    """Queue some mail, fill the disk, let the mail out, make room again."""
    attempts = Attempts(server)
    filler = server.data_dir / "filler"

    def arrived() -> bool:
        return attempts.accepted == {one.ident for one in sink.deliveries}

    sink.judge = lambda _: b"451 4.2.0 later"
    while len(attempts.accepted) < QUEUED:
        assert (await asyncio.to_thread(attempts.send))[0] == 250, attempts.last
    fill(filler, (MIN_FREE_MIB - 4) << 20)
    await until("refused below min_free", 10, attempts.is_refused)
    assert not sink.deliveries
    sink.judge = lambda _: b"250 2.1.5 taken"
    await until("queued mail leaves below min_free", 30, arrived)
    assert await asyncio.to_thread(attempts.is_refused)
    filler.unlink()
    await until("accepts again", 10, attempts.is_accepted)
    await until("and delivers", 30, arrived)

    sink.judge = lambda _: b"451 4.2.0 later"
    for _ in range(QUEUED):
        assert (await asyncio.to_thread(attempts.send))[0] == 250, attempts.last
    fill(filler, 0)
    await until("refused without any room", 10, attempts.is_refused)
    sink.judge = lambda _: b"250 2.1.5 taken"
    await until("queued mail leaves without any room", 30, arrived)
    filler.unlink()
    await until("accepts again after that", 10, attempts.is_accepted)
    await until("and delivers that too", 30, arrived)
    counts = {one.ident: 0 for one in sink.deliveries}
    assert len(counts) == len(sink.deliveries)


async def main(directory: Path) -> None:
    """In the namespace: serve, fill."""
    async with LedgerSink() as sink:
        server = Server(directory, site.settings(sink.port, queue={"min_free": f"{MIN_FREE_MIB}MiB"}))
        await asyncio.to_thread(server.start)
        try:
            await scenario(server, sink)
            assert await asyncio.to_thread(server.stop) == 0
        except BaseException:
            print(server.log()[-5000:], file=sys.stderr)
            raise
        finally:
            server.kill()
        site.assert_no_traceback(server.log())
    print("done")


def mount(data: Path) -> None:
    """The small file system."""
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "none", str(data)], check=True)


if __name__ == "__main__":
    mount(Path(sys.argv[1]) / "data")
    asyncio.run(main(Path(sys.argv[1])))
