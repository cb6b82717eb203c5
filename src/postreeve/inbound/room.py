"""Is there room for more mail? Asked at every MAIL, looked up at most once a second."""

from __future__ import annotations

from collections.abc import Callable

from postreeve.policy.sender import Room
from postreeve.telemetry.event import StoreTrouble, Tell

INTERVAL_SECONDS = 1.0


class RoomGuard:
    """Remembers what `find_shortage` said; tells when it changes."""

    __slots__ = ("_clock", "_find_shortage", "_room", "_tell", "_until")

    def __init__(self, find_shortage: Callable[[], str], clock: Callable[[], float], tell: Tell) -> None:
        """`clock` counts seconds and never goes back. `find_shortage` says what is short, "" when there is room; it may
        raise OSError: then there is none."""
        self._find_shortage = find_shortage
        self._clock = clock
        self._tell = tell
        self._room = Room.ENOUGH
        self._until = 0.0

    def __call__(self) -> Room:
        """Is there room now?"""
        now = self._clock()
        if now >= self._until:
            self._until = now + INTERVAL_SECONDS
            shortage = self._look()
            self._change(Room.FULL if shortage else Room.ENOUGH, shortage)
        return self._room

    def _look(self) -> str:
        try:
            return self._find_shortage()
        except OSError as problem:
            return f"the file system does not tell what is free: {problem.strerror or problem}"

    def _change(self, room: Room, shortage: str) -> None:
        if room is self._room:
            return
        self._room = room
        if room is Room.ENOUGH:
            self._tell(StoreTrouble("recovered", "there is room for mail again"))
        else:
            self._tell(StoreTrouble("full", f"{shortage}: MAIL is answered with 452"))
