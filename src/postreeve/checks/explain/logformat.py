"""Logs of mail programs: which lines tell of a failure, and where in them the reason and the destination are.

A log is scanned in bulk for the few words that only failing lines have; no line is looked at that has none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

HERE: Final = b"(this server)"
"""The destination of what others fail at when they come to us."""
_UNKNOWN: Final = b"(unknown)"
_MAIL_WORDS: Final = re.compile(rb"smtp|mail|rcpt", re.IGNORECASE)
_NEAR: Final = 4_096
_PLACE: Final = re.compile(
    rb"@(?P<domain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)|"
    rb"(?<![\w.-])(?P<host>(?:[a-z0-9-]+\.)+[a-z]{2,}|localhost)(?:\[[0-9a-f.:]+\])?[:,] ?(?:port:? ?)?\d{2,5}\b|"
    rb"(?<![\d.])(?P<address>\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):\d{2,5}\b|"
    rb"(?:ENOTFOUND|EAI_AGAIN|lookup|resolve host:) (?P<name>[\w.-]+)"
)
_OURS: Final = re.compile(rb'(?:^| )(?:reply|reason|problem)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_OUR_DESTINATION: Final = re.compile(rb'(?:^| )(?:recipient=\S*@([\w.-]+)|destination="?([^\s"]+))')
_EXIM: Final = re.compile(
    rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? (?:[+-]\d{4} )?(?:\[\d+\] )?"
    rb"\w{6}-\w{6,11}-\w{2,4} (?:=>|<=|==|\*\*|->|Completed)",
    re.MULTILINE,
)
_HARAKA: Final = re.compile(rb"\[(?:INFO|NOTICE|ERROR|WARN|CRIT|DEBUG)\] \[(?:-|[0-9A-F]{8}-[0-9A-F-]{27}[.\d]*)\] \[")
_TEXTS: Final = ("message", "msg", "error", "err", "exception", "stack", "reason", "response", "detail")

Read = Callable[[bytes, bytes], "tuple[bytes, bytes] | None"]
"""From a line and what stands before it to its destination and reason; None for a line that tells of no failure."""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """`markers` are what a failing line has at least one of."""

    name: str
    markers: tuple[bytes, ...]
    read: Read


def failing_lines(chunk: bytes, markers: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of every line of `chunk` with a marker in it, in order."""
    spans: dict[int, int] = {}
    find, rfind = chunk.find, chunk.rfind
    for marker in markers:
        at = find(marker)
        while at >= 0:
            end = find(b"\n", at)
            if end < 0:
                end = len(chunk)
            spans[rfind(b"\n", 0, at) + 1] = end
            at = find(marker, end)
    return iter(sorted(spans.items()))


def recognise(sample: bytes) -> str:
    """The name of the format that most of `sample` is in; "application" when none of the known ones is."""
    counts = {
        "postfix": sample.count(b" postfix/") + sample.count(b" postfix-"),
        "exim": len(_EXIM.findall(sample)),
        "haraka": len(_HARAKA.findall(sample)),
        "postreeve": sample.count(b" event=") + sample.count(b'","event":"'),
    }
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "application"


def _postfix(line: bytes, _: bytes) -> tuple[bytes, bytes] | None:
    at = line.find(b" status=")
    if at >= 0:
        start = line.find(b"(", at)
        to = line.find(b" to=<")
        end = line.find(b">", to)
        at_sign = line.rfind(b"@", to, end)
        domain = line[at_sign + 1 : end] if at_sign >= 0 else _UNKNOWN
        return domain.lower(), line[start + 1 :].rstrip(b")\r ") if start >= 0 else line[at:]
    at = line.find(b"reject: ")
    if at >= 0:
        start = line.find(b"]: ", at)
        return HERE, line[start + 3 if start >= 0 else at :].partition(b"; from=")[0]
    at = line.find(b"authentication failed")
    if at >= 0:
        return HERE, line[line.rfind(b": SASL ", 0, at) + 2 :]
    at = max(line.find(b"TLS library problem"), line.find(b"fatal: "), line.find(b"No server certs"))
    return (HERE, line[at:]) if at >= 0 else None


def _exim(line: bytes, _: bytes) -> tuple[bytes, bytes] | None:
    for marker in (b" ** ", b" == "):
        at = line.find(marker)
        if at < 0:
            continue
        address, _, rest = line[at + 4 :].partition(b" ")
        domain = address.rpartition(b"@")[2].strip(b"<>:").lower()
        start = rest.find(b"defer (") if marker == b" == " else rest.find(b": ")
        return domain or _UNKNOWN, rest[max(start, 0) :].lstrip(b": ")
    at = max(line.find(b"rejected "), line.find(b"authenticator failed"), line.find(b"TLS error"))
    return (HERE, line[at:]) if at >= 0 else None


def _haraka(line: bytes, _: bytes) -> tuple[bytes, bytes] | None:
    start = line.rfind(b"] ")
    reason = line[start + 2 :] if start >= 0 else line
    place = _place(reason)
    return place, reason.partition(b" rejected: ")[2] or reason


def _postreeve(line: bytes, _: bytes) -> tuple[bytes, bytes] | None:
    if line.lstrip()[:1] == b"{":
        fields = _json(line)
        reason = b" ".join(str(fields[key]).encode() for key in ("reply", "reason", "problem") if fields.get(key))
        place = str(fields.get("recipient") or fields.get("destination") or "").encode().rpartition(b"@")[2]
    else:
        reason = b" ".join(quoted or plain for quoted, plain in _OURS.findall(line))
        found = _OUR_DESTINATION.search(line)
        place = (found[1] or found[2]) if found else HERE
    return (place or HERE, reason) if reason else None


def _application(line: bytes, before: bytes) -> tuple[bytes, bytes] | None:
    if not _MAIL_WORDS.search(line) and not _MAIL_WORDS.search(before[-_NEAR:]):
        return None
    if line.lstrip()[:1] == b"{":
        fields = _json(line)
        words = [fields[key] for key in _TEXTS if fields.get(key)]
        line = " ".join(one if isinstance(one, str) else json.dumps(one) for one in words).encode() or line
    return _place(line), line


def _json(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:  # cut off, or no JSON after all
        return {}
    return fields if isinstance(fields, dict) else {}


def _place(text: bytes) -> bytes:
    found = _PLACE.search(text)
    if found is None:
        return _UNKNOWN
    return (found["domain"] or found["host"] or found["address"] or found["name"]).lower()


_POSTFIX_WORDS: Final = (
    b"status=deferred",
    b"status=bounced",
    b"status=undeliverable",
    b"reject: ",
    b"authentication failed",
    b"TLS library problem",
    b"No server certs",
    b" fatal: ",
)
_APPLICATION_WORDS: Final = (
    b"rror",
    b"xception",
    b"ERROR",
    b"ailed",
    b"refused",
    b"imed out",
    b"ECONN",
    b"ETIMEDOUT",
    b"SMTP",
    b"curl: (",
    b"msmtp: ",
)
FORMATS: Final[dict[str, LogFormat]] = {
    one.name: one
    for one in (
        LogFormat("postfix", _POSTFIX_WORDS, _postfix),
        LogFormat("exim", (b" == ", b" ** ", b" rejected ", b"authenticator failed", b"TLS error"), _exim),
        LogFormat(
            "haraka",
            (b" rejected: ", b"Failed to get pool entry", b"Ongoing connection failed", b"closed connection while"),
            _haraka,
        ),
        LogFormat(
            "postreeve",
            (
                b"recipient_deferred",
                b"recipient_failed",
                b"command_refused",
                b"message_refused",
                b"tls_failed",
                b"authentication_failed",
                b"connection_refused",
            ),
            _postreeve,
        ),
        LogFormat("application", _APPLICATION_WORDS, _application),
    )
}
