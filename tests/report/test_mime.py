"""Transfer encodings that are true, and boundaries that occur nowhere."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.report.mime import Encoding, Part, choose_boundary, is_text, quote_printable, raw_part, text_part


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", True),
        (b"a\r\nb\r\n", True),
        (b"\xff\r\n", True),
        (b"a\nb", False),
        (b"a\rb", False),
        (b"a\r\r\nb", False),
        (b"a\x00b", False),
        (b"x" * 998 + b"\r\n", True),
        (b"x" * 999, False),
        (b"a\r\n" + b"x" * 999 + b"\r\n", False),
    ],
)
def test_is_text(octets: bytes, expected: bool) -> None:
    assert is_text(octets) is expected


@given(
    st.lists(
        st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"=", b".", b"a" * 50, b"\xc3\xa9", b"\x00"]), max_size=60
    )
)
def test_quote_printable_reads_back(pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    encoded = quote_printable(octets)
    assert binascii.a2b_qp(encoded) == octets
    assert is_text(encoded)
    assert encoded.isascii()
    assert all(len(line) <= 76 and not line.endswith((b" ", b"\t")) for line in encoded.split(b"\r\n"))
    assert b"=_" not in encoded


def test_text_part_is_encoded_only_where_it_must() -> None:
    assert text_part("text/plain", "d", b"plain\r\n").encoding is Encoding.SEVEN_BIT
    for octets in (b"\xff", b"x" * 1_000, b"a\rb", b"\x00"):
        assert text_part("text/plain", "d", octets).encoding is Encoding.QUOTED_PRINTABLE


def test_raw_part_tells_its_bits() -> None:
    assert raw_part("message/rfc822", "d", b"a").encoding is Encoding.SEVEN_BIT
    assert raw_part("message/rfc822", "d", b"\xe9").encoding is Encoding.EIGHT_BIT


def test_boundary_never_occurs_in_a_part() -> None:
    hostile = b"\r\n--".join(f"=_seed_{number}_".encode() for number in range(50))
    boundary = choose_boundary([Part("message/rfc822", "d", Encoding.SEVEN_BIT, hostile)], "seed")
    assert boundary.encode() not in hostile
    assert len(boundary) <= 70
