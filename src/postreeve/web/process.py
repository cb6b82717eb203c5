"""What a worker process costs the machine, measured by itself: nobody else may look once it gave up root's rights."""

from __future__ import annotations

import os
import resource
import time
from typing import Final

from postreeve.telemetry import family as f
from postreeve.telemetry.metric import Snapshot

_PAGE_OCTETS: Final = os.sysconf("SC_PAGE_SIZE")


def measure_process(worker: int, started_at: float) -> Snapshot:
    """The process metrics of the calling worker."""
    label = [str(worker)]
    measured = {
        f.PROCESS_START.name: round(started_at, 3),
        f.PROCESS_CPU.name: round(time.process_time(), 3),
        f.PROCESS_MEMORY.name: _resident_octets(),
        f.PROCESS_DESCRIPTORS.name: _descriptors(),
        f.PROCESS_DESCRIPTORS_MOST.name: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    return {name: [[label, value]] for name, value in measured.items() if value is not None}


def count_workers(configured: int, answering: int) -> Snapshot:
    """How many workers there should be and are."""
    return {f.WORKERS.name: [[["configured"], configured], [["answering"], answering]]}


def _resident_octets() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_OCTETS
    except (OSError, IndexError, ValueError):
        return None


def _descriptors() -> int | None:
    try:
        # One of them is the directory that is being read.
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None
