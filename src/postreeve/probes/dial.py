"""One TCP connect, and exactly what came of it: every way to fail told apart, for both families.

The patience is one connect's own: nothing is raced and nothing repeated, since a probe that hurries several
connections at once measures the server's limits and not the way there.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from postreeve.checks.path import Dial, DialOutcome, Icmp
from postreeve.probes.errors import classify_errno, classify_icmp, is_dropped_here, read_icmp, watch_errors

_IP_BIND_ADDRESS_NO_PORT: Final = 24
_DROP_SECONDS: Final = 1.25
"""When it is known whether our own firewall drops: the first retransmission is due after one second."""
_Socket = socket.socket  # the module's name is taken by a field


@dataclass(frozen=True, slots=True)
class Dialled:
    """The fact, and the connection if there is one: non-blocking, and the caller's to close."""

    dial: Dial
    socket: _Socket | None = None


async def dial(address: str, port: int, *, timeout_seconds: float, source: str = "", hop_limit: int = 0) -> Dialled:
    """Connect to an IP address (never a name) from `source`, or from where routing says; never raises OSError.

    `hop_limit` other than 0 lets the packets come no further than that many hops (`probes.trace`). A time-out shorter
    than about 1.2 seconds cannot tell a firewall of this machine that drops from one far away.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()

    def failed(outcome: DialOutcome, code: int = 0, local: str = "", icmp: Icmp | None = None) -> Dialled:
        name = errno.errorcode.get(code, str(code)) if code else ""
        return Dialled(Dial(address, port, outcome, loop.time() - began, local, name, icmp))

    target = _parse(address, port)
    if target is None:
        return failed(DialOutcome.OTHER, errno.EINVAL)
    try:
        sock = socket.socket(target[0], socket.SOCK_STREAM)
    except OSError as problem:
        is_family = problem.errno == errno.EAFNOSUPPORT
        return failed(DialOutcome.NO_ROUTE if is_family else DialOutcome.OTHER, problem.errno or errno.EINVAL)
    is_kept = False
    try:
        sock.setblocking(False)
        watch_errors(sock)
        if hop_limit:
            _limit_hops(sock, hop_limit)
        if source:
            try:
                _bind(sock, source)
            except OSError as problem:
                return failed(DialOutcome.NO_SOURCE, problem.errno or 0)
        code = sock.connect_ex(target[1])
        is_at_once = code not in (0, errno.EINPROGRESS)
        if code == errno.EINPROGRESS:
            code = await _wait(sock, min(timeout_seconds, _DROP_SECONDS))
            if code == errno.ETIMEDOUT and not is_dropped_here(sock):
                code = await _wait(sock, timeout_seconds - _DROP_SECONDS)
        local = _local_address(sock)
        icmp = read_icmp(sock) if code else None
        if code == 0:
            watch_errors(sock, False)
            is_kept = True
            return Dialled(Dial(address, port, DialOutcome.OPEN, loop.time() - began, local), sock)
        if icmp is not None:
            return failed(classify_icmp(icmp, local), code, local, icmp)
        if code == errno.ETIMEDOUT and is_dropped_here(sock):
            return failed(DialOutcome.FORBIDDEN, errno.EPERM, local)
        return failed(classify_errno(code, is_at_once=is_at_once), code, local)
    finally:
        if not is_kept:
            sock.close()


def _parse(address: str, port: int) -> tuple[socket.AddressFamily, Any] | None:
    """Family and socket address; with a scope ("fe80::1%eth0") where there is one."""
    if not address or not address.isprintable() or not 0 <= port <= 65_535:
        return None
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return (found[0][0], found[0][4]) if found else None


async def _wait(sock: socket.socket, timeout_seconds: float) -> int:
    """The errno with which a connect under way ends; ETIMEDOUT when our patience does."""
    if timeout_seconds <= 0:
        return errno.ETIMEDOUT
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _settle, done)
    try:
        async with asyncio.timeout(timeout_seconds):
            await done
    except TimeoutError:
        return errno.ETIMEDOUT
    finally:
        loop.remove_writer(sock)
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return code
    try:
        sock.getpeername()
    except OSError:
        return errno.EHOSTUNREACH  # an ICMP error woke us that the kernel took for a passing one
    return 0


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _bind(sock: socket.socket, source: str) -> None:
    here = _parse(source, 0)
    if here is None:
        raise OSError(errno.EADDRNOTAVAIL, "no address")
    if here[0] != sock.family:
        raise OSError(errno.EAFNOSUPPORT, "another family")
    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind(here[1])


def _limit_hops(sock: socket.socket, hop_limit: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)


def _local_address(sock: socket.socket) -> str:
    try:
        name = str(sock.getsockname()[0])
    except OSError:
        return ""
    return "" if name in ("0.0.0.0", "::") else name
