"""A file that keeps some room on the disk, so that queued mail still leaves a full one.

Removing a message needs room too: its pages go through the write-ahead log. When the disk is full the reserve is given
up and new messages are refused, until there is room to have the reserve again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

RESERVE_OCTETS: Final = 16 << 20
_RETRY_SECONDS: Final = 1.0


class Reserve:
    """The reserve of one queue file."""

    def __init__(self, path: Path, octets: int = RESERVE_OCTETS) -> None:
        self._path = path
        self._octets = octets
        self._retry_at = 0.0
        self.is_spent = False
        """True while new messages are refused for want of room."""

    def open(self) -> None:
        """Take the room, or begin with the reserve spent."""
        if not self._allocate():
            self.spend()

    def spend(self) -> None:
        """Give the room to the queue file."""
        self._path.unlink(missing_ok=True)
        self.is_spent = True
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def restore(self) -> bool:
        """True when there is room again, and as much beyond it; tried at most once a second."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + _RETRY_SECONDS
        room = os.statvfs(self._path.parent)
        if room.f_bavail * room.f_frsize < 2 * self._octets or not self._allocate():
            return False
        self.is_spent = False
        return True

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
