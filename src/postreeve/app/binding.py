"""Listening sockets: bound before privileges are dropped, or taken over from systemd.

Each worker gets a socket of its own for each address (SO_REUSEPORT): the kernel spreads the connections, and since the
supervisor holds all of them, those of a crashed worker wait for its successor.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from postreeve.app.process import describe, listener_on
from postreeve.app.startup import StartupError
from postreeve.policy.settings import ListenerSettings

BACKLOG: Final = 1024
_FIRST_PASSED: Final = 3
_PRIVILEGED_BELOW: Final = 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """The sockets of one address of one listener: one per worker, or one that all share."""

    listener: str
    address: str
    port: int
    """The real one, where the configuration said 0."""
    sockets: tuple[socket.socket, ...]
    is_any_port: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What stays the same over a reload: see `key_of`."""
        return (self.listener, self.address, 0) if self.is_any_port else ("", self.address, self.port)

    def of_worker(self, worker: int) -> socket.socket:
        """The socket for this worker, from 0."""
        return self.sockets[worker % len(self.sockets)]

    def close(self) -> None:
        """Give the port back, as far as this process is concerned."""
        for one in self.sockets:
            one.close()

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.listener}={host}:{self.port}"


Key = tuple[str, str, int]


def key_of(listener: ListenerSettings, address: str) -> Key:
    """Whatever else of a listener changes, a socket goes on being used for its address and port."""
    return (listener.name, address, 0) if listener.port == 0 else ("", address, listener.port)


def bind_all(
    listeners: Sequence[ListenerSettings],
    workers: int,
    passed: Sequence[socket.socket] = (),
    held: Mapping[Key, Bound] = MappingProxyType({}),
) -> tuple[Bound, ...]:
    """Sockets for every address of every listener: those `held` before, those `passed` by systemd, or new ones.

    Raises StartupError, with no new one left open, when a port is in use, forbidden, or passed without a listener.
    """
    unused = {passed_name(one): one for one in passed}
    bound: list[Bound] = []
    try:
        for listener in listeners:
            for address in listener.addresses:
                known = held.get(key_of(listener, address))
                ready = unused.pop((address, listener.port), None)
                if known is not None:
                    bound.append(replace(known, listener=listener.name))
                elif ready is not None:
                    bound.append(Bound(listener.name, address, listener.port, (ready,)))
                else:
                    bound.append(_bind(listener, address, workers))
        if unused:
            address, port = next(iter(unused))
            hint = "the .socket unit and the configuration must agree on addresses and ports"
            raise StartupError(f"systemd passed a socket for {address} port {port} that no [[listener]] names", hint)
    except BaseException:
        for one in bound:
            if one.key not in held:
                one.close()
        raise
    return tuple(bound)


def passed_name(one: socket.socket) -> tuple[str, int]:
    """Address and port of a socket."""
    address, port = one.getsockname()[:2]
    return str(ip_address(str(address).partition("%")[0])), int(port)


def take_passed() -> tuple[socket.socket, ...]:
    """The sockets systemd passed (sd_listen_fds(3)), if any are meant for us; the variables leave the environment."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return ()
    sockets = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
        if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
            raise StartupError(f"descriptor {descriptor} passed by systemd is no TCP socket", "use ListenStream=")
        sockets.append(one)
    return tuple(sockets)


def _bind(listener: ListenerSettings, address: str, workers: int) -> Bound:
    first: socket.socket | None = None
    sockets: list[socket.socket] = []
    port = listener.port
    try:
        # A socket without SO_REUSEPORT cannot join others: another server on this port is found out here.
        first = _open(address, port, shared=False)
        port = first.getsockname()[1]
        first.close()
        for _ in range(workers):
            one = _open(address, port, shared=True)
            sockets.append(one)
            one.listen(BACKLOG)
    except OSError as problem:
        for one in sockets:
            one.close()
        raise _explain(listener, address, port, problem) from None
    finally:
        if first is not None:
            first.close()
    return Bound(listener.name, address, port, tuple(sockets), listener.port == 0)


def _open(address: str, port: int, *, shared: bool) -> socket.socket:
    is_v6 = ":" in address
    one = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if is_v6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setblocking(False)
        one.bind((address, port))
    except OSError:
        one.close()
        raise
    return one


def _explain(listener: ListenerSettings, address: str, port: int, problem: OSError) -> StartupError:
    what = f"listener {listener.name}: cannot listen on {address} port {port}"
    if problem.errno == errno.EADDRINUSE:
        holder = listener_on(port, ip_address(address))
        if holder is None:
            return StartupError(f"{what}: the port is in use by another process", f"find it: ss -ltnp sport = :{port}")
        return StartupError(f"{what}: in use by process {holder} ({describe(holder)})", "stop it, or change the port")
    if problem.errno in (errno.EACCES, errno.EPERM) and port < _PRIVILEGED_BELOW:
        hint = "start as root, under systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE, or take a port above 1023"
        return StartupError(f"{what}: ports below 1024 need a privilege", hint)
    if problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        family = "IPv6 may be switched off; " if ":" in address else ""
        return StartupError(f"{what}: this machine has no such address", f"{family}see: ip address show")
    return StartupError(f"{what}: {problem.strerror}")
