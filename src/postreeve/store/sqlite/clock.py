"""When the wall clock goes back, what waits for its next try would wait longer by as much: it is brought forward.

While the server runs the steady clock tells; over a restart the wall clock as it was last seen, which the file keeps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

STEP_SECONDS: Final = 60.0
"""Smaller steps delay nobody for long, and clocks are adjusted all the time."""
KEPT_AS: Final = "clock"
KEEP_SECONDS: Final = 60.0
"""How often the wall clock is written down."""
SLICE_ROWS: Final = 5000
_LAST: Final = (1 << 63) - 1


class WallClock:
    """Notices steps backwards. `wall` gives POSIX seconds and may jump; `steady` only goes forward."""

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall = wall
        self._steady = steady
        self._lead = wall() - steady()
        self._kept_at = steady()

    def now(self) -> float:
        """The wall clock."""
        return self._wall()

    def went_back(self) -> float:
        """By how many seconds since the last call; 0 when it did not."""
        lead = self._wall() - self._steady()
        before, self._lead = self._lead, lead
        return before - lead if before - lead >= STEP_SECONDS else 0.0

    def went_back_since(self, seen: float) -> float:
        """The same over a restart: `seen` is what was kept, 0 for nothing."""
        back = seen - self._wall()
        return back if back >= STEP_SECONDS else 0.0

    def is_to_be_kept(self) -> bool:
        """True when it should be written down again."""
        now = self._steady()
        if now - self._kept_at < KEEP_SECONDS:
            return False
        self._kept_at = now
        return True


def bring_forward(connection: sqlite3.Connection, after: int, seconds: float, now: float) -> int | None:
    """Make a slice of what waits due so many seconds earlier; returns where the next slice begins, None at the end.

    Leases are renewed by their owner, and mail that its sender holds back for a time (RFC 4865) means that time.
    """
    row = connection.execute(
        "SELECT message_id FROM recipient WHERE message_id > ? ORDER BY message_id LIMIT 1 OFFSET ?",
        (after, SLICE_ROWS),
    ).fetchone()
    connection.execute(
        "UPDATE recipient SET due = max(?, due - ?) WHERE message_id > ? AND message_id <= ? AND state = 0"
        " AND lease = 0 AND due > ? AND (attempts > 0 OR due <= ?)",
        (now, seconds, after, row[0] if row else _LAST, now, now + seconds),
    )
    return int(row[0]) if row else None
