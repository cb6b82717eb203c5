"""Who owns a queue file: exactly one process, which holds a lock that its death releases."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postreeve.store.face import StoreError


class Ownership:
    """The lock beside one queue file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """Become the owner; raises StoreError naming the process that is."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreError(f"{self._path.with_suffix('.db')} is in use by process {holder or 'unknown'}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def give_up(self) -> None:
        """Let another process own it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
