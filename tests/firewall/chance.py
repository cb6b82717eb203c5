"""Policies and packets by chance, over a universe small enough that they meet. `random.Random` in, the same out."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from postreeve.firewall.flow import (
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
    tidy_peers,
    tidy_ports,
)
from postreeve.firewall.packet import Packet, fits

NETWORKS: Final = {
    Family.IPV4: (
        "0.0.0.0/0",
        "198.51.100.0/24",
        "198.51.100.128/25",
        "198.51.100.7/32",
        "203.0.113.0/24",
        "203.0.113.128/25",
        "203.0.113.25/32",
        "10.0.0.0/8",
        "10.9.8.0/30",
    ),
    Family.IPV6: (
        "::/0",
        "2001:db8::/32",
        "2001:db8:51::/48",
        "2001:db8:51:1::/64",
        "2001:db8:51:1::7/128",
        "2001:db8:b::/48",
        "2001:db8:b::25/128",
        "fd00::/8",
    ),
}
PEERS: Final = {
    Family.IPV4: ("198.51.100.7", "198.51.100.127", "198.51.100.128", "203.0.113.25", "203.0.113.200", "10.9.8.3"),
    Family.IPV6: ("2001:db8:51:1::7", "2001:db8:51:1::8", "2001:db8:51:2::1", "2001:db8:b::25", "fd00::1"),
}
LOOPBACK: Final = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
SECOND: Final = {
    Family.IPV4: ipaddress.ip_network("203.0.113.128/25"),
    Family.IPV6: ipaddress.ip_network("2001:db8:b::/48"),
}
"""What is routed by eth1."""
PORTS: Final = (22, 24, 25, 26, 53, 80, 443, 465, 587, 1000, 1001, 1100, 1101, 65_535)
TYPES: Final = {Family.IPV4: (0, 3, 8, 11, 13), Family.IPV6: (1, 2, 128, 129, 135)}
ERRORS: Final = {Family.IPV4: (3, 11), Family.IPV6: (1, 2)}
QUERIES: Final = {Family.IPV4: (8, 13), Family.IPV6: (128,)}
"""Connection tracking takes these for the first packet of something."""
Sets = Mapping[str, tuple[Network, ...]]


def draw_policy(chance: random.Random, *, users: tuple[str, ...] = ("root",), most: int = 8) -> tuple[Policy, Sets]:
    """A policy that passes `check`, and what is in its sets."""
    families = chance.choice([(Family.IPV4, Family.IPV6)] * 3 + [(Family.IPV4,), (Family.IPV6,)])
    names = tuple(f"bans{family.value}" for family in families) if chance.random() < 0.4 else ()
    flows = tuple(
        _draw_flow(chance, f"flow-{number}", chance.choice(families), users, bool(names))
        for number in range(chance.randint(0, most))
    )
    used = tuple(name for name in names if any(flow.peer_set == name for flow in flows))
    sets = {name: _draw_bans(chance, Family(int(name[-1]))) for name in used}
    defaults = [chance.choice(list(Verdict)) for _ in range(2)]
    return Policy("chance", flows, defaults[0], defaults[1], used), sets


def _draw_flow(chance: random.Random, ident: str, family: Family, users: tuple[str, ...], has_sets: bool) -> Flow:
    direction = chance.choice(list(Direction))
    protocol = chance.choice([Protocol.TCP] * 4 + [Protocol.UDP] * 2 + [Protocol.ICMP, Protocol.ANY])
    ports = types = ()
    if protocol in (Protocol.TCP, Protocol.UDP) and chance.random() < 0.85:
        ports = tidy_ports(_draw_ports(chance) for _ in range(chance.choice((1, 1, 2, 3))))
    if protocol is Protocol.ICMP and chance.random() < 0.7:
        types = tuple(sorted(chance.sample(TYPES[family], chance.randint(1, 3))))
    peers = tidy_peers(
        ipaddress.ip_network(chance.choice(NETWORKS[family])) for _ in range(chance.choice((1, 1, 2, 3)))
    )
    is_set = has_sets and direction is Direction.IN and chance.random() < 0.3
    state = chance.choice([State.NEW] * 3 + [State.ESTABLISHED, State.ANY, State.ANY])
    has_rate = direction is Direction.IN and state is State.NEW and chance.random() < 0.15
    return Flow(
        ident,
        direction,
        family,
        protocol,
        chance.choice(list(Verdict)),
        () if is_set else peers,
        ports,
        types,
        state,
        chance.choice(["", "", "", "lo", "eth0", "eth1"]),
        chance.choice(["", *users]) if direction is Direction.OUT else "",
        f"bans{family.value}" if is_set else "",
        # More than any test sends.
        Rate(1000, 1) if has_rate else None,
        because="chance",
    )


def _draw_ports(chance: random.Random) -> Ports:
    first = chance.choice(PORTS)
    if chance.random() < 0.6:
        return Ports(first, first)
    return Ports(first, chance.choice([port for port in PORTS if port >= first]))


def _draw_bans(chance: random.Random, family: Family) -> tuple[Network, ...]:
    addresses = chance.sample(PEERS[family], chance.randint(0, 2))
    if family is Family.IPV4:
        return tidy_peers(ipaddress.ip_network(one) for one in addresses)
    return tidy_peers(ipaddress.ip_network(f"{one}/64", strict=False) for one in addresses)


def draw_packet(chance: random.Random, *, users: tuple[str, ...] = ("root",)) -> Packet:
    """A first packet."""
    family = chance.choice(list(Family))
    direction = chance.choice(list(Direction))
    is_loopback = chance.random() < 0.15
    peer = ipaddress.ip_address(LOOPBACK[family] if is_loopback else chance.choice(PEERS[family]))
    protocol = chance.choice([Protocol.TCP] * 4 + [Protocol.UDP] * 2 + [Protocol.ICMP])
    if is_loopback:
        interface = "lo"
    elif direction is Direction.OUT:
        interface = "eth1" if peer in SECOND[family] else "eth0"
    else:
        interface = chance.choice(("eth0", "eth1"))
    return Packet(
        direction,
        protocol,
        peer,
        0 if protocol is Protocol.ICMP else chance.choice(PORTS),
        chance.choice(TYPES[family]) if protocol is Protocol.ICMP else 0,
        State.NEW,
        interface,
        chance.choice(users) if direction is Direction.OUT else "root",
    )


def is_plain(policy: Policy, packet: Packet, sets: Sets) -> bool:
    """False for ICMP that belongs to no connection where a flow asks for the state: the kernel tracks it as neither."""
    if packet.protocol is not Protocol.ICMP or packet.state is State.ESTABLISHED:
        return True
    if packet.icmp_type in QUERIES[packet.family]:
        return True
    return not any(
        flow.state is not State.ANY and fits(replace(flow, state=State.ANY), packet, sets) for flow in policy.flows
    )


def draw_packets(
    chance: random.Random, policy: Policy, sets: Sets, count: int, *, users: tuple[str, ...] = ("root",)
) -> Iterator[Packet]:
    """First packets that the model knows all about."""
    for _ in range(count):
        packet = draw_packet(chance, users=users)
        while not is_plain(policy, packet, sets):
            packet = draw_packet(chance, users=users)
        yield packet
