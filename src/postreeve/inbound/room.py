"""Is there room for more mail? Asked at every MAIL, looked up at most once a second."""

from __future__ import annotations

from collections.abc import Callable

from postreeve.policy.sender import Room
from postreeve.telemetry.event import StoreTrouble, Tell

INTERVAL_SECONDS = 1.0


class RoomGuard:
    """Remembers what `has_room` said, and the store's trouble that sessions report; tells when it changes."""

    __slots__ = ("_clock", "_has_room", "_room", "_tell", "_until")

    def __init__(self, has_room: Callable[[], bool], clock: Callable[[], float], tell: Tell) -> None:
        """`clock` counts seconds and never goes back. `has_room` may raise OSError: then there is none."""
        self._has_room = has_room
        self._clock = clock
        self._tell = tell
        self._room = Room.ENOUGH
        self._until = 0.0

    def __call__(self) -> Room:
        """Is there room now?"""
        now = self._clock()
        if now >= self._until:
            self._until = now + INTERVAL_SECONDS
            self._change(self._look())
        return self._room

    def _look(self) -> Room:
        try:
            return Room.ENOUGH if self._has_room() else Room.FULL
        except OSError:
            return Room.FULL

    def _change(self, room: Room) -> None:
        if room is self._room:
            return
        self._room = room
        if room is Room.ENOUGH:
            self._tell(StoreTrouble("recovered", "there is room for mail again"))
        else:
            self._tell(StoreTrouble("full", "too little space is left: MAIL is answered with 452"))
