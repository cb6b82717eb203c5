"""Boxes cut by boxes: what is left, against every packet of a small universe."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from postreeve.firewall.box import ALL_PROTOCOLS, Box, cut, is_empty, may_cut, of_flow, to_flows, whole
from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Policy, Ports, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide
from tests.firewall.chance import draw_packet, draw_policy


def boxes(chance: random.Random) -> list[Box]:
    found: list[Box] = []
    while len(found) < 2:
        policy, _ = draw_policy(chance, most=6)
        found += [
            replace(of_flow(flow), user="", rate=None)
            for flow in policy.flows
            if flow.family is Family.IPV4 and not flow.peer_set
        ]
    return chance.sample(found, 2)


def fits(pieces: list[Box], packet: Packet) -> int:
    """How many of them the packet is in."""
    count = 0
    for piece in pieces:
        flows = tuple(to_flows(replace(piece, other_than=frozenset()), packet.direction, "x", Verdict.ACCEPT, "", ""))
        policy = Policy("x", flows, Verdict.DROP, Verdict.DROP)
        count += decide(policy, packet).verdict is Verdict.ACCEPT and packet.interface not in piece.other_than
    return count


@pytest.mark.parametrize("seed", range(60))
def test_cut_leaves_what_is_not_in_the_hole_and_nothing_twice(seed: int) -> None:
    chance = random.Random(seed)
    box, hole = boxes(chance)
    assert may_cut(box, hole)
    pieces = cut(box, hole)
    assert not any(is_empty(piece) for piece in pieces)
    for _ in range(150):
        packet = replace(draw_packet(chance), state=chance.choice([State.NEW, State.ESTABLISHED]))
        wanted = fits([box], packet) and not fits([hole], packet)
        assert fits(pieces, packet) == int(wanted), (packet, box, hole)


def test_what_cannot_be_turned_round_is_said() -> None:
    box = whole(Family.IPV4)
    assert not may_cut(box, replace(box, user="root"))
    assert not may_cut(box, replace(box, peer_set="bans4"))
    assert may_cut(replace(box, user="root"), box)


def test_flow_comes_back_from_its_box() -> None:
    flow = Flow(
        "x",
        Direction.IN,
        Family.IPV6,
        Protocol.TCP,
        Verdict.ACCEPT,
        (WORLD[Family.IPV6],),
        (Ports(25, 25), Ports(465, 587)),
        interface="eth0",
    )
    assert list(to_flows(of_flow(flow), Direction.IN, "x", Verdict.ACCEPT, "", "")) == [flow]


def test_box_of_some_protocols_becomes_one_flow_for_each() -> None:
    box = replace(whole(Family.IPV4), protocols=ALL_PROTOCOLS - {Protocol.ICMP})
    flows = list(to_flows(box, Direction.OUT, "x", Verdict.DROP, "", ""))
    assert [(flow.ident, flow.protocol) for flow in flows] == [("x-tcp", Protocol.TCP), ("x-udp", Protocol.UDP)]
