"""Files that are there whole or not at all, also after a power failure; and locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from postreeve.mail.error import PostreeveError


class Busy(PostreeveError):
    """Somebody else is at work."""


def make_directory(path: Path) -> None:
    """For root alone. Raises OSError; PostreeveError for one that others may write to."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = path.lstat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise PostreeveError(f"{path} could be written to by others than root: what is in there will not be loaded")


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` by `text`; returns when that is on stable storage."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """`path` is gone, for good."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """What was made and renamed in it stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, busy: str, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock that the kernel takes back when we die. Raises Busy, with `busy` as its words."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Busy(busy) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
