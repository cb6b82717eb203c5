"""`postreeve firewall apply`, `confirm`, `rollback`: the rules come into force, and stay only if somebody says so."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postreeve.app.reach import Way, dial_all, losses, own_ports, ways_out
from postreeve.cli.firewall_machine import Prepared, RootOption, place_of, prepare
from postreeve.cli.moment import span
from postreeve.cli.output import clean, plural, print_json, say
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.refusal import Refused
from postreeve.config.units import parse_duration
from postreeve.enforce.administrator import find_administrators
from postreeve.enforce.apply import Order, Step, guard
from postreeve.enforce.apply import apply as apply_order
from postreeve.enforce.command import CommandFailed
from postreeve.enforce.lingering import Cutting, Lingering, cut, find_lingering
from postreeve.enforce.owner import Owner
from postreeve.enforce.persistence import tell_persistence
from postreeve.enforce.place import Place
from postreeve.enforce.record import Phase, Record, clock, read_record
from postreeve.enforce.rehearse import describe, rehearse
from postreeve.enforce.undo import confirm as confirm_pending
from postreeve.enforce.undo import roll_back
from postreeve.enforce.way import find_way
from postreeve.firewall.render.nftables import render

_LEAST_SECONDS, _MOST_SECONDS = 5.0, 3_600.0
_PROBE_SECONDS: Final = 30.0
_STEPS: Final = {
    Step.GUARDED: "whoever is logged in by SSH stays in",
    Step.CHECKED: "the rules are in order",
    Step.REHEARSED: "",
    Step.KEPT: "what is in force now is on disk",
    Step.WATCHED: "a process of its own brings it back unless you confirm",
    Step.LOADED: "the new rules are in force",
    Step.PROBED: "what worked before still works",
}

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and rehearse only; load nothing.")]
WithinOption = Annotated[
    str, typer.Option("--confirm-within", metavar="TIME", help="Time to confirm; then the old rules come back.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Confirm when the probes find nothing wrong; ask nobody.")]
CutOption = Annotated[bool, typer.Option("--cut", help="End open sessions that the new rules would not let begin.")]
NoRehearsalOption = Annotated[
    bool, typer.Option("--no-rehearsal", help="Do without the rehearsal, where no network namespace can be made.")
]


def apply(
    dry_run: DryRunOption = False,
    confirm_within: WithinOption = "60s",
    yes: YesOption = False,
    cut_sessions: CutOption = False,
    no_rehearsal: NoRehearsalOption = False,
    root: RootOption = Path("/"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the plan into force on this machine; it stays only when it is confirmed in time.

    The rules are checked, rehearsed in a scratch network namespace, and loaded at once, after what was in force is on
    disk and a process of its own watches over it. Then listeners and ways out are probed. Confirm by the key that is
    asked for, with `postreeve firewall confirm` from another session, or with --yes; otherwise, and when this terminal
    is lost, the old rules come back. Whoever is logged in by SSH is never cut off. Where ufw or firewalld looks after
    the machine's firewall it is told in its own words.

    Exit status: 0 in force (or would be), 1 refused or taken back, 2 wrong usage.
    """
    seconds = _seconds(confirm_within)
    place = place_of(root)
    prepared = prepare(place, config)
    report = _Report(as_json)
    report.begin(prepared)
    order = _order(place, prepared, seconds, no_rehearsal, report)
    if dry_run:
        guard(order)
        find_way(order.owner).check(place, order.rules, order.policy)
        problems = list(order.rehearse())
        report.finish("refused" if problems else "would be applied", problems=problems)
        raise typer.Exit(1 if problems else 0)
    record = apply_order(place, order)
    lingering = find_lingering(place, prepared.policy)
    if lingering:
        report.linger(lingering, cut(place, lingering) if cut_sessions else None)
    if yes:
        record = confirm_pending(place)
    elif sys.stdin.isatty() and not as_json:
        record = _ask(place, record)
    if record.phase is Phase.RESTORED:
        report.finish("restored", problems=[record.because])
        raise typer.Exit(1)
    notes, is_kept = _notes(place, record)
    left = max(0.0, record.until - clock())
    report.finish(record.phase.value, left=left, notes=notes, is_kept=is_kept)


def confirm(root: RootOption = Path("/"), as_json: JsonOption = False) -> None:
    """Keep the rules that were applied last, and load them at every start of the machine.

    Exit status: 0 kept, 1 there is nothing to confirm: the time was over, or it was done already.
    """
    place = place_of(root)
    record = confirm_pending(place)
    notes, is_kept = _notes(place, record)
    _Report(as_json).finish(record.phase.value, notes=notes, is_kept=is_kept)


def rollback(root: RootOption = Path("/"), as_json: JsonOption = False) -> None:
    """Bring back the rules from before the last `apply`, confirmed or not.

    Who is banned stays banned. Exit status: 0 they are back, 1 nothing was applied, or it failed.
    """
    roll_back(place_of(root))
    _Report(as_json).finish("restored")


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as problem:
        raise typer.BadParameter(f"--confirm-within {problem}") from None
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise typer.BadParameter("--confirm-within must be 5s to 1h")
    return seconds


def _order(place: Place, prepared: Prepared, seconds: float, no_rehearsal: bool, report: _Report) -> Order:
    policy, user = prepared.policy, prepared.config.user
    outward: tuple[Way, ...] = ()
    if not place.within:
        known = [(one.host.ascii, one.port) for one in prepared.config.doctor.known_good]
        outward = asyncio.run(ways_out(policy, known))
    inward = own_ports(prepared.config)
    before = dial_all(inward) | dial_all(outward, user)

    def probe() -> Sequence[str]:
        return losses(before, dial_all(inward) | dial_all(outward, user))

    def try_out() -> Sequence[str]:
        if no_rehearsal:
            report.step("not rehearsed, as you wish")
            return ()
        try:
            found = rehearse(place, policy, render(policy))
        except CommandFailed as problem:
            raise Refused(str(problem), "--no-rehearsal does without") from None
        report.step(f"rehearsed: {plural(len(found), 'connection')} as intended")
        return describe(found)

    return Order(
        policy=policy,
        rules=prepared.rules,
        owner=prepared.care.owner,
        administrators=find_administrators(os.environ),
        confirm_within_seconds=seconds,
        probe_seconds=_PROBE_SECONDS,
        rehearse=try_out,
        probe=probe,
        at=lambda step: report.step(_STEPS.get(step, "")),
    )


def _ask(place: Place, record: Record) -> Record:
    """Wait for a line that says yes; without one the watch brings the old rules back, which is waited for too."""
    say(f"Keep these rules? Type yes within {span(record.until - clock())}; otherwise the old ones come back.")
    answer = ""
    while (left := record.until - clock()) > 0 and not answer:
        if select.select([sys.stdin], [], [], min(left, 1.0))[0]:
            line = sys.stdin.readline()
            if not line:
                break
            answer = line.strip().lower()
        current = read_record(place)
        if current is not None and current.phase is not Phase.PENDING:
            return current  # by somebody else, in another session
    if answer in ("y", "yes"):
        return confirm_pending(place)
    return roll_back(place) if answer else _await_watch(place, record)


def _await_watch(place: Place, record: Record) -> Record:
    end = time.monotonic() + max(0.0, record.until - clock()) + 10.0
    while time.monotonic() < end:
        current = read_record(place)
        if current is not None and current.phase is not Phase.PENDING:
            return current
        time.sleep(0.2)
    return roll_back(place)


def _notes(place: Place, record: Record) -> tuple[list[str], bool]:
    """And whether the next start of the machine loads the rules."""
    if record.phase is not Phase.CONFIRMED:
        return [], True
    notes = list(tell_persistence(place, record.owner))
    is_kept = not notes
    if record.owner not in (Owner.UFW, Owner.FIREWALLD):
        notes.append("a server that runs fills the sets of banned addresses from its next start on")
    return notes, is_kept


class _Report:
    """For people as it happens, for programs as one document at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._document: dict[str, Any] = {}

    def begin(self, prepared: Prepared) -> None:
        care = prepared.care
        self._document["owner"] = care.owner.value
        self._document["left_out"] = [{"flow": one.flow.ident, "why": one.why} for one in prepared.left_out]
        if care.is_disputed:
            raise Refused("ufw and firewalld both look after this firewall: the last one wins", "disable one of them")
        self.step(f"{care.owner.value} looks after this machine's firewall")
        for one in prepared.left_out:
            self.step(f"{care.owner.value} cannot express {one.flow.ident}: {one.why}")

    def step(self, text: str) -> None:
        if text and not self._as_json:
            say(clean(f"  {text}"))

    def linger(self, lingering: Sequence[Lingering], done: Cutting | None) -> None:
        self._document["lingering"] = [str(one) for one in lingering]
        for one in lingering:
            self.step(f"still open, though it could not begin now: {one}")
        if done is None:
            self.step("--cut ends them")
        else:
            self._document["cut"] = done.ended
            self.step(f"{plural(done.ended, 'session')} ended" + (f"; {done.problem}" if done.problem else ""))

    def finish(
        self,
        state: str,
        *,
        left: float = 0.0,
        problems: Sequence[str] = (),
        notes: Sequence[str] = (),
        is_kept: bool = True,
    ) -> None:
        self._document |= {"state": state, "problems": list(problems), "notes": list(notes)}
        if state == "pending":
            self._document["seconds_left"] = round(left, 1)
        if self._as_json:
            print_json(self._document)
            return
        for problem in problems:
            say(clean(f"problem: {problem}"))
        say(_LAST_WORDS[state if is_kept else f"{state} for now"](left))
        for note in notes:
            say(clean(f"note: {note}"))


_LAST_WORDS: Final[dict[str, Callable[[float], str]]] = {
    "pending": lambda left: f"In force for now: `postreeve firewall confirm` within {span(left)} keeps it.",
    "confirmed": lambda _: "In force, and loaded at every start of the machine.",
    "confirmed for now": lambda _: "In force until the machine is started anew, as far as it can be seen to here.",
    "restored": lambda _: "The rules from before are in force.",
    "would be applied": lambda _: "Nothing was changed; it would be applied like this.",
    "refused": lambda _: "Nothing was changed.",
}
