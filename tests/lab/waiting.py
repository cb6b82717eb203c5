"""Waiting for something that another process will bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(find: Callable[[], T], what: str = "it", seconds: float = 30.0) -> T:
    """What `find` gives, as soon as that is true; fails otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} never came about within {seconds:.0f} s: {found!r}")
        time.sleep(0.02)
