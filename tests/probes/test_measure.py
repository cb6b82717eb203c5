"""Measuring the ports of a host, against real servers and sockets on loopback."""

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from postreeve.checks.path import DialOutcome
from postreeve.clientconfig.settings import TlsMode
from postreeve.ports.advise import Grade, advise, describe, grade
from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.service import Mode
from postreeve.probes.measure import MAX_CONNECTIONS, Survey, measure_endpoint, measure_host
from postreeve.probes.resolve import resolve
from tests.lab.blackhole import full_backlog
from tests.lab.certificates import Authority
from tests.lab.dovecot import Dovecot
from tests.lab.postfix import Postfix, free_ports
from tests.lab.server import Server

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Counted:
    """How many connections a server got, and how many at once at most."""

    def __init__(self) -> None:
        self.connections = 0
        self.now = 0
        self.most = 0


@contextlib.asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Counted]]:
    """A server on a port of its own; `handler` is one connection."""
    counted = Counted()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.connections += 1
        counted.now += 1
        counted.most = max(counted.most, counted.now)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await handler(reader, writer)
        finally:
            counted.now -= 1
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], counted
    finally:
        server.close()


def greeting(first: bytes, *, after: float = 0.0, offers: bytes = b"", starttls: bytes = b"454 not now\r\n") -> Handler:
    """A server that says this, and answers EHLO."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after)
        writer.write(first)
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-mail.example.com\r\n" + offers + b"250 HELP\r\n")
            elif verb == b"STAR":
                writer.write(starttls)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"502 what?\r\n")

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


def survey(*ports: int, ca_file: Path | None = None, seconds: float = 3.0) -> Survey:
    return Survey(ports, timeout_seconds=seconds, hello_name="client.example.net", ca_file=ca_file)


def context_of(directory: Path, authority: Authority, *names: str) -> ssl.SSLContext:
    chain, key = authority.issue(*names).write(directory, names[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def measure(handler: Handler, *, mode: Mode | None = None, seconds: float = 3.0) -> tuple[Measured, Counted]:
    async def run() -> tuple[Measured, Counted]:
        async with serving(handler) as (port, counted):
            return await measure_endpoint("127.0.0.1", "127.0.0.1", port, survey(seconds=seconds), mode), counted

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("first", "mode", "protocol", "flaw"),
    [
        pytest.param(b"220 mail.example.com ESMTP\r\n", None, "smtp", Flaw.NONE, id="smtp"),
        pytest.param(b"220 mail.example.com ESMTP\r\n", Mode.IMPLICIT, "smtp", Flaw.NONE, id="smtp-where-tls-was-due"),
        pytest.param(b"554 5.7.1 go away\r\n", None, "smtp", Flaw.REJECTED, id="rejects"),
        pytest.param(b"421 4.7.0 too many\r\n", None, "smtp", Flaw.BUSY, id="busy"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", None, "ssh", Flaw.NOT_SMTP, id="ssh"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", Mode.IMPLICIT, "ssh", Flaw.NOT_SMTP, id="ssh-where-tls-was-due"),
        pytest.param(b"* OK IMAP4rev1 ready\r\n", None, "imap", Flaw.NOT_SMTP, id="imap"),
        pytest.param(b"+OK ready\r\n", None, "pop3", Flaw.NOT_SMTP, id="pop3"),
    ],
)
def test_measure_hears_what_speaks(first: bytes, mode: Mode | None, protocol: str, flaw: Flaw) -> None:
    measured, counted = measure(greeting(first, offers=b"250-AUTH PLAIN LOGIN\r\n"), mode=mode)
    assert (measured.protocol, measured.flaw) == (protocol, flaw)
    assert counted.connections == measured.connections <= MAX_CONNECTIONS
    assert counted.most == 1
    if flaw is Flaw.NONE:
        assert measured.mode is Mode.PLAIN
        assert measured.auth_before == ("LOGIN", "PLAIN")


def test_measure_waits_once_for_a_server_that_greets_slowly() -> None:
    measured, counted = measure(greeting(b"220 mail.example.com ESMTP\r\n", after=2.6), seconds=4.0)
    assert measured.flaw is Flaw.NONE
    assert counted.connections == 3


@pytest.mark.parametrize("mode", [Mode.STARTTLS, Mode.IMPLICIT], ids=["clear-first", "tls-first"])
def test_measure_tells_silence(mode: Mode) -> None:
    began = time.monotonic()
    measured, counted = measure(silent, mode=mode, seconds=1.5)
    assert measured.flaw is Flaw.SILENT
    assert measured.protocol == ""
    assert counted.connections == 2
    assert time.monotonic() - began < 8


def test_measure_tells_a_server_that_hangs_up() -> None:
    measured, counted = measure(hangs_up)
    assert measured.flaw is Flaw.CLOSED
    assert counted.connections <= 2


def test_measure_tells_starttls_that_is_refused() -> None:
    measured, _ = measure(greeting(b"220 mail.example.com ESMTP\r\n", offers=b"250-STARTTLS\r\n"))
    assert measured.flaw is Flaw.STARTTLS_REFUSED
    assert "454" in measured.flaw_detail


def test_measure_tells_starttls_that_leads_nowhere() -> None:
    handler = greeting(b"220 mail.example.com ESMTP\r\n", offers=b"250-STARTTLS\r\n", starttls=b"220 go\r\n")
    measured, _ = measure(handler, seconds=1.0)
    assert measured.flaw is Flaw.TLS_FAILED
    assert measured.mode is Mode.STARTTLS


def test_measure_tells_a_closed_port() -> None:
    (port,) = free_ports(1)
    measured = asyncio.run(measure_endpoint("127.0.0.1", "127.0.0.1", port, survey()))
    assert measured.reach is Reach.REFUSED
    assert measured.connections == 1


@pytest.mark.parametrize("names", [("localhost",), ("mail.example.com",)], ids=["right-name", "wrong-name"])
@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "strange-authority"])
def test_measure_verifies_the_certificate(tmp_path: Path, names: tuple[str, ...], is_trusted: bool) -> None:
    authority = Authority()
    known = (authority if is_trusted else Authority("Another")).write(tmp_path / "ca.pem")

    async def run() -> Measured:
        context = context_of(tmp_path, authority, *names)
        async with serving(greeting(b"220 mail.example.com ESMTP\r\n", offers=b"250-AUTH PLAIN\r\n"), context) as (
            port,
            _,
        ):
            return await measure_endpoint("localhost", "127.0.0.1", port, survey(ca_file=known), Mode.IMPLICIT)

    measured = asyncio.run(run())
    assert measured.mode is Mode.IMPLICIT
    assert measured.tls_version in ("TLSv1.2", "TLSv1.3")
    assert measured.is_trusted is is_trusted
    assert measured.is_name_right is (names == ("localhost",))
    assert measured.auth_after == ("PLAIN",)
    is_good = is_trusted and names == ("localhost",)
    assert grade(measured) is (Grade.VERIFIED if is_good else Grade.UNVERIFIED)
    assert bool(measured.certificate_problem) is not is_good


def test_measure_finds_implicit_tls_where_starttls_was_due(tmp_path: Path) -> None:
    authority = Authority()

    async def run() -> tuple[Measured, Counted]:
        context = context_of(tmp_path, authority, "localhost")
        known = authority.write(tmp_path / "ca.pem")
        async with serving(greeting(b"220 mail.example.com ESMTP\r\n"), context) as (port, counted):
            return await measure_endpoint("localhost", "127.0.0.1", port, survey(ca_file=known)), counted

    measured, _ = asyncio.run(run())
    assert measured.mode is Mode.IMPLICIT
    assert measured.is_verified


def test_measure_survives_any_octets() -> None:
    chance = random.Random(8314)
    starts = [b"", b"220 ", b"220-", b"250-\xff", b"\x16\x03\x03", b"\x15\x03\x01\x00\x02", b"* OK", b"421", b"\r\n"]

    def says(data: bytes) -> Handler:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            await reader.read(200)
            writer.write(data[::-1] * 3)

        return serve

    async def run() -> list[Measured]:
        async with contextlib.AsyncExitStack() as stack:
            ports = []
            for place in range(36):
                data = starts[place % len(starts)] + chance.randbytes(chance.randrange(1, 400)) + b"\n"
                ports.append((await stack.enter_async_context(serving(says(data))))[0])
            one = survey(seconds=0.5)
            return await asyncio.gather(*(measure_endpoint("localhost", "127.0.0.1", port, one) for port in ports))

    for measured in asyncio.run(run()):
        assert measured.reach is Reach.OPEN
        assert measured.connections <= MAX_CONNECTIONS
        assert measured.flaw_detail.isprintable()
        assert describe(measured)


def test_words_are_those_of_the_facts() -> None:
    assert {one.value for one in Reach} == {one.value for one in DialOutcome}
    assert {one.value for one in Mode} <= {one.value for one in TlsMode}


def test_measure_of_a_black_hole_is_over_in_twelve_seconds() -> None:
    held = [full_backlog() for _ in range(6)]
    try:
        ports = tuple(listener[0].getsockname()[1] for listener in held)
        seen: list[tuple[int, int]] = []
        began = time.monotonic()
        found = asyncio.run(measure_host("127.0.0.1", survey(*ports, seconds=5.0), lambda *now: seen.append(now)))
        took = time.monotonic() - began
    finally:
        for listener in held:
            for one in listener:
                one.close()
    assert [one.reach for one in found.endpoints] == [Reach.TIMED_OUT] * 6
    assert took <= 12
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)


def test_measure_takes_both_families() -> None:
    (port,) = free_ports(1)
    found = asyncio.run(measure_host("localhost", survey(port)))
    families = {one.family for one in found.endpoints}
    assert 4 in families
    assert families == {6 if ":" in one else 4 for one in found.addresses}
    only = asyncio.run(measure_host("localhost", Survey((port,), family=4)))
    assert only.addresses == ("127.0.0.1",)


@pytest.mark.parametrize("name", ["nobody.invalid", "a..b", "x" * 300, ""], ids=["invalid", "dots", "long", "empty"])
def test_measure_of_no_host_says_so(name: str) -> None:
    found = asyncio.run(measure_host(name, survey(25))) if name else asyncio.run(measure_host("\x00", survey(25)))
    assert found.endpoints == ()
    assert found.failure


def test_resolve_does_not_wait_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> list[object]:
        time.sleep(3)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    found = asyncio.run(resolve("mail.example.com", seconds=0.2))
    assert "does not answer" in found.failure
    assert time.monotonic() - began < 1.5


def test_measure_our_own_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        ports = tuple(server.port(name) for name in ("mx", "submission", "submissions"))
        began = time.monotonic()
        found = asyncio.run(measure_host("localhost", Survey(ports, family=4, ca_file=server.ca_file)))
        took = time.monotonic() - began
    mx, submission, submissions = found.endpoints
    assert mx.mode is Mode.STARTTLS
    assert submission.mode is Mode.STARTTLS
    assert submission.is_verified
    assert submission.auth_before == ()
    assert "PLAIN" in submission.auth_after
    assert submissions.mode is Mode.IMPLICIT
    assert submissions.is_verified
    assert took < 4, "2 seconds of which an ephemeral port with implicit TLS takes to be silent"
    advice = advise(found.endpoints)
    assert advice.choice is not None
    assert advice.choice.port == submissions.port


@pytest.mark.peer("postfix", "dovecot")
def test_measure_a_real_postfix(tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue("localhost").write(tmp_path, "localhost")
    ca_file = authority.write(tmp_path / "ca.pem")
    with (
        Dovecot(tmp_path / "dovecot", {"jane": "secret"}) as dovecot,
        Postfix(tmp_path / "postfix", chain, key, sasl=dovecot.sasl) as postfix,
    ):
        ports = (postfix.submissions_port, postfix.submission_port, postfix.port)
        found = asyncio.run(measure_host("localhost", Survey(ports, family=4, ca_file=ca_file)))
    submissions, submission, relay = found.endpoints
    assert (submissions.mode, submissions.is_verified) == (Mode.IMPLICIT, True)
    assert (submission.mode, submission.is_verified) == (Mode.STARTTLS, True)
    assert submission.auth_after == ("LOGIN", "PLAIN")
    assert relay.is_verified
    assert relay.auth == ()
    assert all(one.connections <= MAX_CONNECTIONS for one in found.endpoints)
    advice = advise(found.endpoints)
    assert advice.choice is not None
    assert advice.choice.port == submissions.port
    assert "offers no login" in advice.ranking[2].lost
