"""BDAT: sizes that are none, octets that are never commands, memory that stays flat."""

from __future__ import annotations

import tracemalloc

import pytest

from postreeve.mail.reply import Reply
from postreeve.smtp.bdat import parse_chunk
from postreeve.smtp.event import NEED_DATA, Closed, ContentChunk, ContentEnd, Event, Refused, TransactionReset
from postreeve.smtp.order import State
from tests.smtp.drive import Session, greeted, in_transaction, octets, settings


@pytest.mark.parametrize(
    ("argument", "size", "is_last"),
    [
        ("0", 0, False),
        ("0 LAST", 0, True),
        ("1 last", 1, True),
        ("0001  Last ", 1, True),
        ("2147483648", 2**31, False),
        ("9223372036854775808 LAST", 2**63, True),
        ("18446744073709551616", 2**64, False),
        ("00000000000000000000000000007", 7, False),
    ],
)
def test_parse_chunk(argument: str, size: int, is_last: bool) -> None:
    """RFC 3030, section 2."""
    chunk = parse_chunk(argument)
    assert chunk is not None
    assert (chunk.octets, chunk.remaining, chunk.is_last) == (size, size, is_last)


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "-1",
        "+5",
        "0x10",
        "1e3",
        "1.0",
        "LAST",
        "1 FIRST",
        "1 LAST LAST",
        "1,LAST",
        "٣",
        "²",
        "1_000",
        "1 LA\u017fT",
        "9" * 21,
    ],
)
def test_parse_chunk_refuses(argument: str) -> None:
    assert parse_chunk(argument) is None


PAYLOAD = b"QUIT\r\nMAIL FROM:<evil@example.org>\r\n"


@pytest.mark.parametrize("prefix", [b"", b"HELO a.example\r\n", b"HELO a.example\r\nMAIL FROM:<a@example.org>\r\n"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "octets"])
def test_bdat_refused_swallows_exactly_what_was_announced(prefix: bytes, cut: bool) -> None:
    session = greeted()
    session.feed(prefix)
    session.written = b""
    stream = b"BDAT %d LAST\r\n" % len(PAYLOAD) + PAYLOAD + b"NOOP\r\n"
    session.feed(*(octets(stream) if cut else [stream]))
    assert session.codes() == [503, 250]
    assert session.core.state is State.READY


@pytest.mark.parametrize("argument", ["-1", "+5", "0x10", "1e3", "", "LAST", "9" * 21])
@pytest.mark.parametrize("begin", [greeted, in_transaction], ids=["before MAIL", "in a transaction"])
def test_bdat_of_unknown_length_closes(argument: str, begin: object) -> None:
    assert callable(begin)
    session: Session = begin()
    session.feed(b"BDAT " + argument.encode() + b"\r\n" + PAYLOAD)
    assert session.codes() == [501]
    assert session.core.is_closed


@pytest.mark.parametrize("size", [101, 2**31, 2**63, 2**64 - 1])
@pytest.mark.parametrize("begin", [greeted, in_transaction], ids=["before MAIL", "in a transaction"])
def test_bdat_larger_than_any_message_closes(size: int, begin: object) -> None:
    assert callable(begin)
    session: Session = begin(settings(max_message_octets=100))
    session.feed(b"BDAT %d\r\n" % size + PAYLOAD)
    assert session.codes() == [552]
    assert [type(event) for event in session.events[-2:]] == [Refused, Closed]


def test_bdat_failure_clears_the_transaction_until_the_next_mail() -> None:
    session = in_transaction(settings(max_message_octets=10))
    session.feed(b"BDAT 8\r\n01234567BDAT 8\r\n01234567")
    assert session.codes() == [250, 552]
    session.feed(b"DATA\r\n", b"RCPT TO:<b@example.com>\r\n", b"BDAT 0 LAST\r\n", b"VRFY a\r\n", b"DATA\r\n")
    assert session.codes()[2:] == [503, 503, 503, 252, 503]
    assert sum(isinstance(event, TransactionReset) for event in session.events) == 1
    session.feed(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 2 LAST\r\nok")
    assert session.stored[0].content == b"ok"


def test_bdat_after_last_is_out_of_order() -> None:
    session = in_transaction()
    session.feed(b"BDAT 1 LAST\r\nxBDAT 1 LAST\r\ny")
    assert session.codes() == [250, 503]
    assert [message.content for message in session.stored] == [b"x"]


def test_bdat_refused_by_the_session_ends_the_transaction() -> None:
    def decide(event: Event) -> Reply | None:
        return Reply(452, "4.3.1", "full") if isinstance(event, ContentEnd) else None

    session = in_transaction(decide=decide)
    session.feed(b"BDAT 1 LAST\r\nx")
    assert session.codes() == [452]
    assert session.core.state is State.READY


def test_bdat_cut_off_is_no_message() -> None:
    """The end of the connection inside a chunk: what came is no message, and what comes later is never read."""
    session = in_transaction()
    session.feed(b"BDAT 100 LAST\r\nabc")
    session.eof()
    session.feed(b"x" * 97 + b"NOOP\r\n")
    assert session.stored == []
    assert session.events[-1] == Closed(in_transaction=True)
    assert session.written == b""


def test_bdat_chunks_come_as_they_arrive() -> None:
    session = in_transaction()
    session.feed(b"BDAT 9 LAST\r\nabc", b"def", b"ghiNOOP\r\n")
    assert [event.data for event in session.events if isinstance(event, ContentChunk)] == [b"abc", b"def", b"ghi"]
    assert session.codes() == [250, 250]


def test_bdat_of_one_octet_a_hundred_thousand_times_keeps_memory_flat() -> None:
    session = in_transaction()
    session.run()
    core, batch = session.core, b"BDAT 1\r\nx" * 1000

    def once() -> None:
        core.receive_data(batch)
        while core.next_event() is not NEED_DATA:
            pass
        assert core.data_to_send().count(b"250 2.0.0 1 octets received\r\n") == 1000

    for _ in range(95):
        once()
    tracemalloc.start()
    try:
        for _ in range(5):
            once()
        assert tracemalloc.get_traced_memory()[0] < 16_384
    finally:
        tracemalloc.stop()
    assert core.state is State.CHUNKING
