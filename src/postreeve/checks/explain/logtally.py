"""Counting the failures of a log by cause and destination, in bounded memory.

A reason is explained once: words that differ from message to message are taken out first, and what was explained is
remembered. So a million lines of the same trouble cost a million look-ups and one explanation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from postreeve.checks.explain.logformat import LogFormat, failing_lines
from postreeve.checks.explain.logmoment import LogClock
from postreeve.checks.explain.reason import explain
from postreeve.checks.knowledge.pattern import Tier, patterns

UNKNOWN: Final = "unknown"
OTHERS: Final = "(others)"
MOST_GROUPS: Final = 10_000
_MOST_REASONS: Final = 50_000
_MOST_EXPLAINED: Final = 5_000
_MOST_EXAMPLE: Final = 600
_REASON: Final = 1_000
_VARYING: Final = re.compile(
    rb"<[^>\s]{1,320}>|\b[0-9A-Fa-f-]{12,}\b|\b\w*\d\w{9,}\b|\b\d{5,}\b|\bname=\S+|\b[A-Za-z][\w-]*\d[\w-]*(?:\.[\w-]+)+"
)
_HOST_IPV4: Final = re.compile(rb"[\w.-]+\[[0-9.]+\]")
_HOST_IPV6: Final = re.compile(rb"[\w.-]+\[[0-9A-Fa-f:.]+\]")


@dataclass(slots=True)
class Group:
    """The failures of one cause towards one destination. Moments are POSIX seconds, None where lines have none."""

    cause: str
    destination: str
    is_decided: bool
    count: int = 0
    first: float | None = None
    last: float | None = None
    example: str = ""


class LogTally:
    """Feed it chunks of whole lines with `add`, then read `groups`."""

    def __init__(self, log: LogFormat, clock: LogClock, since: float | None = None) -> None:
        self._format = log
        self._clock = clock
        self._since = since
        self._is_strict = log.name == "application"
        self._reasons: dict[bytes, tuple[str, bool] | None] = {}
        self._explained: dict[bytes, tuple[str, bool] | None] = {}
        self._groups: dict[tuple[str, bytes], Group] = {}
        self._ends = 0
        self._is_open = False
        self.failures = 0

    @property
    def lines(self) -> int:
        """Seen so far; the last counts without its end too."""
        return self._ends + self._is_open

    @property
    def groups(self) -> list[Group]:
        """The most frequent first."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.cause, group.destination))

    def add(self, chunk: bytes) -> None:
        """Counts the failures in `chunk`, which holds whole lines."""
        self._ends += chunk.count(b"\n")
        if chunk:
            self._is_open = not chunk.endswith(b"\n")
        read = self._format.read
        reasons = self._reasons
        for start, end in failing_lines(chunk, self._format.markers):
            line = chunk[start:end]
            told = read(line, chunk[max(0, start - 4_096) : start] if self._is_strict else b"")
            if told is None:
                continue
            destination, reason = told
            reason = reason[:_REASON]
            if reason not in reasons:
                if len(reasons) >= _MOST_REASONS:
                    reasons.clear()
                reasons[reason] = self._explain(reason)
            found = reasons[reason]
            if found is not None:
                self._count(found, destination, line)

    def _count(self, found: tuple[str, bool], destination: bytes, line: bytes) -> None:
        moment = self._clock.moment(line)
        if self._since is not None and moment is not None and moment < self._since:
            return
        self.failures += 1
        key = (found[0], destination)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MOST_GROUPS:
                key = (found[0], OTHERS.encode())
            name = key[1][:255].decode("utf-8", "replace")
            example = line[:_MOST_EXAMPLE].decode("utf-8", "replace").strip()
            group = self._groups.setdefault(key, Group(found[0], name, found[1], example=example))
        group.count += 1
        if moment is not None:
            group.first = moment if group.first is None or moment < group.first else group.first
            group.last = moment if group.last is None or moment > group.last else group.last

    def _explain(self, reason: bytes) -> tuple[str, bool] | None:
        """The cause and whether it is decided; None for a line of an application that is about something else."""
        key = _VARYING.sub(b"", _HOST_IPV6.sub(b"6", _HOST_IPV4.sub(b"4", reason)))
        if key in self._explained:
            return self._explained[key]
        if len(self._explained) >= _MOST_EXPLAINED:
            return (UNKNOWN, False)
        found = explain(reason.decode("utf-8", "replace"))
        first = found.candidates[0] if found.candidates else None
        answer: tuple[str, bool] | None
        if first is None or (self._is_strict and first.pattern in _VAGUE):
            answer = None if self._is_strict else (UNKNOWN, False)
        else:
            answer = (first.cause.id, found.is_decided)
        self._explained[key] = answer
        return answer


_VAGUE: Final = frozenset(one.id for one in patterns() if one.tier is Tier.FALLBACK)
"""Bare numbers and words: in the log of an application they mean anything."""
