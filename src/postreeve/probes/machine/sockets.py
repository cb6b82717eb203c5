"""Listening sockets of this machine and the processes that hold them, from /proc (Linux)."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postreeve.checks.machine import Bound
from postreeve.probes.machine.dual_stack import find_dual_stack

_LISTEN: Final = "0A"
_PROC: Final = Path("/proc")


def listening(ours: frozenset[int], proc: Path = _PROC) -> tuple[Bound, ...]:
    """Every listening TCP socket; `ours` are process ids whose sockets are our own server's.

    The owner is known for processes that this user may look into: all of them as root.
    """
    holders = _holders(proc)
    dual = find_dual_stack() if proc == _PROC else frozenset()
    found = []
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) < 10 or fields[3] != _LISTEN:
                continue
            address, port = _endpoint(fields[1])
            pids = holders.get(fields[9], ())
            own = next((pid for pid in pids if pid in ours), 0)
            pid = own or next(iter(pids), 0)
            user, is_dual = _user(int(fields[7])), fields[9] in dual
            found.append(Bound(address, port, pid, _program(proc, pid), user, bool(own), is_dual))
    return tuple(sorted(set(found), key=lambda one: (one.port, one.address)))


def family_of(pid: int, proc: Path = _PROC) -> frozenset[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for one in _pids(proc):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((proc / str(one) / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(one)
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += children.get(one, [])
    return frozenset(found)


def _pids(proc: Path) -> Iterator[int]:
    for name in os.listdir(proc):
        if name.isdigit():
            yield int(name)


def _holders(proc: Path) -> dict[str, tuple[int, ...]]:
    """Process ids by the inode of a socket they hold."""
    found: dict[str, tuple[int, ...]] = {}
    for pid in sorted(_pids(proc)):
        directory = proc / str(pid) / "fd"
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(directory / name)
            except OSError:
                continue
            if target.startswith("socket:["):
                inode = target[8:-1]
                found[inode] = (*found.get(inode, ()), pid)
    return found


def _endpoint(text: str) -> tuple[str, int]:
    """`0100007F:0019`: the address in words of the machine's byte order, the port in hexadecimal."""
    address, _, port = text.partition(":")
    packed = b"".join(
        int(address[start : start + 8], 16).to_bytes(4, "little" if _IS_LITTLE else "big")
        for start in range(0, len(address), 8)
    )
    return str(ipaddress.ip_address(packed)), int(port, 16)


def _program(proc: Path, pid: int) -> str:
    if not pid:
        return ""
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


_IS_LITTLE: Final = socket.htons(1) != 1
