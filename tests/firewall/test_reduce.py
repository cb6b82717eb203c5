"""What a layer gets of a host's policy: never less than the host accepts, more only where it is said."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
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
)
from postreeve.firewall.packet import Packet, decide
from postreeve.firewall.reduce import EPHEMERAL, Icmp, Means, Order, implied, reduce, require
from tests.firewall.anypolicy import LOST_ICMP, any_packets, any_policy

MEANS = {
    "first": Means("list", Order.FIRST),
    "allows": Means("group", Order.ALLOWS),
    "allows-without-names": Means("plain", Order.ALLOWS, (Icmp.WHOLE, Icmp.WHOLE), has_any=False, has_names=False),
    "allows-and-silent": Means("silent", Order.ALLOWS, (Icmp.NONE, Icmp.NONE), has_any=False, is_open_when_silent=True),
    "deny-wins": Means("host", Order.DENY_WINS),
    "without-memory": Means("acl", Order.FIRST, (Icmp.WHOLE, Icmp.WHOLE), is_stateful=False, has_names=False),
}
SEEDS = {"seed-" + str(seed): seed for seed in range(60)}


def at_the_host(packet: Packet, policy: Policy) -> Packet:
    """There a published port leads on to a container."""
    published = {(one.direction, one.family, one.protocol, one.ports[0].first) for one in policy.flows if one.container}
    is_published = (packet.direction, packet.family, packet.protocol, packet.port) in published
    return replace(packet, is_published=is_published)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
@pytest.mark.parametrize("means", MEANS.values(), ids=MEANS)
def test_reduce_never_refuses_what_the_host_accepts(means: Means, seed: int) -> None:
    policy = any_policy(seed)
    reduced = reduce(policy, means)
    whys = [one.why for one in reduced.left_out]
    lost_icmp = any(LOST_ICMP in why for why in whys)
    for packet in any_packets(seed):
        before = decide(policy, at_the_host(packet, policy)).verdict
        after = decide(reduced.policy, packet).verdict
        if packet.protocol is Protocol.ICMP and lost_icmp:
            continue
        if before is Verdict.ACCEPT:
            assert after is Verdict.ACCEPT, packet
        elif after is Verdict.ACCEPT:
            assert whys, packet


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
@pytest.mark.parametrize("means", MEANS.values(), ids=MEANS)
def test_reduce_of_what_is_reduced_changes_nothing(means: Means, seed: int) -> None:
    reduced = reduce(any_policy(seed), means)
    again = reduce(reduced.policy, means)
    assert again.left_out == ()
    assert again.policy == reduced.policy


def flow(ident: str, verdict: Verdict = Verdict.ACCEPT, **more: object) -> Flow:
    plain = Flow(ident, Direction.OUT, Family.IPV4, Protocol.TCP, verdict, (WORLD[Family.IPV4],), because="a test")
    return replace(plain, **more)  # type: ignore[arg-type]


def policy_of(*flows: Flow, default_out: Verdict = Verdict.DROP, sets: tuple[str, ...] = ()) -> Policy:
    return Policy("mail.example.org", flows, Verdict.DROP, default_out, sets)


MAIL = (Ports(25, 25),)
LOST = {
    "account": (flow("a", user="postreeve", ports=MAIL), "the account postreeve"),
    "rate": (flow("a", direction=Direction.IN, rate=Rate(30, 60), ports=MAIL), "a rate"),
    "interface": (flow("a", interface="eth0", ports=MAIL), "the interface eth0"),
    "set": (flow("a", Verdict.DROP, direction=Direction.IN, peers=(), peer_set="bans4"), "the set bans4"),
    "answer": (flow("a", Verdict.REJECT, ports=MAIL), "an answer"),
    "under-way": (flow("a", Verdict.DROP, state=State.ANY, ports=MAIL), "connections under way"),
    "some-under-way": (flow("a", state=State.ESTABLISHED, ports=MAIL), "connections under way"),
    "loopback-refused": (flow("a", Verdict.DROP, interface="lo"), "loopback"),
}


@pytest.mark.parametrize(("one", "why"), LOST.values(), ids=LOST)
def test_require_names_the_flow_that_a_target_cannot_express(one: Flow, why: str) -> None:
    with pytest.raises(CannotExpress, match=why) as caught:
        require(policy_of(one, sets=(one.peer_set,) if one.peer_set else ()), MEANS["first"])
    assert caught.value.flow == "a"
    assert caught.value.alternative


def test_reduce_takes_the_published_port_of_a_container() -> None:
    one = flow("a", direction=Direction.IN, ports=(Ports(2587, 2587),), container=Container("172.17.0.2", 587, 2587))
    _, flows = require(policy_of(one), MEANS["allows"])
    assert [one.ports for one in flows] == [(Ports(2587, 2587),)]


def test_reduce_cuts_an_earlier_refusal_out_of_what_is_allowed() -> None:
    hub = (ipaddress.IPv4Network("203.0.113.0/25"),)
    flows = (flow("no", Verdict.DROP, ports=MAIL), flow("hub", peers=hub, ports=(Ports(20, 30),)))
    _, allowed = require(policy_of(*flows), MEANS["allows"])
    assert [(one.ident, one.ports) for one in allowed] == [("hub", (Ports(20, 24), Ports(26, 30)))]


def test_reduce_takes_the_smarthost_out_of_a_refusal_that_would_win() -> None:
    hub = (ipaddress.IPv4Network("128.0.0.0/1"),)
    flows = (flow("hub", peers=hub, ports=MAIL), flow("no", Verdict.DROP, ports=MAIL))
    _, left = require(policy_of(*flows, default_out=Verdict.ACCEPT), MEANS["deny-wins"])
    assert [(one.ident, one.peers) for one in left] == [
        ("no", (ipaddress.IPv4Network("0.0.0.0/1"),)),
        ("hub", hub),
    ]


def test_reduce_says_that_an_open_default_cannot_be_narrowed_by_allowing() -> None:
    reduced = reduce(policy_of(flow("no", Verdict.DROP, ports=MAIL), default_out=Verdict.ACCEPT), MEANS["allows"])
    assert [one.flow.ident for one in reduced.left_out] == ["no"]
    assert {one.ident for one in reduced.policy.flows} - {one.ident for one in implied()} == {
        "out-rest-ipv4",
        "out-rest-ipv6",
    }


def test_reduce_gives_a_list_without_memory_the_ports_of_answers() -> None:
    under_way = flow("under-way", protocol=Protocol.ANY, state=State.ESTABLISHED)
    reduced = reduce(policy_of(under_way), MEANS["without-memory"])
    answers = [one for one in reduced.policy.flows if one.interface != "lo"]
    assert [(one.protocol, one.ports, one.state) for one in answers] == [
        (Protocol.TCP, (EPHEMERAL,), State.ANY),
        (Protocol.UDP, (EPHEMERAL,), State.ANY),
    ]
    assert "1024-65535" in reduced.left_out[0].why
