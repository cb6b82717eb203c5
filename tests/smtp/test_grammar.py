"""Paths, parameters and their encodings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.address import parse_mailbox
from postreeve.smtp.grammar import (
    decode_utf8_address,
    decode_xtext,
    split_parameters,
    split_path,
    strip_source_route,
)


@pytest.mark.parametrize(
    ("argument", "result"),
    [
        pytest.param("TO:<a@b.example>", ("a@b.example", ""), id="plain"),
        pytest.param("to: <a@b.example>  X=1 ", ("a@b.example", "X=1"), id="space after the colon"),
        pytest.param('TO:<"a> \\" b"@b.example> X', ('"a> \\" b"@b.example', "X"), id="quoted >"),
        pytest.param("TO:<>", ("", ""), id="null"),
        pytest.param('TO:<a@b.example> Y="', ("a@b.example", 'Y="'), id="quote behind the path"),
        pytest.param("TO:a@b.example", None, id="no brackets"),
        pytest.param("TO:<a@b.example", None, id="open"),
        pytest.param('TO:<"a@b.example>', None, id="open quote"),
        pytest.param("TO:<a@b.example>X=1", None, id="no space"),
        pytest.param("TO <a@b.example>", None, id="no colon"),
        pytest.param("TO:", None, id="nothing"),
        pytest.param("", None, id="empty"),
    ],
)
def test_split_path(argument: str, result: tuple[str, str] | None) -> None:
    assert split_path(argument, "TO:") == result


@pytest.mark.parametrize(
    ("path", "mailbox"),
    [
        ("@here.example,@x.example:user@victim.test", "user@victim.test"),
        ("@[192.0.2.1]:user@victim.test", "user@victim.test"),
        ("@[IPv6:2001:db8::1],@x:user@victim.test", "user@victim.test"),
        ("user@victim.test", "user@victim.test"),
    ],
)
def test_source_route_is_ignored(path: str, mailbox: str) -> None:
    """RFC 5321, appendix C: what is judged is the final mailbox."""
    assert strip_source_route(path) == mailbox


@pytest.mark.parametrize("path", ["@here:", "@here.example", "@:a@b.example", "@a,b:c@d.example", "@@a:b@c.example"])
def test_source_route_that_is_none_is_no_mailbox(path: str) -> None:
    assert parse_mailbox(strip_source_route(path)) is None


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", []),
        ("SIZE=1  body=8BITMIME SMTPUTF8", [("SIZE", "1"), ("BODY", "8BITMIME"), ("SMTPUTF8", None)]),
        ("A=", None),
        ("=1", None),
        ("A=b=c", None),
        ("-A", None),
        ("A_B=1", None),
        ("A=1\u00a0B=2", None),
    ],
)
def test_split_parameters(text: str, parameters: list[tuple[str, str | None]] | None) -> None:
    assert split_parameters(text) == parameters


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_xtext_round_trip(text: str) -> None:
    """RFC 3461, section 4."""
    encoded = "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize("text", ["+00", "a+0A", "+7F", "+80", "+2", "+2b", "a b", "a=b", "é", "+"])
def test_xtext_refuses(text: str) -> None:
    assert decode_xtext(text) is None


@given(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_utf8_address_round_trip(text: str) -> None:
    """RFC 6533, section 3: utf-8-addr-xtext and utf-8-addr-unitext."""
    ascii_form = "".join(c if c.isascii() and c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in text)
    unicode_form = "".join(c if c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in text)
    assert decode_utf8_address(ascii_form) == text
    assert decode_utf8_address(unicode_form) == text


@pytest.mark.parametrize("text", ["", "a+b", "a=b", "a\\b", "\\x{D800}", "\\x{110000}", "\\x{00}", "\\x{0A}", "a b"])
def test_utf8_address_refuses(text: str) -> None:
    assert decode_utf8_address(text) is None
