"""Failed logins become bans: counted over the workers, never for whom it must not hit; and once with a real server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postreeve.app.bans import Bans, next_hops_in, protected
from postreeve.config.loader import load
from postreeve.config.model import Config
from postreeve.enforce import nft
from postreeve.enforce.bans import BanLine
from postreeve.enforce.place import Place
from postreeve.firewall.render.nftables import render
from postreeve.inbound.counter import SharedCounters
from postreeve.telemetry.event import AddressBanned, AuthenticationFailed, CredentialsMisplaced, TelemetryEvent
from tests.enforce.orders import policy
from tests.lab.pair import ADMIN_4, CLIENT_4, CLIENT_6, HOST_4, Pair, pair_or_skip
from tests.lab.waiting import until

TEXT = """
hostname = "mail.example.org"
data_dir = "{directory}/data"
user = "{user}"
workers = 2
[[listener]]
port = 25
role = "relay"
tls = "none"
proxy_from = ["192.0.2.240/28"]
[[domain]]
name = "example.org"
[relay]
networks = ["10.0.0.0/8"]
[[route]]
domains = ["example.org"]
via = "maildir"
[[route]]
domains = ["*"]
via = "smarthost"
host = "198.51.100.99"
[dns]
servers = ["198.51.100.53"]
[doctor]
enabled = false
known_good = []
block_lists = []
[firewall]
ban_after = 3
ban_for = "30s"
"""


def config_of(user: str = "", directory: str = "/nowhere") -> Config:
    return load(TEXT.format(directory=directory, user=user))


class Asked:
    """What a warden would read."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.line = BanLine(writing)

    def lines(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._reading, 65_536).decode().splitlines()
        return []

    def close(self) -> None:
        self.line.close()
        os.close(self._reading)


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.close()


def failed(client: str, reason: str = "password") -> AuthenticationFailed:
    return AuthenticationFailed("s", client, "jane", "PLAIN", reason)


def test_bans_ask_for_who_fails_too_often(asked: Asked) -> None:
    told: list[TelemetryEvent] = []
    counters = SharedCounters(workers=2)
    both = [Bans(asked.line, config_of(), counters.of_worker(n), told.append, lambda: 1000.0) for n in range(2)]
    both[0].tell(failed("203.0.113.5"))
    both[1].tell(CredentialsMisplaced("s", "relay-25", "203.0.113.5"))
    both[1].tell(failed("203.0.113.6"))
    assert asked.lines() == []
    both[0].tell(failed("203.0.113.5", "throttled"))
    assert asked.lines() == ["add 203.0.113.5 30"]
    assert told == [AddressBanned("203.0.113.5", 30, 3, "")]


def test_bans_count_an_ipv6_customer_as_one(asked: Asked) -> None:
    bans = Bans(asked.line, config_of(), SharedCounters(), lambda event: None, lambda: 1000.0)
    for number in range(3):
        bans.tell(failed(f"2001:db8:7::{number + 1}"))
    assert asked.lines() == ["add 2001:db8:7::3 30"]


def test_bans_forget_old_failures(asked: Asked) -> None:
    now = [0.0]
    bans = Bans(asked.line, config_of(), SharedCounters(), lambda event: None, lambda: now[0])
    for _ in range(10):
        bans.tell(failed("203.0.113.5"))
        bans.tell(failed("203.0.113.5"))
        now[0] += 600.0
    assert asked.lines() == []


@pytest.mark.parametrize(
    "client", ["10.1.2.3", "192.0.2.250", "198.51.100.99", "198.51.100.53", "127.0.0.1", "::1", "fe80::1"]
)
def test_bans_spare_whom_we_need(client: str, asked: Asked) -> None:
    bans = Bans(asked.line, config_of(), SharedCounters(), lambda event: None, lambda: 1000.0)
    for _ in range(10):
        bans.tell(failed(client))
    assert asked.lines() == []


@pytest.mark.parametrize("reason", ["accounts are unavailable", "too many logins at once"])
def test_bans_blame_nobody_for_our_own_trouble(reason: str, asked: Asked) -> None:
    bans = Bans(asked.line, config_of(), SharedCounters(), lambda event: None, lambda: 1000.0)
    for _ in range(10):
        bans.tell(failed("203.0.113.5", reason))
    assert asked.lines() == []


def test_bans_tell_when_nobody_takes_them(asked: Asked) -> None:
    told: list[TelemetryEvent] = []
    while asked.line.ban(next(iter({parse("192.0.2.1")})), 1):
        pass
    bans = Bans(asked.line, config_of(), SharedCounters(), told.append, lambda: 1000.0)
    for _ in range(3):
        bans.tell(failed("203.0.113.5"))
    assert [event.problem for event in told if isinstance(event, AddressBanned)] == [
        "nobody takes bans: restart the server"
    ]


def parse(text: str) -> object:
    import ipaddress

    return ipaddress.ip_address(text)


def test_protected_names_own_addresses_and_those_of_the_configuration() -> None:
    texts = {str(one) for one in protected(config_of())}
    assert {"127.0.0.1/32", "::1/128", "10.0.0.0/8", "192.0.2.240/28", "198.51.100.99/32"} <= texts


def test_next_hops_are_read_from_the_rules_in_force() -> None:
    table = """
        ip daddr 198.51.100.7 tcp dport 587 ct state new accept
        ip daddr { 203.0.113.1, 203.0.113.2 } tcp dport { 465 } accept
        ip6 daddr { 2001:db8::9 } tcp dport 465 accept
        ip daddr { 10.0.0.0/8 } accept
        ip saddr 192.0.2.9 accept
    """
    assert [str(one) for one in next_hops_in(table)] == [
        "198.51.100.7/32",
        "203.0.113.1/32",
        "203.0.113.2/32",
        "2001:db8::9/128",
    ]


# --- a real server --------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_or_skip() as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every account can reach."""
    with tempfile.TemporaryDirectory(prefix="postreeve-bans-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def server(pair: Pair, directory: Path) -> Iterator[Path]:
    """Started as root, serving as nobody; yields its log."""
    path, log = directory / "postreeve.toml", directory / "log"
    path.write_text(TEXT.format(directory=directory, user="nobody"))
    with log.open("wb") as output:
        words = [*pair.within, sys.executable, "-m", "postreeve", "serve", "--config", str(path)]
        process = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until(lambda: b"server_started" in log.read_bytes() or process.poll() is not None, "the server", 40)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()


def guess(pair: Pair, source: str, times: int) -> socket.socket:
    """A client that tries to log in where it cannot; its connection."""
    sock = pair.connect(HOST_4, 25, source)
    sock.settimeout(5)
    lines = sock.makefile("rb")
    lines.readline()
    sock.sendall(b"EHLO client.example.net\r\n")
    while lines.readline()[3:4] == b"-":
        pass
    for _ in range(times):
        sock.sendall(b"AUTH PLAIN AGphbmUAc2VjcmV0\r\n")
        assert lines.readline()[:1] == b"5"
    return sock


@pytest.mark.peer("nft", "ip")
def test_server_bans_who_guesses(pair: Pair, directory: Path) -> None:
    nft.load(Place(pair.within), render(policy(25)))
    with server(pair, directory) as log:
        guess(pair, ADMIN_4, 2).close()
        began = time.perf_counter()
        sock = guess(pair, CLIENT_4, 3)
        assert until(
            lambda: CLIENT_4 in pair.do(pair.host, "nft", "list", "set", "inet", "postreeve", "bans4"), "the ban", 5
        )
        assert time.perf_counter() - began < 5
        assert pair.dial(HOST_4, 25, CLIENT_4) == "silent"
        assert pair.dial(HOST_4, 25, ADMIN_4) == "open"
        sock.close()
        assert until(lambda: "event=address_banned" in log.read_text(), "the log line", 5)
        line = next(one for one in log.read_text().splitlines() if "event=address_banned" in one)
        assert f"client={CLIENT_4} seconds=30 failures=3" in line
    text = log.read_text()
    assert "Traceback" not in text
    assert CLIENT_6 not in text


@pytest.mark.peer("nft", "ip")
def test_server_without_rules_bans_nobody(pair: Pair, directory: Path) -> None:
    with server(pair, directory) as log:
        guess(pair, CLIENT_4, 3).close()
        assert pair.dial(HOST_4, 25, CLIENT_4) == "open"
        assert "address_banned" not in log.read_text()
