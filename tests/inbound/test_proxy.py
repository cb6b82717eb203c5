"""The PROXY protocol over real sockets: required from those listed, refused from all others."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from postreeve.inbound import listener as listener_module
from postreeve.policy.settings import LimitSettings
from tests.inbound.harness import LISTENERS, POLICY, Client, Serving, wait_until

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
PROXY = (ip_network("127.0.0.1/32"),)


def v2(command: int, family: int, payload: bytes) -> bytes:
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(payload)) + payload


def v2_tcp4(source: str) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton("192.0.2.1")
    return v2(1, 0x11, addresses + struct.pack("!HH", 4711, 25))


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Serving]:
    listeners = tuple(replace(one, proxy_from=PROXY) for one in LISTENERS)
    policy = replace(POLICY, relay_networks=(ip_network("198.51.100.0/24"),))
    limits = LimitSettings(proxy_timeout_seconds=0.3, connections_per_client=2)
    with Serving(tmp_path, listeners=listeners, policy=policy, limits=limits) as server:
        yield server


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 4711 25\r\n", "198.51.100.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (v2_tcp4("198.51.100.7"), "198.51.100.7"),
        (v2(0, 0x00, b""), "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("name", ["mx", "submissions"])
def test_header_of_a_listed_proxy_names_the_client(proxied: Serving, name: str, header: bytes, client: str) -> None:
    tls = proxied.tls.client if name == "submissions" else None
    with Client(proxied.port(name), tls, before=header) as talker:
        assert talker.reply().startswith("220")
    assert wait_until(lambda: [event.client for event in proxied.events_of("SessionOpened")] == [client])


def test_header_decides_who_may_relay(proxied: Serving) -> None:
    for source, code in (("198.51.100.7", "250"), ("203.0.113.7", "550")):
        with Client(proxied.port("mx"), before=f"PROXY TCP4 {source} 192.0.2.1 1 25\r\n".encode()) as client:
            client.reply()
            client.ask("EHLO c.example.com")
            client.ask("MAIL FROM:<a@example.com>")
            assert client.ask("RCPT TO:<x@victim.test>").startswith(code)


def test_header_byte_by_byte(proxied: Serving) -> None:
    with Client(proxied.port("mx")) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n":
            client.send(bytes([octet]))
        assert client.reply().startswith("220")


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO c.example.com\r\n",
        b"PROXY TCP4 198.51.100.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 300.1.1.1 192.0.2.1 4711 25\r\n",
        b"PROXY " + b"x" * 200,
        v2(1, 0x11, b"xx"),
        V2 + b"\x21\x11\xff\xff",
        V2[:-1] + b"x" + bytes(20),
    ],
)
def test_no_header_where_one_is_required_closes_without_a_word(proxied: Serving, octets: bytes) -> None:
    with Client(proxied.port("mx"), before=octets) as client:
        assert client.rest() == ""
    assert len(proxied.told("ConnectionRefused")) == 1
    assert proxied.events_of("SessionOpened") == []


def test_silence_or_half_a_header_is_cut(proxied: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_SECONDS", 0.02)
    with Client(proxied.port("mx"), before=b"PROXY TCP4 198") as client:
        assert client.rest() == ""
    with Client(proxied.port("mx"), before=b"PROXY TCP4 198") as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == ""


def test_header_from_a_stranger_is_refused_and_believed_by_nobody(server: Serving) -> None:
    with Client(server.port("mx"), before=b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n") as client:
        assert "250" not in client.rest()
    assert wait_until(lambda: [event.client for event in server.events_of("SessionOpened")] == ["127.0.0.1"])
    (seen,) = server.told("WrongProtocolSeen")
    assert seen.sniffed == "proxy"
    assert "proxy_from" in seen.hint


def test_limits_count_the_client_not_the_proxy(proxied: Serving) -> None:
    def connect(source: str) -> Client:
        return Client(proxied.port("mx"), before=f"PROXY TCP4 {source} 192.0.2.1 1 25\r\n".encode())

    clients = [connect("203.0.113.1"), connect("203.0.113.1"), connect("203.0.113.2"), connect("203.0.113.2")]
    assert [client.reply()[:3] for client in clients] == ["220"] * 4
    with connect("203.0.113.1") as fifth:
        assert fifth.rest().startswith("421 4.7.0")
    for client in clients:
        client.socket.close()


def test_what_follows_the_header_came_before_the_greeting(proxied: Serving) -> None:
    with Client(proxied.port("mx"), before=b"PROXY TCP4 203.0.113.1 192.0.2.1 1 25\r\nEHLO x\r\n") as client:
        assert client.rest().startswith("554 5.5.1")
