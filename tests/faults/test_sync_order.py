"""The sync precedes the 250: proved on the system calls of a worker that accepts a thousand messages.

kill -9 cannot show a missing sync, since the page cache outlives the process.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import site, trace
from tests.faults.ledger import Client, Ledger, Message
from tests.faults.sink import MARK
from tests.lab.server import Server

MESSAGES = 1000
CLIENTS = 8


def compose(chance: random.Random, client: int, number: int) -> Message:
    """A message that fits a page, whose recipient is named in each of its rows."""
    ident = f"{client:02d}-{number:06d}"
    recipient = f"box.{ident}@example.org"
    content = (
        MARK + f"{ident}\r\nSubject: order\r\n\r\n{'text ' * chance.randrange(200)}\r\nend of {ident}\r\n".encode()
    )
    return Message(ident, f"from.{ident}@example.com", (recipient,), content, by_bdat=chance.random() < 0.3)


async def send_all(server: Server, ledger: Ledger) -> None:
    stop = asyncio.Event()
    door, _ = site.doors(server)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(Client(number, door, ledger, random.Random(number), compose).run(stop))
        await ledger.wait_for(MESSAGES)
        stop.set()


@pytest.mark.slow
@pytest.mark.peer("strace")
def test_sync_precedes_each_acknowledgement(tmp_path: Path) -> None:
    file, ledger = tmp_path / "trace", Ledger()
    config = site.settings(9, route=[{"domains": ["*"], "via": "hold"}])
    with Server(tmp_path, config, wrapper=(*trace.COMMAND, str(file))) as server:
        asyncio.run(send_all(server, ledger))
    calls = trace.read_trace(file)
    sent = {
        reply.rpartition(" ")[2]: (f"box.{ident}@", f"end of {ident}\\r\\n")
        for ident, reply in ledger.acknowledged.items()
    }
    assert len(sent) >= MESSAGES
    problems = trace.check_order(calls, sent)
    assert not problems, "\n".join(problems[:10])
    print(f"{len(sent)} messages, {sum(is_sync(call) for call in calls)} syncs of the log, {len(calls)} calls")

    # The same trace, doctored, shows that each of these would have been noticed.
    far = 10**9
    late = [replace(one, begun=far + one.begun, ended=far + one.ended) if is_sync(one) else one for one in calls]
    assert len(trace.check_order(late, sent)) == len(sent)
    failed = [replace(one, result=-1) if is_sync(one) else one for one in calls]
    assert len(trace.check_order(failed, sent)) == len(sent)


def is_sync(call: trace.Call) -> bool:
    return call.name in ("fsync", "fdatasync") and call.is_on(".db-wal")


FRAME = '22</data/queue-0.db-wal>, "{0}", 24, 100) = 24'
LAST = ("pwrite64", FRAME.format(r"\0\0\0\1\0\0\0\5" + r"\1" * 16))
INNER = ("pwrite64", FRAME.format(r"\0\0\0\1\0\0\0\0" + r"\1" * 16))
RECORD = ("pwrite64", '22</data/queue-0.db-wal>, "[box.1@example.org]", 4096, 124) = 4096')
CONTENT = ("pwrite64", r'22</data/queue-0.db-wal>, "for box.1@example.org end of 1\r\n", 4096, 124) = 4096')
END = ("recvfrom", r'28<socket:[1]>, "text\r\nend of 1\r\n.\r\n", 65536, 0, NULL, NULL) = 20')
SYNC = ("fdatasync", "22</data/queue-0.db-wal>) = 0")
FAILED = ("fdatasync", "22</data/queue-0.db-wal>) = -1 EIO (Input/output error)")
ELSEWHERE = ("fdatasync", "23</data/queue-0.db>) = 0")
REPLY = ("sendto", r'28<socket:[1]>, "250 2.0.0 queued as abc\r\n", 25, 0, NULL, 0) = 25')
TRACES = {
    "in order": ([END, INNER, RECORD, LAST, CONTENT, SYNC, REPLY], ""),
    "sync after the reply": ([END, INNER, RECORD, LAST, CONTENT, REPLY, SYNC], "no sync"),
    "no sync": ([END, INNER, RECORD, LAST, CONTENT, REPLY], "no sync"),
    "sync failed": ([END, INNER, RECORD, LAST, CONTENT, FAILED, REPLY], "no sync"),
    "sync of another file": ([END, INNER, RECORD, LAST, CONTENT, ELSEWHERE, REPLY], "no sync"),
    "sync before the last page": ([END, INNER, RECORD, LAST, SYNC, CONTENT, REPLY], "no sync"),
    "no record": ([END, LAST, CONTENT, SYNC, REPLY], "1 pages"),
    "no content": ([END, INNER, RECORD, LAST, RECORD, SYNC, REPLY], "2 pages"),
    "no commit": ([END, INNER, RECORD, INNER, CONTENT, SYNC, REPLY], "no sync"),
    "pages before the end of the content": ([INNER, RECORD, LAST, CONTENT, END, SYNC, REPLY], "0 pages"),
    "no end": ([INNER, RECORD, LAST, CONTENT, SYNC, REPLY], "the end of its content"),
    "no reply": ([END, INNER, RECORD, LAST, CONTENT, SYNC], "its 250 is not"),
}


@pytest.mark.parametrize(("made", "problem"), TRACES.values(), ids=TRACES)
def test_check_order_finds_a_sync_that_comes_late(made: list[tuple[str, str]], problem: str) -> None:
    lines = [f"7 {number}.5 {name}({text}\n" for number, (name, text) in enumerate(made)]
    problems = trace.check_order(list(trace.read_calls(lines)), {"abc": ("box.1@", r"end of 1\r\n")})
    assert [one.partition(": ")[2].startswith(problem) for one in problems] == ([True] if problem else [])


def test_read_calls_joins_what_was_interrupted() -> None:
    lines = [
        "8 1.0 fdatasync(22</data/queue-0.db-wal> <unfinished ...>\n",
        '9 1.1 sendto(28<socket:[1]>, "250 2.0.0 queued as abc\\r\\n", 25, 0, NULL, 0) = 25\n',
        "8 1.2 <... fdatasync resumed>) = 0\n",
    ]
    first, second = trace.read_calls(lines)
    assert (first.name, second.name, second.result) == ("sendto", "fdatasync", 0)
    assert (second.begun, second.ended) == (0, 2)
