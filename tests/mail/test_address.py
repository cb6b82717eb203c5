"""Mailboxes: one parser, and what it refuses."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postreeve.mail.address import Mailbox, parse_mailbox, quote_local_part
from postreeve.mail.domain import Domain


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        pytest.param("user@example.com", "user", "example.com", id="plain"),
        pytest.param("User@EXAMPLE.Com", "User", "example.com", id="case"),
        pytest.param("user@example.com.", "user", "example.com", id="trailing dot"),
        pytest.param("a.b+c/d=e!#$&'*?^_`{|}~-@example.com", "a.b+c/d=e!#$&'*?^_`{|}~-", "example.com", id="atext"),
        pytest.param('"a b"@example.com', "a b", "example.com", id="quoted space"),
        pytest.param('"user"@example.com', "user", "example.com", id="needless quotes"),
        pytest.param('"a\\"b\\\\c"@example.com', 'a"b\\c', "example.com", id="quoted pairs"),
        pytest.param('"user@victim.test"@example.com', "user@victim.test", "example.com", id="quoted at"),
        pytest.param('""@example.com', "", "example.com", id="empty quoted"),
        pytest.param("user%victim.test@example.com", "user%victim.test", "example.com", id="percent hack stays local"),
        pytest.param("victim.test!user@example.com", "victim.test!user", "example.com", id="bang path stays local"),
        pytest.param("user@[192.0.2.1]", "user", "[192.0.2.1]", id="v4 literal"),
        pytest.param("user@[IPv6:2001:DB8::1]", "user", "[ipv6:2001:db8::1]", id="v6 literal"),
        pytest.param("user@[IPv6:::ffff:192.0.2.1]", "user", "[192.0.2.1]", id="v4-mapped literal"),
        pytest.param("dürst@bücher.example", "dürst", "xn--bcher-kva.example", id="internationalised"),
        pytest.param("user@EXAMPLE。com", "user", "example.com", id="ideographic full stop"),
        pytest.param("a" * 64 + "@example.com", "a" * 64, "example.com", id="longest local part"),
    ],
)
def test_parse_mailbox_reads(text: str, local: str, domain: str) -> None:
    assert parse_mailbox(text) == Mailbox(local, Domain(domain))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("user", id="no domain"),
        pytest.param("@example.com", id="no local part"),
        pytest.param("user@", id="empty domain"),
        pytest.param("user@here@victim.test", id="two ats"),
        pytest.param("@here.test,@x.test:user@victim.test", id="source route"),
        pytest.param("user@[127.0.0.1", id="literal without end"),
        pytest.param("user@[::1]", id="v6 literal without tag"),
        pytest.param("user@[IPv6:192.0.2.1]", id="v4 as v6"),
        pytest.param("user@[IPv6:fe80::1%eth0]", id="scoped literal"),
        pytest.param("user@[x400:something]", id="general literal"),
        pytest.param("user@127.0.0.1", id="address without brackets"),
        pytest.param("user@127.1", id="short address without brackets"),
        pytest.param("user@１２７.0.0.1", id="fullwidth digits"),
        pytest.param("user@example..com", id="empty label"),
        pytest.param("user@example.com..", id="two trailing dots"),
        pytest.param("user@-example.com", id="label begins with hyphen"),
        pytest.param("user@exam ple.com", id="space in domain"),
        pytest.param(".user@example.com", id="leading dot"),
        pytest.param("us..er@example.com", id="double dot"),
        pytest.param("us er@example.com", id="space in local part"),
        pytest.param("user(x)@example.com", id="parenthesis"),
        pytest.param('"user@example.com', id="quote without end"),
        pytest.param('"a"b@example.com', id="text after quote"),
        pytest.param('"a\x00b"@example.com', id="quoted NUL"),
        pytest.param('"a\\\r"@example.com', id="quoted pair of CR"),
        pytest.param("a\r\nb@example.com", id="line break"),
        pytest.param("a\x7fb@example.com", id="DEL"),
        pytest.param("a\x85b@example.com", id="C1 control"),
        pytest.param("a\u2028b@example.com", id="line separator"),
        pytest.param("a\udcffb@example.com", id="octet that is no UTF-8 in the local part"),
        pytest.param("a@ex\udcffample.com", id="octet that is no UTF-8 in the domain"),
        pytest.param("user@example.com\n", id="newline at the end"),
        pytest.param("user@a\u2100b.example", id="symbol that maps to a slash"),
        pytest.param("a" * 65 + "@example.com", id="local part too long"),
        pytest.param("é" * 33 + "@example.com", id="local part too long in octets"),
        pytest.param("a" * 60 + "@" + "d" * 60 + (".e" + "e" * 59) * 3, id="path too long"),
        pytest.param("user@" + "a" * 64 + ".example", id="label too long"),
        pytest.param("user@" + "a." * 4000 + "example", id="absurdly long"),
    ],
)
def test_parse_mailbox_refuses(text: str) -> None:
    assert parse_mailbox(text) is None


@example("\\")
@example('"')
@example("")
@given(st.text(max_size=70))
def test_mailbox_printed_parses_to_itself(local: str) -> None:
    printed = f"{quote_local_part(local)}@example.com"
    mailbox = parse_mailbox(printed)
    if mailbox is not None:
        assert mailbox.local == local
        assert str(mailbox) == printed
        assert not any(ord(character) < 32 for character in str(mailbox))


@given(st.text(alphabet='ab@."\\<>,:[]( \x00é\udc80', max_size=20) | st.text())
def test_parse_mailbox_print_parse(text: str) -> None:
    mailbox = parse_mailbox(text)
    if mailbox is not None:
        assert parse_mailbox(str(mailbox)) == mailbox
        assert len(str(mailbox).encode()) <= 254


def test_mailbox_is_ascii_by_local_part_only() -> None:
    assert Mailbox("user", Domain("xn--bcher-kva.example")).is_ascii
    assert not Mailbox("dürst", Domain("example.com")).is_ascii
