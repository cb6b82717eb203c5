"""Content in bulk: dots, bare newlines, NUL, sizes, whatever way it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.smtp.content import BARE_NEWLINE, HAS_NUL, HEADER_TOO_LARGE, TOO_LARGE, DotReader, Inspection
from tests.smtp.drive import cut, octets, settings

END = b".\r\n"
PARTS = [b".", b"..", b"\r\n", b"\r\n.", b"\r\n..", b"\r", b"\n", b"a", b"text", b"\r\n\r\n", b".\r", b"\0"]
LINES = st.lists(st.sampled_from([b"", b".", b"..", b"...", b".a", b"a.", b"text", b". ", b"\x80.\xff"]), max_size=12)
STREAM = st.lists(st.sampled_from(PARTS), max_size=25).map(b"".join)
PLACES = st.lists(st.integers(0, 200), max_size=8)


def stuff(lines: list[bytes]) -> bytes:
    """The sender's side of RFC 5321, section 4.5.2, line by line."""
    return b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + END


def read(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The content read from `pieces` and what is left behind its end (None where it has not ended)."""
    reader, buffer, content = DotReader(), b"", b""
    for number, piece in enumerate(pieces):
        buffer += piece
        data, index, ended = reader.read(buffer, 0)
        content += data
        buffer = buffer[index:]
        if ended:
            return content, buffer + b"".join(pieces[number + 1 :])
        assert len(buffer) <= 4
    return content, None


def read_by_line(stream: bytes) -> tuple[bytes, bytes | None]:
    """The same, slowly: lines end with CRLF, a line that is one dot ends the content, other first dots go."""
    content = b""
    while b"\r\n" in stream:
        line, stream = stream.split(b"\r\n", 1)
        if line == b".":
            return content, stream
        content += line.removeprefix(b".") + b"\r\n"
    return content, None


@given(LINES, PLACES)
def test_dot_reader_undoes_stuffing(lines: list[bytes], places: list[int]) -> None:
    whole = b"".join(line + b"\r\n" for line in lines)
    assert read(cut(stuff(lines) + b"QUIT\r\n", places)) == (whole, b"QUIT\r\n")


@given(STREAM, PLACES)
def test_dot_reader_agrees_with_a_reader_of_lines(stream: bytes, places: list[int]) -> None:
    content, rest = read(cut(stream, places))
    by_line, rest_by_line = read_by_line(stream)
    assert rest == rest_by_line
    if rest is not None:
        assert content == by_line
    else:
        assert content.startswith(by_line[:-2])


@given(STREAM)
def test_dot_reader_gives_the_same_whole_and_in_octets(stream: bytes) -> None:
    assert read([stream + b"\r\n.\r\n"]) == read(octets(stream + b"\r\n.\r\n"))


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        pytest.param(b".\r\n", b"", id="empty"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="only a dot"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="an empty line"),
        pytest.param(b".\rx\r\n.\r\n", b"\rx\r\n", id="dot CR"),
        pytest.param(b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", id="dot CR at a line"),
        pytest.param(b".\n\r\n.\r\n", b"\n\r\n", id="dot LF"),
    ],
)
def test_dot_reader_edges(stream: bytes, content: bytes) -> None:
    for place in range(len(stream) + 1):
        assert read(cut(stream, [place])) == (content, b"")


def test_dot_reader_hands_on_what_came_whole_without_copying() -> None:
    piece = b"x" * 1000
    assert DotReader().read(piece, 0)[0] is piece


def inspect(pieces: list[bytes], binary: bool = False, **more: object) -> tuple[Inspection, bytes]:
    inspection = Inspection(settings(**more), binary)
    content = b"".join(inspection.take(piece) for piece in pieces)
    return inspection, content + inspection.finish()


def is_whole(content: bytes) -> bool:
    rest = content.replace(b"\r\n", b"")
    return b"\r" not in rest and b"\n" not in rest


@given(STREAM, PLACES)
def test_inspection_finds_every_bare_newline(stream: bytes, places: list[int]) -> None:
    inspection, content = inspect(cut(stream, places))
    if b"\0" in stream:
        assert inspection.problem in (HAS_NUL, BARE_NEWLINE)
    elif is_whole(stream):
        assert inspection.problem is None
        assert content == stream
        assert inspection.size == len(stream)
    else:
        assert inspection.problem == BARE_NEWLINE


@given(STREAM.filter(lambda stream: b"\0" not in stream), PLACES)
def test_inspection_normalises_wherever_it_is_cut(stream: bytes, places: list[int]) -> None:
    inspection, content = inspect(cut(stream, places), normalise_newlines=True)
    expected = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert inspection.problem is None
    assert content == expected
    assert inspection.size == len(expected)


@given(STREAM, PLACES)
def test_inspection_leaves_binary_alone(stream: bytes, places: list[int]) -> None:
    """RFC 3030, section 3."""
    inspection, content = inspect(cut(stream, places), binary=True)
    assert inspection.problem is None
    assert content == stream


def test_inspection_stores_nothing_beyond_the_limit() -> None:
    """RFC 1870, section 6.3: the content is read to its end and refused; what is too much is kept nowhere."""
    inspection, content = inspect([b"x" * 60, b"y" * 60, b"z" * 60], max_message_octets=100)
    assert inspection.problem == TOO_LARGE
    assert content == b"x" * 60
    assert inspection.size == 180


HEADER = b"A: 1\r\nB: 2\r\n\r\n"


@given(PLACES, st.integers(10, 20))
def test_inspection_measures_the_header_section(places: list[int], limit: int) -> None:
    inspection, _ = inspect(cut(HEADER + b"body\r\n\r\nbody" * 10, places), max_header_octets=limit)
    assert inspection.problem == (HEADER_TOO_LARGE if len(HEADER) > limit else None)


@pytest.mark.parametrize("pieces", [[b"\r\nbody" * 20], octets(b"\r\nbody" * 20)], ids=["whole", "octets"])
def test_inspection_knows_an_empty_header_section(pieces: list[bytes]) -> None:
    assert inspect(pieces, max_header_octets=10)[0].problem is None


def test_inspection_counts_a_header_that_never_ends() -> None:
    assert inspect([b"x" * 6] * 4, max_header_octets=20)[0].problem == HEADER_TOO_LARGE
