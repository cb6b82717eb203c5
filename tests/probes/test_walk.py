"""The whole walk on loopback: which endpoints, how many connections, what is never done twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postreeve.checks.conversation import Ending, Opening
from postreeve.checks.document import dump_facts, load_facts
from postreeve.checks.facts import Facts, Intent, TargetKind
from postreeve.checks.judge import judge
from postreeve.checks.path import ControlRole, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.probes.request import Request
from postreeve.probes.script import Login
from postreeve.probes.target import parse_target
from postreeve.probes.walk import walk
from tests.lab.dns_server import DnsServer, Zone
from tests.lab.misbehaving import HOST, PASSWORD, USERNAME, Lab, Manner, Misbehaving
from tests.lab.sink import Hang

pytestmark = pytest.mark.asyncio
ZONE: Zone = {HOST: {"A": ["127.0.0.1"]}}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def said(*servers: Misbehaving) -> list[str]:
    """Every line that came, in the clear or within TLS."""
    return [
        line.decode()
        for server in servers
        for seen in server.connections
        for line in (seen.received + seen.over_tls).split(b"\r\n")
    ]


async def look(target: str, lab: Lab, zone: Zone = ZONE, **options: object) -> Facts:
    async with DnsServer(zone) as names:
        given: dict[str, object] = {
            "timeout_seconds": 1.0,
            "servers": (("127.0.0.1", names.port),),
            "ca_file": lab.ca_file,
            "nowhere": (),
            "known_good": (),
            **options,
        }
        return await walk(parse_target(target), Request(**given), now=time.time())  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def at_both_addresses(manner: Manner, lab: Lab) -> AsyncIterator[tuple[int, Misbehaving, Misbehaving]]:
    """The same server at 127.0.0.1 and 127.0.0.2, on one port."""
    for _ in range(20):
        async with Misbehaving(manner, lab) as one:
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    taken.bind(("127.0.0.2", one.port))
                except OSError:
                    continue
            other = Misbehaving(manner, lab, "127.0.0.2")
            server = await asyncio.start_server(other._accept, "127.0.0.2", one.port)
            try:
                yield one.port, one, other
            finally:
                server.close()
                for task in other._tasks:
                    task.cancel()
            return
    raise AssertionError("no port is free at both addresses")


async def test_walk_of_a_healthy_server_logs_in_once_asks_without_sni_and_takes_no_time(lab: Lab) -> None:
    login = Login(USERNAME, PASSWORD)
    async with Misbehaving(Manner(), lab) as server:
        began = time.monotonic()
        facts = await look(
            f"{HOST}:{server.port}",
            lab,
            intent=Intent.STARTTLS,
            login=login,
            mail_from=USERNAME,
            recipient="a@example.net",
        )
        assert time.monotonic() - began < 0.5
        assert [b"AUTH" in one.over_tls for one in server.connections] == [True, False]
        assert [b"MAIL" in one.over_tls for one in server.connections] == [True, False]
    assert [one.is_nameless for one in facts.endpoints[0].conversations] == [False, True]
    assert [one.tls and one.tls.server_name for one in facts.endpoints[0].conversations] == [HOST, ""]
    assert facts.controls == ()
    assert facts.asked.stop_after is Stage.RCPT
    assert judge(facts).verdict.cause == "ok"
    assert load_facts(dump_facts(facts)) == facts


async def test_walk_keeps_no_secret_anywhere(lab: Lab) -> None:
    login = Login(USERNAME, "geheim-und-lang")
    async with Misbehaving(Manner(replies={"AUTH": b"535 5.7.8 no: geheim-und-lang\r\n"}), lab) as server:
        facts = await look(f"{HOST}:{server.port}", lab, intent=Intent.STARTTLS, login=login)
    text = dump_facts(facts) + repr(facts)
    assert "geheim" not in text
    assert "Z2VoZWlt" not in text
    assert facts.endpoints[0].conversations[0].auth_tried


async def test_walk_never_tries_a_bad_password_twice(lab: Lab) -> None:
    zone: Zone = {HOST: {"A": ["127.0.0.1", "127.0.0.2"]}}
    manner = Manner(replies={"AUTH": b"535 5.7.8 authentication failed\r\n"})
    async with at_both_addresses(manner, lab) as (port, one, other):
        login = Login(USERNAME, "wrong")
        facts = await look(f"{HOST}:{port}", lab, zone, intent=Intent.STARTTLS, login=login, all_addresses=True)
        commands = said(one, other)
    assert len(facts.endpoints) == 2
    assert len([line for line in commands if line.upper().startswith("AUTH")]) == 1


async def test_walk_sends_a_message_once_only(lab: Lab) -> None:
    zone: Zone = {HOST: {"A": ["127.0.0.1", "127.0.0.2"]}}
    async with at_both_addresses(Manner(), lab) as (port, one, other):
        await look(
            f"{HOST}:{port}", lab, zone, intent=Intent.PLAIN, mail_from="a@example.com", recipient="b@example.net",
            message=b"Subject: x\r\n\r\nx\r\n", stop_after=Stage.DATA, all_addresses=True,
        )  # fmt: skip
        commands = said(one, other)
    assert commands.count("DATA") == 1


async def test_walk_takes_one_address_of_each_family_unless_told(lab: Lab) -> None:
    zone: Zone = {HOST: {"A": ["127.0.0.1", "127.0.0.2"]}}
    async with at_both_addresses(Manner(), lab) as (port, one, other):
        facts = await look(f"{HOST}:{port}", lab, zone)
        assert len(facts.endpoints) == 1
        assert {bool(one.connections), bool(other.connections)} == {True, False}


async def test_walk_finds_implicit_tls_where_nobody_said_so(lab: Lab) -> None:
    async with Misbehaving(Manner(is_implicit=True), lab) as server:
        facts = await look(f"{HOST}:{server.port}", lab)
        assert len(server.connections) == 3
    first, second, third = facts.endpoints[0].conversations
    assert third.is_nameless
    assert (first.opening, first.ending) == (Opening.CLEAR, Ending.TIMED_OUT)
    assert second.opening is Opening.TLS
    assert second.tls is not None
    assert second.tls.version


async def test_walk_stops_when_told_to_come_back_later(lab: Lab) -> None:
    zone: Zone = {HOST: {"A": ["127.0.0.1", "127.0.0.2"]}}
    manner = Manner(greeting=b"421 4.7.0 too many connections from you\r\n")
    async with at_both_addresses(manner, lab) as (port, one, other):
        facts = await look(f"{HOST}:{port}", lab, zone, all_addresses=True)
        assert len(one.connections) + len(other.connections) == 1
    assert facts.endpoints[0].conversations[-1].ending is Ending.STOPPED


async def test_walk_makes_three_connections_to_a_silent_port_and_then_gives_up(lab: Lab) -> None:
    async with Misbehaving(Manner(greeting=Hang()), lab) as server:
        facts = await look(f"{HOST}:{server.port}", lab, timeout_seconds=0.3)
        assert len(server.connections) == 3
    assert [one.opening for one in facts.endpoints[0].conversations] == [Opening.CLEAR, Opening.TLS, Opening.CLEAR]


async def test_walk_goes_on_to_the_next_mx_host_only_when_the_first_cannot_be_reached(lab: Lab) -> None:
    zone: Zone = {
        "example.net": {"MX": ["10 dead.example.net.", f"20 {HOST}.", "30 third.example.net."]},
        "dead.example.net": {"A": ["127.0.0.3"]},
        "third.example.net": {"A": ["127.0.0.4"]},
        **ZONE,
    }
    async with Misbehaving(Manner(), lab) as server:
        facts = await look("mx:example.net", lab, zone, port=server.port)
    assert facts.asked.kind is TargetKind.MAIL_DOMAIN
    assert not facts.asked.is_application
    assert [(one.host, one.dials[0].outcome) for one in facts.endpoints] == [
        ("dead.example.net", DialOutcome.REFUSED),
        (HOST, DialOutcome.OPEN),
    ]


async def test_walk_without_a_port_takes_the_best_that_answers() -> None:
    """Nothing listens on the mail ports of this address: the one for submission is blamed, the others are controls."""
    request = Request(timeout_seconds=0.5, nowhere=(), known_good=())
    facts = await walk(parse_target("127.9.9.9"), request, now=1.0)
    assert [(one.port, one.dials[0].outcome) for one in facts.endpoints] == [(587, DialOutcome.REFUSED)]
    controls = [one.dial.port for one in facts.controls if one.role is ControlRole.OTHER_PORT]
    assert len(controls) == len(set(controls))
    assert {465, 25} <= set(controls)


async def test_walk_says_hello_with_an_honest_name(lab: Lab) -> None:
    async with Misbehaving(Manner(), lab) as server:
        facts = await look(f"{HOST}:{server.port}", lab)
        given = await look(f"{HOST}:{server.port}", lab, hello_name="client.example.com")
        heard = [line for line in dict.fromkeys(said(server)) if line.startswith("EHLO")]
    name = facts.asked.hello_name
    assert name == "[127.0.0.1]" or "." in name
    assert heard == [f"EHLO {name}", "EHLO client.example.com"]
    assert given.asked.hello_name == "client.example.com"


async def test_walk_stops_where_it_is_told(lab: Lab) -> None:
    async with Misbehaving(Manner(), lab) as server:
        facts = await look(f"{HOST}:{server.port}", lab, stop_after=Stage.BANNER, mail_from="a@example.com")
        assert said(server) == ["QUIT", ""]
    assert facts.asked.stop_after is Stage.BANNER


async def test_walk_of_a_name_that_does_not_exist_connects_nowhere(lab: Lab) -> None:
    facts = await look("smtp.example.org:587", lab)
    assert facts.endpoints == ()
    assert judge(facts).verdict.cause == "dns-nxdomain"


PIECES = (
    b"220 hi\r\n", b"250-a\r\n250 STARTTLS\r\n", b"250 AUTH PLAIN\r\n", b"\x16\x03\x01\x00\x05hello", b"421 bye\r\n",
    b"\x15\x03\x01\x00\x02\x02\x28", b"220 " + b"*" * 50 + b"\r\n", b"334 \r\n", b"999 x\r\n", b"250\r\n",
    b"x" * 70_000,
    b"\xff" * 300, b"-1 x\r\n", b"220-\r\n", b"\n", b"\r", b"", b"235 ok\r\n", b"354 go\r\n", b"* OK x\r\n",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
async def test_walk_survives_a_server_that_says_anything(seed: int) -> None:
    chance, connections = random.Random(seed), 0
    script = [chance.choice(PIECES) for _ in range(chance.randint(1, 8))]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(OSError, TimeoutError):
            for piece in script:
                writer.write(piece)
                await writer.drain()
                async with asyncio.timeout(0.2):
                    await reader.read(4_096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    request = Request(
        intent=chance.choice(list(Intent)),
        timeout_seconds=0.2,
        login=Login("jane", "secret", may_go_in_clear=True),
        mail_from="a@example.com",
        recipient="b@example.net",
        nowhere=(),
        known_good=(),
    )
    facts = await walk(parse_target(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"), request, now=1.0)
    server.close()
    assert connections <= 3
    assert load_facts(dump_facts(facts)) == facts
    assert judge(facts).verdict.cause != ""
