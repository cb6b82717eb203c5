"""Blocked ports as networks really block them: a router's packet filter between here and the servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from postreeve.ports.endpoint import Reach
from postreeve.ports.known_good import KnownGood
from postreeve.ports.network import Observed, Pattern, judge
from postreeve.ports.service import USUAL, Mode
from postreeve.probes import measure
from postreeve.probes.measure import HostMeasured, Survey, measure_host
from postreeve.probes.outlook import look
from postreeve.probes.resolve import Resolved
from postreeve.probes.way_out import WaysOut, find_ways_out
from tests.lab.network import GOOD_4, SERVER_4, SERVER_6, Internet, greet

pytestmark = pytest.mark.peer("namespaces", "ip", "nft")
PORTS = (25, 465, 587, 2525)
NOBODY = "203.0.113.113"
OPEN, DROPPED, REFUSED = Observed.OPEN, Observed.DROPPED, Observed.REFUSED


@contextlib.contextmanager
def servers(internet: Internet, ports: tuple[int, ...] = PORTS) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(internet.serve(internet.server, port, greet()))
        yield


def ways(internet: Internet) -> WaysOut:
    known = [KnownGood(GOOD_4, port, Mode.STARTTLS) for port in PORTS]
    survey = Survey((), timeout_seconds=1.5)
    return internet.run(lambda: find_ways_out(known, survey, nowhere=(NOBODY,)))


@pytest.mark.parametrize(
    ("rule", "seen", "pattern", "candidate"),
    [
        pytest.param("tcp dport 9 drop", [OPEN] * 4, Pattern.NONE, "", id="open"),
        pytest.param("tcp dport 25 drop", [DROPPED, OPEN, OPEN, OPEN], Pattern.RELAY_ONLY, "aws", id="relay-only"),
        pytest.param("tcp dport { 25, 465 } drop", [DROPPED, DROPPED, OPEN, OPEN],
                     Pattern.RELAY_AND_SUBMISSIONS, "hetzner-cloud", id="hetzner-like"),
        pytest.param("tcp dport { 25, 465, 587 } drop", [DROPPED, DROPPED, DROPPED, OPEN],
                     Pattern.ALL_BUT_2525, "linode", id="linode-like"),
        pytest.param("tcp dport 25 reject with tcp reset", [REFUSED, OPEN, OPEN, OPEN],
                     Pattern.RELAY_REFUSED, "", id="reset"),
        pytest.param("tcp dport 25 reject with icmpx admin-prohibited", [DROPPED, OPEN, OPEN, OPEN],
                     Pattern.RELAY_ONLY, "aws", id="prohibited"),
        pytest.param("meta l4proto tcp drop", [DROPPED] * 4, Pattern.OFFLINE, "", id="all"),
    ],
)  # fmt: skip
def test_find_ways_out_sees_what_the_router_blocks(
    internet: Internet, rule: str, seen: list[Observed], pattern: Pattern, candidate: str
) -> None:
    internet.firewall(internet.router, "forward", rule)
    with servers(internet):
        found = ways(internet)
    assert [found.observed[port] for port in PORTS] == seen
    opinion = judge({}, {}, found.observed)
    assert opinion.pattern is pattern
    assert candidate in [one.id for one in opinion.candidates] or not candidate


def test_find_ways_out_sees_a_proxy(internet: Internet) -> None:
    rule = f"tcp dport 25 dnat ip to {SERVER_4}"
    internet.firewall(internet.router, "prerouting", rule, kind="nat", family="ip")
    with servers(internet):
        found = ways(internet)
    assert found.proxied == (25,)
    assert found.observed == {25: Observed.INTERCEPTED, 465: OPEN, 587: OPEN, 2525: OPEN}


def both(internet: Internet, ports: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> HostMeasured:
    async def resolve(*_: object, **__: object) -> Resolved:
        return Resolved((SERVER_6, SERVER_4))

    monkeypatch.setattr(measure, "resolve", resolve)
    return internet.run(lambda: measure_host("mail.example.net", Survey(ports, timeout_seconds=2.0)))


def test_measure_tells_the_families_apart(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    internet.firewall(internet.router, "forward", "meta nfproto ipv6 tcp dport 587 drop")
    with servers(internet, (587,)):
        found = both(internet, (587,), monkeypatch)
    assert {one.family: one.reach for one in found.endpoints} == {6: Reach.TIMED_OUT, 4: Reach.OPEN}


def test_measure_keeps_who_prohibits(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 587 reject with icmpx admin-prohibited")
    found = both(internet, (587,), monkeypatch)
    assert {one.reach for one in found.endpoints} == {Reach.PROHIBITED}
    assert all("prohibited" in one.reach_detail for one in found.endpoints)


def test_look_into_a_black_hole_of_both_families_is_over_in_twelve_seconds(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> Resolved:
        return Resolved((SERVER_6, SERVER_4))

    monkeypatch.setattr(measure, "resolve", resolve)
    internet.firewall(internet.router, "forward", f"ip daddr {SERVER_4} drop", f"ip6 daddr {SERVER_6} drop")
    known = [KnownGood(GOOD_4, port, Mode.STARTTLS) for port in PORTS]
    began = time.monotonic()
    with servers(internet):
        found = internet.run(lambda: look("mail.example.net", Survey(USUAL), known, is_own=True))
    assert time.monotonic() - began <= 12
    assert {one.reach for one in found.host.endpoints} == {Reach.TIMED_OUT}
    assert len(found.host.endpoints) == 12
    assert set(found.ways.observed.values()) == {OPEN}
