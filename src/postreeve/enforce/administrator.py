"""Who is logged in by SSH now: the peers that no new rule may cut off.

SSH_CONNECTION is lost by sudo and su, the processes are not: the connections of sshd are found in the socket table.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve.enforce.sockets import Session, sessions
from postreeve.firewall.flow import Address, Direction, Policy, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Administrator:
    """Where somebody is logged in from, and the port of ours that they came to."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Cut:
    """An administrator whom the policy would not let in again, and the rule that says so ("" = the default)."""

    administrator: Administrator
    because: str


def find_administrators(
    environment: Mapping[str, str], proc: Path = _PROC, table: tuple[Session, ...] | None = None
) -> tuple[Administrator, ...]:
    """All of them, sorted: of this session, and of every other one of sshd's that we may look into."""
    found = set()
    words = environment.get("SSH_CONNECTION", "").split()
    if len(words) == 4:
        try:
            found.add(Administrator(_plain(words[0]), int(words[3])))
        except ValueError:
            pass  # not what sshd writes
    inodes = set(_sockets_of_sshd(proc))
    for session in sessions() if table is None else table:
        if session.inode in inodes and not session.peer.is_loopback:
            found.add(Administrator(session.peer, session.port))
    return tuple(sorted(found, key=lambda one: (one.address.version, int(one.address), one.port)))


def find_cuts(policy: Policy, administrators: tuple[Administrator, ...]) -> list[Cut]:
    """Those who could not begin anew, nor go on, under this policy."""
    found = []
    for one in administrators:
        if one.address.is_loopback:
            continue
        for direction, state in (
            (Direction.IN, State.NEW),
            (Direction.IN, State.ESTABLISHED),
            (Direction.OUT, State.ESTABLISHED),
        ):
            packet = Packet(direction, Protocol.TCP, one.address, one.port, state=state)
            decision = decide(policy, packet)
            if decision.verdict is not Verdict.ACCEPT:
                found.append(Cut(one, decision.flow.ident if decision.flow else ""))
                break
    return found


def _plain(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _sockets_of_sshd(proc: Path) -> Iterator[str]:
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            if not (process / "comm").read_text().startswith("sshd"):
                continue
            links = [os.readlink(entry) for entry in (process / "fd").iterdir()]
        except OSError:
            continue
        for link in links:
            if link.startswith("socket:["):
                yield link[8:-1]
