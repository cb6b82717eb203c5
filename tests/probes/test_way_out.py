"""The ways out of a network, tried on loopback."""

import asyncio
import time

import pytest

from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.known_good import KnownGood
from postreeve.ports.network import Observed
from postreeve.ports.service import Mode
from postreeve.probes import way_out
from postreeve.probes.measure import Survey
from postreeve.probes.outlook import has_doubt, look
from postreeve.probes.way_out import Tried, WaysOut, conclude, find_ways_out, observe
from tests.lab.blackhole import full_backlog
from tests.lab.postfix import free_ports
from tests.probes.test_measure import greeting, serving, silent

SURVEY = Survey((), timeout_seconds=1.5, hello_name="client.example.net")


def seen(port: int = 25, reach: Reach = Reach.OPEN, **changes: object) -> Measured:
    given: dict[str, object] = {"protocol": "smtp", "mode": Mode.STARTTLS, "tls_version": "TLSv1.3"}
    verified: dict[str, object] = {"is_trusted": True, "is_name_right": True}
    return Measured("mx.example.net", "192.0.2.1", port, reach, 0.05, **given | verified | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "observed"),
    [
        pytest.param(seen(), Observed.OPEN, id="smtp"),
        pytest.param(seen(flaw=Flaw.BUSY, mode=None), Observed.OPEN, id="busy-is-reached"),
        pytest.param(seen(reach=Reach.TIMED_OUT), Observed.DROPPED, id="no-answer"),
        pytest.param(seen(reach=Reach.PROHIBITED), Observed.DROPPED, id="prohibited"),
        pytest.param(seen(reach=Reach.FORBIDDEN), Observed.DROPPED, id="own-firewall"),
        pytest.param(seen(reach=Reach.REFUSED), Observed.REFUSED, id="refused"),
        pytest.param(seen(reach=Reach.NO_ROUTE), Observed.UNKNOWN, id="no-route"),
        pytest.param(seen(protocol="", mode=None, flaw=Flaw.SILENT), Observed.DROPPED, id="connected-but-silent"),
        pytest.param(seen(protocol="http", mode=None, flaw=Flaw.NOT_SMTP), Observed.INTERCEPTED, id="portal"),
    ],
)
def test_observe(measured: Measured, observed: Observed) -> None:
    assert observe(measured) is observed


def test_observe_calls_a_late_connect_slow() -> None:
    late = Measured("mx.example.net", "192.0.2.1", 25, Reach.OPEN, 3.1, protocol="smtp", mode=Mode.STARTTLS)
    assert observe(late) is Observed.SLOW


def known(port: int = 25) -> KnownGood:
    return KnownGood("mx.example.net", port, Mode.STARTTLS)


def test_conclude_takes_the_best_that_was_seen_of_a_port() -> None:
    ways = conclude(
        [
            Tried(known(25), Observed.DROPPED, seen(reach=Reach.TIMED_OUT)),
            Tried(known(25), Observed.OPEN, seen()),
            Tried(known(587), Observed.UNKNOWN, None, "no such name"),
        ]
    )
    assert ways.observed == {25: Observed.OPEN, 587: Observed.UNKNOWN}
    assert ways.is_tested


def test_conclude_says_when_nothing_could_be_tested() -> None:
    ways = conclude([Tried(known(25), Observed.UNKNOWN, None, "mx.example.net: no such name, or no address")])
    assert not ways.is_tested
    assert "no such name" in ways.failure


def test_conclude_does_not_believe_a_proxy_without_a_certificate() -> None:
    unproven = seen(tls_version="", mode=Mode.PLAIN)
    assert conclude([Tried(known(), Observed.OPEN, unproven)], (25,)).observed == {25: Observed.INTERCEPTED}
    assert conclude([Tried(known(), Observed.OPEN, unproven)], (587,)).observed == {25: Observed.OPEN}
    assert conclude([Tried(known(), Observed.OPEN, seen())], (25,)).observed == {25: Observed.OPEN}


def test_find_ways_out_tells_open_closed_and_swallowed_apart() -> None:
    held = full_backlog()
    swallowed = held[0].getsockname()[1]
    (closed,) = free_ports(1)

    async def run() -> tuple[WaysOut, int, int]:
        async with serving(greeting(b"220 mx.example.net ESMTP\r\n")) as (good, _), serving(silent) as (mute, _):
            ports = (good, mute, closed, swallowed)
            hosts = [KnownGood("127.0.0.1", port, Mode.STARTTLS) for port in ports]
            return await find_ways_out(hosts, SURVEY), good, mute

    try:
        ways, good, mute = asyncio.run(run())
    finally:
        for one in held:
            one.close()
    assert ways.observed == {
        good: Observed.OPEN,
        mute: Observed.DROPPED,
        closed: Observed.REFUSED,
        swallowed: Observed.DROPPED,
    }


def test_find_ways_out_needs_hosts_and_names() -> None:
    assert not asyncio.run(find_ways_out([], SURVEY)).is_tested
    nobody = asyncio.run(find_ways_out([KnownGood("nobody.invalid", 25, Mode.STARTTLS)], SURVEY, nowhere=()))
    assert not nobody.is_tested
    assert "nobody.invalid" in nobody.failure


def test_find_ways_out_notices_who_answers_for_nobody() -> None:
    """127.0.0.2 stands for the address that nobody has, and whoever listens there for the proxy."""

    async def run() -> tuple[int, tuple[int, ...]]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.2", 0)
        port = server.sockets[0].getsockname()[1]
        proxied = await way_out._find_proxies({port, *free_ports(1)}, ["127.0.0.2"], 1.0)
        server.close()
        return port, proxied

    port, proxied = asyncio.run(run())
    assert proxied == (port,)


@pytest.mark.parametrize(
    ("measured", "is_doubtful"),
    [
        pytest.param([seen(465), seen(587)], False, id="all-well"),
        pytest.param([seen(465), seen(587, Reach.TIMED_OUT)], True, id="expected-is-swallowed"),
        pytest.param([seen(465), seen(587, Reach.REFUSED)], False, id="expected-is-refused"),
        pytest.param([seen(465), seen(2525, Reach.TIMED_OUT)], False, id="nobody-expects-it"),
        pytest.param([seen(465, Reach.REFUSED), seen(587, Reach.REFUSED)], True, id="nothing-is-open"),
        pytest.param([seen(465), seen(587, protocol="", mode=None)], True, id="expected-is-silent"),
        pytest.param([seen(587, Reach.NO_ROUTE)], False, id="no-route"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_has_doubt(measured: list[Measured], is_doubtful: bool) -> None:
    assert has_doubt(measured, frozenset({465, 587})) is is_doubtful


def test_look_asks_the_known_hosts_only_in_doubt() -> None:
    (closed,) = free_ports(1)

    async def run() -> None:
        async with serving(greeting(b"220 mx.example.net ESMTP\r\n")) as (good, counted):
            hosts = [KnownGood("127.0.0.1", good, Mode.STARTTLS)]
            survey = Survey((good,), timeout_seconds=2.0)
            assert not (await look("127.0.0.1", survey, hosts, is_own=True)).ways.is_tested
            assert counted.connections == 1
            doubtful = Survey((closed,), timeout_seconds=2.0)
            assert (await look("127.0.0.1", doubtful, hosts, is_own=True)).ways.observed == {good: Observed.OPEN}
            assert not (await look("127.0.0.1", doubtful, hosts)).ways.is_tested
            assert (await look("127.0.0.1", survey, hosts, is_asked=True)).ways.is_tested

    asyncio.run(run())


def test_look_into_a_black_hole_is_over_in_twelve_seconds_with_all_controls() -> None:
    held = [full_backlog() for _ in range(7)]
    ports = tuple(listener[0].getsockname()[1] for listener in held)
    began = time.monotonic()
    try:
        hosts = [KnownGood("127.0.0.1", ports[-1], Mode.STARTTLS)]
        outlook = asyncio.run(look("127.0.0.1", Survey(ports[:6]), hosts, is_own=True))
    finally:
        for listener in held:
            for one in listener:
                one.close()
    assert time.monotonic() - began <= 12
    assert {one.reach for one in outlook.host.endpoints} == {Reach.TIMED_OUT}
    assert outlook.ways.observed == {ports[-1]: Observed.DROPPED}
