"""A file that keeps some room on the disk, so that queued mail still leaves a full one.

Removing a message needs room too: its pages go through the write-ahead log, and the log starts over only when all of it
has been copied into the file. So the reserve is larger than the log may become; on a small disk both are smaller. When
the disk is full the reserve is given up and new messages are refused, until there is room to have the reserve again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from postreeve.config.units import format_size

RESERVE_OCTETS: Final = 64 << 20
_SMALL_DISK_PARTS: Final = 16
"""Of a small disk the reserve of one queue file is one part in so many."""
_RETRY_SECONDS: Final = 1.0


class Reserve:
    """The reserve of one queue file."""

    def __init__(self, path: Path, octets: int = RESERVE_OCTETS) -> None:
        self._path = path
        self._octets = octets
        self._retry_at = 0.0
        self.is_spent = False
        """True while new messages are refused for want of room."""

    @property
    def exists(self) -> bool:
        """True when it was taken here before, and is not spent."""
        return self._path.exists()

    @property
    def log_octets(self) -> int:
        """How long the log may become, so that its copy finds room where the reserve was."""
        return self._octets // 4 * 3

    def describe(self) -> str:
        """Where there is no room, and how much that is, for the operator."""
        disk = os.statvfs(self._path.parent)
        return f"no room on the disk: {self._path.parent} has {format_size(disk.f_bavail * disk.f_frsize)} free"

    def open(self) -> None:
        """Take the room, or begin with the reserve spent."""
        disk = os.statvfs(self._path.parent)
        self._octets = min(self._octets, disk.f_blocks * disk.f_frsize // _SMALL_DISK_PARTS)
        if not self._allocate():
            self.spend()

    def spend(self) -> None:
        """Give the room to the queue file."""
        self._path.unlink(missing_ok=True)
        self.is_spent = True
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def restore(self, free_inside: Callable[[], int]) -> bool:
        """True when there is room again: twice the reserve on the disk, or a quarter of it inside the queue file, which
        never shrinks (`free_inside()` octets). Tried at most once a second."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + _RETRY_SECONDS
        room = os.statvfs(self._path.parent)
        has_room = room.f_bavail * room.f_frsize >= 2 * self._octets and self._allocate()
        self.is_spent = not (has_room or 4 * free_inside() >= self._octets)
        return not self.is_spent

    def _allocate(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._octets)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True
