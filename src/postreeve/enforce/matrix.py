"""Which connections tell whether rules do what the policy says: every class of peer, every port that matters.

The expectation is the evaluator's: a connection is open when its first packet passes and so does what follows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.firewall.flow import Address, Direction, Family, Network, Policy, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide

STRANGERS: Final[dict[Family, tuple[Address, ...]]] = {
    Family.IPV4: tuple(ipaddress.ip_address(one) for one in ("203.0.113.201", "198.51.100.201", "192.0.2.201")),
    Family.IPV6: tuple(ipaddress.ip_address(one) for one in ("2001:db8:fff1::201", "2001:db8:fff2::201")),
}
CONTROLS: Final = (22, 25, 80, 110, 143, 443, 465, 587, 993, 2525, 3306)
"""Ports that are looked at whether or not a rule names them."""
OTHER_USER: Final = "nobody"
MAX_CASES: Final = 4_000


class Answer(Enum):
    """What becomes of a connection."""

    OPEN = "open"
    RESET = "reset"
    """Somebody answers no, by RST or ICMP."""
    SILENT = "silent"
    UNKNOWN = "unknown"
    """Rules that were not understood, or a place that cannot be dialled from here."""


@dataclass(frozen=True, slots=True)
class Case:
    """One connection. `peer_class` is what the peer stands for: a network of the policy, or "strangers"."""

    direction: Direction
    protocol: Protocol
    peer: Address
    port: int
    peer_class: str
    user: str = "root"
    """Who dials, on the way out."""

    @property
    def family(self) -> Family:
        """Of its addresses."""
        return Family(self.peer.version)

    def __str__(self) -> str:
        how = "" if self.protocol is Protocol.TCP else f"{self.protocol.value} "
        if self.direction is Direction.IN:
            return f"from {self.peer} ({self.peer_class}) to {how}port {self.port}"
        return f"to {self.peer} ({self.peer_class}) {how}port {self.port}, by {self.user}"


def expect(policy: Policy, case: Case) -> Answer:
    """What the policy says to it."""
    back = Direction.OUT if case.direction is Direction.IN else Direction.IN
    first = decide(policy, Packet(case.direction, case.protocol, case.peer, case.port, user=case.user)).verdict
    if first is not Verdict.ACCEPT:
        return _REFUSALS[first]
    for direction in (back, case.direction):
        user = case.user if case.direction is Direction.OUT else "root"
        port = case.port if direction is case.direction else 40_000
        packet = Packet(direction, case.protocol, case.peer, port, state=State.ESTABLISHED, user=user)
        verdict = decide(policy, packet).verdict
        if verdict is None:
            return Answer.UNKNOWN
        if verdict is not Verdict.ACCEPT:
            return Answer.SILENT
    return Answer.OPEN


_REFUSALS: Final = {Verdict.DROP: Answer.SILENT, Verdict.REJECT: Answer.RESET, None: Answer.UNKNOWN}


def make_cases(policy: Policy, further_ports: Iterable[int] = ()) -> list[Case]:
    """Every class of peer against every port that matters, in a stable order, bounded."""
    ports = sorted({*CONTROLS, *further_ports, *_ports(policy)})
    found: dict[Case, None] = {}
    for family in Family:
        if not any(flow.family is family for flow in policy.flows):
            continue
        for direction in Direction:
            users = _users(policy) if direction is Direction.OUT else ("root",)
            for peer, name in _peers(policy, family, direction):
                for port in ports:
                    for user in users:
                        found[Case(direction, Protocol.TCP, peer, port, name, user)] = None
        for port in sorted({53, 123, *_ports(policy, Protocol.UDP)} - {67, 68, 546, 547}):
            for peer, name in _peers(policy, family, Direction.OUT):
                found[Case(Direction.OUT, Protocol.UDP, peer, port, name)] = None
    return _within_rates(policy, list(found))[:MAX_CASES]


def _ports(policy: Policy, protocol: Protocol = Protocol.TCP) -> Iterator[int]:
    for flow in policy.flows:
        if flow.protocol is protocol and flow.container is None:
            for ports in flow.ports:
                yield from {max(1, ports.first), ports.last}


def _users(policy: Policy) -> tuple[str, ...]:
    named = {flow.user for flow in policy.flows if flow.user}
    return (*sorted(named), OTHER_USER) if named else ("root",)


def _peers(policy: Policy, family: Family, direction: Direction) -> Iterator[tuple[Address, str]]:
    """A sample of every network that rules of this direction name, and a stranger to all of them."""
    networks = {
        network
        for flow in policy.flows
        if flow.direction is direction and flow.family is family and flow.container is None
        for network in flow.peers
    }
    narrow = sorted(
        (one for one in networks if one.prefixlen), key=lambda one: (int(one.network_address), one.prefixlen)
    )
    for network in narrow:
        if is_usual(network.network_address):
            yield _sample(network), str(network)
    for stranger in STRANGERS[family]:
        if not any(stranger in network for network in narrow):
            yield stranger, "strangers"
            return


def is_usual(address: Address) -> bool:
    """An address that a host of somewhere else may have."""
    return not (address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified)


def _sample(network: Network) -> Address:
    first = network.network_address
    return first + 1 if network.num_addresses > 2 else first


def _within_rates(policy: Policy, cases: list[Case]) -> list[Case]:
    """Of a rule with a rate only as many as it allows from one peer."""
    used: dict[tuple[str, Address], int] = {}
    kept = []
    for case in cases:
        flow = decide(policy, Packet(case.direction, case.protocol, case.peer, case.port, user=case.user)).flow
        if flow is not None and flow.rate is not None:
            key = (flow.ident, case.peer)
            used[key] = used.get(key, 0) + 1
            if used[key] > flow.rate.connections:
                continue
        kept.append(case)
    return kept
