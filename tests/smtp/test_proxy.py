"""PROXY headers, whole, octet by octet and hostile."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.smtp.event import NEED_DATA, Need
from postreeve.smtp.proxy import Endpoint, ProxyHeader, ProxyProblem, ProxyReader

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def end(address: str, port: int) -> Endpoint:
    return Endpoint(ipaddress.ip_address(address), port)


def v2(command: int, family: int, payload: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload) if length is None else length) + payload


def packed(source: str, destination: str, ports: tuple[int, int] = (40000, 25)) -> bytes:
    return ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + struct.pack("!HH", *ports)


GOOD = [
    pytest.param(
        b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\n",
        ProxyHeader(end("192.0.2.1", 40000), end("198.51.100.2", 25)),
        id="v1 TCP4",
    ),
    pytest.param(
        b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n",
        ProxyHeader(end("2001:db8::1", 65535), end("2001:db8::2", 0)),
        id="v1 TCP6",
    ),
    pytest.param(
        b"PROXY TCP6 ::ffff:127.0.0.1 ::ffff:192.0.2.2 1 25\r\n",
        ProxyHeader(end("127.0.0.1", 1), end("192.0.2.2", 25)),
        id="v1 mapped",
    ),
    pytest.param(b"PROXY UNKNOWN\r\n", ProxyHeader(), id="v1 UNKNOWN"),
    pytest.param(
        b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n",
        ProxyHeader(),
        id="v1 UNKNOWN of 107 octets",
    ),
    pytest.param(
        v2(0x21, 0x11, packed("192.0.2.1", "198.51.100.2")),
        ProxyHeader(end("192.0.2.1", 40000), end("198.51.100.2", 25)),
        id="v2 TCP4",
    ),
    pytest.param(
        v2(0x21, 0x21, packed("2001:db8::1", "2001:db8::2")),
        ProxyHeader(end("2001:db8::1", 40000), end("2001:db8::2", 25)),
        id="v2 TCP6",
    ),
    pytest.param(
        v2(0x21, 0x21, packed("::ffff:10.0.0.1", "::ffff:192.0.2.2")),
        ProxyHeader(end("10.0.0.1", 40000), end("192.0.2.2", 25)),
        id="v2 mapped",
    ),
    pytest.param(
        v2(0x21, 0x11, packed("192.0.2.1", "198.51.100.2") + b"\x04\x00\x03abc"),
        ProxyHeader(end("192.0.2.1", 40000), end("198.51.100.2", 25)),
        id="v2 with TLV",
    ),
    pytest.param(v2(0x20, 0x00, b""), ProxyHeader(), id="v2 LOCAL"),
    pytest.param(v2(0x20, 0x11, packed("192.0.2.1", "198.51.100.2")), ProxyHeader(), id="v2 LOCAL with addresses"),
    pytest.param(v2(0x20, 0xFF, b"x" * 1024), ProxyHeader(), id="v2 LOCAL with 1024 octets"),
    pytest.param(v2(0x21, 0x00, b""), ProxyHeader(), id="v2 UNSPEC"),
    pytest.param(v2(0x21, 0x31, b"\x00" * 216), ProxyHeader(), id="v2 Unix socket"),
]


@pytest.mark.parametrize(("header", "expected"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"EHLO x\r\n", b"\x16\x03\x01\x02\x00"], ids=["alone", "EHLO", "TLS"])
def test_proxy_header_at_every_split(header: bytes, expected: ProxyHeader, rest: bytes) -> None:
    data = header + rest
    for cut in range(len(header)):
        reader = ProxyReader()
        assert reader.receive_data(data[:cut]) is NEED_DATA
        assert reader.receive_data(data[cut:]) == expected
        assert reader.remaining == rest


@pytest.mark.parametrize(("header", "expected"), GOOD)
def test_proxy_header_octet_by_octet(header: bytes, expected: ProxyHeader) -> None:
    reader = ProxyReader()
    outcomes = [reader.receive_data(header[i : i + 1]) for i in range(len(header))]
    assert outcomes[:-1] == [NEED_DATA] * (len(header) - 1)
    assert outcomes[-1] == expected
    assert reader.remaining == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"EHLO client.example.com\r\n", id="SMTP"),
        pytest.param(b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", id="lower case"),
        pytest.param(b"PROXY", id="prefix alone is only incomplete"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", id="no port"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", id="a word too many"),
        pytest.param(b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", id="two spaces"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", id="port too great"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", id="leading zero"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", id="sign"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n", id="empty port"),
        pytest.param("PROXY TCP4 192.0.2.1 192.0.2.2 ١ 2\r\n".encode(), id="other digits"),
        pytest.param(b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", id="no address"),
        pytest.param(b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", id="v6 as TCP4"),
        pytest.param(b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", id="v4 as TCP6"),
        pytest.param(b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", id="scoped"),
        pytest.param(b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", id="UDP"),
        pytest.param(b"PROXY UNKNOWNS\r\n", id="almost UNKNOWN"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nEHLO x\r\n", id="bare LF"),
        pytest.param(b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", id="108 octets"),
        pytest.param(b"PROXY " + b"x" * 1_000_000, id="no end"),
        pytest.param(v2(0x11, 0x11, packed("192.0.2.1", "192.0.2.2")), id="version 1 in binary"),
        pytest.param(v2(0x22, 0x11, packed("192.0.2.1", "192.0.2.2")), id="unknown command"),
        pytest.param(v2(0x21, 0x12, packed("192.0.2.1", "192.0.2.2")), id="datagrams"),
        pytest.param(v2(0x21, 0x41, b"x" * 40), id="unknown family"),
        pytest.param(v2(0x21, 0x11, b"x" * 11), id="short for v4"),
        pytest.param(v2(0x21, 0x21, b"x" * 35), id="short for v6"),
        pytest.param(v2(0x21, 0x11, b"", length=1025), id="too long, refused before it arrives"),
        pytest.param(v2(0x20, 0x00, b"", length=65535), id="LOCAL too long"),
        pytest.param(SIGNATURE[:-1] + b"X", id="almost the signature"),
    ],
)
def test_proxy_refuses(data: bytes) -> None:
    outcome = ProxyReader().receive_data(data)
    if data == b"PROXY":
        assert outcome is NEED_DATA
    else:
        assert isinstance(outcome, ProxyProblem)
        assert outcome.text.isprintable()


def test_proxy_is_not_fed_after_its_header() -> None:
    reader = ProxyReader()
    reader.receive_data(b"PROXY UNKNOWN\r\n")
    with pytest.raises(ValueError):
        reader.receive_data(b"PROXY UNKNOWN\r\n")


@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda tail: SIGNATURE + tail)
    | st.text(alphabet="TCP46UNKOW .:0123456789abcdef\r\n", max_size=120).map(lambda tail: b"PROXY " + tail.encode())
)
def test_proxy_takes_anything_and_holds_little(data: bytes) -> None:
    reader, position = ProxyReader(), 0
    outcome: ProxyHeader | ProxyProblem | Need = NEED_DATA
    while outcome is NEED_DATA and position < len(data):
        outcome = reader.receive_data(data[position : position + 7])
        position += 7
    whole = ProxyReader().receive_data(data)
    assert type(whole) is type(outcome)
    if isinstance(whole, ProxyHeader):
        assert whole == outcome
