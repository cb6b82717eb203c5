"""The whole walk through broken networks: real packet filters, routes and proxies, and what is said of them."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postreeve.checks.conversation import Ending
from postreeve.checks.facts import Facts, Intent
from postreeve.checks.judge import judge
from postreeve.checks.path import ControlRole, DialOutcome, Icmp
from postreeve.checks.verdict import Confidence, Verdict
from postreeve.ports.known_good import parse_known_good
from postreeve.probes.request import Request
from postreeve.probes.target import parse_target
from postreeve.probes.walk import walk
from tests.lab.certificates import Authority
from tests.lab.dns_server import DnsServer
from tests.lab.network import GOOD_4, GOOD_6, HERE_4, ROUTER_4, ROUTER_6, SERVER_4, SERVER_6, Internet, greet

pytestmark = pytest.mark.peer("namespaces", "ip", "nft")
ZONE = {"mx.example.net": {"A": [SERVER_4], "AAAA": [SERVER_6]}}
KNOWN_GOOD = parse_known_good(f"{GOOD_4}:25 {GOOD_4}:587 [{GOOD_6}]:25 [{GOOD_6}]:587")


@pytest.fixture
def served(internet: Internet) -> Iterator[Internet]:
    """Mail servers on 25 and 587 of the far host."""
    with internet.serve(internet.server, 25, greet()), internet.serve(internet.server, 587, greet()):
        yield internet


def look(net: Internet, target: str, intent: Intent = Intent.AUTO, seconds: float = 1.3) -> tuple[Facts, Verdict]:
    async def gather() -> Facts:
        async with DnsServer(ZONE) as names:
            request = Request(
                intent=intent,
                timeout_seconds=seconds,
                known_good=KNOWN_GOOD,
                has_own_known_good=True,
                servers=(("127.0.0.1", names.port),),
            )
            return await walk(parse_target(target), request, now=0.0)

    facts = net.run(gather)
    return facts, judge(facts).verdict


def outcomes(facts: Facts, role: ControlRole, port: int) -> set[DialOutcome]:
    return {one.dial.outcome for one in facts.controls if one.role is role and one.dial.port == port}


def test_walk_of_a_healthy_path_needs_no_trace(served: Internet) -> None:
    facts, verdict = look(served, "mx.example.net:587", Intent.PLAIN)
    assert [one.dials[0].outcome for one in facts.endpoints] == [DialOutcome.OPEN] * 2
    assert [one.trace for one in facts.endpoints] == [None, None]
    assert verdict.cause == "ok"


@pytest.mark.parametrize(("target", "router"), [(SERVER_4, ROUTER_4), (f"[{SERVER_6}]", ROUTER_6)])
def test_walk_finds_a_drop_at_the_second_hop(served: Internet, target: str, router: str) -> None:
    served.firewall(served.router, "forward", "tcp dport 25 drop")
    facts, verdict = look(served, f"{target}:25")
    endpoint = facts.endpoints[0]
    assert [one.outcome for one in endpoint.dials] == [DialOutcome.TIMED_OUT]
    assert endpoint.trace is not None
    assert endpoint.trace.last_sender == router
    assert outcomes(facts, ControlRole.OTHER_PORT, 587) == {DialOutcome.OPEN}
    assert outcomes(facts, ControlRole.KNOWN_GOOD, 25) == {DialOutcome.TIMED_OUT}
    assert outcomes(facts, ControlRole.KNOWN_GOOD, 587) == {DialOutcome.OPEN}
    assert outcomes(facts, ControlRole.NOWHERE, 25) <= {DialOutcome.TIMED_OUT, DialOutcome.UNREACHABLE}
    assert (verdict.cause, verdict.confidence) == ("port-25-blocked", Confidence.HIGH)


def test_walk_finds_a_drop_at_the_far_side(served: Internet) -> None:
    served.firewall(served.server, "input", f"ip daddr {SERVER_4} tcp dport 25 drop")
    facts, verdict = look(served, f"{SERVER_4}:25")
    assert outcomes(facts, ControlRole.KNOWN_GOOD, 25) == {DialOutcome.OPEN}
    assert verdict.cause == "blocked-far-side"


@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 25 drop",
        "tcp dport 25 reject with icmpx type admin-prohibited",
        "tcp dport 25 reject with icmpx type port-unreachable",
        "tcp dport 25 reject with tcp reset",
    ],
)
@pytest.mark.parametrize("target", [SERVER_4, f"[{SERVER_6}]"])
def test_walk_accuses_this_machines_firewall_first(served: Internet, rule: str, target: str) -> None:
    served.firewall(served.here, "output", rule)
    facts, verdict = look(served, f"{target}:25")
    assert facts.endpoints[0].dials[0].outcome is DialOutcome.FORBIDDEN
    assert facts.endpoints[0].trace is None
    assert (verdict.cause, verdict.confidence) == ("local-forbidden", Confidence.HIGH)


@pytest.mark.parametrize("answer", ["net-unreachable", "host-unreachable", "net-prohibited", "admin-prohibited"])
def test_walk_names_the_router_that_rejects(served: Internet, answer: str) -> None:
    rule = f"tcp dport 25 reject with icmp type {answer}"
    served.firewall(served.router, "forward", rule, family="ip")
    facts, verdict = look(served, f"{SERVER_4}:25")
    icmp = facts.endpoints[0].dials[0].icmp
    assert icmp is not None
    assert icmp.sender == ROUTER_4
    assert outcomes(facts, ControlRole.OTHER_PORT, 587) == {DialOutcome.OPEN}
    assert verdict.cause == "port-25-blocked"
    assert any(ROUTER_4 in line for line in verdict.evidence)


def test_walk_sees_a_reset_that_comes_from_too_near(served: Internet) -> None:
    served.firewall(served.router, "prerouting", "tcp dport 25 reject with tcp reset")
    facts, verdict = look(served, f"{SERVER_4}:25")
    endpoint = facts.endpoints[0]
    assert endpoint.dials[0].outcome is DialOutcome.REFUSED
    assert endpoint.trace is not None
    assert [(hop.ttl, hop.sender) for hop in endpoint.trace.hops] == [(1, SERVER_4)]
    assert verdict.cause == "port-25-blocked"


def test_walk_finds_a_closed_port(internet: Internet) -> None:
    with internet.serve(internet.server, 587, greet()):
        facts, verdict = look(internet, f"{SERVER_4}:2525")
    assert facts.endpoints[0].dials[0].outcome is DialOutcome.REFUSED
    assert verdict.cause == "tcp-refused"


def test_walk_finds_that_only_ipv6_is_broken(served: Internet) -> None:
    served.firewall(served.router, "forward", "meta l4proto tcp drop", family="ip6")
    facts, verdict = look(served, "mx.example.net:25")
    by_address = {one.address: one.dials[0].outcome for one in facts.endpoints}
    assert by_address == {SERVER_6: DialOutcome.TIMED_OUT, SERVER_4: DialOutcome.OPEN}
    assert verdict.cause == "ipv6-broken"


def test_walk_chooses_the_port_by_the_family_that_works(internet: Internet) -> None:
    internet.firewall(internet.router, "forward", "meta l4proto tcp drop", family="ip6")
    with internet.serve(internet.server, 25, greet()):
        facts, _ = look(internet, "host:mx.example.net", Intent.AUTO, seconds=0.4)
    assert [(one.address, one.port, one.dials[0].outcome) for one in facts.endpoints] == [
        (SERVER_6, 587, DialOutcome.TIMED_OUT),
        (SERVER_4, 25, DialOutcome.OPEN),
    ]


def test_walk_finds_that_there_is_no_ipv6_here(served: Internet) -> None:
    served.do(served.here, "ip", "-6", "route", "del", "default")
    try:
        facts, verdict = look(served, "mx.example.net:25", Intent.PLAIN)
    finally:
        served.do(served.here, "ip", "-6", "route", "add", "default", "via", ROUTER_6)
    assert not facts.vantage.has_ipv6_route
    assert facts.vantage.has_ipv4_route
    assert {one.address: one.dials[0].outcome for one in facts.endpoints}[SERVER_6] is DialOutcome.NO_ROUTE
    assert verdict.cause == "ok"


def test_walk_finds_a_proxy_that_answers_for_everybody(served: Internet) -> None:
    rules = ("tcp dport 25 redirect to :2500",)
    served.firewall(served.router, "prerouting", *rules, kind="nat")
    with served.serve(served.router, 2500, greet(b"220 proxy.example.org ESMTP\r\n")):
        facts, verdict = look(served, f"{SERVER_4}:25")
    nowhere = [one for one in facts.controls if one.role is ControlRole.NOWHERE]
    assert [(one.dial.outcome, one.banner) for one in nowhere] == [(DialOutcome.OPEN, "220 proxy.example.org ESMTP")]
    assert (verdict.cause, verdict.confidence) == ("transparent-proxy", Confidence.HIGH)


def test_walk_tells_a_source_address_that_is_not_here(served: Internet) -> None:
    request = Request(source_ipv4="192.0.2.200", timeout_seconds=1, known_good=(), nowhere=())
    facts = served.run(lambda: walk(parse_target(f"{SERVER_4}:25"), request, now=0.0))
    assert facts.endpoints[0].dials[0].outcome is DialOutcome.NO_SOURCE
    assert judge(facts).verdict.cause == "source-address"


def test_walk_connects_from_the_wanted_source(served: Internet) -> None:
    served.do(served.here, "ip", "address", "add", "192.0.2.9/24", "dev", "net0")
    request = Request(source_ipv4="192.0.2.9", intent=Intent.PLAIN, timeout_seconds=1, known_good=(), nowhere=())
    facts = served.run(lambda: walk(parse_target(f"{SERVER_4}:25"), request, now=0.0))
    served.do(served.here, "ip", "address", "del", "192.0.2.9/24", "dev", "net0")
    assert facts.endpoints[0].dials[0].local_address == "192.0.2.9"
    assert facts.asked.source_ipv4 == "192.0.2.9" != HERE_4


@pytest.fixture
def narrow(internet: Internet) -> Iterator[Internet]:
    """Packets towards us must be small, and the ICMP that says so is lost: a path MTU black hole (RFC 2923)."""
    internet.do(internet.router, "ip", "link", "set", "net0", "mtu", "1280")
    internet.firewall(
        internet.router, "output", "icmp type destination-unreachable drop", "icmpv6 type packet-too-big drop"
    )
    yield internet
    internet.do(internet.router, "ip", "link", "set", "net0", "mtu", "1500")


def starttls(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        sock.sendall(f"220 [{sock.getsockname()[0]}] ESMTP\r\n".encode())
        with sock.makefile("rb") as lines:
            for line in lines:
                if line[:8].upper() == b"STARTTLS":
                    sock.sendall(b"220 go ahead\r\n")
                    break
                sock.sendall(b"250-mx.example.net\r\n250 STARTTLS\r\n")
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock, server_side=True) as within:
            greet(b"")(within)

    return talk


def test_walk_ends_where_large_packets_are_lost(narrow: Internet, tmp_path: Path) -> None:
    names = [f"host-{number}.customers.example.net" for number in range(150)]
    chain, key = Authority().issue("mx.example.net", *names).write(tmp_path, "large")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with narrow.serve(narrow.server, 587, starttls(context)):
        facts, verdict = look(narrow, f"{SERVER_4}:587", seconds=1.5)
    talks = facts.endpoints[0].conversations
    assert talks[0].ending is Ending.TIMED_OUT
    assert talks[0].tls is not None
    assert talks[0].tls.version == ""
    assert [one.code for one in talks[0].said if one.command == "STARTTLS"] == [220]
    assert verdict.cause == "mtu"
    assert Icmp(3, 4, ROUTER_4) not in [one.icmp for one in facts.endpoints[0].dials]
