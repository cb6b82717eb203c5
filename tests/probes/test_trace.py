"""Which hop is the last that answers: in network namespaces with a router between."""

from __future__ import annotations

import pytest

from postreeve.checks.path import Icmp, Trace
from postreeve.probes.trace import trace
from tests.lab.network import ROUTER_4, ROUTER_6, SERVER_4, SERVER_6, Internet

pytestmark = pytest.mark.peer("namespaces", "ip", "nft")
WAYS = [(ROUTER_4, SERVER_4), (ROUTER_6, SERVER_6)]


def run(internet: Internet, target: str) -> Trace:
    return internet.run(lambda: trace(target, 25, hop_seconds=0.4))


@pytest.mark.parametrize(("router", "target"), WAYS)
def test_trace_names_the_hop_before_the_one_that_drops(internet: Internet, router: str, target: str) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 25 drop")
    made = run(internet, target)
    assert [(hop.ttl, hop.sender) for hop in made.hops] == [(1, router), *((ttl, "") for ttl in range(2, 17))]
    assert (made.last_sender, made.is_reached) == (router, False)


@pytest.mark.parametrize(("router", "target"), WAYS)
def test_trace_reaches_a_closed_port(internet: Internet, router: str, target: str) -> None:
    made = run(internet, target)
    assert [(hop.ttl, hop.sender) for hop in made.hops] == [(1, router), (2, target)]
    assert made.is_reached
    assert made.hops[1].icmp is None


@pytest.mark.parametrize(("router", "target"), WAYS)
def test_trace_ends_where_the_far_host_drops(internet: Internet, router: str, target: str) -> None:
    internet.firewall(internet.server, "input", "tcp dport 25 drop")
    made = run(internet, target)
    assert {hop.sender for hop in made.hops[1:]} == {""}
    assert made.last_sender == router
    assert not made.is_reached


def test_trace_names_the_router_that_rejects(internet: Internet) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 25 reject with icmp type admin-prohibited", family="ip")
    made = run(internet, SERVER_4)
    assert made.hops[-1].icmp == Icmp(3, 13, ROUTER_4)
    assert not made.is_reached


def test_trace_shows_a_filter_that_answers_for_the_target_too_early(internet: Internet) -> None:
    """A RST at the first hop, where only a router can be, was not sent by the target."""
    internet.firewall(internet.router, "prerouting", "tcp dport 25 reject with tcp reset", family="inet")
    made = run(internet, SERVER_4)
    assert [(hop.ttl, hop.sender) for hop in made.hops] == [(1, SERVER_4)]
    assert made.is_reached


def test_trace_gives_up_in_a_network_where_nobody_answers(internet: Internet) -> None:
    internet.firewall(internet.here, "input", "meta l4proto icmp drop")
    internet.firewall(internet.router, "forward", "tcp dport 25 drop")
    made = run(internet, SERVER_4)
    assert [hop.sender for hop in made.hops] == [""] * 8
