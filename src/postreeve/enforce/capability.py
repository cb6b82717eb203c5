"""The one right that keeping sets needs, CAP_NET_ADMIN: kept alone by who needs it, given up by who does not."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_NET_ADMIN: Final = 1 << 12
_VERSION_3: Final = 0x20080522
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 8, 38, 47
_CLEAR_ALL: Final = 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def has_net_admin() -> bool:
    """True when this process may change firewalls."""
    return bool(_effective() & _NET_ADMIN)


def keep_net_admin_only(uid: int, gid: int) -> None:
    """Become `uid` if we are root, with no right but this one, for good. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        _must(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _set(libc, _NET_ADMIN)
    _must(libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0))
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _must(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def give_up_net_admin() -> None:
    """For a server that was given the right to start who needs it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if has_net_admin():
        _must(libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0))
        _set(libc, _effective() & ~_NET_ADMIN)


def _effective() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _set(libc: ctypes.CDLL, wanted: int) -> None:
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    _must(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data))


def _must(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
