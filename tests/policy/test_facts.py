"""Who a client is."""

from ipaddress import ip_address, ip_network

import pytest

from postreeve.mail.address import parse_mailbox
from postreeve.policy.facts import Account, client_key, is_within, parse_client


@pytest.mark.parametrize(
    ("patterns", "address", "expected"),
    [
        pytest.param(("*",), "anybody@example.com", True, id="any"),
        pytest.param((), "alice@example.org", False, id="none"),
        pytest.param(("alice@example.org",), "Alice@Example.ORG", True, id="one-address-any-case"),
        pytest.param(("alice@example.org",), "alice+x@example.org", False, id="no-sub-address"),
        pytest.param(("@example.org",), "whoever@example.org", True, id="domain"),
        pytest.param(("*@example.org",), "whoever@example.org", True, id="domain-with-star"),
        pytest.param(("*@example.org",), "whoever@example.com", False, id="domain-with-star-other"),
        pytest.param(("@Example.org",), "whoever@example.org", True, id="domain-any-case"),
        pytest.param(("@example.org",), "whoever@sub.example.org", False, id="not-the-sub-domain"),
        pytest.param(("@example.org",), "whoever@notexample.org", False, id="not-a-longer-name"),
        pytest.param(("@example.org",), '"x@example.org"@example.com', False, id="quoted-at"),
        pytest.param(("x@example.org",), '"x@example.org"@example.com', False, id="quoted-at-address"),
        pytest.param(("",), "x@example.org", False, id="empty-pattern"),
    ],
)
def test_account_may_send_as(patterns: tuple[str, ...], address: str, expected: bool) -> None:
    mailbox = parse_mailbox(address)
    assert mailbox is not None
    assert Account("alice", patterns).may_send_as(mailbox) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_parse_client_normalises(text: str, expected: str) -> None:
    assert parse_client(text) == ip_address(expected)


def test_is_within_sees_through_mapped_addresses() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert is_within(parse_client("::ffff:192.0.2.7"), networks)
    assert is_within(parse_client("2001:db8:1::7"), networks)
    assert not is_within(parse_client("::ffff:198.51.100.7"), networks)
    assert not is_within(parse_client("::ffff:198.51.100.7"), (ip_network("::ffff:0:0/96"),))


def test_client_key_takes_a_slash_64_for_one_client() -> None:
    assert client_key(parse_client("2001:db8::1")) == client_key(parse_client("2001:db8::ffff:1"))
    assert client_key(parse_client("2001:db8::1")) != client_key(parse_client("2001:db8:0:1::1"))
    assert client_key(parse_client("192.0.2.1")) == client_key(parse_client("::ffff:192.0.2.1"))
    assert client_key(parse_client("192.0.2.1")) != client_key(parse_client("192.0.2.2"))
