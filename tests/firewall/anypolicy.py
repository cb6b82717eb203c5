"""Any policy a host could have, for what layers around it make of it; and packets that meet it."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace
from typing import Final

from postreeve.firewall.exposure import Entrance, Exposure, Purpose
from postreeve.firewall.flow import (
    WORLD,
    Container,
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
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import Packet
from postreeve.firewall.reduce import LeftOut, Means, reduce

PORTS: Final = (22, 25, 80, 465, 587, 2525, 8080, 9125)
NETWORKS: Final = {
    Family.IPV4: (
        "198.51.100.0/24",
        "198.51.100.7/32",
        "203.0.113.0/25",
        "203.0.113.9/32",
        "192.0.2.0/30",
        "192.0.2.128/25",
    ),
    Family.IPV6: ("2001:db8:51::/48", "2001:db8:51::7/128", "2001:db8:9::/64", "2001:db8:9::9/128", "2001:db8:77::/56"),
}
PEERS: Final = ("198.51.100.7", "203.0.113.9", "203.0.113.200", "192.0.2.1", "2001:db8:51::7", "2001:db8:ffff::1")
TYPES: Final = {Family.IPV4: (0, 3, 8, 11, 12), Family.IPV6: (1, 2, 3, 4, 128, 129, 135)}
LOST_ICMP: Final = "for which it has no rules"


def any_policy(seed: int) -> Policy:
    """What a host could be given, everything in it that a layer around it may not be able to say."""
    chance = random.Random(seed)
    flows = [_flow(chance, number, family) for number in range(chance.randint(0, 8)) for family in Family]
    sets = tuple(dict.fromkeys(flow.peer_set for flow in flows if flow.peer_set))
    verdicts = list(Verdict)
    return Policy("mail.example.org", tuple(flows), chance.choice(verdicts), chance.choice(verdicts), sets)


def within(seed: int, means: Means) -> Policy:
    """The part of it that a target can hold."""
    return reduce(any_policy(seed), means).policy


def plain(policy: Policy, *, name: str = "") -> Policy:
    """Without the reasons, which not every notation has room for."""
    flows = tuple(replace(flow, because="", without="") for flow in policy.flows)
    return replace(policy, flows=flows, name=name or policy.name)


def any_packets(seed: int, number: int = 80) -> list[Packet]:
    """New connections of every kind."""
    chance = random.Random(seed)
    return [_packet(chance) for _ in range(number)]


def _packet(chance: random.Random) -> Packet:
    protocol = chance.choice((Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP))
    is_icmp = protocol is Protocol.ICMP
    direction = chance.choice(list(Direction))
    return Packet(
        direction,
        protocol,
        ipaddress.ip_address(chance.choice(PEERS)),
        0 if is_icmp else chance.choice((*PORTS, 2_587, 1_500, 40_000)),
        chance.choice((0, 3, 8, 128, 135)) if is_icmp else 0,
        user=chance.choice(("postfix", "www-data")) if direction is Direction.OUT else "root",
        within_rate=chance.random() < 0.8,
    )


def _flow(chance: random.Random, number: int, family: Family) -> Flow:
    protocol = chance.choice((Protocol.TCP, Protocol.TCP, Protocol.TCP, *Protocol))
    peers: tuple[Network, ...] = (WORLD[family],)
    if chance.random() < 0.6:
        peers = tidy_peers(ipaddress.ip_network(one) for one in chance.sample(NETWORKS[family], chance.randint(1, 3)))
    flow = Flow(
        f"flow-{number}-ipv{family.value}",
        chance.choice(list(Direction)),
        family,
        protocol,
        chance.choice(list(Verdict)),
        peers,
        state=chance.choice((State.NEW, State.NEW, State.NEW, State.ESTABLISHED, State.ANY)),
        because="by chance",
    )
    if protocol in (Protocol.TCP, Protocol.UDP) and chance.random() < 0.85:
        flow = replace(flow, ports=_ports(chance))
    if protocol is Protocol.ICMP and chance.random() < 0.8:
        flow = replace(flow, icmp_types=tuple(sorted(chance.sample(TYPES[family], chance.randint(1, 4)))))
    return _qualified(chance, flow)


def _qualified(chance: random.Random, flow: Flow) -> Flow:
    """What only the host can look at."""
    kind = chance.random()
    if kind < 0.1:
        return replace(flow, interface=chance.choice(("lo", "eth0")))
    if kind < 0.25 and flow.direction is Direction.OUT:
        return replace(flow, user="postfix")
    if kind < 0.35 and flow.direction is Direction.IN and flow.state is State.NEW:
        return replace(flow, rate=Rate(30, 60))
    if kind < 0.42 and flow.direction is Direction.IN:
        banned = replace(flow, protocol=Protocol.ANY, ports=(), icmp_types=())
        return replace(banned, peers=(), peer_set=f"bans{flow.family.value}")
    if kind < 0.5 and flow.direction is Direction.IN and flow.protocol is Protocol.TCP:
        container = Container("172.17.0.2" if flow.family is Family.IPV4 else "2001:db8:d0c::2", 587, 2_587)
        return replace(flow, ports=(Ports(2_587, 2_587),), state=State.NEW, container=container)
    return flow


def _ports(chance: random.Random) -> tuple[Ports, ...]:
    found = [Ports(one, one) for one in chance.sample(PORTS, chance.randint(1, 4))]
    if chance.random() < 0.3:
        first = chance.randint(1, 60_000)
        found.append(Ports(first, first + chance.randint(1, 5_000)))
    return tidy_ports(found)


def mail_policy(means: Means | None) -> tuple[Policy, tuple[LeftOut, ...]]:
    """Of an MX that delivers by itself, with submission for an office: whole, or what a target can hold of it."""
    world = tuple(WORLD.values())
    office = tuple(ipaddress.ip_network(one) for one in ("198.51.100.0/24", "2001:db8:51::/48"))
    entrances = (
        Entrance("relay-25", 25, Purpose.RELAY, world, "mail for example.org", "no mail comes in"),
        Entrance("submissions", 465, Purpose.SUBMISSION, office, "people of the office", "nobody can send"),
    )
    here = (ipaddress.ip_network("192.0.2.77/32"),)
    policy = make_policy(Exposure("mail.example.org", entrances, True, (), "postreeve", administrators=here))
    if means is None:
        return policy, ()
    reduced = reduce(policy, means)
    return reduced.policy, reduced.left_out
