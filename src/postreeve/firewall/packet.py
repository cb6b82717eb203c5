"""What a policy says to one packet: the evaluator that renderers, readers and the kernel are compared with."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.flow import Address, Direction, Family, Flow, Network, Policy, Protocol, State, Verdict

_NO_SETS: Final[Mapping[str, tuple[Network, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. `peer` is the other end, `port` the destination port (0 for ICMP)."""

    direction: Direction
    protocol: Protocol
    peer: Address
    port: int = 0
    icmp_type: int = 0
    state: State = State.NEW
    """NEW or ESTABLISHED."""
    interface: str = "eth0"
    user: str = "root"
    is_published: bool = False
    """It goes to a container behind the host, by a published port."""
    within_rate: bool = True

    @property
    def family(self) -> Family:
        """Of its addresses."""
        return Family(self.peer.version)


@dataclass(frozen=True, slots=True)
class Decision:
    """`verdict` is None when it cannot be told: a flow that was not understood might have fitted. `flow` decided."""

    verdict: Verdict | None
    flow: Flow | None


def decide(policy: Policy, packet: Packet, sets: Mapping[str, tuple[Network, ...]] = _NO_SETS) -> Decision:
    """The verdict of the first flow that fits, else the default of the direction.

    What belongs to a connection to a published port that is under way passes, unless a named set refuses it.
    """
    for flow in policy.flows:
        if not fits(flow, packet, sets):
            continue
        return Decision(None if flow.unknown else flow.verdict, flow)
    if packet.is_published and packet.state is State.ESTABLISHED:
        return Decision(Verdict.ACCEPT, None)
    default = policy.default_in if packet.direction is Direction.IN else policy.default_out
    return Decision(default, None)


def fits(flow: Flow, packet: Packet, sets: Mapping[str, tuple[Network, ...]] = _NO_SETS) -> bool:
    """True when the flow is about this packet, as far as it was understood."""
    if flow.direction is not packet.direction or flow.family is not packet.family:
        return False
    if flow.protocol not in (Protocol.ANY, packet.protocol):
        return False
    if flow.state not in (State.ANY, packet.state):
        return False
    if flow.ports and not any(packet.port in ports for ports in flow.ports):
        return False
    if flow.icmp_types and packet.icmp_type not in flow.icmp_types:
        return False
    if flow.interface and flow.interface != packet.interface:
        return False
    if flow.user and flow.user != packet.user:
        return False
    if (flow.container is not None) != packet.is_published and not (packet.is_published and flow.peer_set):
        return False
    if flow.rate is not None and not packet.within_rate:
        return False
    peers = sets.get(flow.peer_set, ()) if flow.peer_set else flow.peers
    return _is_in(packet.peer, peers)


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(isinstance(one, ipaddress.IPv4Network) and address in one for one in networks)
    return any(isinstance(one, ipaddress.IPv6Network) and address in one for one in networks)
