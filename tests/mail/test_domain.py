"""Domains: one comparable form."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.domain import Domain, parse_domain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Example.COM", "example.com", id="case"),
        pytest.param("localhost", "localhost", id="single label"),
        pytest.param("_dmarc.example.com", "_dmarc.example.com", id="underscore"),
        pytest.param("bücher.example", "xn--bcher-kva.example", id="U-label"),
        pytest.param("XN--BCHER-KVA.example", "xn--bcher-kva.example", id="A-label"),
        pytest.param("[192.0.2.1]", "[192.0.2.1]", id="v4"),
        pytest.param("[ipv6:2001:DB8:0::1]", "[ipv6:2001:db8::1]", id="v6"),
        pytest.param("[IPv6:::FFFF:127.0.0.1]", "[127.0.0.1]", id="v4-mapped"),
        pytest.param("3com.example", "3com.example", id="digit first"),
    ],
)
def test_parse_domain_normalises(text: str, expected: str) -> None:
    domain = parse_domain(text)
    assert domain is not None
    assert domain.ascii == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        "a.-b",
        "a-.b",
        "a b",
        "a\x00b",
        "a'b",
        "[192.0.2.256]",
        "[",
        "[]",
        "[IPv6:]",
        "1.2.3.4",
        "a." * 127 + "a",
        "é" * 200,
    ],
    ids=ascii,
)
def test_parse_domain_refuses(text: str) -> None:
    assert parse_domain(text) is None


def test_domain_address_of_literal() -> None:
    assert Domain("[192.0.2.1]").address == ipaddress.ip_address("192.0.2.1")
    assert Domain("[ipv6:2001:db8::1]").address == ipaddress.ip_address("2001:db8::1")
    assert Domain("example.com").address is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xn--bcher-kva.example", "bücher.example"),
        ("example.com", "example.com"),
        ("xn--0.example", "xn--0.example"),
        ("xn--a-\u00fc".encode("ascii", "ignore").decode() + ".example", "xn--a-.example"),
    ],
)
def test_domain_unicode_for_people(name: str, expected: str) -> None:
    assert Domain(name).unicode == expected


def test_domain_is_within() -> None:
    parent = Domain("example.com")
    assert parent.is_within(parent)
    assert Domain("mail.example.com").is_within(parent)
    assert not Domain("badexample.com").is_within(parent)


@given(st.text() | st.from_regex(r"[a-zA-Z0-9é.\-_\[\]:]{0,40}"))
def test_parse_domain_print_parse(text: str) -> None:
    domain = parse_domain(text)
    if domain is not None:
        assert parse_domain(str(domain)) == domain
        assert str(domain).isascii()
        assert parse_domain(domain.unicode) == domain or domain.unicode == domain.ascii


@given(st.ip_addresses())
def test_parse_domain_reads_every_literal(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    domain = parse_domain(f"[IPv6:{address}]" if address.version == 6 else f"[{address}]")
    assert domain is not None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert domain.address == (mapped or address)
