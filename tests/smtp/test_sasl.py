"""SASL exchanges: the credentials a client claims, or a refusal."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.reply import Reply
from postreeve.smtp.sasl import (
    CANCELLED,
    MALFORMED,
    NOT_BASE64,
    Credentials,
    Login,
    Plain,
    begin,
    decode_response,
    encode_challenge,
    prepare,
)

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@given(TEXT, TEXT, st.one_of(st.just(""), TEXT))
def test_plain_gives_what_was_claimed(username: str, password: str, identity: str) -> None:
    """RFC 4616, section 2."""
    message = f"{identity}\0{username}\0{password}".encode()
    assert Plain().step(message) == Credentials(username, password, identity)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"user", id="no NUL"),
        pytest.param(b"user\0secret", id="one NUL"),
        pytest.param(b"\0user\0sec\0ret", id="three NULs"),
        pytest.param(b"\0\0secret", id="no name"),
        pytest.param(b"\0user\0", id="no password"),
        pytest.param(b"\0us\r\ner\0secret", id="CR LF in the name"),
        pytest.param(b"\0us\x7fer\0secret", id="DEL in the name"),
        pytest.param(b"\0user\0se\ncret", id="LF in the password"),
        pytest.param(b"a\nb\0user\0secret", id="LF in the identity"),
        pytest.param(b"\0\xff\0secret", id="no UTF-8"),
        pytest.param(b"\0user\0" + b"x" * 1025, id="long password"),
        pytest.param(b"\0" + b"x" * 256 + b"\0secret", id="long name"),
    ],
)
def test_plain_refuses(message: bytes) -> None:
    assert Plain().step(message) == MALFORMED


def test_plain_takes_a_password_of_a_kilobyte() -> None:
    assert isinstance(Plain().step(b"\0user\0" + b"x" * 1024), Credentials)


def test_login_asks_twice() -> None:
    login = Login()
    assert login.step(None) == b"Username:"
    assert login.step(b"user") == b"Password:"
    assert login.step(b"secret") == Credentials("user", "secret")


def test_login_refuses_an_empty_name() -> None:
    login = Login()
    assert login.step(b"") == b"Password:"
    assert login.step(b"secret") == MALFORMED


@pytest.mark.parametrize("name", ["CRAM-MD5", "NTLM", "XOAUTH2", "", "plain"])
def test_begin_knows_only_what_is_offered(name: str) -> None:
    assert begin(name) is None


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b"*", CANCELLED),
        (b"", b""),
        (b"AGEAYg==", b"\0a\0b"),
        (b"AGEAYg", NOT_BASE64),
        (b"AGEA Yg==", NOT_BASE64),
        (b"AGEAYg==AGEA", NOT_BASE64),
        (b"=", NOT_BASE64),
        (b"====", NOT_BASE64),
        (b"\xff", NOT_BASE64),
        (b"A-_A", NOT_BASE64),
    ],
    ids=repr,
)
def test_decode_response(line: bytes, result: bytes | Reply) -> None:
    """RFC 4954, section 4."""
    assert decode_response(line) == result


@given(st.binary(max_size=100))
def test_decode_response_never_raises(line: bytes) -> None:
    assert isinstance(decode_response(line), bytes | Reply)


@given(st.binary(max_size=100))
def test_challenge_round_trip(challenge: bytes) -> None:
    line = encode_challenge(challenge)
    assert line.startswith(b"334 ")
    assert base64.b64decode(line[4:-2], validate=True) == challenge


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        pytest.param("I\u00adX", "IX", id="soft hyphen is nothing"),
        pytest.param("user", "user", id="as it is"),
        pytest.param("\u00aa", "a", id="NFKC"),
        pytest.param("\u2168", "IX", id="roman nine"),
        pytest.param("a\u00a0b", "a b", id="space"),
        pytest.param("\u0007", None, id="control"),
        pytest.param("e\u0301", "\u00e9", id="composed"),
        pytest.param("\ue000", None, id="private use"),
        pytest.param("a\u0085b", None, id="C1 control"),
    ],
)
def test_prepare(text: str, prepared: str | None) -> None:
    """RFC 4013, section 3, and the composed and decomposed forms of one password."""
    assert prepare(text) == prepared


def test_credentials_never_show_the_password() -> None:
    assert "hush" not in repr(Credentials("user", "hush"))
