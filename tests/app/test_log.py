"""The log: whole lines, never in the way of mail."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postreeve.app import log as module
from postreeve.app.log import Log
from postreeve.config.model import LogTable
from postreeve.telemetry.event import ServerStopping, SessionOpened, StoreTrouble


class Later:
    """An event loop's call_later, driven by hand."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append((seconds, call))

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for _, call in calls:
            call()


def table(**settings: object) -> LogTable:
    return LogTable.model_validate(settings, context={"directory": "/"})


def make(path: Path, **settings: object) -> Log:
    return Log(table(file=str(path), **settings), lambda: 0.0)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Puts a descriptor in the place of standard error."""
    files = []

    def use(descriptor: int) -> None:
        file = os.fdopen(descriptor, "wb", buffering=0)
        files.append(file)
        monkeypatch.setattr(module.sys, "__stderr__", file)

    yield use
    for file in files:
        file.close()


def test_log_writes_at_once_until_it_has_a_loop(tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    log.tell(ServerStopping("test"))
    assert (
        tmp_path / "log"
    ).read_text() == "time=1970-01-01T00:00:00.000Z level=info event=server_stopping reason=test\n"
    log.close()


def test_log_gathers_the_lines_of_a_turn(tmp_path: Path) -> None:
    log, later = make(tmp_path / "log"), Later()
    log.defer_to(later)
    for _ in range(3):
        log.tell(ServerStopping("test"))
    assert [seconds for seconds, _ in later.calls] == [0]
    assert (tmp_path / "log").read_text() == ""
    later.run()
    assert (tmp_path / "log").read_text().count("\n") == 3
    log.close()


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_log_leaves_out_what_is_too_quiet(tmp_path: Path, level: str, count: int) -> None:
    log = make(tmp_path / "log", level=level)
    for event in (SessionOpened("s", "mx", "192.0.2.1"), ServerStopping("x"), StoreTrouble("unavailable", "y")):
        log.tell(event)
    assert (tmp_path / "log").read_text().count("\n") == count
    log.close()


def test_log_speaks_json(tmp_path: Path) -> None:
    log = make(tmp_path / "log", format="json")
    log.tell(ServerStopping("a\nb"))
    assert json.loads((tmp_path / "log").read_text())["reason"] == "a\nb"
    log.close()


def test_log_goes_on_in_a_new_file_after_the_old_one_was_moved(tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    log.tell(ServerStopping("one"))
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.tell(ServerStopping("two"))
    log.reopen()
    log.tell(ServerStopping("three"))
    assert (tmp_path / "log.1").read_text().count("\n") == 2
    assert "reason=three" in (tmp_path / "log").read_text()
    log.close()


def test_log_keeps_the_old_file_when_the_new_one_cannot_be_opened(tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    with pytest.raises(OSError, match="No such file"):
        log.change(table(file=str(tmp_path / "no" / "log")))
    log.tell(ServerStopping("still here"))
    assert "still here" in (tmp_path / "log").read_text()
    log.close()


def blocked_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing


def test_log_never_waits_for_a_pipe_that_nobody_reads(stderr: Callable[[int], None]) -> None:
    reading, writing = blocked_pipe()
    stderr(writing)
    log, later = Log(table(), lambda: 0.0), Later()
    log.defer_to(later)
    for number in range(20_000):
        log.tell(ServerStopping(f"{number:05}"))
        if number % 100 == 0:
            later.run()
    assert log.dropped > 0
    assert len(later.calls) <= 2
    os.set_blocking(reading, False)
    read = b""
    for _ in range(5_000):
        later.run()
        try:
            read += os.read(reading, 65_536)
        except BlockingIOError:
            break
    os.close(reading)
    lines = read.decode().splitlines()
    assert len(lines) == 20_000 - log.dropped
    assert all(line.startswith("time=") and "reason=" in line for line in lines)
    assert lines == sorted(lines)


def test_log_survives_a_reader_that_is_gone(stderr: Callable[[int], None]) -> None:
    reading, writing = blocked_pipe()
    os.close(reading)
    stderr(writing)
    log = Log(table(), lambda: 0.0)
    log.tell(ServerStopping("test"))
    assert log.dropped == 1
    log.close()


def test_log_never_waits_for_a_journal_socket(stderr: Callable[[int], None]) -> None:
    ours, theirs = socket.socketpair()
    stderr(theirs.detach())
    log, later = Log(table(), lambda: 0.0), Later()
    log.defer_to(later)
    for number in range(20_000):
        log.tell(ServerStopping(f"{number:05}"))
        later.run()
    assert log.dropped > 0
    assert len(later.calls) <= 2
    log.close()
    first = ours.recv(200)
    assert first.startswith(b"time=1970")
    ours.close()
