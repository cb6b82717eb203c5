"""Is there room on the file system that the queue is on?"""

from __future__ import annotations

import os
from pathlib import Path

from postreeve.config.units import FreeSpace, format_size


def find_shortage(directory: Path, least: FreeSpace) -> str:
    """How little is free for accounts other than root, when that is less than has to be; "" when there is room.

    Raises OSError when the file system cannot be asked.
    """
    status = os.statvfs(directory)
    wanted = least.of(status.f_blocks * status.f_frsize)
    free = status.f_bavail * status.f_frsize
    if free >= wanted:
        return ""
    return f"{directory} has {format_size(free)} free, less than queue.min_free ({format_size(wanted)})"
