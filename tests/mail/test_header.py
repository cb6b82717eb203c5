"""The reader of header sections: exact where the header is good, precise about what is not."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.header import HeaderProblem, read_header_section

GOOD = (
    b"From: A <a@example.com>\r\nTo: b@example.org,\r\n\tc@example.org\r\nSUBJECT:\r\n  folded\r\n"
    b"\r\nBody: no\r\n\r\nmore"
)


def test_read_header_section_cuts_fields_and_body() -> None:
    section = read_header_section(GOOD)
    assert [field.key for field in section.fields] == [b"from", b"to", b"subject"]
    assert [field.name for field in section.fields] == [b"From", b"To", b"SUBJECT"]
    assert section.problems == ()
    assert section.is_ascii
    assert GOOD[section.body :] == b"Body: no\r\n\r\nmore"
    assert GOOD[: section.end].endswith(b"folded\r\n")


def test_field_offsets_and_unfolding() -> None:
    section = read_header_section(GOOD)
    for field in section.fields:
        assert GOOD[field.start : field.end] == field.raw
    to = section.first(b"to")
    assert to is not None
    assert to.value == b" b@example.org,\r\n\tc@example.org"
    assert to.unfolded() == b"b@example.org,\tc@example.org"
    assert section.all(b"subject")[0].text() == "folded"


def test_header_lookups_miss_politely() -> None:
    section = read_header_section(GOOD)
    assert section.first(b"cc") is None
    assert section.all(b"cc") == []
    assert not section.has(b"cc")
    assert section.has(b"from")


@pytest.mark.parametrize(
    ("content", "problem", "keys"),
    [
        pytest.param(b" x: y\r\nFrom: a\r\n\r\n", HeaderProblem.LEADING_FOLD, None, id="leading fold"),
        pytest.param(b"nonsense\r\nFrom: a\r\n\r\n", HeaderProblem.NO_COLON, [b"from"], id="no colon"),
        pytest.param(b"From : a\r\n\r\n", HeaderProblem.SPACE_BEFORE_COLON, [b"from"], id="space before colon"),
        pytest.param(b": a\r\nTo: b\r\n\r\n", HeaderProblem.BAD_NAME, [b"to"], id="empty name"),
        pytest.param(b"From me 12:00\r\nTo: b\r\n\r\n", HeaderProblem.BAD_NAME, [b"to"], id="mbox line"),
        pytest.param(b"Fr\xc3\xb6m: a\r\n\r\n", HeaderProblem.BAD_NAME, [], id="8-bit name"),
        pytest.param(b"X: a\x00b\r\n\r\n", HeaderProblem.CONTROL, [b"x"], id="NUL"),
        pytest.param(b"X: a\x1cInjected: yes\r\n\r\n", HeaderProblem.CONTROL, [b"x"], id="file separator"),
        pytest.param(b"X: a\nInjected: yes\r\n\r\n", HeaderProblem.BARE_NEWLINE, [b"x"], id="bare LF"),
        pytest.param(b"X: a\rInjected: yes\r\n\r\n", HeaderProblem.BARE_NEWLINE, [b"x"], id="bare CR"),
        pytest.param(b"X: a\r\r\nY: b\r\n\r\n", HeaderProblem.BARE_NEWLINE, [b"x", b"y"], id="CR CR LF"),
    ],
)  # fmt: skip
def test_header_problems_are_named(content: bytes, problem: HeaderProblem, keys: list[bytes] | None) -> None:
    section = read_header_section(content)
    assert problem in section.problems
    if keys is not None:
        assert [field.key for field in section.fields] == keys


@pytest.mark.parametrize(
    ("content", "end", "body"),
    [
        pytest.param(b"", 0, 0, id="nothing"),
        pytest.param(b"\r\nbody", 0, 2, id="no header"),
        pytest.param(b"A: b", 4, 4, id="no line end"),
        pytest.param(b"A: b\r\n", 6, 6, id="no body"),
        pytest.param(b"A: b\r\n\r\n", 6, 8, id="empty body"),
        pytest.param(b"A: b\r\n \r\n\r\nx", 9, 11, id="a line of white space folds"),
    ],
)
def test_header_ends(content: bytes, end: int, body: int) -> None:
    section = read_header_section(content)
    assert (section.end, section.body) == (end, body)
    assert section.problems == ()


def test_header_octets_are_bounded() -> None:
    section = read_header_section(b"A: b\r\n" + b"X: " + b"x" * 5000, max_octets=1000)
    assert section.problems == (HeaderProblem.TOO_LARGE,)
    assert [field.key for field in section.fields] == [b"a"]


def test_header_of_exactly_the_limit_is_read() -> None:
    content = b"X: " + b"x" * 995 + b"\r\n\r\nbody"
    assert read_header_section(content, max_octets=1000).problems == ()
    assert read_header_section(content, max_octets=900).problems == (HeaderProblem.TOO_LARGE,)


def test_header_fields_are_bounded() -> None:
    section = read_header_section(b"A: b\r\n" * 50 + b"\r\n", max_fields=20)
    assert section.problems == (HeaderProblem.TOO_MANY_FIELDS,)
    assert len(section.fields) == 20
    assert read_header_section(b"A: b\r\n" * 20 + b"\r\n", max_fields=20).problems == ()


def test_header_8bit_is_told() -> None:
    section = read_header_section("Subject: dürst\r\n\r\n".encode())
    assert not section.is_ascii
    assert section.problems == ()
    assert section.fields[0].text() == "dürst"
    assert read_header_section(b"Subject: \xff\r\n\r\n").fields[0].text() == "\ufffd"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"A:\r\n" + b" \r\n" * 87_000, id="folds only"),
        pytest.param(b":" * 262_000, id="colons"),
        pytest.param(b"\r" * 262_000, id="CRs"),
        pytest.param(b"A\r\n" * 87_000, id="no colons"),
        pytest.param(b"x" * 262_000 + b":", id="name of 262,000 octets"),
    ],
)
def test_header_bombs_cost_little(content: bytes) -> None:
    start = time.process_time()
    read_header_section(content)
    assert time.process_time() - start < 0.5


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b":", b" ", b"\t", b"a", b"From", b"\xff", b"\x00"]), max_size=40)
)
def test_header_reader_covers_its_input(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    section = read_header_section(content)
    assert 0 <= section.end <= section.body <= len(content)
    previous = 0
    for field in section.fields:
        assert previous <= field.start < field.end <= section.body
        assert content[field.start : field.end] == field.raw
        assert field.key == field.name.lower()
        previous = field.end


def test_header_reader_reads_the_odd_messages(suites: Path) -> None:
    files = [path for path in sorted((suites / "messages").rglob("*")) if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        section = read_header_section(content)
        rest = content[section.end : section.body]
        assert rest in (b"", b"\r\n")
        for field in section.fields:
            assert content[field.start : field.end] == field.raw
