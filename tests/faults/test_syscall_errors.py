"""Errors of the disk, and death, at each system call of one acceptance: 4xx or all of it, never a false 250."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import site
from tests.faults.inject import Injection, try_to_send
from tests.lab.server import Server

MOST_CALLS = 60
HELD = [{"domains": ["*"], "via": "hold"}]

pytestmark = [pytest.mark.slow, pytest.mark.peer("strace")]


def make_server(directory: Path) -> Server:
    return Server(directory, site.settings(9, route=HELD))


def recover(server: Server, name: str, seconds: float = 15.0) -> set[str]:
    """Send until one is accepted again; its ident."""
    deadline = time.monotonic() + seconds
    for number in range(1000):
        ident = f"{name}-{number}"
        code, text = try_to_send(server.port("mx"), ident)
        if code == 250:
            return {ident}
        assert time.monotonic() < deadline, f"still {code} {text}"
        time.sleep(0.1)
    raise AssertionError("unreachable")


def open_anew(server: Server, worker: int, met: int) -> None:
    """Let another process open the queue: by turns a new worker, which the first death brings at once, and all new."""
    if met % 2 == 0:
        server.kill()
        server.start()
        return
    if site.is_alive(worker):
        os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while server.worker_pids() in ([worker], []):
        assert time.monotonic() < deadline, "the worker was not replaced"
        time.sleep(0.01)


def points(server: Server, calls: str, fault: str) -> Iterator[tuple[int, str, int, str]]:
    """One acceptance for each call of it, which meets the fault; ends when an acceptance has no such call any more.

    Yields the worker, our ident, and the reply. Before it asks for the next, the caller sees to it that the server is
    well again.
    """
    for when in range(1, MOST_CALLS):
        ident = f"{calls}-{when}"
        # Behind this one the writer has done what it does once after the start.
        assert try_to_send(server.port("mx"), f"{ident}-before")[0] == 250
        (pid,) = server.worker_pids()
        injection = Injection(pid, calls, fault, when, server.directory / "strace.out")
        with injection:
            code, text = try_to_send(server.port("mx"), ident)
        if not injection.has_happened:
            assert code == 250, text
            return
        yield pid, ident, code, text
    raise AssertionError(f"more than {MOST_CALLS} calls")


@pytest.mark.parametrize("calls", ["pwrite64", "fdatasync"])
def test_input_output_error_at_each_call_latches_until_the_restart(tmp_path: Path, calls: str) -> None:
    server, acknowledged = make_server(tmp_path), set()
    met = 0
    server.start()
    try:
        for pid, ident, code, text in points(server, calls, "error=EIO"):
            met += 1
            assert code in (0, 421, 451), f"{ident}: {code} {text}"
            server.wait_for_log("event=store_trouble state=unavailable", count=met)
            # What a failed sync has left on the disk nobody knows: nothing is accepted any more, and nothing retried.
            for _ in range(2):
                assert try_to_send(server.port("mx"), f"{ident}-later")[0] == 451
            assert server.worker_pids() == [pid]
            if met == 1:
                assert "cannot promise durability" in str(site.ask(server, "status")["problems"])
            open_anew(server, pid, met)
            code, text = try_to_send(server.port("mx"), f"{ident}-restarted")
            assert code == 250, text
            if met == 1:
                assert site.ask(server, "status")["problems"] == []
            acknowledged.add(f"{ident}-restarted")
        server.kill()
        queued = asyncio.run(site.queued_idents(server.data_dir))
    finally:
        server.kill()
    assert met >= (1 if calls == "fdatasync" else 4)
    assert acknowledged <= queued
    assert not {ident for ident in queued if ident.endswith("-later")}
    assert site.integrity(server.data_dir) == []
    site.assert_no_traceback(server.log())


@pytest.mark.parametrize("calls", ["pwrite64", "fdatasync"])
def test_full_disk_at_each_call_is_452_and_passes(tmp_path: Path, calls: str) -> None:
    with make_server(tmp_path) as server:
        acknowledged, met = set(), 0
        for pid, ident, code, text in points(server, calls, "error=ENOSPC"):
            met += 1
            assert code in (451, 452) or site.has_queued(server.data_dir, ident), f"{ident}: {code} {text}"
            if code == 250:
                met -= 1  # it was a checkpoint that met it
            elif calls == "pwrite64":
                assert code == 452, text
                assert "4.3.1" in text
                acknowledged |= recover(server, ident)
                assert server.worker_pids() == [pid]
                if met == 1:
                    assert site.ask(server, "status")["problems"] == []
            else:
                # A sync that failed has failed, whatever it says.
                assert try_to_send(server.port("mx"), f"{ident}-later")[0] == 451
                open_anew(server, pid, met)
        assert met >= (1 if calls == "fdatasync" else 4)
        queued = asyncio.run(site.queued_idents(server.data_dir))
        assert acknowledged <= queued
        assert site.integrity(server.data_dir) == []
        site.assert_no_traceback(server.log())


@pytest.mark.parametrize("calls", ["pwrite64", "fdatasync", "sendto"])
def test_death_at_each_call_leaves_all_or_nothing(tmp_path: Path, calls: str) -> None:
    server, met = make_server(tmp_path), 0
    outcomes = []
    server.start()
    try:
        for pid, ident, code, text in points(server, calls, "signal=KILL"):
            met += 1
            assert code in (0, 250), f"{ident}: {code} {text}"
            open_anew(server, pid, met)
            # Content is verified by its digest on the way.
            queued = asyncio.run(site.queued_idents(server.data_dir))
            assert code == 0 or ident in queued
            outcomes.append((code, ident in queued))
            assert site.integrity(server.data_dir) == []
        code, text = try_to_send(server.port("mx"), "last")
        assert code == 250, text
    finally:
        server.kill()
    print(calls, outcomes)
    assert met >= (1 if calls == "fdatasync" else 4)
    # Before the commit is written nothing is there; between the sync and the reply all is.
    assert (0, False) in outcomes or calls == "fdatasync"
    site.assert_no_traceback(server.log())


def test_log_that_cannot_be_written_stops_no_mail(tmp_path: Path) -> None:
    with make_server(tmp_path) as server:
        (pid,) = server.worker_pids()
        injection = Injection(pid, "write,writev", "error=ENOSPC", 1, tmp_path / "strace.out", str(server.log_file))
        with injection:
            assert try_to_send(server.port("mx"), "unlogged")[0] == 250
            assert try_to_send(server.port("mx"), "logged")[0] == 250
            server.wait_for_log("box.logged@example.org")
        assert injection.has_happened
        assert server.worker_pids() == [pid]
        assert asyncio.run(site.queued_idents(server.data_dir)) == {"unlogged", "logged"}
