"""Networks as they are: broken IPv4, IPv6 only, and a blocked port 25. In network namespaces that the test makes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.lab.dns_server import Zone
from tests.lab.server import Server
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

pytestmark = [pytest.mark.peer("namespaces", "ip", "nft")]
COUNTER = itertools.count()
OURS_4, THEIRS_4 = "192.0.2.1", "192.0.2.2"
OURS_6, THEIRS_6 = "2001:db8::1", "2001:db8::2"
DNS_PORT = 5353
ROOT = Path(__file__).resolve().parents[2]
NAME_SERVER = """
import asyncio, json, sys
import tests.lab.dns_server as lab

async def main():
    server = lab.DnsServer(json.loads(sys.argv[1]))
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: lab._Datagrams(server), local_addr=("127.0.0.1", int(sys.argv[2])))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30) as client:
    content = b"From: jane@example.com\\r\\nSubject: over there\\r\\n\\r\\nhello\\r\\n"
    client.sendmail("jane@example.com", [sys.argv[2]], content)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Net:
    """Two namespaces, `here` and `there`, joined by a pair of virtual Ethernet interfaces."""

    def __init__(self) -> None:
        tag = f"pr{os.getpid()}x{next(COUNTER)}"
        self.here, self.there = f"{tag}a", f"{tag}b"

    def within(self, name: str) -> tuple[str, ...]:
        """What to put before a command so that it runs there."""
        return ("ip", "netns", "exec", name)

    def run(self, name: str, *command: str) -> None:
        done = subprocess.run(
            [*self.within(name), *command], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr

    def set_up(self) -> None:
        for name in (self.here, self.there):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "veth0", "netns", self.here, "type", "veth", "peer", "name", "veth0", "netns", self.there)
        for name, four, six in ((self.here, OURS_4, OURS_6), (self.there, THEIRS_4, THEIRS_6)):
            ip("-n", name, "address", "add", f"{four}/24", "dev", "veth0")
            ip("-n", name, "address", "add", f"{six}/64", "dev", "veth0", "nodad")
            ip("-n", name, "link", "set", "veth0", "up")

    def firewall(self, name: str, *rules: str) -> None:
        """Input rules of nftables, in that namespace only."""
        lines = ["table inet test {", "chain input {", "type filter hook input priority 0;", *rules, "}", "}", ""]
        command = [*self.within(name), "nft", "-f", "-"]
        done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr

    def tear_down(self) -> None:
        for name in (self.here, self.there):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


@pytest.fixture
def net() -> Iterator[Net]:
    one = Net()
    try:
        try:
            one.set_up()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be joined here: {error.stderr.decode()[:200]}")
        yield one
    finally:
        one.tear_down()


@contextlib.contextmanager
def name_server(net: Net, zone: Zone) -> Iterator[None]:
    command = [*net.within(net.here), sys.executable, "-c", NAME_SERVER, json.dumps(zone), str(DNS_PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.terminate()


def receiving(net: Net, directory: Path) -> Server:
    """Mail for example.net in a Maildir, on port 25 and, for the account alice, on 465."""
    everywhere = {"addresses": ["0.0.0.0", "::"]}
    given: dict[str, Any] = {
        "hostname": "mx.example.net",
        "listener": [
            {"name": "mx", "role": "relay", "port": 25, **everywhere},
            {"name": "submissions", "role": "submission", "tls": "implicit", "port": 465, **everywhere},
        ],
        "domain": [{"name": "example.net"}],
        "route": [
            {"domains": ["example.net"], "via": "maildir", "path": str(directory / "mail" / "{local}@{domain}")},
            {"domains": ["*"], "via": "hold"},
        ],
    }
    return make_server(directory, given, wrapper=net.within(net.there))


def sending(net: Net, directory: Path, retry: Sequence[str] = ("1s",), **route: Any) -> Server:
    """Relays what comes from its own loopback."""
    given: dict[str, Any] = {
        "relay": {"networks": ["127.0.0.0/8"]},
        "domain": [{"name": "example.org"}],
        "route": [
            {"domains": ["example.org"], "via": "maildir", "path": str(directory / "mail" / "{local}@{domain}")},
            {"domains": ["*"], "via": "mx", **route},
        ],
        "dns": {"servers": [f"127.0.0.1:{DNS_PORT}"]},
        "queue": {"retry": list(retry), "warn_after": []},
        "delivery": {"timeouts": {"connect": "3s"}},
    }
    return make_server(directory, given, wrapper=net.within(net.here))


def send(net: Net, server: Server, recipient: str) -> None:
    net.run(net.here, sys.executable, "-c", SEND, str(server.port("mx")), recipient)


ADDRESSES: dict[str, dict[str, list[str]]] = {
    "both": {"A": [THEIRS_4], "AAAA": [THEIRS_6]},
    "ipv6 only": {"AAAA": [THEIRS_6]},
    "ipv4 only": {"A": [THEIRS_4]},
}


@pytest.mark.parametrize(
    ("addresses", "blocked", "arrives_from"),
    [
        ("both", (), ""),
        ("ipv6 only", (), OURS_6),
        ("ipv4 only", (), OURS_4),
        ("both", ("meta nfproto ipv4 drop",), OURS_6),
        ("both", ("ip6 daddr 2001:db8::2 tcp dport 25 drop",), OURS_4),
        ("both", ("ip6 daddr 2001:db8::2 tcp dport 25 reject with tcp reset",), OURS_4),
    ],
    ids=["both", "ipv6-only", "ipv4-only", "ipv4-dropped", "ipv6-dropped", "ipv6-refused"],
)
def test_mail_finds_the_family_that_works(
    net: Net, tmp_path: Path, addresses: str, blocked: tuple[str, ...], arrives_from: str
) -> None:
    zone = {"example.net": {"MX": ["10 mx.example.net."]}, "mx.example.net": ADDRESSES[addresses]}
    if blocked:
        net.firewall(net.there, *blocked)
    with (
        name_server(net, zone),
        receiving(net, tmp_path / "there") as there,
        sending(net, tmp_path / "here") as here,
    ):
        send(net, here, "bob@example.net")
        (stored,) = there.wait_for_messages("bob@example.net", seconds=30)
        assert arrives_from.encode() in stored
        here.wait_for_log("event=recipient_delivered")
        assert here.log().count("event=recipient_deferred") == 0
        for one in (here, there):
            assert_calm(one)


def test_blocked_port_25_leads_to_the_fallback_on_465(net: Net, tmp_path: Path) -> None:
    """What a hoster's firewall does to mail, and the one setting against it."""
    zone = {"example.net": {"MX": ["10 mx.example.net."]}, "mx.example.net": ADDRESSES["both"]}
    net.firewall(net.there, "tcp dport 25 drop")
    fallback = {
        "host": THEIRS_4,
        "port": 465,
        "tls": "implicit",
        "verify": False,
        "username": USERNAME,
        "password": PASSWORD,
        "after_attempts": 2,
    }
    with (
        name_server(net, zone),
        receiving(net, tmp_path / "there") as there,
        sending(net, tmp_path / "here", fallback=fallback) as here,
    ):
        send(net, here, "bob@example.net")
        (stored,) = there.wait_for_messages("bob@example.net", seconds=40)
        assert b"with ESMTPSA" in stored
        here.wait_for_log("event=recipient_delivered")
        deferred = [line for line in here.log().splitlines() if "event=recipient_deferred" in line]
        assert len(deferred) == 2
        assert all("stage=connect" in line for line in deferred)
        for one in (here, there):
            assert_calm(one)
