"""The machine around the server: room on disks, the clock, files that must be private."""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from postreeve.checks.machine import Clock, Disk, FilePermission

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    # struct timex of Linux's <sys/timex.h>; what follows `status` is not looked at.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def read_clock() -> Clock:
    """What the kernel says of the clock; nothing where there is no such call."""
    try:
        state = _Timex()
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return Clock()
    if answer < 0:
        return Clock()
    return Clock(is_synchronised=not (answer == _TIME_ERROR or state.status & _STA_UNSYNC), source="the kernel")


def read_disk(directory: Path, floor_octets: int) -> Disk | None:
    """Room in a directory's file system; None when it is not there."""
    try:
        state = os.statvfs(directory)
    except OSError:
        return None
    return Disk(
        str(directory),
        state.f_blocks * state.f_frsize,
        state.f_bavail * state.f_frsize,
        floor_octets,
        state.f_files,
        state.f_favail,
    )


def read_permissions(files: Iterable[tuple[Path, int]]) -> tuple[FilePermission, ...]:
    """Mode and owner of files and directories, with the mode that is enough for each; absent ones are left out."""
    found = []
    for path, wanted in files:
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        except OSError as problem:
            found.append(FilePermission(str(path), 0, "", wanted, problem.strerror or "cannot be looked at"))
            continue
        found.append(FilePermission(str(path), state.st_mode & 0o7777, _name(state.st_uid), wanted))
    return tuple(found)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
