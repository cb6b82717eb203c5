"""What policies by chance have besides: rates and published ports, for round trips that do not ask the kernel."""

from __future__ import annotations

import random
from dataclasses import replace

from postreeve.firewall.flow import (
    Container,
    Direction,
    Family,
    Flow,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
    canonical,
)

CONTAINERS = {
    Family.IPV4: (Container("172.17.0.2", 587, 2587), Container("172.17.0.3", 25, 25)),
    Family.IPV6: (Container("2001:db8:d0c::2", 587, 2587), Container("2001:db8:d0c::3", 25, 25)),
}
_RATED = (Protocol.TCP, Protocol.UDP)
RATES = (Rate(30, 60), Rate(5, 1), Rate(100, 3_600), Rate(30, 300))


def dress(chance: random.Random, policy: Policy) -> Policy:
    """Some flows get a rate, some become about a published port, some sets about everything."""
    flows = tuple(_dress(chance, flow) for flow in policy.flows)
    return replace(policy, flows=flows)


def _dress(chance: random.Random, flow: Flow) -> Flow:
    if flow.direction is not Direction.IN:
        return flow
    if flow.peer_set:
        every = replace(flow, protocol=Protocol.ANY, ports=(), icmp_types=(), interface="", rate=None)
        return replace(every, state=State.ANY, verdict=Verdict.DROP)
    if flow.state is State.NEW and flow.protocol in _RATED and chance.random() < 0.3:
        flow = replace(flow, rate=chance.choice(RATES))
    if flow.protocol is Protocol.TCP and flow.state is State.NEW and chance.random() < 0.4:
        container = chance.choice(CONTAINERS[flow.family])
        ports = (Ports(container.published, container.published),)
        return replace(flow, container=container, ports=ports, interface="")
    return flow


def plain(policy: Policy) -> Policy:
    """As a reader of two families in two files gives it back: without reasons, IPv4 before IPv6."""
    flows = [replace(flow, because="", without="") for flow in policy.flows]
    ordered = [
        flow
        for family in Family
        for flow in canonical(replace(policy, flows=tuple(one for one in flows if one.family is family))).flows
    ]
    ordered.sort(key=lambda flow: flow.direction is Direction.OUT)
    used = tuple(dict.fromkeys(flow.peer_set for flow in ordered if flow.peer_set))
    return replace(policy, name="", flows=tuple(ordered), sets=used)
