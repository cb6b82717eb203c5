"""What of the network works, before and after rules change: our own listeners, and the ways that mail leaves by.

Rules may let out mail of the server's account only, so the ways out are dialled as that account, without becoming it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.app.privilege import find_account
from postreeve.checks.path import DialOutcome
from postreeve.config.model import Config
from postreeve.firewall.flow import Address, Direction, Policy, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide
from postreeve.probes.dial import dial
from postreeve.probes.resolve import resolve

_PATIENCE_SECONDS: Final = 4.0
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Way:
    """A connection that the server needs: to one of its own ports, or out. `name` is for people."""

    name: str
    address: Address
    port: int

    def __str__(self) -> str:
        return f"{self.name} ({self.address} port {self.port})"


def own_ports(config: Config) -> tuple[Way, ...]:
    """Our listeners, by loopback: what a firewall must never come between."""
    found = []
    for listener in config.listener:
        for address in listener.addresses:
            if listener.port:
                near = "::1" if address.version == 6 else "127.0.0.1"
                target = ipaddress.ip_address(near) if address.is_unspecified else address
                found.append(Way(f"listener {listener.label}", target, listener.port))
    return tuple(dict.fromkeys(found))


async def ways_out(policy: Policy, known_good: Sequence[tuple[str, int]]) -> tuple[Way, ...]:
    """Addresses that rules of the policy name, and hosts of the world that are known to answer, as far as allowed."""
    found: dict[Way, None] = {}
    for flow in policy.flows:
        if flow.direction is Direction.OUT and flow.verdict is Verdict.ACCEPT and flow.protocol is Protocol.TCP:
            for network in flow.peers:
                for ports in flow.ports if network.num_addresses == 1 else ():
                    found[Way(flow.ident, network.network_address, ports.first)] = None
    for (host, port), known in zip(
        known_good, await asyncio.gather(*(resolve(host) for host, _ in known_good)), strict=True
    ):
        for text in known.addresses[:4]:
            found[Way(host, ipaddress.ip_address(text), port)] = None
    return tuple(way for way in found if may_leave(policy, way.address, way.port))


def may_leave(policy: Policy, address: Address, port: int) -> bool:
    """True when the policy lets somebody of this machine connect there."""
    users = {flow.user for flow in policy.flows} | {"root"}
    return any(
        decide(policy, Packet(Direction.OUT, Protocol.TCP, address, port, state=State.NEW, user=user)).verdict
        is Verdict.ACCEPT
        for user in users
    )


def dial_all(ways: Sequence[Way], user: str = "") -> dict[Way, DialOutcome]:
    """What comes of one connection each, as `user` where we are root."""
    with _acting_as(user):
        return asyncio.run(_dial_all(ways))


async def _dial_all(ways: Sequence[Way]) -> dict[Way, DialOutcome]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(way: Way) -> DialOutcome:
        async with room:
            found = await dial(str(way.address), way.port, timeout_seconds=_PATIENCE_SECONDS)
        if found.socket is not None:
            found.socket.close()
        return found.dial.outcome

    return dict(zip(ways, await asyncio.gather(*(one(way) for way in ways)), strict=True))


def losses(before: dict[Way, DialOutcome], after: dict[Way, DialOutcome]) -> list[str]:
    """What worked and does not any more, one line each."""
    return [
        f"{way} no longer answers: {outcome.value}"
        for way, outcome in after.items()
        if outcome is not DialOutcome.OPEN and before.get(way) is DialOutcome.OPEN
    ]


@contextlib.contextmanager
def _acting_as(user: str) -> Iterator[None]:
    """Sockets made meanwhile belong to the account (`meta skuid`); nothing else of this process changes for good."""
    account = find_account(user) if user else None
    if account is None:
        yield
        return
    libc = ctypes.CDLL(None)
    before = libc.setfsuid(account.uid)
    try:
        yield
    finally:
        libc.setfsuid(before)
