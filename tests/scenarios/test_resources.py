"""What one client, or a thousand, may cost: all of it is bounded, and none of it makes the log alarming."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.server import Server
from tests.lab.talk import HOST, Talk
from tests.lab.waiting import until
from tests.scenarios.conftest import assert_calm, make_server

MIB = 1024
"""In KiB, as the kernel counts memory."""
CROWD = 1_000
DEADLINES = {
    "command_timeout": "2s",
    "content_timeout": "2s",
    "session_timeout": "6s",
    "tls_timeout": "2s",
    "minimum_rate": 500,
    "minimum_rate_grace": "2s",
}


def resident_kib(server: Server) -> int:
    """Of all workers."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.worker_pids())
    return pages * resource.getpagesize() // 1024


def cpu_seconds(server: Server) -> float:
    """User and system time of all workers."""
    ticks = 0
    for pid in server.worker_pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with make_server(tmp_path_factory.mktemp("hasty"), {"limits": DEADLINES}) as one:
        yield one
        assert_calm(one)


STALLS: dict[str, list[bytes]] = {
    "banner": [],
    "command": [b"EHLO cli"],
    "between commands": [b"EHLO client.example.net\r\n"],
    "mail": [b"EHLO a\r\n", b"MAIL FROM:<a@example.com>\r\n"],
    "data": [b"EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n", b"DATA\r\n", b"Subject: x\r\n"],
    "bdat": [b"EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n", b"BDAT 100\r\nabc"],
    "starttls": [b"EHLO a\r\n", b"STARTTLS\r\n", b"\x16\x03\x01"],
}


@pytest.mark.parametrize("name", STALLS)
def test_stalling_client_is_closed_by_the_deadline(hasty: Server, name: str) -> None:
    with Talk(hasty.port("mx")) as talk:
        begun = time.monotonic()
        assert talk.reply().startswith("220 ")
        for piece in STALLS[name]:
            talk.send(piece)
            if piece.endswith(b"\r\n"):
                select.select([talk.socket], [], [], 1)
        talk.rest()
        assert time.monotonic() - begun < 10


def test_dripping_clients_are_closed_by_their_deadlines(hasty: Server) -> None:
    """One octet at a time never ends: the session's own deadline and the least rate of content do."""
    talks = [Talk(hasty.port("mx")) for _ in range(3)]
    begun = time.monotonic()
    for talk in talks:
        talk.hello()
    for talk in talks[1:]:
        talk.envelope("a@example.com", "b@example.org")
    assert talks[1].ask("DATA").startswith("354 ")
    talks[2].send(b"BDAT 100000\r\n")
    alive = list(talks)
    while alive and time.monotonic() - begun < 20:
        for talk in list(alive):
            try:
                talk.send(b"x")
                if select.select([talk.socket], [], [], 0.1)[0]:
                    assert talk.line().startswith("421 ")
                    alive.remove(talk)
            except ConnectionError:
                alive.remove(talk)
    assert not alive
    for talk in talks:
        talk.socket.close()


def test_client_that_does_not_read_is_closed_and_costs_little(hasty: Server) -> None:
    before = resident_kib(hasty)
    with Talk(hasty.port("mx")) as talk:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talk.hello()
        talk.socket.settimeout(1)
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 20:
                talk.send(b"NOOP this and that\r\nEHLO again\r\n" * 1000)
        assert time.monotonic() - begun < 20
    assert resident_kib(hasty) - before < 8 * MIB


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with make_server(tmp_path_factory.mktemp("patient"), {"limits": {"soft_errors": 0}}) as one:
        yield one
        assert_calm(one)


@pytest.mark.parametrize("kind", ["command", "data line", "header", "bdat line"])
def test_64_mb_without_a_line_end_cost_no_memory(server: Server, kind: str) -> None:
    piece = b"x" * 1_048_576
    before = resident_kib(server)
    with Talk(server.port("mx"), seconds=30) as talk:
        talk.hello()
        if kind != "command":
            talk.envelope("a@example.com", "long@example.org")
        if kind in ("data line", "header"):
            assert talk.ask("DATA").startswith("354 ")
            talk.send(b"Subject: x\r\n\r\n" if kind == "data line" else b"Subject: ")
        if kind == "bdat line":
            talk.send(b"BDAT ")
        most = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                talk.send(piece)
                most = max(most, resident_kib(server))
            talk.send(b"\r\n.\r\n")
        reply = talk.reply()
        assert not reply.startswith("250 "), reply
    # Content goes to the spool, and fills the database's page cache of 32 MiB once.
    assert most - before < (48 if kind == "data line" else 8) * MIB, most - before


FLOODS = {
    "NOOP": (b"NOOP\r\n", b"421 "),
    "RSET": (b"RSET\r\n", b"421 "),
    "EHLO": (b"EHLO again.example.net\r\n", b"554 "),
    "VRFY": (b"VRFY somebody\r\n", b"421 "),
    "HELP": (b"HELP\r\n", b"421 "),
    "nonsense": (b"FOO bar\r\n", b"421 "),
    "MAIL and RSET": (b"MAIL FROM:<a@example.com>\r\nRSET\r\n", b"421 "),
    "strangers": (b"MAIL FROM:<a@example.com>\r\nRCPT TO:<x@elsewhere.test>\r\n", b"421 "),
    "binary": (bytes(range(256)) + b"\r\n", b"500 "),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_of_commands_ends_the_session(server: Server, name: str) -> None:
    command, last = FLOODS[name]
    with Talk(server.port("mx")) as talk:
        talk.hello()
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                talk.send(command)
        lines = talk.rest().splitlines()
        assert lines[-1].encode().startswith(last), lines[-3:]
        assert len(lines) < 2_000


def test_recipients_beyond_the_limit_get_452_and_the_others_the_message(server: Server) -> None:
    with Talk(server.port("mx"), seconds=60) as talk:
        talk.hello()
        assert talk.ask("MAIL FROM:<a@example.com>").startswith("250 ")
        talk.send(b"".join(b"RCPT TO:<many%d@example.org>\r\n" % number for number in range(1_010)))
        codes = [talk.reply()[:3] for _ in range(1_010)]
        assert codes == ["250"] * 1_000 + ["452"] * 10
        assert talk.data(b"Subject: x\r\n\r\nx\r\n").startswith("250 ")


def test_crowd_of_many_addresses_and_one_good_client(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CROWD + 200:
        pytest.skip(f"needs {CROWD + 200} file descriptors, has {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CROWD + 200), hard))
    before = resident_kib(server)
    crowd = [
        socket.create_connection((HOST, server.port("mx")), 20, (f"127.7.{number // 200}.{1 + number % 200}", 0))
        for number in range(CROWD)
    ]
    try:
        for one in crowd:
            assert one.recv(512).startswith(b"220 ")
        assert resident_kib(server) - before < 60 * CROWD
        with Talk(server.port("mx")) as talk:
            talk.hello()
            talk.envelope("a@example.com", "good@example.org")
            assert talk.data(b"Subject: good\r\n\r\nx\r\n").startswith("250 ")
        server.wait_for_messages("good@example.org")
    finally:
        for one in crowd:
            one.close()


def test_one_address_gets_no_more_than_its_share(server: Server) -> None:
    crowd = [socket.create_connection((HOST, server.port("mx")), 20, ("127.9.9.9", 0)) for _ in range(60)]
    greetings = [one.recv(512)[:4] for one in crowd]
    assert greetings.count(b"220 ") == 50
    assert greetings.count(b"421 ") == 10
    for one in crowd:
        one.close()


@pytest.mark.peer("prlimit")
def test_no_file_descriptors_left_means_waiting_and_no_spinning(tmp_path: Path) -> None:
    with make_server(
        tmp_path, {"limits": {"connections_per_client": 0}}, wrapper=("prlimit", "--nofile=160:160")
    ) as one:
        crowd = [socket.create_connection((HOST, one.port("mx")), 20) for _ in range(300)]
        try:
            one.wait_for_log("no file descriptor")
            begun, used = time.monotonic(), cpu_seconds(one)
            until(lambda: time.monotonic() - begun > 4, "the time of measurement")
            assert cpu_seconds(one) - used < 0.2 * 4
            assert one.log().count("no file descriptor") < 20
        finally:
            for client in crowd:
                client.close()

        def greeted() -> bool:
            with contextlib.suppress(OSError), Talk(one.port("mx"), seconds=5) as talk:
                return talk.reply().startswith("220 ")
            return False

        until(greeted, "recovery")
        assert_calm(one)
