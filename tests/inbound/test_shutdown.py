"""Ends: of servers with thousands of sessions, of clients that vanish, and of nonsense; nothing alarming is said."""

import asyncio
import random
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from postreeve.policy.settings import LimitSettings
from tests.inbound.harness import HOST, Client, Serving, wait_until
from tests.inbound.test_receive import PLAIN_MESSAGE, submit, talk

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_shutdown_with_2000_idle_sessions_is_quiet(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], capfd: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4500:
        pytest.skip("needs 4,500 file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4500), hard))
    try:
        with Serving(tmp_path, limits=LimitSettings(connections_per_client=0), loop_factory=loop) as server:
            clients = [socket.create_connection((HOST, server.port("mx"))) for _ in range(2000)]
            assert all(client.recv(100).startswith(b"220") for client in clients)
            server.call(server.listener("mx").drain(10.0))
            assert server.listener("mx").connections == 0
            answers = {client.recv(100) for client in clients}
            for client in clients:
                client.close()
        assert answers == {b"421 4.3.2 shutting down, try again later\r\n"}
        assert {event.reason for event in server.told("SessionClosed", 2000)} == {"shutdown"}
        assert len(server.events_of("SessionClosed")) == 2000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_shutdown_lets_content_finish(server: Serving) -> None:
    with talk(server) as busy, talk(server) as idle:
        busy.ask("MAIL FROM:<a@example.com>")
        busy.ask("RCPT TO:<bob@example.org>")
        busy.ask("DATA")
        busy.send(b"Subject: x\r\n")
        draining = asyncio.run_coroutine_threadsafe(server.listener("mx").drain(20.0), server._loop)
        assert idle.rest().startswith("421 4.3.2")
        assert not draining.done()
        busy.send(b"\r\nx\r\n.\r\n")
        assert busy.reply().startswith("250 2.0.0 queued as")
        assert busy.rest().startswith("421 4.3.2")
    draining.result(20)
    assert len(server.messages()) == 1


def test_shutdown_does_not_wait_for_ever(server: Serving) -> None:
    with talk(server) as busy:
        busy.ask("MAIL FROM:<a@example.com>")
        busy.ask("RCPT TO:<bob@example.org>")
        busy.ask("DATA")
        server.call(server.listener("mx").drain(0.2))
        assert busy.rest() == ""
    assert server.messages() == []


def test_shutdown_ends_handshakes(server: Serving) -> None:
    with Client(server.port("submissions")) as client:
        assert wait_until(lambda: server.listener("submissions").connections == 1)
        server.call(server.listener("submissions").drain(5.0))
        assert client.rest() == ""


def test_no_new_sessions_after_shutdown_began(server: Serving) -> None:
    server.call(server.listener("mx").drain(1.0))
    with Client(server.port("mx")) as client:
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.line()


def test_half_closed_client_still_gets_its_answers(server: Serving) -> None:
    with talk(server) as client:
        client.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
        assert [client.line()[:3] for _ in range(3)] == ["250", "250", "354"]
        client.send(PLAIN_MESSAGE + b".\r\nQUIT\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert [line[:3] for line in client.rest().splitlines()] == ["250", "221"]
    assert len(server.messages()) == 1


@pytest.mark.parametrize("moment", range(8))
def test_client_that_resets_at_any_moment_leaves_no_trace(server: Serving, moment: int) -> None:
    steps = [b"EHLO c.example.com\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<bob@example.org>\r\n", b"DATA\r\n"]
    steps += [b"Subject: x\r\n\r\n", b"x" * 400_000, b"\r\n."]
    client = Client(server.port("mx"))
    client.reply()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    for number, step in enumerate(steps[:moment]):
        client.send(step)
        if number < 4:
            client.reply()
    client.socket.close()
    assert wait_until(lambda: server.listener("mx").connections == 0)
    assert server.messages() == []


@pytest.mark.parametrize("name", ["mx", "submissions"])
@pytest.mark.parametrize("seed", range(6))
def test_nonsense_gives_no_traceback(tmp_path: Path, seed: int, name: str) -> None:
    """Random octets, random cuts, and SMTP words among them; the server is calm and serves the next client."""
    chance = random.Random(seed)
    words = [b"EHLO x\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n", b"\r\n.\r\n"]
    words += [
        b"AUTH PLAIN =\r\n",
        b"AUTH LOGIN\r\n",
        b"BDAT 10\r\n",
        b"BDAT 5 LAST\r\n",
        b"STARTTLS\r\n",
        b"RSET\r\n",
        b"\0",
    ]
    words += [b"MAIL FROM:<\xff@\xc3\xa9.test> SMTPUTF8\r\n", b"HELO \x1b[31m\r\n", b"VRFY " + b"x" * 3000 + b"\r\n"]
    limits = LimitSettings(connections_per_client=0, soft_errors=0, max_auth_failures=0)
    with Serving(tmp_path, limits=limits) as server:
        for _ in range(40):
            tls = server.tls.client if name == "submissions" and chance.random() < 0.8 else None
            with Client(server.port(name), tls) as client:
                client.socket.settimeout(0.2)
                try:
                    if chance.random() < 0.7:
                        client.reply()
                    for _ in range(chance.randrange(12)):
                        junk = chance.randbytes(chance.randrange(60))
                        client.send(chance.choice([chance.choice(words), junk, junk + b"\r\n"]))
                except OSError:
                    continue
        assert wait_until(lambda: server.listener(name).connections == 0)
        with talk(server, name) as client:
            assert submit(client, PLAIN_MESSAGE).startswith("250")
