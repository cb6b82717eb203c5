"""One server per data directory: an advisory lock that the kernel lets go of when the last holder dies.

Workers inherit the lock, so a new server never meets the workers of one that was killed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postreeve.app.process import describe
from postreeve.app.startup import StartupError


class DirectoryLock:
    """The lock on a data directory, held until `release` or the end of all processes that have it."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor = -1

    def acquire(self) -> None:
        """Hold the lock from now on. Raises StartupError, naming the holder, when somebody else has it."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            hint = "the account that runs the server must own the directory"
            raise StartupError(f"{self._path} cannot be opened: {problem.strerror}", hint) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).strip()
            os.close(self._descriptor)
            raise StartupError(_in_use(self._path.parent, holder), "stop it first, or use another data_dir") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def give_to(self, uid: int, gid: int) -> None:
        """Let the account open the file at the next start."""
        os.fchown(self._descriptor, uid, gid)

    def release(self) -> None:
        """Let go; the file stays, for removing it would let two others hold two files of one name."""
        os.close(self._descriptor)


def holder_of(data_dir: Path) -> int | None:
    """The process that serves from `data_dir`, None when nobody does or it cannot be told."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).strip()
        return int(holder) if holder.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _in_use(data_dir: Path, holder: bytes) -> str:
    if not holder.isdigit():
        return f"data directory {data_dir} is in use by another process"
    command = describe(int(holder))
    what = f"process {int(holder)} ({command})" if command else f"workers of process {int(holder)}, which has ended"
    return f"data directory {data_dir} is in use by {what}"
