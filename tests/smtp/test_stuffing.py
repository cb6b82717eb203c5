"""Content on the wire: RFC 5321, section 4.5.2, and nothing but CRLF."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.smtp.stuffing import Stuffer, stuff

SMALL = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.", b"\xe4"]), max_size=12).map(
    b"".join
)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n.b\r\n..\r\n", b"a\r\n..b\r\n...\r\n.\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n\0.\r\n", b"a\r\n?.\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
        (b"\r\r\n", b"\r\n\r\n.\r\n"),
    ],
)
def test_stuff_writes(content: bytes, wire: bytes) -> None:
    assert stuff(content) == wire


@given(SMALL)
def test_stuff_never_lets_content_end_itself(content: bytes) -> None:
    wire = stuff(content)
    assert wire.count(b"\r\n") == wire.count(b"\r") == wire.count(b"\n")
    assert b"\0" not in wire
    *lines, dot, empty = wire.split(b"\r\n")
    assert (dot, empty) == (b".", b"")
    assert b"." not in lines
    unstuffed = [line[1:] if line.startswith(b".") else line for line in lines]
    expected = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"?")
    assert b"\n".join(unstuffed) == expected.removesuffix(b"\n")


@given(st.lists(SMALL, max_size=8))
def test_stuffer_is_the_same_in_pieces(pieces: list[bytes]) -> None:
    stuffer = Stuffer()
    assert b"".join(stuffer.encode(piece) for piece in pieces) + stuffer.finish() == stuff(b"".join(pieces))
