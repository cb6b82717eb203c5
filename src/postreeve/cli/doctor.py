"""`postreeve doctor`: is this machine's own server well, and if not, why and what to do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postreeve.app.configuration import Installation
from postreeve.app.lock import holder_of
from postreeve.app.mend import mend
from postreeve.app.outside import View
from postreeve.app.process import describe
from postreeve.checks.doctor.catalogue import CHECKS, examine
from postreeve.checks.finding import Finding, Level
from postreeve.checks.machine import Machine, QueueState
from postreeve.cli.fold import say_folded
from postreeve.cli.output import clean, clean_lines, plural, print_json, say
from postreeve.cli.outside_view import ask_view
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.place import installation as read_installation
from postreeve.cli.refusal import Refused
from postreeve.cli.server import ask_workers, read_facts
from postreeve.cli.tally import sample
from postreeve.cli.visit import with_queue
from postreeve.config.assemble import route_settings
from postreeve.probes.machine.gather import gather
from postreeve.probes.machine.plan import Plan, Running
from postreeve.queue.model import QueueStats
from postreeve.store.face import StoreError
from postreeve.store.shards import ShardedStore
from postreeve.telemetry import family as f
from postreeve.telemetry.metric import Snapshot, merge
from postreeve.web.health import find_problems
from postreeve.web.process import count_workers

_MARKS: Final = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}
_DEV_AUTHORITY: Final = "tls/ca.pem"


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Do what is safe: file modes, reloading renewed certificates.")
    ] = False,
    outside: Annotated[
        str,
        typer.Option("--outside", metavar="URL", help="Have a `postreeve probe-server` test the ports from outside."),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option("--outside-token-file", metavar="FILE", help="File whose first line is its token.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody but this machine and its name servers.")
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="FILE", help="Trust these authorities (PEM) instead of the system's."),
    ] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List all checks, and look at nothing.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.2, max=60, help="Seconds for each connection.")] = 5.0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Look at this machine's server: listeners, certificates, firewall, ways out, names, block lists, queue, disk.

    Every finding has an id, a level, what was seen, and what to do. Exit status 1 when there is an error or a warning.
    """
    if list_checks:
        _list(as_json)
        return
    installation = read_installation(config)
    machine = asyncio.run(_look(installation, outside, token_file, offline, ca_file, timeout))
    findings = examine(machine)
    done = mend(findings, machine) if fix else ()
    if as_json:
        print_json(
            {
                "findings": [_document(one) for one in findings],
                "fixed": list(done),
                "unseen": list(machine.unseen),
                "at": machine.at,
            }
        )
    else:
        _print(findings, done, machine)
    raise typer.Exit(1 if any(one.level is not Level.NOTE for one in findings) else 0)


async def _look(
    installation: Installation,
    outside: str,
    token_file: Path | None,
    offline: bool,
    ca_file: Path | None,
    timeout: float,
) -> Machine:
    config = installation.config
    running = await asyncio.to_thread(_ask_server, installation)
    development = installation.data_dir / _DEV_AUTHORITY
    plan = Plan(
        config,
        installation.path,
        running,
        tuple((one.host.ascii, one.port) for one in config.doctor.known_good),
        tuple(one.ascii for one in config.doctor.block_lists),
        not offline,
        ca_file or (development if development.exists() else None),
        timeout,
    )
    routes = [route_settings(config, route, installation.secrets) for route in config.route]
    machine = await gather(plan, routes)
    url = outside or config.doctor.outside
    if url and not offline:
        machine = _add_view(machine, await _ask_outside(installation, url, token_file, ca_file, machine))
    if os.geteuid() != 0:
        machine = replace(machine, unseen=(*machine.unseen, "programs of other users on our ports: run doctor as root"))
    return machine


def _ask_server(installation: Installation) -> Running:
    """What the running server says of itself, and the state of its queue."""
    data_dir, now = installation.data_dir, time.time()
    pid = holder_of(data_dir) or 0
    facts = read_facts(data_dir) if pid else {}
    problems: list[str] = []
    snapshot: Snapshot = {}
    if pid and facts:
        answers = ask_workers(data_dir, {"do": "metrics"})
        snapshots = [answer["snapshot"] for answer in answers.values() if "snapshot" in answer]
        snapshot = merge([*snapshots, count_workers(int(facts.get("workers", 0)), len(snapshots))])
        problems = find_problems(snapshot)
        reload = facts.get("last_reload") or {}
        if reload.get("problem"):
            problems.append(f"the last reload: {reload['problem']}")
    return Running(
        pid,
        str(facts.get("version", "")),
        tuple(problems),
        _count_queue(installation, now),
        _sum(snapshot, f.AUTHENTICATION_FAILURES.name),
        _sum(snapshot, f.AUTHENTICATIONS.name),
        _sum(snapshot, f.CREDENTIALS_MISPLACED.name),
        tuple((one["name"], one["address"], int(one["port"])) for one in facts.get("listeners", ())),
    )


def _sum(snapshot: Snapshot, name: str) -> int:
    return int(sum(value for _, value in snapshot.get(name, ()) if isinstance(value, int | float)))


def _count_queue(installation: Installation, now: float) -> QueueState:
    async def count(queue: ShardedStore) -> tuple[QueueStats, dict[str, int]]:
        return await queue.stats(now), (await sample(queue, now)).reasons()

    try:
        stats, reasons = with_queue(installation, count)
    except (StoreError, Refused, OSError) as problem:
        return QueueState(0, 0, 0.0, 0, 0, problem=str(problem))
    oldest = now - stats.oldest_accepted_at if stats.oldest_accepted_at else 0.0
    return QueueState(
        stats.messages,
        stats.due_now,
        oldest,
        stats.quarantined,
        stats.recipients.get("held", 0),
        tuple(list(reasons.items())[:5]),
        tuple(list(stats.destinations.items())[:5]),
    )


async def _ask_outside(
    installation: Installation, url: str, token_file: Path | None, ca_file: Path | None, machine: Machine
) -> View:
    ports = sorted({one.port for one in machine.wanted if one.port})
    implicit = sorted({one.port for one in machine.wanted if one.tls == "implicit"})
    return await ask_view(installation, url, token_file, ca_file, ports, implicit)


def _add_view(machine: Machine, view: View) -> Machine:
    """With what was seen from outside; from there our public addresses are known too."""
    publics = {one.address for one in view.seen}
    sending = tuple(
        replace(one, public=next((public for public in publics if (":" in public) == (":" in one.address)), ""))
        for one in machine.sending
    )
    clock = replace(view.clock, is_synchronised=machine.clock.is_synchronised) if view.clock else machine.clock
    unseen = (*machine.unseen, f"the view from outside: {view.problem}") if view.problem else machine.unseen
    return replace(
        machine, outside=view.seen, outside_problem=view.problem, sending=sending, clock=clock, unseen=unseen
    )


def _list(as_json: bool) -> None:
    if as_json:
        print_json([{"id": one.id, "level": one.level.value, "title": one.title, "about": one.about} for one in CHECKS])
        return
    for one in CHECKS:
        say(f"{one.id}  ({one.level.value})  {one.title}")
        say(f"    {one.about}")


def _document(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"level": finding.level.value, "because": list(finding.because)}


def _print(findings: Sequence[Finding], done: Sequence[str], machine: Machine) -> None:
    about = f", process {machine.process} ({describe(machine.process) or 'postreeve'})" if machine.process else ""
    say_folded(clean(f"{machine.hostname}, {machine.config_path}{about}"), 4)
    alike: dict[Finding, list[str]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, subject=""), []).append(finding.subject)
    for finding, subjects in alike.items():
        say()
        subject = f": {', '.join(filter(None, subjects))}" if any(subjects) else ""
        say_folded(clean(f"{_MARKS[finding.level]}: {finding.title}{subject}  [{finding.check}]"), 4)
        for line in finding.because:
            say_folded(f"    {clean(line)}", 6)
        for number, line in enumerate(clean_lines(finding.fix)):
            say(f"    {'fix: ' if number == 0 else '     '}{line}")
    say()
    for line in done:
        say(clean(f"fixed: {line}"))
    for line in machine.unseen:
        say(clean(f"not looked at: {line}"))
    counts = [sum(one.level is level for one in findings) for level in Level]
    if any(counts):
        say(", ".join(plural(count, level.value) for count, level in zip(counts, Level, strict=True) if count))
    else:
        say(f"all {len(CHECKS)} checks are fine")
