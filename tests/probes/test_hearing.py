"""Cutting what a server says into replies, whatever it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.probes.hearing import MAX_LINES, MAX_REPLY_OCTETS, Ear, Heard, escape


def hear(*pieces: bytes) -> list[Heard]:
    ear, heard = Ear(), []
    for piece in pieces:
        ear.feed(piece)
        while (one := ear.next_reply()) is not None:
            heard.append(one)
    return heard


@pytest.mark.parametrize(
    ("octets", "heard"),
    [
        (b"220 hi\r\n", [Heard(220, (b"hi",))]),
        (b"220\r\n", [Heard(220, (b"",))]),
        (b"250-a\r\n250-b\r\n250 c\r\n", [Heard(250, (b"a", b"b", b"c"))]),
        (b"250-a\n250 b\n", [Heard(250, (b"a", b"b"))]),
        (b"220 one\r\n220 two\r\n", [Heard(220, (b"one",)), Heard(220, (b"two",))]),
        (b"250-a\r\n550 b\r\n", [Heard(550, (b"a", b"b"))]),
        (b"hello\r\n", [Heard(0, (b"hello",))]),
        (b"250-a\r\nrubbish\r\n", [Heard(0, (b"250-a", b"rubbish"))]),
        (b"\r\n", [Heard(0, (b"",))]),
        (b"999 x\r\n", [Heard(0, (b"999 x",))]),
        (b"25\r\n", [Heard(0, (b"25",))]),
        (b"220 no end", []),
    ],
)
def test_ear_cuts_replies_at_any_place(octets: bytes, heard: list[Heard]) -> None:
    assert hear(octets) == heard
    assert hear(*(octets[place : place + 1] for place in range(len(octets)))) == heard


def test_ear_takes_a_last_line_without_end() -> None:
    ear = Ear()
    ear.feed(b"220-a\r\n220 b")
    assert ear.next_reply() is None
    assert ear.end() == Heard(220, (b"a", b"b"))
    assert ear.end() is None


@pytest.mark.parametrize("octets", [b"220-a\r\n220-b", b"22", b"rubb"])
def test_ear_keeps_half_a_reply_as_it_came(octets: bytes) -> None:
    ear = Ear()
    ear.feed(octets)
    assert ear.next_reply() is None
    heard = ear.end()
    assert heard is not None
    assert heard.code == 0
    assert b"\r\n".join(heard.lines) == octets


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_ear_bears_anything(pieces: list[bytes]) -> None:
    ear = Ear()
    for piece in pieces:
        ear.feed(piece)
        for _ in range(1_000):
            heard = ear.next_reply()
            if heard is None:
                break
            assert heard.code == 0 or 200 <= heard.code < 600
            assert all(one.isprintable() for one in heard.texts)
    ear.end()
    assert ear.end() is None


def test_ear_bounds_a_reply() -> None:
    ear = Ear()
    ear.feed(b"250-x\r\n" * MAX_REPLY_OCTETS)
    heard = ear.next_reply()
    assert heard is not None
    assert (heard.code, len(heard.lines)) == (0, MAX_LINES)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"220 hi\r\n", "220 hi\\r\\n"),
        (b"\x15\x03\x01", "\\x15\\x03\\x01"),
        (b"caf\xe9", "café"),
        (b"x" * 600, "x" * 512),
    ],
)
def test_escape_makes_one_bounded_line(octets: bytes, text: str) -> None:
    assert escape(octets) == text
