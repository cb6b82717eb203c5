"""The process that brings the old rules back when nobody confirms: of its own session, there before anything is loaded.

It survives the end of the terminal and of the `apply` that started it (SIGHUP, kill -9), and needs nothing that the new
rules could take away. Asked to end (SIGTERM), it brings the old rules back first.

    python -m postreeve.enforce.deadman PLACE IDENT
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from postreeve.enforce.command import CommandFailed, Failure
from postreeve.enforce.durable import Busy
from postreeve.enforce.place import Place, read_place
from postreeve.enforce.record import Phase, RecordDamaged, clock, lock_watch, read_record
from postreeve.enforce.undo import restore_pending
from postreeve.mail.error import PostreeveError

_START_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.2
_HANDOVER_SECONDS: Final = 3.0
"""Until the watch over what was applied before has noticed that it is confirmed."""
_RETRY_SECONDS: Final = 2.0
_MOST_RETRIES: Final = 900
_READY: Final = b"ready\n"


def start(place: Place, ident: str) -> int:
    """Its process id, once it watches. Raises CommandFailed when it does not come up: then nothing must be loaded."""
    log = os.open(place.state / "watch.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        watch = subprocess.Popen(
            [sys.executable, "-P", "-m", "postreeve.enforce.deadman", json.dumps(place.document()), ident],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert watch.stdout is not None
    with watch.stdout as said:
        is_there, _, _ = select.select([said], [], [], _START_SECONDS)
        word = os.read(said.fileno(), len(_READY)) if is_there else b""
    if word != _READY:
        watch.kill()
        watch.wait()
        raise CommandFailed("the watch over the firewall", Failure.REFUSED, f"it did not start: see {log_path(place)}")
    # It outlives us; when it ends before, nobody waits for it but this.
    watch.returncode = 0
    return watch.pid


def log_path(place: Place) -> Path:
    """What it says when something goes wrong."""
    return place.state / "watch.log"


def main(arguments: list[str]) -> int:
    """Watch until confirmed, restored, or the time is over."""
    place, ident = read_place(json.loads(arguments[0])), arguments[1]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    asked = _Asked()
    signal.signal(signal.SIGTERM, asked.note)
    try:
        with lock_watch(place, _HANDOVER_SECONDS):
            os.write(1, _READY)
            _let_go_of(1)
            _watch(place, ident, asked)
    except Busy as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


class _Asked:
    """Somebody wants us to end."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


def _let_go_of(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _watch(place: Place, ident: str, asked: _Asked) -> None:
    because = "nobody confirmed in time"
    while True:
        try:
            record = read_record(place)
        except RecordDamaged as problem:
            because = str(problem)
            break
        if record is None or record.ident != ident or record.phase is not Phase.PENDING:
            return
        if asked.is_set:
            because = "the watch was told to end"
            break
        if clock() >= record.until:
            break
        time.sleep(_LOOK_SECONDS)
    for _ in range(_MOST_RETRIES):
        try:
            restore_pending(place, ident, because)
            return
        except (PostreeveError, OSError) as problem:
            sys.stderr.write(f"the old rules could not be brought back, trying again: {problem}\n")
            sys.stderr.flush()
            time.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
