"""Starting, watching and ending the processes of a benchmark; free ports; memory figures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


class BenchFailed(Exception):
    """The benchmark cannot go on; the text says why."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float, process: subprocess.Popen[bytes] | None = None) -> float:
    """Wait until 127.0.0.1:port greets; returns how long it took, in seconds."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        if process is not None and process.poll() is not None:
            raise BenchFailed(f"{process.args!r} ended with status {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            if connection.recv(4) == b"220 ":
                return time.perf_counter() - started
        time.sleep(0.01)
    raise BenchFailed(f"nothing greets on port {port} after {seconds:.0f} s")


@contextmanager
def running(
    command: Sequence[str], log: Path, stop: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` while the block lasts; what it prints goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory_kib(pid: int) -> int:
    """Proportional set size of `pid` and all below it, in KiB: shared pages are counted once."""
    total = 0
    for process in descendants(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def cpu_seconds(pid: int) -> float:
    """User and system time of `pid` and all below it."""
    ticks = 0
    for process in descendants(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
