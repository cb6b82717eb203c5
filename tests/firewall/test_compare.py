"""Comparison by meaning: against brute force over every packet of a small universe, and the words that it uses."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace

import pytest

from postreeve.firewall.compare import Change, Kind, compare
from postreeve.firewall.flow import Direction, Family, Policy, Ports, Protocol, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import Packet, decide
from postreeve.firewall.ruleset import Hook, Ruleset, of_policy
from tests.firewall.chance import LOOPBACK, PEERS, PORTS, TYPES, draw_policy
from tests.firewall.test_intent import DIRECT, MX, SUBMISSIONS, net

USERS = ("root", "nobody")


def universe() -> list[Packet]:
    """Every packet over the addresses, ports and types that random policies speak of."""
    found = []
    for family in Family:
        for peer in (*PEERS[family], LOOPBACK[family]):
            for protocol in (Protocol.TCP, Protocol.UDP, Protocol.ICMP):
                values = TYPES[family] if protocol is Protocol.ICMP else PORTS
                for value in values:
                    port, kind = (0, value) if protocol is Protocol.ICMP else (value, 0)
                    for direction in Direction:
                        packet = Packet(direction, protocol, ipaddress.ip_address(peer), port, kind)
                        found.append(packet)
    return found


def covers(change: Change, packet: Packet) -> bool:
    corner = change.corner
    value = packet.icmp_type if packet.protocol is Protocol.ICMP else packet.port
    return (
        change.direction is packet.direction
        and corner.hook is not Hook.FORWARD
        and (corner.family, corner.protocol) == (packet.family, packet.protocol)
        and (corner.interface, corner.user, corner.peer_set, corner.is_within_rate) == ("", "", "", True)
        and corner.state is packet.state
        and any(value in one for one in change.ranges)
        and any(packet.peer in one for one in change.peers)
    )


@pytest.mark.parametrize("seed", range(25))
def test_changes_are_those_that_brute_force_finds(seed: int) -> None:
    chance = random.Random(seed)
    one, _ = draw_policy(chance, most=5)
    other = draw_policy(chance, most=5)[0] if seed % 2 else _touch(chance, one)
    found = compare(of_policy(one), of_policy(other))
    for packet in universe():
        # An interface and an account that no rule names: what the general corner stands for.
        plain = replace(packet, interface="other0", user="somebody")
        was, now = decide(one, plain).verdict, decide(other, plain).verdict
        told = [change for change in found if covers(change, packet)]
        assert [(change.before, change.after) for change in told] == ([(was, now)] if was is not now else []), packet


def _touch(chance: random.Random, policy: Policy) -> Policy:
    flows = list(policy.flows)
    chance.shuffle(flows)
    return replace(policy, flows=tuple(flows[1:]))


def test_order_without_meaning_is_no_change() -> None:
    policy = make_policy(DIRECT)
    turned = replace(policy, flows=tuple(sorted(policy.flows, key=lambda flow: flow.family.value * -1)))
    assert compare(of_policy(policy), of_policy(turned)) == ()


def changes(before: Policy, after: Policy) -> set[tuple[Kind, str, str]]:
    return {
        (change.kind, ",".join(map(str, change.peers)), ",".join(map(str, change.ranges)))
        for change in compare(of_policy(before), of_policy(after))
    }


HERE = make_policy(replace(DIRECT, administrators=()))


@pytest.mark.parametrize(
    ("entrances", "wanted"),
    [
        pytest.param((), {Kind.REMOVED}, id="removed"),
        pytest.param((MX,), {Kind.REMOVED}, id="one-removed"),
        pytest.param(
            (MX, replace(SUBMISSIONS, peers=net("198.51.100.0/25", "2001:db8:51::/48"))), {Kind.NARROWED}, id="narrowed"
        ),
        pytest.param(
            (MX, replace(SUBMISSIONS, peers=net("198.51.96.0/21", "2001:db8:51::/48"))), {Kind.WIDENED}, id="widened"
        ),
        pytest.param((MX, SUBMISSIONS, replace(MX, name="more", port=26)), {Kind.ADDED}, id="added"),
    ],
)
def test_change_is_named(entrances: tuple[object, ...], wanted: set[Kind]) -> None:
    after = make_policy(replace(DIRECT, administrators=(), entrances=entrances))  # type: ignore[arg-type]
    assert {kind for kind, _, _ in changes(HERE, after)} == wanted


def test_change_says_exactly_which_addresses_and_ports() -> None:
    narrow = replace(SUBMISSIONS, peers=net("198.51.100.0/25", "2001:db8:51::/48"))
    after = make_policy(replace(DIRECT, administrators=(), entrances=(MX, narrow)))
    assert changes(HERE, after) == {(Kind.NARROWED, "198.51.100.128/25", "465")}


def test_what_cannot_be_told_is_said() -> None:
    policy = HERE
    doubtful = replace(policy, flows=(replace(policy.flows[4], ident="x", unknown="an odd match"), *policy.flows))
    kinds = {change.kind for change in compare(of_policy(policy), of_policy(doubtful))}
    assert Kind.UNKNOWN in kinds


def test_layer_that_refuses_counts() -> None:
    whole = of_policy(HERE)
    wall = replace(HERE, name="wall", flows=(), default_in=Verdict.DROP, default_out=Verdict.ACCEPT)
    layer = replace(whole.layers[0], policy=wall)
    found = compare(whole, Ruleset((*whole.layers, layer)))
    assert {change.kind for change in found} == {Kind.REMOVED}
    assert any(Ports(25, 25) in change.ranges and change.corner.state is State.NEW for change in found)
