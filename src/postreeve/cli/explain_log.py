"""`postreeve explain-log`: what fails in a mail log, why, where to, how often and since when."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, cast

import typer

from postreeve.checks.explain.logformat import FORMATS, recognise
from postreeve.checks.explain.logmoment import LogClock
from postreeve.checks.explain.logtally import UNKNOWN, Group, LogTally
from postreeve.checks.knowledge.catalogue import causes, fill
from postreeve.cli.explain_input import Unusable, open_file
from postreeve.cli.explain_stream import read_chunks
from postreeve.cli.moment import iso
from postreeve.cli.output import clean, plural, print_json, say

_SAMPLE: Final = 1 << 18
_PROGRESS_SECONDS: Final = 1.0
_MOST_ROWS: Final = 40
_MOST_FIXES: Final = 10


def explain_log(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The log, compressed with gzip or not; `-`: standard input.")
    ],
    log_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="auto, postfix, exim, haraka, postreeve or application.")
    ] = "auto",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only what happened since: 2h, 3d or 2026-11-24 08:00:00.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Group the failures of a mail log by cause and destination.

    Reads logs of Postfix, Exim, Haraka, postreeve and applications, of any length. Exit status 0 when nothing failed,
    1 when something did, 2 when the file is no log.
    """
    now = time.time()
    clock = LogClock(now, time.localtime(now).tm_gmtoff)
    try:
        if log_format not in ("auto", *FORMATS):
            raise Unusable(f"no such format: {log_format} (auto, {', '.join(FORMATS)})")
        tally, name, note = read_log(file, log_format, clock, _parse_since(since, clock, now))
    except Unusable as problem:
        sys.stderr.write(f"postreeve explain-log: {clean(str(problem))}\n")
        raise typer.Exit(2) from None
    if note:
        sys.stderr.write(f"postreeve explain-log: {clean(note)}\n")
    if as_json:
        print_json(document(tally, name))
    else:
        _print(tally, name)
    raise typer.Exit(1 if tally.failures else 0)


def read_log(path: Path, log_format: str, clock: LogClock, since: float | None) -> tuple[LogTally, str, str]:
    """The failures of the log, the format it was read in, and a note where its end is damaged. Raises Unusable."""
    stream = cast(BinaryIO, sys.stdin.buffer) if str(path) == "-" else open_file(path)
    tally, name, note = None, log_format, ""
    began = told = time.monotonic()
    with stream:
        for chunk, trouble in read_chunks(stream, str(path)):
            note = trouble or note
            if tally is None:
                name = recognise(chunk[:_SAMPLE]) if log_format == "auto" else log_format
                tally = LogTally(FORMATS[name], clock, since)
            tally.add(chunk)
            if sys.stderr.isatty() and time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                sys.stderr.write(f"\r{tally.lines:,} lines, {tally.failures:,} failures, {told - began:.0f} s ")
    if told != began:
        sys.stderr.write("\r\033[K")
    if tally is None:
        raise Unusable(f"{path}: {note or 'the file is empty'}")
    return tally, name, note


def _parse_since(text: str, clock: LogClock, now: float) -> float | None:
    from postreeve.config.units import parse_duration

    if not text:
        return None
    padded = text if len(text) > 10 else f"{text} 00:00:00"
    moment = clock.moment(padded.encode())
    if moment is not None:
        return moment
    try:
        return now - parse_duration(text)
    except ValueError:
        raise Unusable(f"--since {text}: neither a span such as 2h nor a time such as 2026-11-24 08:00:00") from None


def document(tally: LogTally, name: str) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "format": name,
        "lines": tally.lines,
        "failures": tally.failures,
        "groups": [_row(one) for one in tally.groups],
    }


def _row(group: Group) -> dict[str, Any]:
    entry = causes().get(group.cause)
    return {
        "cause": group.cause,
        "decided": group.is_decided,
        "title": entry.title if entry else "Nothing is known of this text",
        "destination": group.destination,
        "count": group.count,
        "first": iso(group.first),
        "last": iso(group.last),
        "fix": fill(entry.fix, {}) if entry else "",
        "decide_by": fill(entry.decide_by, {}) if entry else "",
        "example": group.example,
    }


def _print(tally: LogTally, name: str) -> None:
    groups = tally.groups
    say(f"{plural(tally.lines, 'line')}, {plural(tally.failures, 'failure')} (format: {name})")
    if not groups:
        return
    say()
    shown = groups[:_MOST_ROWS]
    wide = max(len(one.cause) for one in shown) + 1
    place = min(50, max(11, *(len(one.destination) for one in shown)))
    say(f"{'Count':>9}  {'Cause':<{wide}}  {'Destination':<{place}}  {'First':<19}  Last")
    for one in shown:
        cause = one.cause if one.is_decided or one.cause == UNKNOWN else f"{one.cause}?"
        where = clean(one.destination)[:place]
        say(f"{one.count:>9,}  {cause:<{wide}}  {where:<{place}}  {_short(one.first):<19}  {_short(one.last)}".rstrip())
    if len(groups) > len(shown):
        say(f"… and {plural(len(groups) - len(shown), 'group')} more: --json has them all")
    _print_fixes(groups)


def _print_fixes(groups: list[Group]) -> None:
    by_cause: dict[str, list[Group]] = {}
    for one in groups:
        by_cause.setdefault(one.cause, []).append(one)
    ranked = sorted(by_cause.items(), key=lambda item: -sum(one.count for one in item[1]))
    for cause, members in ranked[:_MOST_FIXES]:
        entry = causes().get(cause)
        say()
        total = plural(sum(one.count for one in members), "failure")
        where = plural(len(members), "destination")
        say(f"{cause}: {entry.title if entry else 'nothing is known of this text'} ({total}, {where})")
        if entry:
            say(f"  fix: {clean(fill(entry.fix, {}))}")
            if not members[0].is_decided:
                say(f"  decided by: {clean(fill(entry.decide_by, {}))}")
        say(f"  such as: {clean(members[0].example)[:300]}")


def _short(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at is not None else "-"
