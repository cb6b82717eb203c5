"""What we take is what we pass on: octet for octet below the fields we put before it, by every way in and out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.receiver import Receiver, Taken
from tests.lab.server import Server
from tests.lab.talk import Talk
from tests.lab.waiting import until
from tests.scenarios.conftest import assert_calm, make_server

MESSAGE_COUNT = 60
"""At least so many are in the suites."""
ADDED = re.compile(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
STORED = re.compile(rb"Return-Path: <[^\n]*>\nDelivered-To: [^\n]*\n")
LARGE_OCTETS = 50_000_000
ROOM_KIB = 16 * 1024
PAGE_CACHE_KIB = 8 * 1024
HOPS = {"example.com": "relay", "example.net": "lmtp", "example.org": "maildir"}


@pytest.fixture(scope="module")
def messages(suites: Path) -> dict[str, bytes]:
    """As a client would send them: every line with CRLF, the last one too."""
    places = [suites / "messages", suites / "dkim"]
    names = ("*.txt", "*.eml", "*.mbox", "*.msg", "*.message", "*.message.*")
    files = sorted({file for place in places for name in names for file in place.rglob(name)})
    found = {str(file.relative_to(suites)): as_sent(file.read_bytes()) for file in files if "LICENSE" not in file.name}
    assert len(found) >= MESSAGE_COUNT
    return found


def as_sent(text: bytes) -> bytes:
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") else text + b"\r\n"


@pytest.fixture(scope="module")
def relay() -> Iterator[Receiver]:
    with Receiver() as hop:
        yield hop


@pytest.fixture(scope="module")
def lmtp() -> Iterator[Receiver]:
    with Receiver(is_lmtp=True) as hop:
        yield hop


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, relay: Receiver, lmtp: Receiver) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("identity")
    to_relay = {"via": "smarthost", "host": "127.0.0.1", "port": relay.port, "tls": "none"}
    config = {
        "domain": [{"name": "example.org"}, {"name": "example.net"}],
        "relay": {"networks": ["127.0.0.1/32"]},
        "limits": {"bare_newlines": "reject", "max_message": "64MiB"},
        "route": [
            {"domains": ["*"], **to_relay},
            {"domains": ["example.net"], "via": "lmtp", "host": "127.0.0.1", "port": lmtp.port},
            {"domains": ["example.org"], "via": "maildir", "path": str(directory / "mail" / "{local}@{domain}")},
        ],
    }
    with make_server(directory, config) as one:
        yield one
        assert_calm(one)


def below_what_was_added(content: bytes) -> bytes:
    added = ADDED.match(content)
    assert added is not None, content[:200]
    return content[added.end() :]


def taken_for(hop: Receiver, local: str) -> Taken:
    def find() -> list[Taken]:
        return [one for one in list(hop.taken) if any(f"<{local}@" in path for path in one.recipients)]

    (one,) = until(find, f"the message of {local}")
    return one


@pytest.mark.parametrize("way", ["data", "bdat", "bdat-in-pieces"])
def test_message_passes_unchanged(
    server: Server, relay: Receiver, lmtp: Receiver, messages: dict[str, bytes], way: str
) -> None:
    with Talk(server.port("mx")) as talk:
        talk.hello()
        for number, content in enumerate(messages.values()):
            people = [f"{way}.{number}@{domain}" for domain in HOPS]
            talk.envelope("alice@example.org", *people, parameters="BODY=8BITMIME")
            match way:
                case "data":
                    reply = talk.data(content)
                case "bdat":
                    reply = talk.bdat(content)
                case _:
                    reply = talk.bdat(content, 1 + len(content) // 7)
            assert reply.startswith("250 "), (list(messages)[number], reply)
    for number, (name, content) in enumerate(messages.items()):
        local = f"{way}.{number}"
        for hop in (relay, lmtp):
            assert below_what_was_added(taken_for(hop, local).content) == content, name
        (stored,) = server.wait_for_messages(f"{local}@example.org")
        head = STORED.match(stored)
        assert head is not None, name
        assert stored[head.end() :].replace(b"\n", b"\r\n").endswith(content), name
        assert below_what_was_added(stored[head.end() :].replace(b"\n", b"\r\n")) == content, name


def test_worker_stays_small_while_50_mb_pass(server: Server, relay: Receiver) -> None:
    """The first large message fills the database's page cache, which is bounded; from then on memory is flat."""
    (worker,) = server.worker_pids()
    line = b"0123456789" * 7 + b"\r\n"
    content = b"Subject: large\r\n\r\n" + line * (LARGE_OCTETS // len(line))
    grown = []
    for number, way in enumerate(("data", "bdat", "data")):
        Path(f"/proc/{worker}/clear_refs").write_text("5")
        before = peak_kib(worker)
        local = f"large.{number}"
        with Talk(server.port("mx"), seconds=60) as talk:
            talk.hello()
            talk.envelope("alice@example.org", f"{local}@example.com", f"{local}@example.org")
            reply = talk.data(content) if way == "data" else talk.bdat(content, 4_000_000)
            assert reply.startswith("250 "), reply
        # Compared outside the assertions: the difference of two such messages is nothing to print.
        is_same = below_what_was_added(taken_for(relay, local).content) == content
        (stored,) = server.wait_for_messages(f"{local}@example.org")
        is_stored = stored.replace(b"\n", b"\r\n").endswith(content)
        assert is_same
        assert is_stored
        grown.append(peak_kib(worker) - before)
    assert grown[0] < PAGE_CACHE_KIB + ROOM_KIB, grown
    assert max(grown[1:]) < ROOM_KIB, grown


def peak_kib(pid: int) -> int:
    """The most memory a process had resident since its mark was last set back."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]
