"""Replies from servers: well-formed, odd, hostile."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postreeve.mail.reply import Reply
from postreeve.smtp.reply_reader import MAX_REPLY_OCTETS, MAX_TEXT_CHARACTERS, BadReply, ReplyReader


def read(data: bytes) -> list[Reply]:
    reader = ReplyReader()
    reader.feed(data)
    replies = []
    while (reply := reader.next_reply()) is not None:
        replies.append(reply)
    return replies


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\r\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250, "", "")),
        (b"250 \r\n", Reply(250, "", "")),
        (b"250 ok\n", Reply(250, "", "ok")),
        (b"550 5.7.2\r\n", Reply(550, "5.7.2", "")),
        (b"550 5.7.2 \r\n", Reply(550, "5.7.2", "")),
        (b"550 4.7.2 no\r\n", Reply(550, "", "4.7.2 no")),
        (b"550 5.7.2345 no\r\n", Reply(550, "", "5.7.2345 no")),
        (b"550 5.7.1x no\r\n", Reply(550, "", "5.7.1x no")),
        (b"550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n", Reply(550, "5.7.1", "one\ntwo\nthree")),
        (b"451-4.1.8 one\r\n451 two\r\n", Reply(451, "4.1.8", "one\ntwo")),
        (b"550-a\r\n554 b\r\n", Reply(554, "", "a\nb")),
        (b"250 caf\xc3\xa9\r\n", Reply(250, "", "café")),
        (b"250 caf\xe9 \x1b[31m\x00\r\n", Reply(250, "", "caf\ufffd ?[31m?")),
    ],
)
def test_reader_reads(data: bytes, reply: Reply) -> None:
    assert read(data) == [reply]
    reader = ReplyReader()
    for octet in data[:-1]:
        reader.feed(bytes([octet]))
        assert reader.next_reply() is None
        assert not reader.is_empty
    reader.feed(data[-1:])
    assert reader.next_reply() == reply
    assert reader.is_empty


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n", b"000 x\r\n", b"199 x\r\n", b"600 x\r\n", b"99 x\r\n", b"1000 x\r\n", b"25x y\r\n", b"-50 y\r\n",
        b" 250 x\r\n", b"2500\r\n", b"250_x\r\n", b"ok\r\n", b"\xb2\xb5\xb0 x\r\n", b"250-a\r\n550 b\r\n",
        b"250-a\r\nb\r\n", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n", b"\x15\x03\x01\x00\x02\x02\n",
    ],
)  # fmt: skip
def test_reader_refuses(data: bytes) -> None:
    with pytest.raises(BadReply) as caught:
        read(data)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("piece", [b"2", b"250-\r\n", b"250-" + b"x" * 1000 + b"\r\n", b"\x00"], ids=repr)
def test_reader_bounds_what_it_keeps(piece: bytes) -> None:
    """An endless reply ends here, after at most 64 KiB and something."""
    reader = ReplyReader()
    fed = 0
    with pytest.raises(BadReply):  # noqa: PT012 - the loop is the point
        while fed < 3 * MAX_REPLY_OCTETS:
            reader.feed(piece * 64)
            fed += 64 * len(piece)
            reader.next_reply()
    assert fed <= MAX_REPLY_OCTETS + 65_536


def test_reader_keeps_little_of_long_texts() -> None:
    (reply,) = read(b"550 5.7.1 " + b"\xc3\xa4" * 5000 + b"\r\n")
    assert len(reply.text) <= MAX_TEXT_CHARACTERS
    (reply,) = read(b"".join(b"550-" + b"x" * 70 + b"\r\n" for _ in range(800)) + b"550 end\r\n")
    assert len(reply.text) <= MAX_TEXT_CHARACTERS


@given(st.binary(max_size=400), st.lists(st.integers(1, 60), max_size=20))
@example(b"250-\r\n250-\r\n250 \r\n", [1])
def test_reader_gives_replies_or_bad_reply_whatever_comes(data: bytes, cuts: list[int]) -> None:
    reader = ReplyReader()
    whole: list[Reply] | None
    try:
        whole = read(data)
    except BadReply:
        whole = None
    replies: list[Reply] = []
    failed = False
    rest = data
    for cut in [*cuts, len(data) + 1]:
        reader.feed(rest[:cut])
        rest = rest[cut:]
        try:
            while (reply := reader.next_reply()) is not None:
                replies.append(reply)
        except BadReply:
            failed = True
            break
    assert failed is (whole is None)
    assert whole is None or replies == whole
    for reply in replies:
        assert 200 <= reply.code < 600
        assert reply.text.replace("\n", "").isprintable()


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(st.integers(200, 599), st.lists(WORDS, min_size=1, max_size=5))
def test_reader_reads_back_what_replies_write(code: int, lines: list[str]) -> None:
    (reply,) = read(Reply(code, "", "\n".join(lines)).to_bytes())
    assert reply.code == code
    if not reply.enhanced:
        assert reply.text == "\n".join(lines)
