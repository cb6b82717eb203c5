"""Lines end with CRLF, and they end."""

from __future__ import annotations

import pytest

from postreeve.mail.reply import Reply
from postreeve.smtp.command import Command, parse_command
from postreeve.smtp.line import Fault, find_line
from postreeve.smtp.order import Verb


@pytest.mark.parametrize(
    ("buffer", "found"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"NOOP", None, id="no end yet"),
        pytest.param(b"NOOP\r", None, id="half an end"),
        pytest.param(b"NOOP\r\nX", (6, None), id="a line"),
        pytest.param(b"\r\n", (2, None), id="an empty line"),
        pytest.param(b"NOOP\n", (5, Fault.BARE_LF), id="bare LF"),
        pytest.param(b"\n", (1, Fault.BARE_LF), id="only LF"),
        pytest.param(b"x" * 8 + b"\r\n", (10, None), id="just short enough"),
        pytest.param(b"x" * 9 + b"\r\n", (11, Fault.TOO_LONG), id="just too long"),
        pytest.param(b"x" * 78 + b"\r\n", (80, Fault.TOO_LONG), id="as long as is borne"),
        pytest.param(b"x" * 79 + b"\r\n", (81, Fault.FAR_TOO_LONG), id="far too long"),
        pytest.param(b"x" * 81, (0, Fault.FAR_TOO_LONG), id="far too long already"),
        pytest.param(b"x" * 80, None, id="not yet"),
        pytest.param(b"x" * 9 + b"\n", (10, Fault.BARE_LF), id="long and bare"),
    ],
)
def test_find_line(buffer: bytes, found: tuple[int, Fault | None] | None) -> None:
    """RFC 5321, sections 2.3.8 and 4.5.3.1.4."""
    assert find_line(buffer, 0, 10) == found


def test_find_line_begins_where_it_is_told() -> None:
    assert find_line(b"A\r\n\nB", 3, 10) == (4, Fault.BARE_LF)
    assert find_line(b"A\r\nNOOP\r\n", 3, 6) == (9, None)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", Command(Verb.NOOP, "", "NOOP")),
        (b"nOoP  x ", Command(Verb.NOOP, "x", "NOOP")),
        (b"MAIL FROM:<a@b.example> SIZE=1", Command(Verb.MAIL, "FROM:<a@b.example> SIZE=1", "MAIL")),
        (b"", Command(Verb.UNKNOWN, "", "")),
        (b" NOOP", Command(Verb.UNKNOWN, "NOOP", "")),
        (b"xclient ADDR=[UNAVAILABLE]", Command(Verb.UNKNOWN, "ADDR=[UNAVAILABLE]", "XCLIENT")),
        (b"ANY OTHER", Command(Verb.UNKNOWN, "OTHER", "ANY")),
        (b"any other", Command(Verb.UNKNOWN, "other", "ANY")),
        (b"{0.__init__} x", Command(Verb.UNKNOWN, "x", "")),
        ("R\u017fET".encode(), Command(Verb.UNKNOWN, "", "")),
        (b"A" * 17, Command(Verb.UNKNOWN, "", "")),
        ("NÖÖP".encode(), Command(Verb.UNKNOWN, "", "")),
    ],
    ids=repr,
)
def test_parse_command(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    "line", [b"NO\0OP", b"NOOP\x7f", b"NOOP\t", b"\xff", b"NOOP \xc2\x9b", b"\xe2\x80\xa8", b"A\rB"]
)
def test_parse_command_refuses_what_is_no_text(line: bytes) -> None:
    reply = parse_command(line)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (501, "5.5.2")
