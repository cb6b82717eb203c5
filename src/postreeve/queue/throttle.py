"""How many attempts at once a destination bears, and whether it is dead: feedback, as a state machine without a clock.

Each success widens the window by 1/window, each site trouble narrows it by as much: one whole cohort makes one step.
A cohort of troubles (at least three) without a success between them means the destination is dead: nothing is tried
there for a while, then one attempt probes, and a further trouble doubles the while, which is never longer than the
schedule's pause after as many attempts: who retries every second wants to know within a second that a peer is back.
What a peer says about one message or recipient is no trouble of the destination.

`now` may be any clock that goes forward; a step backwards ends a dead time early rather than prolonging it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

FIRST_DEAD_SECONDS: Final = 60.0
LONGEST_DEAD_SECONDS: Final = 900.0
FEWEST_TROUBLES: Final = 3


class Turn(Enum):
    """A change of state worth telling."""

    DIED = "dead"
    REVIVED = "alive"


class Throttle:
    """One destination's window.

    The caller calls `start` for each attempt that `may_start` allowed, and then exactly one of `on_success`,
    `on_failure` and `on_nothing`.
    """

    __slots__ = (
        "_dead_until",
        "_deaths",
        "_died_at",
        "_failed_cohorts",
        "_in_flight",
        "_initial",
        "_most",
        "_pauses",
        "_troubles",
        "_window",
        "reason",
    )

    def __init__(self, initial: int, most: int, pauses: tuple[float, ...] = (LONGEST_DEAD_SECONDS,)) -> None:
        """`pauses` are those of the schedule, in seconds."""
        self._pauses = pauses
        self._initial = max(1, min(initial, most))
        self._most = max(1, most)
        self._window = float(self._initial)
        self._in_flight = 0
        self._failed_cohorts = 0.0
        self._troubles = 0
        self._deaths = 0
        self._dead_until: float | None = None
        self._died_at = 0.0
        self.reason = ""
        """What the last trouble was."""

    @property
    def concurrency(self) -> int:
        """How many attempts may be under way at once; 1 while dead or probing."""
        return 1 if self._dead_until is not None else int(self._window)

    @property
    def in_flight(self) -> int:
        """Attempts started and not yet ended."""
        return self._in_flight

    @property
    def is_idle(self) -> bool:
        """True when nothing would be lost by forgetting this throttle."""
        return self._in_flight == 0 and self._dead_until is None and self._troubles == 0

    def dead_until(self, now: float) -> float | None:
        """When the destination may be tried again; None when it may be now."""
        until = self._dead_until
        if until is None or now >= until or until - now > LONGEST_DEAD_SECONDS:
            return None
        return until

    def dead_seconds(self, now: float) -> float:
        """How long the destination has been dead, 0 for one that is alive."""
        return 0.0 if self._dead_until is None else max(0.0, now - self._died_at)

    def may_start(self, now: float) -> bool:
        """True when one more attempt is welcome."""
        return self.dead_until(now) is None and self._in_flight < self.concurrency

    def start(self) -> None:
        """An attempt begins."""
        self._in_flight += 1

    def on_nothing(self) -> None:
        """The attempt ended without saying anything about the destination."""
        self._in_flight -= 1

    def on_success(self) -> Turn | None:
        """The destination answered and dealt with mail, whatever it said about it."""
        self._in_flight -= 1
        self._failed_cohorts = 0.0
        self._troubles = 0
        self._deaths = 0
        if self._dead_until is not None:
            self._dead_until = None
            self._window = float(self._initial)
            return Turn.REVIVED
        if self._window < self._most:
            self._window = min(float(self._most), self._window + 1.0 / self._window)
        return None

    def on_failure(self, now: float, reason: str) -> Turn | None:
        """Site trouble: the attempt got no further than connecting, greeting, TLS or login."""
        self._in_flight -= 1
        self.reason = reason
        if self._dead_until is not None:
            if self.dead_until(now) is None:
                self._die(now)
            return None
        share = 1.0 / self._window
        self._failed_cohorts += share
        self._troubles += 1
        self._window = max(1.0, self._window - share)
        if self._failed_cohorts < 1.0 - 1e-9 or self._troubles < FEWEST_TROUBLES:
            return None
        self._die(now)
        return Turn.DIED

    def _die(self, now: float) -> None:
        if self._dead_until is None:
            self._died_at = now
        pause = self._pauses[min(self._deaths, len(self._pauses) - 1)]
        self._dead_until = now + min(LONGEST_DEAD_SECONDS, FIRST_DEAD_SECONDS * 2.0**self._deaths, pause)
        self._deaths = min(self._deaths + 1, 16)
        self._failed_cohorts = 0.0
        self._troubles = 0
