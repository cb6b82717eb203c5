"""Strangers at the door."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.smtp.sniff import may_become_proxy, sniff

PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "tls"),
        (b"\x16\x03\x03", "tls"),
        (b"\x80\x2e\x01\x03\x01", "tls"),
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"OPTIONS * HTTP/1.1\r\n", "http"),
        (b"GET http://example.com/ HTTP/1.1\r\n", "http"),
        (b"CONNECT mx.example.com:25 HTTP/1.1\r\n", "http"),
        (b"PRI * HTTP/2.0\r\n", "http"),
        (b"SSH-2.0-x\r\n", "ssh"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy"),
        (b"PROXY UNKNOWN\r\n", "proxy"),
        (PROXY_V2, "proxy"),
        (b"\x03\x00\x00\x13\x0e", "rdp"),
        (b"\x05\x01\x00", "socks"),
        (b"EHLO client.example.org\r\n", None),
        (b"HELO a\r\n", None),
        (b"QUIT\r\n", None),
        (b"\x16", None),
        (b"GET\r\n", None),
        (b"GETTING / there\r\n", None),
        (b"", None),
    ],
    ids=repr,
)
def test_sniff(first: bytes, name: str | None) -> None:
    assert sniff(first) == name


@pytest.mark.parametrize("length", range(len(PROXY_V2) + 1))
def test_sniff_waits_for_a_proxy_header_only_where_one_may_come(length: int) -> None:
    assert may_become_proxy(PROXY_V2[:length]) == (2 <= length < len(PROXY_V2))


@given(st.binary(max_size=80))
def test_sniff_never_raises(first: bytes) -> None:
    sniff(first)
    may_become_proxy(first)
