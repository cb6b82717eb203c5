"""`postreeve status`: is it running, is it well, what waits and why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

import typer

from postreeve.app.configuration import Installation
from postreeve.app.lock import holder_of
from postreeve.cli import document
from postreeve.cli.moment import Clock, iso, span
from postreeve.cli.opening import open_place
from postreeve.cli.output import clean, console, print_json, say, table
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.queue_list import print_counts, totals
from postreeve.cli.selection import Utc
from postreeve.cli.server import ask_workers, read_facts
from postreeve.cli.tally import sample
from postreeve.cli.visit import with_queue
from postreeve.queue.model import QueueStats
from postreeve.store.face import StoreError
from postreeve.store.shards import ShardedStore
from postreeve.telemetry.metric import merge
from postreeve.web.health import find_problems
from postreeve.web.process import count_workers

_MOST: Final = 5
_SOON_SECONDS: Final = 14 * 86_400


@dataclass(slots=True)
class Report:
    """What was found. `problems` make the exit status 1, `notes` do not."""

    pid: int | None
    facts: dict[str, Any]
    workers: dict[int, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    queue: QueueStats | None = None
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def certificates(self) -> list[dict[str, Any]]:
        """Those in use; all workers have the same."""
        return next((list(worker["certificates"]) for worker in self.workers.values()), [])

    def sessions(self, listener: str) -> int:
        """Connections open now."""
        return sum(int(worker["connections"].get(listener, 0)) for worker in self.workers.values())


def status(utc: Utc = False, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Tell whether the server runs and is well, and what waits in its queue.

    Exit status 1 when it does not run, or when something needs the operator.
    """
    now = time.time()
    installation = open_place(config)
    report = _gather(installation, now)
    if as_json:
        print_json(_document(report, installation))
    else:
        _print(report, installation, Clock(now, utc))
    raise typer.Exit(1 if report.problems else 0)


def _gather(installation: Installation, now: float) -> Report:
    data_dir = installation.data_dir
    pid = holder_of(data_dir)
    report = Report(pid, read_facts(data_dir) if pid is not None else {})
    if pid is None:
        report.problems.append("the server is not running")
    elif not report.facts:
        report.problems.append("the server is starting, or stopping")
    else:
        _ask(report, installation, now)
    try:
        report.queue, report.reasons = with_queue(installation, lambda queue: _count(queue, now))
    except StoreError as problem:
        report.problems.append(f"the queue cannot be read: {problem}")
    else:
        if report.queue.quarantined:
            report.notes.append(f"{report.queue.quarantined} damaged records were set aside")
    return report


def _ask(report: Report, installation: Installation, now: float) -> None:
    answers = ask_workers(installation.data_dir, {"do": "status"})
    report.workers = {index: answer for index, answer in sorted(answers.items()) if answer.get("ok")}
    counted = ask_workers(installation.data_dir, {"do": "metrics"})
    snapshots = [answer["snapshot"] for answer in counted.values() if "snapshot" in answer]
    expected = count_workers(int(report.facts.get("workers", 0)), len(report.workers))
    report.problems += find_problems(merge([*snapshots, expected]))
    for certificate in report.certificates:
        left = float(certificate["not_after"]) - now
        names = ", ".join(certificate["names"])
        if left <= 0:
            report.problems.append(f"the certificate for {names} ended {span(left)} ago: {certificate['path']}")
        elif left < _SOON_SECONDS:
            report.notes.append(f"the certificate for {names} ends in {span(left)}: {certificate['path']}")
    for worker in report.workers.values():
        accounts = worker["accounts"]
        problem = f"nobody can log in: {accounts['problem']} ({accounts['hint']})"
        if accounts["problem"] and problem not in report.problems:
            report.problems.append(problem)
    reload = report.facts.get("last_reload")
    if reload and reload["problem"]:
        report.problems.append(f"the last reload: {reload['problem']}")
    elif reload and reload.get("note"):
        report.notes.append(f"the last reload: {reload['note']}")


async def _count(queue: ShardedStore, now: float) -> tuple[QueueStats, dict[str, int]]:
    return await queue.stats(now), (await sample(queue, now)).reasons()


def _print(report: Report, installation: Installation, clock: Clock) -> None:
    say(clean(_headline(report, installation, clock)))
    reload = report.facts.get("last_reload")
    if reload:
        say(clean(f"last reload {clock.tell(reload['at'])}: {reload['problem'] or 'fine'}"))
    if report.workers:
        _print_parts(report, installation, clock)
    if report.queue is not None:
        say()
        say(f"queue: {totals(report.queue, clock)}")
        print_counts("Destination", dict(list(report.queue.destinations.items())[:_MOST]))
        print_counts("Last problem", dict(list(report.reasons.items())[:_MOST]))
    if report.problems or report.notes:
        say()
    for problem in report.problems:
        say(f"problem: {clean(problem)}")
    for note in report.notes:
        say(f"note: {clean(note)}")


def _headline(report: Report, installation: Installation, clock: Clock) -> str:
    if report.pid is None:
        return (
            f"postreeve is not running with {installation.path}; start it: postreeve serve --config {installation.path}"
        )
    facts = report.facts
    if not facts:
        return f"postreeve is starting or stopping, process {report.pid}"
    since = clock.tell(float(facts["started_at"]))
    core = f" ({facts['core']} core)" if "core" in facts else ""
    return f"postreeve {facts['version']}{core} is running, process {report.pid}, started {since}, {facts['config']}"


def _print_parts(report: Report, installation: Installation, clock: Clock) -> None:
    say()
    rows = [
        (
            str(index),
            str(worker["pid"]),
            clock.tell(worker["started_at"]),
            str(sum(worker["connections"].values())),
            str(worker["deliveries"]),
            f"{worker['open_connections']} ({worker['idle_connections']} idle)",
        )
        for index, worker in report.workers.items()
    ]
    columns = ("Worker", "Process", "Started", "Sessions", "Deliveries", "Connections out")
    console().print(table(columns, rows, right=("Sessions", "Deliveries")))
    say()
    places = [
        (one["name"], f"{one['address']} port {one['port']}", one["role"], one["tls"], str(one["sessions"]))
        for one in _listeners(report, installation)
    ]
    console().print(table(("Listener", "Address", "Role", "TLS", "Sessions"), places, right=("Sessions",)))
    if report.certificates:
        say()
        ends = [
            (", ".join(one["names"]), clock.tell(float(one["not_after"])), one["path"]) for one in report.certificates
        ]
        console().print(table(("Certificate for", "Ends", "File"), ends))


def _listeners(report: Report, installation: Installation) -> list[dict[str, Any]]:
    """What the server listens on, with what the configuration says of it. Sessions are those of all its addresses."""
    configured = {one.label: one for one in installation.config.listener}
    found = []
    for one in report.facts.get("listeners", []):
        settings = configured.get(one["name"])
        found.append(
            {
                "name": one["name"],
                "address": one["address"],
                "port": one["port"],
                "role": settings.role.value if settings else "?",
                "tls": settings.offer.value if settings else "?",
                "sessions": report.sessions(one["name"]),
            }
        )
    return found


def _document(report: Report, installation: Installation) -> dict[str, Any]:
    facts, reload = report.facts, report.facts.get("last_reload")
    return {
        "running": report.pid is not None,
        "healthy": not report.problems,
        "problems": report.problems,
        "notes": report.notes,
        "pid": report.pid,
        "version": facts.get("version"),
        "config": str(facts.get("config", installation.path)),
        "started_at": iso(facts.get("started_at")),
        "core": facts.get("core"),
        "last_reload": reload
        and {"at": iso(reload["at"]), "problem": reload["problem"], "note": reload.get("note", "")},
        "workers": [
            {
                "worker": index,
                "pid": worker["pid"],
                "started_at": iso(worker["started_at"]),
                "sessions": worker["connections"],
                "deliveries": worker["deliveries"],
                "open_connections": worker["open_connections"],
                "idle_connections": worker["idle_connections"],
            }
            for index, worker in report.workers.items()
        ],
        "listeners": _listeners(report, installation),
        "certificates": [one | {"not_after": iso(one["not_after"])} for one in report.certificates],
        "queue": None if report.queue is None else document.stats(report.queue) | {"reasons": report.reasons},
    }
