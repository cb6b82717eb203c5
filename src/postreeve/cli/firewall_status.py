"""`postreeve firewall status`: what is in force, since when, who kept it, and whether it still is what was applied."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from postreeve.cli.firewall_machine import RootOption, place_of
from postreeve.cli.moment import Clock, iso, span
from postreeve.cli.output import clean, print_json, say
from postreeve.cli.place import JsonOption
from postreeve.cli.selection import Utc
from postreeve.enforce.apply import State, look
from postreeve.enforce.owner import Care, find_owner
from postreeve.enforce.persistence import find_persistence_problem
from postreeve.enforce.place import Place
from postreeve.enforce.record import Phase


def status(utc: Utc = False, root: RootOption = Path("/"), as_json: JsonOption = False) -> None:
    """Show which rules of ours are in force, since when, whether they are confirmed, and what differs from them.

    JSON: `owner`, `loaded`, `state` (none, pending, confirmed, restored), `applied_at`, `ended_at`, `because`,
    `watched`, `seconds_left`, `problems`.

    Exit status: 0 as it should be, 1 nothing is in force, it waits to be confirmed, or something differs.
    """
    place = place_of(root)
    care = find_owner(place)
    state = look(place, care.owner)
    problems = _problems(place, care, state)
    if as_json:
        print_json(_document(care, state, problems))
    else:
        _print(care, state, problems, Clock(time.time(), utc))
    raise typer.Exit(1 if problems else 0)


def _problems(place: Place, care: Care, state: State) -> list[str]:
    record = state.record
    found = list(state.drift)
    if care.is_disputed:
        found.append("ufw and firewalld both look after this firewall: the last one wins")
    if record is None or record.phase is Phase.RESTORED:
        found.append("nothing of ours is in force: postreeve firewall apply")
        return found
    if record.phase is Phase.PENDING:
        if not record.is_of_this_start:
            found.append("it was not confirmed before the machine was started anew: postreeve firewall apply")
        elif state.is_watched:
            found.append(f"it waits to be confirmed: `postreeve firewall confirm` within {span(state.seconds_left)}")
        else:
            found.append("it was not confirmed, and its watch is gone: postreeve firewall rollback")
        return found
    problem = find_persistence_problem(place, record.owner)
    return [*found, problem] if problem else found


def _document(care: Care, state: State, problems: list[str]) -> dict[str, Any]:
    record = state.record
    return {
        "owner": care.owner.value,
        "loaded": state.is_loaded,
        "state": "none" if record is None else record.phase.value,
        "applied_at": None if record is None else iso(record.began),
        "ended_at": iso(record.ended) if record is not None and record.ended else None,
        "because": "" if record is None else record.because,
        "watched": state.is_watched,
        "seconds_left": round(state.seconds_left, 1),
        "problems": problems,
    }


def _print(care: Care, state: State, problems: list[str], clock: Clock) -> None:
    say(f"{care.owner.value} looks after this machine's firewall.")
    record = state.record
    match None if record is None else record.phase:
        case None:
            say("Nothing was applied yet.")
        case Phase.PENDING if record is not None:
            say(f"Applied {clock.tell(record.began)}, not confirmed.")
        case Phase.CONFIRMED if record is not None:
            say(f"Applied {clock.tell(record.began)}, confirmed {clock.tell(record.ended)}.")
        case Phase.RESTORED if record is not None:
            say(clean(f"Applied {clock.tell(record.began)}, taken back {clock.tell(record.ended)}: {record.because}."))
    for problem in problems:
        say(clean(f"problem: {problem}"))
