"""Making connections: several addresses raced as in RFC 8305, a source address per family, and typed failures."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

STAGGER_SECONDS: Final = 0.25
"""RFC 8305, section 5: Connection Attempt Delay, recommended 250 ms."""
_BIND_ADDRESS_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen at connect, per peer

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)


class ConnectTrouble(Enum):
    """Why there is no connection."""

    REFUSED = "connection refused"
    TIMED_OUT = "connection timed out"
    UNREACHABLE = "network or host unreachable"
    RESET = "connection reset"
    OTHER = "cannot connect"


@dataclass(frozen=True, slots=True)
class NoConnection:
    """Every address failed; `kind` and `detail` are the last one's, `address` says which that was."""

    kind: ConnectTrouble
    detail: str
    address: str


@dataclass(frozen=True, slots=True)
class Source:
    """Which local addresses to connect from; "" leaves it to the routing table."""

    ipv4: str = ""
    ipv6: str = ""


_NO_SOURCE: Final = Source()


async def connect(
    addresses: Sequence[str],
    port: int,
    factory: Callable[[], Protocol],
    *,
    timeout_seconds: float,
    source: Source = _NO_SOURCE,
    stagger_seconds: float = STAGGER_SECONDS,
) -> Protocol | NoConnection:
    """A connected protocol, made by `factory`, to the first of the addresses that answers.

    Addresses are tried in order, families taking turns, each with `stagger_seconds` of advance; the time-out is for all
    of them together. `addresses` are IP addresses as text, never names.
    """
    if not addresses:
        return NoConnection(ConnectTrouble.OTHER, "no address to connect to", "")
    try:
        async with asyncio.timeout(timeout_seconds):
            if len(addresses) == 1:
                connected = await _connect_one(addresses[0], port, source)
            else:
                connected = await _race(interleave(addresses), port, source, stagger_seconds)
            if isinstance(connected, NoConnection):
                return connected
            loop = asyncio.get_running_loop()
            try:
                _, protocol = await loop.create_connection(factory, sock=connected)
            except BaseException:
                connected.close()
                raise
            return protocol
    except TimeoutError:
        return NoConnection(ConnectTrouble.TIMED_OUT, f"no answer within {timeout_seconds:g} s", addresses[0])
    except OSError as error:
        return explain_os_error(error, addresses[0])


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


async def _race(
    addresses: Sequence[str], port: int, source: Source, stagger_seconds: float
) -> socket.socket | NoConnection:
    running: set[asyncio.Task[socket.socket | NoConnection]] = set()
    waiting = list(reversed(addresses))
    failure = NoConnection(ConnectTrouble.OTHER, "no address to connect to", "")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_connect_one(waiting.pop(), port, source)))
            pause = stagger_seconds if waiting else None
            done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for place, task in enumerate(done):
                result = task.result()
                if not isinstance(result, NoConnection):
                    running.update(list(done)[place + 1 :])
                    return result
                failure = result
        return failure
    finally:
        await _drop(running)


async def _drop(losers: set[asyncio.Task[socket.socket | NoConnection]]) -> None:
    for task in losers:
        task.cancel()
    for result in await asyncio.gather(*losers, return_exceptions=True):
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
