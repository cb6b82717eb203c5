"""Is there room on the file system that the queue is on?"""

from __future__ import annotations

import os
from pathlib import Path

from postreeve.config.units import FreeSpace


class DiskRoom:
    """Asks the file system of `path`; call it for the answer. Raises OSError when it cannot be asked."""

    __slots__ = ("_least", "_path")

    def __init__(self, path: Path, least: FreeSpace) -> None:
        self._path = path
        self._least = least

    def __call__(self) -> bool:
        """True when as much is free, for accounts other than root, as has to be."""
        status = os.statvfs(self._path)
        least = max(self._least.octets, self._least.share * status.f_blocks * status.f_frsize)
        return status.f_bavail * status.f_frsize >= least
