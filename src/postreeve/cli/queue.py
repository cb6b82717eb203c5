"""`postreeve queue`: what waits, why, and what the operator wants done with it, whether the server runs or not."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Final

import typer

from postreeve.app.configuration import Installation
from postreeve.cli import document, selection
from postreeve.cli.content import print_content, print_header
from postreeve.cli.moment import Clock
from postreeve.cli.opening import open_place
from postreeve.cli.output import plural, print_json, say
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.progress import Progress
from postreeve.cli.prospect import Circumstances, tell_prospect
from postreeve.cli.queue_list import print_messages, print_stats
from postreeve.cli.queue_story import print_story
from postreeve.cli.refusal import Refused
from postreeve.cli.selection import describe, is_everything
from postreeve.cli.server import is_running, tell_change
from postreeve.cli.tally import Tally, each, sample
from postreeve.cli.visit import with_queue
from postreeve.config.assemble import queue_settings
from postreeve.config.units import format_duration
from postreeve.mail.ident import to_text
from postreeve.queue.model import Change, QueueFilter, QueueStats
from postreeve.store.shards import ShardedStore

app = typer.Typer(
    help="Look at queued mail and change what becomes of it.", no_args_is_help=True, rich_markup_mode=None
)

_MAX_LIST: Final = 1_000_000
_SLICE: Final = 500
_MOST_COUNTED: Final = 100_000
"""To ask whether so many messages are really meant, this is many enough."""


@app.command("list")
@selection.filtered
def list_messages(
    where: QueueFilter,
    now: float,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_LIST, help="Show at most so many, the oldest first.")] = 100,
    utc: selection.Utc = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List queued messages, the oldest first."""
    installation = open_place(config)
    found = with_queue(installation, lambda queue: queue.find(where, limit + 1))
    shown, has_more = found[:limit], len(found) > limit
    if as_json:
        print_json({"messages": [document.message(summary) for summary in shown], "more": has_more})
        return
    if not shown:
        say("the queue is empty" if is_everything(where) else "no queued message matches")
        return
    print_messages(shown, where, Clock(now, utc))
    if has_more:
        say(f"… and more: these are the {limit} oldest, see --limit")


@app.command("show")
def show(
    ident: Annotated[int, typer.Argument(metavar="ID", parser=selection.parse_id, help="The message.")],
    headers: Annotated[bool, typer.Option("--headers", help="Print its header section instead.")] = False,
    content: Annotated[bool, typer.Option("--content", help="Print its content instead, as it was received.")] = False,
    utc: selection.Utc = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Tell the whole story of a message: envelope, every attempt, what comes next and why.

    Messages that have left the queue are known for as long as the setting `queue.history` says, without their content.
    """
    if headers + content + as_json > 1:
        raise typer.BadParameter("--headers, --content and --json exclude each other")
    installation = open_place(config)
    told = with_queue(installation, lambda queue: queue.story(ident))
    if told is None:
        kept = format_duration(installation.config.queue.history)
        hint = f"finished messages are known for {kept} (setting queue.history); see `postreeve queue list`"
        raise Refused(f"no message {to_text(ident)}", hint)
    if headers or content:
        if told.finished_at is not None:
            raise Refused(f"message {to_text(ident)} has left the queue, its content is gone")
        with_queue(installation, lambda queue: _print_content(queue, ident, headers))
        return
    schedule = queue_settings(installation.config, 1, installation.secrets).schedule
    clock = Clock(time.time(), utc)
    about = Circumstances(clock, schedule, is_running(installation.data_dir))
    if as_json:
        about = Circumstances(Clock(clock.now, is_absolute=True), schedule, about.is_running)
    prospects = [tell_prospect(told, record, about) for record in told.summary.recipients]
    if as_json:
        print_json(document.story(told, prospects))
    else:
        print_story(told, prospects, clock, schedule)


async def _print_content(queue: ShardedStore, ident: int, only_header: bool) -> None:
    pieces = queue.content(ident)
    await (print_header(pieces) if only_header else print_content(pieces))


@app.command("stats")
@selection.filtered
def stats(
    where: QueueFilter,
    now: float,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Count the queue: states, ages, the largest destinations, the most frequent reasons.

    Reasons are counted over the 5,000 oldest messages; with a filter all counts are of the messages that match.
    """

    async def count(queue: ShardedStore) -> tuple[QueueStats, dict[str, int]]:
        if is_everything(where):
            return await queue.stats(now), (await sample(queue, now)).reasons()
        tally = Tally(where, now)
        async for summary in each(queue, where):
            tally.add(summary)
        return tally.stats(), tally.reasons()

    counted, reasons = with_queue(open_place(config), count)
    if as_json:
        print_json(document.stats(counted) | {"reasons": reasons})
    else:
        print_stats(counted, reasons, Clock(now))


# What each change does, for the help; what was done, for the result; whether it ends something for good.
_CHANGES: Final[dict[Change, tuple[str, str, bool]]] = {
    Change.RETRY: ("Try messages again now.", "to be tried now", False),
    Change.HOLD: ("Hold messages back until they are released.", "held", False),
    Change.RELEASE: ("Release messages that are held; they are tried at once.", "released", False),
    Change.BOUNCE: ("Return messages to their senders with a failure report.", "to be returned", True),
    Change.DROP: ("Drop messages without a word to anybody.", "dropped", True),
}


def _make_command(change: Change) -> Callable[..., None]:
    def command(
        where: QueueFilter,
        now: float,
        everything: Annotated[
            bool, typer.Option("--all", help="All queued messages; needed without any filter.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many messages it is.")] = False,
        as_json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        if is_everything(where) and not everything:
            raise typer.BadParameter("which messages? Name IDs or filters, or --all for the whole queue")
        _apply(change, where, open_place(config), now, yes=yes, as_json=as_json)

    command.__doc__ = _CHANGES[change][0]
    return command


for _change in Change:
    app.command(_change.value)(selection.filtered(_make_command(_change)))


def _apply(
    change: Change, where: QueueFilter, installation: Installation, now: float, *, yes: bool, as_json: bool
) -> None:
    _, done, is_final = _CHANGES[change]

    async def work(queue: ShardedStore) -> int:
        if where.idents:
            await _check_idents(queue, where.idents)
        if is_final and not yes:
            await _confirm(change, queue, where)
        return await _change_all(change, queue, where, now)

    count = with_queue(installation, work)
    woken = tell_change(installation.data_dir, change.value, count, describe(where)) if count else False
    if as_json:
        print_json({"change": change.value, "recipients": count})
    elif not count:
        say(f"nothing to {change.value}: no waiting recipient matches, or it is so already")
    else:
        note = "" if woken else "; the server is not running, the rest happens when it starts"
        say(f"{plural(count, 'recipient')} {done}{'' if change in (Change.HOLD, Change.DROP) else note}")


async def _change_all(change: Change, queue: ShardedStore, where: QueueFilter, now: float) -> int:
    """In slices, so that one can say how far it has come."""
    done = seen = 0
    with Progress() as progress:
        async for idents in _slices(queue, where):
            done += await queue.change(replace(where, idents=idents), change, now)
            seen += len(idents)
            progress.tell(f"{change.value}: {plural(seen, 'message')}, {plural(done, 'recipient')} so far …")
    return done


async def _slices(queue: ShardedStore, where: QueueFilter) -> AsyncIterator[tuple[int, ...]]:
    after = 0
    while found := await queue.find(where, _SLICE, after):
        after = found[-1].ident
        yield tuple([summary.ident for summary in found])


async def _check_idents(queue: ShardedStore, idents: tuple[int, ...]) -> None:
    """Nothing is changed where one of the messages is not there: it may be a slip of the pen."""
    found = {summary.ident for summary in await queue.find(QueueFilter(idents=idents), len(idents))}
    for ident in idents:
        if ident not in found:
            told = await queue.story(ident)
            what = "has left the queue" if told is not None else "is not in the queue"
            raise Refused(f"message {to_text(ident)} {what}; nothing was changed", "see `postreeve queue list`")


async def _confirm(change: Change, queue: ShardedStore, where: QueueFilter) -> None:
    found = await _count(queue, where)
    if found <= 1:
        return
    many = f"{found:,} messages or more" if found >= _MOST_COUNTED else plural(found, "message")
    if not sys.stdin.isatty():
        raise Refused(f"this would {change.value} {many}; nothing was changed", "if that is meant, say --yes")
    sys.stderr.write(f"{change.value} {many}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was changed")


async def _count(queue: ShardedStore, where: QueueFilter) -> int:
    count = 0
    with Progress() as progress:
        async for idents in _slices(queue, where):
            count += len(idents)
            if count >= _MOST_COUNTED:
                break
            progress.tell(f"counting: {plural(count, 'message')} so far …")
    return count
