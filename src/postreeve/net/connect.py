"""Making connections: several addresses raced as in RFC 8305, a source address per family, and typed failures."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

STAGGER_SECONDS: Final = 0.25
"""RFC 8305, section 5: Connection Attempt Delay, recommended 250 ms."""
_BIND_ADDRESS_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen at connect, per peer


class ConnectTrouble(Enum):
    """Why there is no connection."""

    REFUSED = "connection refused"
    TIMED_OUT = "connection timed out"
    UNREACHABLE = "network or host unreachable"
    RESET = "connection reset"
    OTHER = "cannot connect"


@dataclass(frozen=True, slots=True)
class NoConnection:
    """No address answered; `kind` and `detail` are the last one's, `address` says which that was."""

    kind: ConnectTrouble
    detail: str
    address: str
    earlier: tuple[NoConnection, ...] = ()
    """How the other addresses failed, in the order in which they did; one that was never tried is not named."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to `address`; `failed` says how others failed before it came about."""

    connection: socket.socket
    """It does not block; the caller's to close."""
    address: str
    failed: tuple[NoConnection, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Which local addresses to connect from; "" leaves it to the routing table."""

    ipv4: str = ""
    ipv6: str = ""


_NO_SOURCE: Final = Source()


async def connect(
    addresses: Sequence[str],
    port: int,
    *,
    timeout_seconds: float,
    source: Source = _NO_SOURCE,
    stagger_seconds: float = STAGGER_SECONDS,
) -> Connected | NoConnection:
    """A connection to the first of the addresses that answers.

    Addresses are tried in order, families taking turns, each with `stagger_seconds` of advance or until the one before
    has failed; the time-out is for all of them together. `addresses` are IP addresses as text, never names.
    """
    if not addresses:
        return NoConnection(ConnectTrouble.OTHER, "no address to connect to", "")
    race = _Race(port, source)
    try:
        async with asyncio.timeout(timeout_seconds):
            won = await race.run(interleave(addresses), stagger_seconds)
    except TimeoutError:
        return race.lost(f"no answer within {timeout_seconds:g} s")
    if won is None:
        return race.lost()
    address, connected = won
    return Connected(connected, address, tuple(race.failures))


def interleave(addresses: Sequence[str]) -> list[str]:
    """RFC 8305, section 4: families take turns, the first address's family first, the order within each kept."""
    first_is_v6 = ":" in addresses[0]
    first = [address for address in addresses if (":" in address) == first_is_v6]
    second = [address for address in addresses if (":" in address) != first_is_v6]
    mixed: list[str] = []
    for place in range(max(len(first), len(second))):
        mixed += first[place : place + 1] + second[place : place + 1]
    return mixed


async def _connect_one(address: str, port: int, source: Source) -> socket.socket | NoConnection:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return NoConnection(ConnectTrouble.OTHER, "not an IP address", address)
    is_v6 = parsed.version == 6
    try:
        made = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return explain_os_error(error, address)
    try:
        local = source.ipv6 if is_v6 else source.ipv4
        if local:
            if not is_v6:
                made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            made.bind((local, 0))
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except OSError as error:
        made.close()
        return explain_os_error(error, address)
    except BaseException:
        made.close()
        raise
    return made


class _Race:
    """One race; `failures` are those that dropped out, in their order."""

    __slots__ = ("_port", "_source", "_under_way", "failures")

    def __init__(self, port: int, source: Source) -> None:
        self._port = port
        self._source = source
        self._under_way: list[str] = []
        self.failures: list[NoConnection] = []

    async def run(self, addresses: Sequence[str], stagger_seconds: float) -> tuple[str, socket.socket] | None:
        """The winner and its socket; None when all have failed."""
        waiting = deque(addresses)
        running: dict[asyncio.Task[socket.socket | NoConnection], str] = {}
        try:
            while waiting or running:
                if waiting:
                    address = waiting.popleft()
                    self._under_way.append(address)
                    running[asyncio.ensure_future(_connect_one(address, self._port, self._source))] = address
                await asyncio.wait(
                    running, timeout=stagger_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in [task for task in running if task.done()]:
                    result = task.result()
                    address = running.pop(task)
                    if not isinstance(result, NoConnection):
                        return address, result
                    self._under_way.remove(address)
                    self.failures.append(result)
            return None
        finally:
            await _drop(running)

    def lost(self, words: str = "") -> NoConnection:
        """What to say when nobody won; `words` are about those that have not answered at all."""
        silent = [NoConnection(ConnectTrouble.TIMED_OUT, words, address) for address in self._under_way]
        *earlier, last = [*self.failures, *silent]
        return replace(last, earlier=tuple(earlier))


async def _drop(losers: Iterable[asyncio.Task[socket.socket | NoConnection]]) -> None:
    tasks = list(losers)
    for task in tasks:
        task.cancel()
    if tasks:
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()


def explain_os_error(error: OSError, address: str) -> NoConnection:
    """The failure behind an errno."""
    match error.errno:
        case errno.ECONNREFUSED:
            kind = ConnectTrouble.REFUSED
        case errno.ETIMEDOUT:
            kind = ConnectTrouble.TIMED_OUT
        case errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN | errno.EHOSTDOWN | errno.EAFNOSUPPORT:
            kind = ConnectTrouble.UNREACHABLE
        case errno.ECONNRESET | errno.ECONNABORTED | errno.EPIPE:
            kind = ConnectTrouble.RESET
        case _:
            kind = ConnectTrouble.OTHER
    return NoConnection(kind, _words(error), address)


def _words(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "the source address is not on this machine, or all local ports are in use"
    if error.errno == errno.EACCES:
        return "not permitted: a firewall of this machine may forbid it"
    if error.errno == errno.EPERM:
        return "forbidden by this machine's firewall"
    return (error.strerror or str(error))[:200]
