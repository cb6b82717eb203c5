"""Replies on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.reply import MAX_REPLY_LINE_OCTETS, Reply


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(Reply(250, "2.1.0", "OK"), b"250 2.1.0 OK\r\n", id="one line"),
        pytest.param(Reply(354, "", "go on"), b"354 go on\r\n", id="no enhanced code"),
        pytest.param(Reply(550, "5.7.1", "no\nnever"), b"550-5.7.1 no\r\n550 5.7.1 never\r\n", id="two lines"),
        pytest.param(Reply(550, "5.1.1", "a\r250 b"), b"550 5.1.1 a?250 b\r\n", id="no second reply by CR"),
        pytest.param(Reply(550, "5.1.1", "\x1b[2J\u2028"), b"550 5.1.1 ?[2J?\r\n", id="controls"),
        pytest.param(Reply(550, "5.1.1", "é"), b"550 5.1.1 ?\r\n", id="no 8-bit without SMTPUTF8"),
        pytest.param(Reply(550, "5.1.1", "\udcff"), b"550 5.1.1 ?\r\n", id="surrogate"),
    ],
)
def test_reply_to_bytes(reply: Reply, expected: bytes) -> None:
    assert reply.to_bytes() == expected


def test_reply_to_bytes_speaks_utf8_where_asked_for() -> None:
    assert Reply(550, "5.1.1", "dürst").to_bytes(utf8=True) == "550 5.1.1 dürst\r\n".encode()


@given(st.text(max_size=600), st.booleans())
def test_reply_to_bytes_is_always_well_formed(text: str, utf8: bool) -> None:
    wire = Reply(550, "5.7.1", text).to_bytes(utf8)
    lines = wire.split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == text.count("\n") + 1
    for line in lines:
        assert len(line) + 2 <= MAX_REPLY_LINE_OCTETS
        assert all(character.isprintable() for character in line.decode("utf-8" if utf8 else "ascii"))
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]


def test_reply_classes() -> None:
    assert Reply(250, "", "").is_positive
    assert Reply(354, "", "").is_positive
    assert Reply(421, "", "").is_transient
    assert Reply(550, "", "").is_permanent
    assert not Reply(450, "", "").is_permanent
