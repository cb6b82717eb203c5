"""Log lines to standard error or a file: gathered over a turn of the event loop, then written together.

Mail never waits for the log. A file is written to at once; a pipe, socket or terminal only as far as it takes, the rest
is kept up to a bound, and what is beyond it is dropped and counted.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from postreeve.config.model import LogFormat, LogTable
from postreeve.telemetry.event import Level, TelemetryEvent
from postreeve.telemetry.line import format_json, format_logfmt, level_of

_ATOMIC_OCTETS: Final = 4096
"""POSIX: writes of up to PIPE_BUF octets to a pipe are not mixed with those of other processes."""
_MOST_WAITING_OCTETS: Final = 1_048_576
RETRY_SECONDS: Final = 0.1
_LOUDNESS: Final = {level: place for place, level in enumerate(Level)}


class Log:
    """One process's log. `tell` is what the other packages are handed; it never blocks and never raises."""

    __slots__ = (
        "_clock",
        "_descriptor",
        "_format",
        "_gathered",
        "_is_file",
        "_is_retrying",
        "_later",
        "_minimum",
        "_octets",
        "_path",
        "_socket",
        "_waiting",
        "dropped",
    )

    def __init__(self, table: LogTable, clock: Callable[[], float]) -> None:
        """Until `defer_to` is called every line is written at once."""
        self._clock = clock
        self._later: Callable[[float, Callable[[], None]], object] | None = None
        self._gathered: list[str] = []
        self._waiting: deque[bytes] = deque()
        self._octets = 0
        self.dropped = 0
        """Lines that nobody took."""
        self._descriptor = -1
        self._path: Path | None = None
        self._socket: socket.socket | None = None
        self._is_file = False
        self._is_retrying = False
        self.change(table)

    def change(self, table: LogTable) -> None:
        """Use these settings from now on. Raises OSError, the old ones staying, when the file cannot be opened."""
        path = None if table.file is None else Path(table.file)
        self._open(path)
        self._path = path
        self._format = format_json if table.format is LogFormat.JSON else format_logfmt
        self._minimum = _LOUDNESS[Level(table.level.value)]

    def reopen(self) -> None:
        """Open the file anew: the old one was moved away. An error leaves the old one in use."""
        try:
            self._open(self._path)
        except OSError:
            pass

    def defer_to(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """From now on lines are gathered and written by `later(seconds, flush)`: the event loop's call_later."""
        self._later = later

    def tell(self, event: TelemetryEvent) -> None:
        """Log `event` if it is loud enough."""
        if _LOUDNESS[level_of(event)] < self._minimum:
            return
        self._gathered.append(self._format(event, self._clock()))
        if self._later is None:
            self.flush()
        elif len(self._gathered) == 1:
            self._later(0, self.flush)

    def flush(self) -> None:
        """Write what was gathered, as far as it can be without waiting."""
        lines, self._gathered = self._gathered, []
        if lines and self._is_file and not self._waiting:
            self._write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
            return
        for chunk in _in_chunks(lines):
            if self._octets + len(chunk) > _MOST_WAITING_OCTETS:
                self.dropped += chunk.count(b"\n")
                continue
            self._waiting.append(chunk)
            self._octets += len(chunk)
        while self._waiting and self._is_writable():
            chunk = self._waiting.popleft()
            self._octets -= len(chunk)
            rest = self._write(chunk)
            if rest:
                self._waiting.appendleft(rest)
                self._octets += len(rest)
                break
        if self._waiting and self._later is not None and not self._is_retrying:
            self._is_retrying = True
            self._later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._is_retrying = False
        self.flush()

    def close(self) -> None:
        """Write what is left, as far as it is taken."""
        self._later = None
        self.flush()
        if self._socket is not None:
            self._socket.close()
        if self._path is not None:
            os.close(self._descriptor)

    def _open(self, path: Path | None) -> None:
        if path is None:
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ is not None else os.open(os.devnull, os.O_WRONLY)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._path is not None:
            os.close(self._descriptor)
        if self._socket is not None:
            self._socket.close()
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._is_file = stat.S_ISREG(mode)
        # The service manager's journal is a socket: only send() takes a flag for not waiting.
        self._socket = socket.socket(fileno=os.dup(descriptor)) if stat.S_ISSOCK(mode) else None

    def _is_writable(self) -> bool:
        if self._is_file or self._socket is not None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(event & (select.POLLOUT | select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def _write(self, data: bytes) -> bytes:
        """What was not taken. A log that cannot be written is no reason to stop mail: the lines count as dropped."""
        try:
            if self._socket is not None:
                return data[self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            return data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            return data
        except OSError:
            self.dropped += data.count(b"\n")
            return b""


def _in_chunks(lines: list[str]) -> list[bytes]:
    """Whole lines together, at most as many octets as are written in one piece."""
    chunks: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        octets = f"{line}\n".encode("utf-8", "replace")
        if size + len(octets) > _ATOMIC_OCTETS and gathered:
            chunks.append(b"".join(gathered))
            gathered, size = [], 0
        gathered.append(octets)
        size += len(octets)
    return [*chunks, b"".join(gathered)] if gathered else chunks
