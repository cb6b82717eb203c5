"""Controls: dials elsewhere that tell the target's fault from ours and from the path's, before anyone is blamed."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Iterable
from typing import Final

from postreeve.checks.path import Control, ControlRole, DialOutcome
from postreeve.ports.known_good import KnownGood
from postreeve.ports.service import Mode, convention
from postreeve.probes.dial import Dialled, dial
from postreeve.probes.hearing import escape
from postreeve.probes.request import Request

OTHER_PORTS: Final = (25, 465, 587, 2525, 443, 80)
_BANNER_SECONDS: Final = 2.0
_CONNECT_SECONDS: Final = 4.0
_MAX_BANNER: Final = 512
_WEB_PORT: Final = 443
_SAME_PORT: Final = 2
_OTHERS: Final = 2


async def control(
    host: str, address: str, port: int, tried: frozenset[int], request: Request, source: str
) -> tuple[Control, ...]:
    """Everything that tells whose fault a failure at `address` is; all side by side, within about six seconds.

    On loopback there is no path, so only other ports of the host are dialled. Hosts that are known to answer are
    dialled where the target is on the public Internet, or where somebody chose them.
    """
    where = ipaddress.ip_address(address.partition("%")[0])
    ports = [other for other in OTHER_PORTS if other not in tried]
    wanted: list[Awaitable[Control | None]] = [
        _dial(ControlRole.OTHER_PORT, address, other, request, source) for other in ports
    ]
    if not where.is_loopback:
        wanted += [
            _dial(ControlRole.NOWHERE, one, port, request, source)
            for one in request.nowhere
            if (":" in one) == (where.version == 6)
        ]
        if where.is_global or request.has_own_known_good:
            others = [one for one in request.known_good if one.host not in (host, address)]
            chosen = choose_known_good(others, port, where.version)
            wanted += [_known(one, where.version, request, source) for one in chosen]
    made = await asyncio.gather(*wanted)
    return tuple(filter(None, made))


def choose_known_good(known: Iterable[KnownGood], port: int, version: int) -> tuple[KnownGood, ...]:
    """Two on the port in question, and two on others, the web's if there is one: is this port closed, or every way?

    Addresses of the other family than `version` say nothing and are left out.
    """
    every = tuple(one for one in known if _version(one.host) in (0, version))
    same = [one for one in every if one.port == port][:_SAME_PORT]
    others: list[KnownGood] = []
    for one in sorted(every, key=lambda known: known.port != _WEB_PORT):
        if one.port != port and one.port not in {other.port for other in others} and len(others) < _OTHERS:
            others.append(one)
    return (*same, *others)


def _version(host: str) -> int:
    """4 or 6 for an address, 0 for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


async def _known(known: KnownGood, version: int, request: Request, source: str) -> Control | None:
    """One address of the host, in the family in question; None when it has none here."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                known.host, known.port, family=family, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError):
        return None
    address = str(found[0][4][0])
    return await _dial(ControlRole.KNOWN_GOOD, address, known.port, request, source, known.mode)


async def _dial(
    role: ControlRole, address: str, port: int, request: Request, source: str, mode: Mode | None = None
) -> Control:
    seconds = min(request.timeout_seconds, _CONNECT_SECONDS)
    dialled = await dial(address, port, timeout_seconds=seconds, source=source)
    speaks_first = (mode or convention(port)) is not Mode.IMPLICIT and port not in (80, 443)
    return Control(role, dialled.dial, await read_banner(dialled, _BANNER_SECONDS if speaks_first else 0.0))


async def read_banner(dialled: Dialled, seconds: float) -> str:
    """The first line that comes, escaped, "" when none does in time; closes the connection."""
    sock = dialled.socket
    if sock is None or dialled.dial.outcome is not DialOutcome.OPEN:
        return ""
    loop, heard = asyncio.get_running_loop(), b""
    try:
        if seconds:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(seconds):
                    while b"\n" not in heard and len(heard) < _MAX_BANNER:
                        data = await loop.sock_recv(sock, _MAX_BANNER)
                        if not data:
                            break
                        heard += data
    finally:
        sock.close()
    return escape(heard.partition(b"\n")[0].rstrip(b"\r")[:_MAX_BANNER])
