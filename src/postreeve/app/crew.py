"""The worker processes as the supervisor sees them: forked, heard of, missed, and started again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postreeve.app.channel import Channel

HEARTBEAT_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 20.0
_STABLE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 30.0

Work = Callable[[int, Channel], int]
"""What a worker does, in its own process: its index and its end of the channel in, the exit status out."""


@dataclass(slots=True)
class Member:
    """One worker process."""

    index: int
    pid: int
    channel: Channel
    started_at: float
    heard_at: float
    is_ready: bool = False
    problem: str = ""
    """Why it says that it cannot work."""
    counts: str = "{}"
    """What it had counted when it was last heard of, as JSON."""


@dataclass(slots=True)
class _Vacancy:
    """A place that is empty until `due`."""

    due: float


class Crew:
    """Starts `size` workers and keeps that many running until `disband`. Times are those of the monotonic clock."""

    def __init__(self, size: int, work: Work) -> None:
        self._size = size
        self._work = work
        self._failures = [0] * size
        self._vacancies: dict[int, _Vacancy] = {}
        self.members: dict[int, Member] = {}
        """By index."""

    def start(self) -> None:
        """Fork all."""
        for index in range(self._size):
            self._fork(index)

    def fill(self) -> list[Member]:
        """Fork those whose pause is over; they are returned."""
        now = time.monotonic()
        due = [index for index, vacancy in self._vacancies.items() if vacancy.due <= now]
        for index in due:
            del self._vacancies[index]
        return [self._fork(index) for index in due]

    def seconds_to_next(self) -> float | None:
        """How long until a place is to be filled; None when all are."""
        if not self._vacancies:
            return None
        return max(0.0, min(vacancy.due for vacancy in self._vacancies.values()) - time.monotonic())

    def reap(self) -> list[tuple[Member, str]]:
        """Those that ended since the last call, with how in words. Their places become vacant; the caller closes their
        channels, once it has read what they said last."""
        ended = []
        for member in list(self.members.values()):
            pid, status = os.waitpid(member.pid, os.WNOHANG)
            if pid:
                del self.members[member.index]
                self._vacate(member)
                ended.append((member, _in_words(status)))
        return ended

    @property
    def is_ready(self) -> bool:
        """True when every worker has said that it accepts."""
        return len(self.members) == self._size and all(member.is_ready for member in self.members.values())

    @property
    def is_healthy(self) -> bool:
        """True when every running worker was heard of lately."""
        now = time.monotonic()
        return all(now - member.heard_at < _SILENT_SECONDS for member in self.members.values())

    def disband(self) -> None:
        """Ask all to finish; nobody is replaced any more."""
        self._vacancies.clear()
        self._size = 0
        for member in self.members.values():
            if not member.channel.send({"do": "stop"}):
                self.signal(member, signal.SIGTERM)

    def kill(self) -> None:
        """End all at once."""
        for member in self.members.values():
            self.signal(member, signal.SIGKILL)

    @staticmethod
    def signal(member: Member, number: signal.Signals) -> None:
        """Harmless when the process has ended: it is our child, so its number is not anybody else's until reaped."""
        try:
            os.kill(member.pid, number)
        except ProcessLookupError:
            pass

    def _vacate(self, member: Member) -> None:
        if member.index >= self._size:
            return
        now = time.monotonic()
        stable = member.is_ready and now - member.started_at > _STABLE_SECONDS
        failures = 0 if stable else self._failures[member.index]
        # The first is replaced at once: its connections wait in the backlog.
        pause = 0.0 if failures == 0 else min(_LONGEST_PAUSE_SECONDS, 2.0 ** (failures - 1))
        self._failures[member.index] = failures + 1
        self._vacancies[member.index] = _Vacancy(now + pause)

    def _fork(self, index: int) -> Member:
        ours, theirs = Channel.pair()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                ours.close()
                for member in self.members.values():
                    member.channel.close()
                status = self._work(index, theirs)
            finally:
                # No clean-up of the parent's things: they are not ours.
                os._exit(status)
        theirs.close()
        now = time.monotonic()
        member = self.members[index] = Member(index, pid, ours, now, now)
        return member


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by {signal.Signals(number).name}"
    return f"exit status {os.WEXITSTATUS(status)}"
