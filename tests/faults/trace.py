"""Reading what strace wrote: system calls with their order, and whether a sync preceded each acknowledgement.

The order is that of the lines: strace sees each call begin and end, one thing after the other.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CALLS: Final = "recvfrom,sendto,pwrite64,fsync,fdatasync"
COMMAND: Final = ("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-s", "4096", "-e", f"trace={CALLS}", "-o")
"""Followed by the file to write."""
FEWEST_PAGES: Final = 2
"""Content and recipients are rows of different tables, so that they are never on the same page."""

_BEGUN: Final = re.compile(r"(\d+) +\d+\.\d+ (\w+)\((.*)", re.DOTALL)
_RESUMED: Final = re.compile(r"(\d+) +\d+\.\d+ <\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_UNFINISHED: Final = " <unfinished ...>"
_RESULT: Final = re.compile(r"\) = (-?\d+)(?: \w+ \(.*\))?(?: \(INJECTED\))?$")
_QUEUED: Final = re.compile(r"250 2\.0\.0 queued as (\w+)")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call; `begun` and `ended` are line numbers."""

    thread: int
    name: str
    text: str
    """Arguments as strace writes them."""
    result: int | None
    """None when it never returned."""
    begun: int
    ended: int

    def is_on(self, suffix: str) -> bool:
        """True when its descriptor is a file whose name ends so."""
        return self.text.partition(">")[0].endswith(suffix)


def read_calls(lines: Iterable[str]) -> Iterator[Call]:
    """Complete calls, in the order in which they ended."""
    open_calls: dict[tuple[int, str], tuple[str, int]] = {}
    for number, line in enumerate(lines):
        line = line.rstrip("\n")
        resumed = _RESUMED.match(line)
        if resumed:
            key = int(resumed[1]), resumed[2]
            text, begun = open_calls.pop(key, ("", number))
            yield _call(key, text + resumed[3], begun, number)
            continue
        match = _BEGUN.match(line)
        if match is None:
            continue  # signals and ends
        key = int(match[1]), match[2]
        if line.endswith(_UNFINISHED):
            open_calls[key] = match[3].removesuffix(_UNFINISHED), number
        else:
            yield _call(key, match[3], number, number)


def _call(key: tuple[int, str], text: str, begun: int, ended: int) -> Call:
    result = _RESULT.search(text)
    return Call(*key, text, int(result[1]) if result else None, begun, ended)


def read_trace(path: Path) -> list[Call]:
    """All calls of a file."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return list(read_calls(lines))


def is_commit(call: Call) -> bool:
    """True for the header of a log frame that ends a transaction: it has the size of the database, others have 0.

    See https://www.sqlite.org/fileformat2.html, section 4.1.
    """
    text = call.text.partition(', "')[2]
    header = codecs.decode(text.rpartition('", 24, ')[0].encode("ascii"), "unicode_escape").encode("latin-1")
    return len(header) == 24 and header[4:8] != bytes(4)


def check_order(calls: Sequence[Call], sent: Mapping[str, tuple[str, str]]) -> list[str]:
    """What is wrong, in words; nothing when each 250 came after a sync of all that it promises.

    `sent`: by the identifier in the 250, a text that is in its content and in its queue record, and one that ends its
    content. All pages written before a sync, up to the one that ends the transaction, count.
    """
    replies: dict[str, Call] = {}
    for call in calls:
        if call.name == "sendto":
            replies |= dict.fromkeys(_QUEUED.findall(call.text), call)
    received = [call for call in calls if call.name == "recvfrom"]
    log = [call for call in calls if call.is_on(".db-wal")]
    problems = []
    for ident, (mark, end) in sent.items():
        problem = _check_one(ident, mark, end, replies, received, log)
        if problem:
            problems.append(f"{ident}: {problem}")
    return problems


def _check_one(
    ident: str, mark: str, end: str, replies: Mapping[str, Call], received: Sequence[Call], log: Sequence[Call]
) -> str:
    reply = replies.get(ident)
    if reply is None:
        return "its 250 is not in the trace"
    last = next((call for call in received if end in call.text), None)
    if last is None:
        return "the end of its content is not in the trace"
    pages = 0
    has_content = is_committed = False
    last_write = -1
    for call in log:
        if call.begun < last.ended or call.ended > reply.begun:
            continue
        if call.name == "pwrite64":
            last_write = call.ended
            pages += mark in call.text
            has_content |= end in call.text
            if '", 24, ' in call.text:
                is_committed = is_commit(call)
        elif pages >= FEWEST_PAGES and has_content and is_committed and call.result == 0 and call.begun > last_write:
            return ""
    if pages < FEWEST_PAGES or not has_content:
        return f"{pages} pages with its rows were written to the log before its 250"
    return "no sync of the log succeeded between the commit of its rows and its 250"
