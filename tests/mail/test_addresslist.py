"""Address lists: what a From field really names, and what it only pretends to."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.addresslist import MAX_ADDRESS_TOKENS, parse_address_list, read_address_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a@example.com", ["a@example.com"], id="bare"),
        pytest.param("A B <a@example.com>", ["a@example.com"], id="display name"),
        pytest.param('"B, <x@y.test>" <a@example.com>', ["a@example.com"], id="quoted display name"),
        pytest.param("a@example.com, b@example.org", ["a@example.com", "b@example.org"], id="two"),
        pytest.param("a@example.com,, b@example.org,", ["a@example.com", "b@example.org"], id="empty elements"),
        pytest.param("(c (n(e)sted) \\) x) a@example.com (y)", ["a@example.com"], id="comments"),
        pytest.param("a(c)@(d)example(e).com", ["a@example.com"], id="comments within"),
        pytest.param("a . b @ example . com", ["a.b@example.com"], id="obsolete spaces"),
        pytest.param("<@x.test,@y.test:a@example.com>", ["a@example.com"], id="route"),
        pytest.param("Team: a@example.com, B <b@example.org>;", ["a@example.com", "b@example.org"], id="group"),
        pytest.param("undisclosed-recipients:;", [], id="empty group"),
        pytest.param("G: a@example.com;, b@example.org", ["a@example.com", "b@example.org"], id="group and mailbox"),
        pytest.param('"a b"@example.com', ['"a b"@example.com'], id="quoted local part"),
        pytest.param("J. Q. Public <a@example.com>", ["a@example.com"], id="dots in a display name"),
        pytest.param("=?utf-8?q?x=40y?= <a@example.com>", ["a@example.com"], id="encoded word is a word"),
        pytest.param("dürst <dürst@example.com>", ["dürst@example.com"], id="internationalised"),
        pytest.param("a@[192.0.2.1]", ["a@[192.0.2.1]"], id="literal"),
        pytest.param("", [], id="empty"),
        pytest.param("(only a comment)", [], id="comment only"),
    ],
)
def test_address_list_reads(text: str, expected: list[str]) -> None:
    result = parse_address_list(text)
    assert result.problem == ""
    assert [str(mailbox) for mailbox in result.mailboxes] == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<any@attack.test>admin@example.com", id="text after the angle"),
        pytest.param("<any@attack.test><admin@example.com>", id="two angles"),
        pytest.param("admin@example.com <any@attack.test>", id="address as display name"),
        pytest.param("a b@example.com", id="two words"),
        pytest.param("a@b@example.com", id="two ats"),
        pytest.param("a", id="no at"),
        pytest.param("<>", id="empty angle"),
        pytest.param("<a@example.com", id="angle without end"),
        pytest.param("a@example.com>", id="end without angle"),
        pytest.param("<<a@example.com>>", id="double angle"),
        pytest.param('"a <a@example.com>', id="quote without end"),
        pytest.param("(a <a@example.com>", id="comment without end"),
        pytest.param("G: H: a@example.com;;", id="group in group"),
        pytest.param("G: a@example.com", id="group without end"),
        pytest.param("a@example.com; b@example.org", id="semicolon as separator"),
        pytest.param("a@example.com\x00", id="NUL"),
        pytest.param("a@exa\\mple.com", id="backslash"),
        pytest.param("a@.example.com", id="dot at the start"),
        pytest.param("a@example.com.", id="dot at the end"),
        pytest.param("a@[192.0.2.1", id="literal without end"),
        pytest.param(":;", id="group without name"),
        pytest.param("<@x.test a@example.com>", id="route without colon"),
    ],
)
def test_address_list_refuses(text: str) -> None:
    assert parse_address_list(text).problem


def test_address_list_tells_groups_and_routes() -> None:
    assert parse_address_list("G: a@example.com;").has_group
    assert parse_address_list("<@x.test:a@example.com>").has_route
    plain = parse_address_list("a@example.com")
    assert not plain.has_group
    assert not plain.has_route


def test_read_address_list_unfolds_and_distrusts_bad_octets() -> None:
    assert [str(m) for m in read_address_list(b" a@example.com,\r\n b@example.org").mailboxes] == [
        "a@example.com",
        "b@example.org",
    ]
    assert read_address_list(b"a\xff@example.com").problem
    assert read_address_list(b"\xff <a@example.com>").problem == ""


def test_address_list_tokens_are_bounded() -> None:
    fine = parse_address_list(",".join(["a@b"] * (MAX_ADDRESS_TOKENS // 4)))
    assert fine.problem == ""
    assert parse_address_list(",".join(["a@b"] * MAX_ADDRESS_TOKENS)).problem


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(" * 260_000, id="nested comments"),
        pytest.param("(" * 5_000 + ")" * 5_000, id="nested and closed comments"),
        pytest.param("\\" * 260_000, id="backslashes"),
        pytest.param('"' + "\\a" * 130_000, id="quote without end"),
        pytest.param('"' + "a" * 260_000 + '"@b', id="long quote"),
        pytest.param("a@" + "b." * 130_000, id="dots"),
        pytest.param("a:" * 130_000, id="groups"),
        pytest.param("<" * 260_000, id="angles"),
        pytest.param("@" * 260_000, id="ats"),
        pytest.param("[" * 260_000, id="brackets"),
        pytest.param("x" * 260_000, id="one atom"),
        pytest.param("=?utf-8?q?a?= " * 40_000, id="encoded words"),
        pytest.param(" " * 260_000, id="spaces"),
        pytest.param('""' * 130_000, id="empty quotes"),
        pytest.param("é" * 260_000 + "@b", id="non-ascii"),
    ],
)
def test_address_list_bombs_cost_little(text: str) -> None:
    start = time.process_time()
    parse_address_list(text)
    assert time.process_time() - start < 0.5


@given(st.lists(st.sampled_from([*'<>@,;:."\\()[] ', "a", "é", "b.c", "\x00"]), max_size=30).map("".join))
def test_address_list_takes_anything(text: str) -> None:
    result = parse_address_list(text)
    printed = ", ".join(str(mailbox) for mailbox in result.mailboxes)
    again = parse_address_list(printed)
    assert again.problem == ""
    assert again.mailboxes == result.mailboxes
