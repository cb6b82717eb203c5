"""What came of a connect: on loopback, and through real packet filters in network namespaces."""

from __future__ import annotations

import asyncio
import socket

import pytest

from postreeve.checks.path import Dial, DialOutcome, Icmp
from postreeve.probes.dial import dial
from postreeve.probes.errors import classify_icmp, describe_icmp
from tests.lab.blackhole import full_backlog
from tests.lab.network import HERE_4, HERE_6, ROUTER_4, ROUTER_6, SERVER_4, SERVER_6, Internet, greet

in_namespaces = pytest.mark.peer("namespaces", "ip", "nft")


async def fact(address: str, port: int = 25, seconds: float = 1.0, source: str = "") -> Dial:
    dialled = await dial(address, port, timeout_seconds=seconds, source=source)
    if dialled.socket is not None:
        dialled.socket.close()
    return dialled.dial


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
@pytest.mark.asyncio
async def test_dial_gives_a_connected_socket_that_does_not_block(address: str, family: socket.AddressFamily) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        dialled = await dial(address, port, timeout_seconds=2)
        assert dialled.socket is not None
        with dialled.socket as sock:
            assert sock.getpeername()[:2] == (address, port)
            assert not sock.getblocking()
            assert (dialled.dial.outcome, dialled.dial.local_address) == (DialOutcome.OPEN, address)
            assert dialled.dial.seconds < 0.5


@pytest.mark.asyncio
async def test_dial_tells_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made = await fact("127.0.0.1", port)
    assert (made.outcome, made.error, made.icmp) == (DialOutcome.REFUSED, "ECONNREFUSED", None)


@pytest.mark.asyncio
async def test_dial_waits_only_so_long() -> None:
    held = full_backlog()
    try:
        made = await fact("127.0.0.1", held[0].getsockname()[1], 0.2)
    finally:
        for sock in held:
            sock.close()
    assert (made.outcome, made.error) == (DialOutcome.TIMED_OUT, "ETIMEDOUT")
    assert 0.2 <= made.seconds < 0.6


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param("192.0.2.99", "EADDRNOTAVAIL", id="foreign address"),
        pytest.param("::1", "EAFNOSUPPORT", id="the other family"),
        pytest.param("example.com", "EADDRNOTAVAIL", id="a name"),
    ],
)
@pytest.mark.asyncio
async def test_dial_tells_a_source_that_is_not_ours(source: str, error: str) -> None:
    made = await fact("127.0.0.1", 25, source=source)
    assert (made.outcome, made.error) == (DialOutcome.NO_SOURCE, error)


@pytest.mark.parametrize("address", ["example.com", "", "1.2.3.4.5", "127.0.0.1\0", "a" * 300])
@pytest.mark.asyncio
async def test_dial_takes_no_names_and_no_nonsense(address: str) -> None:
    made = await fact(address)
    assert made.outcome is DialOutcome.OTHER


@pytest.mark.asyncio
async def test_dial_takes_no_port_that_cannot_be() -> None:
    made = await fact("127.0.0.1", 1_000_000)
    assert made.outcome is DialOutcome.OTHER


@pytest.mark.asyncio
async def test_dial_leaves_no_socket_when_cancelled(recwarn: pytest.WarningsRecorder) -> None:
    held = full_backlog()
    task = asyncio.ensure_future(dial("127.0.0.1", held[0].getsockname()[1], timeout_seconds=30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for sock in held:
        sock.close()
    assert not [one for one in recwarn if issubclass(one.category, ResourceWarning)]


# (nftables' words, ICMP kind and code, the outcome when a router says it, and when this machine's firewall does)
REJECTS = [
    ("icmp net-unreachable", 3, 0, DialOutcome.UNREACHABLE, DialOutcome.FORBIDDEN),
    ("icmp host-unreachable", 3, 1, DialOutcome.UNREACHABLE, DialOutcome.UNREACHABLE),
    ("icmp prot-unreachable", 3, 2, DialOutcome.UNREACHABLE, DialOutcome.FORBIDDEN),
    ("icmp port-unreachable", 3, 3, DialOutcome.REFUSED, DialOutcome.FORBIDDEN),
    ("icmp net-prohibited", 3, 9, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
    ("icmp host-prohibited", 3, 10, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
    ("icmp admin-prohibited", 3, 13, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
    ("icmpv6 no-route", 1, 0, DialOutcome.UNREACHABLE, DialOutcome.FORBIDDEN),
    ("icmpv6 admin-prohibited", 1, 1, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
    ("icmpv6 addr-unreachable", 1, 3, DialOutcome.UNREACHABLE, DialOutcome.UNREACHABLE),
    ("icmpv6 port-unreachable", 1, 4, DialOutcome.REFUSED, DialOutcome.FORBIDDEN),
    ("icmpv6 policy-fail", 1, 5, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
    ("icmpv6 reject-route", 1, 6, DialOutcome.PROHIBITED, DialOutcome.FORBIDDEN),
]


@in_namespaces
@pytest.mark.parametrize(("words", "kind", "code", "outcome", "own"), REJECTS, ids=[row[0] for row in REJECTS])
def test_dial_tells_each_reject_and_who_said_it(
    internet: Internet, words: str, kind: int, code: int, outcome: DialOutcome, own: DialOutcome
) -> None:
    protocol, _, answer = words.partition(" ")
    family, target, router, here = ("ip", SERVER_4, ROUTER_4, HERE_4)
    if protocol == "icmpv6":
        family, target, router, here = ("ip6", SERVER_6, ROUTER_6, HERE_6)
    rule = f"tcp dport 25 reject with {protocol} type {answer}"
    internet.firewall(internet.router, "forward", rule, family=family)
    made = internet.run(lambda: fact(target))
    assert (made.outcome, made.icmp) == (outcome, Icmp(kind, code, router))
    internet.do(internet.router, "nft", "flush", "ruleset")
    internet.firewall(internet.here, "output", rule, family=family)
    made = internet.run(lambda: fact(target))
    assert (made.outcome, made.icmp) == (own, Icmp(kind, code, here))


@in_namespaces
@pytest.mark.parametrize("target", [SERVER_4, SERVER_6])
def test_dial_tells_a_reset_without_icmp(internet: Internet, target: str) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 25 reject with tcp reset")
    made = internet.run(lambda: fact(target))
    assert (made.outcome, made.icmp) == (DialOutcome.REFUSED, None)


@in_namespaces
@pytest.mark.parametrize("target", [SERVER_4, SERVER_6])
def test_dial_tells_its_own_firewalls_drop_from_one_further_on(internet: Internet, target: str) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 25 drop")
    made = internet.run(lambda: fact(target, seconds=1.3))
    assert (made.outcome, made.error) == (DialOutcome.TIMED_OUT, "ETIMEDOUT")
    internet.do(internet.router, "nft", "flush", "ruleset")
    internet.firewall(internet.here, "output", "tcp dport 25 drop")
    made = internet.run(lambda: fact(target, seconds=30))
    assert (made.outcome, made.error) == (DialOutcome.FORBIDDEN, "EPERM")
    assert made.seconds < 3


@in_namespaces
def test_dial_tells_that_a_neighbour_does_not_answer(internet: Internet) -> None:
    made = internet.run(lambda: fact("192.0.2.77", seconds=6))
    assert (made.outcome, made.icmp) == (DialOutcome.UNREACHABLE, Icmp(3, 1, HERE_4))


@in_namespaces
@pytest.mark.parametrize(
    ("route", "outcome"),
    [
        pytest.param("", DialOutcome.NO_ROUTE, id="none"),
        pytest.param("unreachable", DialOutcome.NO_ROUTE, id="unreachable"),
        pytest.param("blackhole", DialOutcome.NO_ROUTE, id="blackhole"),
        pytest.param("prohibit", DialOutcome.FORBIDDEN, id="prohibit"),
    ],
)
@pytest.mark.parametrize("target", ["203.0.113.9", "2001:db8:9::9"])
def test_dial_tells_that_there_is_no_way(internet: Internet, route: str, outcome: DialOutcome, target: str) -> None:
    words = ["ip", *(["-6"] if ":" in target else []), "route"]
    gateway = ROUTER_6 if ":" in target else ROUTER_4
    internet.do(internet.here, *words, "del", "default")
    try:
        if route:
            internet.do(internet.here, *words, "add", route, "default")
        made = internet.run(lambda: fact(target))
        if route:
            internet.do(internet.here, *words, "del", route, "default")
    finally:
        internet.do(internet.here, *words, "add", "default", "via", gateway)
    assert (made.outcome, made.icmp) == (outcome, None)


@in_namespaces
def test_dial_tells_the_families_apart_when_only_one_is_broken(internet: Internet) -> None:
    internet.firewall(internet.router, "forward", "tcp dport 25 drop", family="ip6")
    with internet.serve(internet.server, 25, greet()):
        assert internet.run(lambda: fact(SERVER_4)).outcome is DialOutcome.OPEN
        assert internet.run(lambda: fact(SERVER_6)).outcome is DialOutcome.TIMED_OUT


def test_icmp_codes_that_no_filter_sends_are_told_in_words() -> None:
    assert describe_icmp(Icmp(3, 42, "192.0.2.1")) == "ICMP type 3 code 42"
    assert describe_icmp(Icmp(1, 3, "2001:db8::1")) == "address unreachable"
    assert classify_icmp(Icmp(11, 0, "192.0.2.1"), "192.0.2.2") is DialOutcome.UNREACHABLE
