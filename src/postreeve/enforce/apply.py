"""Apply: rehearse, keep what was there, start the watch, load, look, and wait for somebody to confirm.

Killed at any of its steps, `apply` leaves the old rules or the new ones, never none: nothing is loaded before what was
there is on disk and a process of its own watches over it, and what is loaded is loaded in one transaction.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from postreeve.enforce import deadman, durable
from postreeve.enforce.administrator import Administrator, find_cuts
from postreeve.enforce.owner import Owner
from postreeve.enforce.place import Place
from postreeve.enforce.record import (
    Phase,
    Record,
    boot,
    clock,
    directory_of,
    is_watched,
    lock_record,
    prepared,
    read_record,
    write_record,
)
from postreeve.enforce.undo import LIVE, RULES, restore_pending
from postreeve.enforce.way import Way, find_way
from postreeve.firewall.flow import Policy
from postreeve.mail.error import PostreeveError

_KEPT: Final = 5
"""Snapshots of former times."""


class Step(Enum):
    """What has just been done."""

    GUARDED = "the administrators' way in is open"
    CHECKED = "the rules would be taken"
    REHEARSED = "rehearsed"
    KEPT = "what is there is on disk"
    RECORDED = "it is written down what is going to happen"
    WATCHED = "the watch is there"
    LOADED = "loaded"
    PROBED = "probed"
    WAITING = "waiting to be confirmed"


class NotApplied(PostreeveError):
    """Nothing was changed, or what was there is there again; says why."""


Problems = Sequence[str]


@dataclass(frozen=True, slots=True)
class Order:
    """What to apply, and for whom. `rehearse` and `probe` tell what is wrong, () when nothing is.

    `probe` is called after loading and must end within `probe_seconds`; then the old rules come back. `at` is told of
    every step.
    """

    policy: Policy
    rules: str
    owner: Owner
    administrators: tuple[Administrator, ...] = ()
    confirm_within_seconds: float = 60.0
    probe_seconds: float = 60.0
    rehearse: Callable[[], Problems] = lambda: ()
    probe: Callable[[], Problems] = lambda: ()
    at: Callable[[Step], None] = lambda step: None


def apply(place: Place, order: Order) -> Record:
    """Load the rules; they stay if `undo.confirm` is called before the record's `until`.

    Raises NotApplied, Busy, CommandFailed or OSError, with the rules from before in force.
    """
    way = find_way(order.owner)
    guard(order)
    order.at(Step.GUARDED)
    way.check(place, order.rules, order.policy)
    order.at(Step.CHECKED)
    _object("the rehearsal found: ", order.rehearse())
    order.at(Step.REHEARSED)
    with prepared(place):
        _recover(place)
        record = _prepare(place, way, order)
        deadman.start(place, record.ident)
        order.at(Step.WATCHED)
        try:
            _load(place, way, order, record)
        except BaseException as problem:
            because = str(problem) or type(problem).__name__
            restore_pending(place, record.ident, because)
            raise
        return _wait(place, order, record)


def guard(order: Order) -> None:
    """Raises NotApplied when an administrator who is logged in by SSH would be locked out."""
    cuts = find_cuts(order.policy, order.administrators)
    if cuts:
        who = "; ".join(
            f"{cut.administrator.address} on port {cut.administrator.port} "
            f"({f'rule {cut.because}' if cut.because else 'no rule lets it in'})"
            for cut in cuts
        )
        raise NotApplied(f"it would cut off who is logged in by SSH now: {who}")


def _object(what: str, problems: Problems) -> None:
    if problems:
        raise NotApplied(what + "; ".join(problems))


def _recover(place: Place) -> None:
    """A former `apply` that waits is not ours to end; one that nobody watches any more is brought to its end."""
    record = read_record(place)
    if record is None or record.phase is not Phase.PENDING:
        return
    if not record.is_of_this_start:
        # The file for the next start was not changed yet: what is in force is what was before.
        with lock_record(place):
            because = "the machine was started anew before anybody confirmed"
            write_record(place, replace(record, phase=Phase.RESTORED, ended=time.time(), because=because))
        return
    if is_watched(place):
        raise NotApplied("what was applied before waits to be confirmed: `postreeve firewall confirm` or `rollback`")
    restore_pending(place, record.ident, "its watch was gone")


def _prepare(place: Place, way: Way, order: Order) -> Record:
    now = time.time()
    ident = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime(now)) + secrets.token_hex(3)
    directory = directory_of(place, ident)
    durable.make_directory(directory)
    durable.write(directory / RULES, order.rules)
    durable.write(directory / "owner", order.owner.value)
    way.snapshot(place, directory)
    durable.sync_directory(directory.parent)
    order.at(Step.KEPT)
    # The time for probing comes on top until probing is over: killed in between, the old rules come back a bit later.
    until = clock() + order.confirm_within_seconds + order.probe_seconds
    record = Record(ident, Phase.PENDING, order.owner, now, until, boot())
    with lock_record(place):
        write_record(place, record)
    order.at(Step.RECORDED)
    _forget_old(place, ident)
    return record


def _load(place: Place, way: Way, order: Order, record: Record) -> None:
    way.load(place, order.rules, order.policy)
    order.at(Step.LOADED)
    live = way.live(place)
    if live is None:
        raise NotApplied("the rules were loaded, and are gone: somebody else flushes this machine's firewall")
    durable.write(directory_of(place, record.ident) / LIVE, live)
    _object("with the new rules ", order.probe())
    order.at(Step.PROBED)


def _wait(place: Place, order: Order, record: Record) -> Record:
    waiting = replace(record, until=clock() + order.confirm_within_seconds)
    with lock_record(place):
        current = read_record(place)
        if current is None or current.ident != record.ident or current.phase is not Phase.PENDING:
            because = current.because if current is not None else "the record is gone"
            raise NotApplied(f"probing took too long, the rules from before are back: {because}")
        write_record(place, waiting)
    order.at(Step.WAITING)
    return waiting


def _forget_old(place: Place, newest: str) -> None:
    kept = sorted(path for path in (place.state / "snapshots").iterdir() if path.name != newest)
    for path in kept[: -(_KEPT - 1)]:
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class State:
    """What is in force. `drift` are the ways in which it is not what was applied."""

    record: Record | None
    is_watched: bool
    seconds_left: float
    """To confirm."""
    is_loaded: bool
    drift: tuple[str, ...]


def look(place: Place, owner: Owner) -> State:
    """The state now. Raises CommandFailed without the rights to look, RecordDamaged."""
    record = read_record(place)
    way = find_way(record.owner if record is not None else owner)
    live = way.live(place)
    if record is None:
        return State(None, False, 0.0, live is not None, ())
    is_pending = record.phase is Phase.PENDING and record.is_of_this_start
    left = max(0.0, record.until - clock()) if is_pending else 0.0
    drift = _drift(place, way, record, live) if record.phase is not Phase.RESTORED else ()
    return State(record, is_pending and is_watched(place), left, live is not None, drift)


def _drift(place: Place, way: Way, record: Record, live: str | None) -> tuple[str, ...]:
    directory = directory_of(place, record.ident)
    found = []
    try:
        loaded: str | None = (directory / LIVE).read_text()
        rules = (directory / RULES).read_text()
    except FileNotFoundError:
        return (f"{directory} is incomplete: what was applied is not known",)
    if live is None:
        found.append("the rules are not loaded")
    elif live != loaded:
        found.append("somebody has changed the rules since they were loaded")
    if record.phase is Phase.CONFIRMED:
        other = way.drift(place, rules)
        if other:
            found.append(f"the next start of the machine loads something else: {other}")
    return tuple(found)
