"""The parent process: small, synchronous, without a thread or an event loop, so that it can always fork.

It holds what must outlive a worker (the lock, the listening sockets, the shared counters), starts the workers, replaces
those that die, and passes on what the operator wants.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from postreeve import __version__
from postreeve.app import worker
from postreeve.app.binding import Bound, bind_all
from postreeve.app.build import describe_core
from postreeve.app.channel import Channel
from postreeve.app.configuration import Installation, check_files, read
from postreeve.app.crew import HEARTBEAT_SECONDS, Crew, Member
from postreeve.app.log import Log
from postreeve.app.notify import Notifier
from postreeve.app.startup import StartupError
from postreeve.config.assemble import listener_settings
from postreeve.config.model import Config
from postreeve.config.problem import ConfigError
from postreeve.enforce.bans import BanLine
from postreeve.inbound.counter import SharedCounters
from postreeve.telemetry.event import (
    ConfigReloaded,
    ServerStarted,
    ServerStopped,
    ServerStopping,
    TelemetryEvent,
    WorkerExited,
)
from postreeve.telemetry.metric import Metrics, Snapshot, merge

STOP_SECONDS: Final = 30.0
_KILL_AFTER_SECONDS: Final = STOP_SECONDS - 2.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)

Announce = Callable[[tuple[Bound, ...]], None]


def run_directory(data_dir: Path) -> Path:
    """Where the control sockets and what is known of the running server are."""
    return data_dir / "run"


@dataclass(slots=True)
class _Reload:
    """A reload under way: whose answers are awaited, and what they said so far."""

    awaited: set[int]
    note: str
    dropped: tuple[Bound, ...]
    problems: list[str] = field(default_factory=list)


class Supervisor:
    """The loop. Everything happens in `run`, in one thread."""

    def __init__(
        self,
        installation: Installation,
        bound: tuple[Bound, ...],
        count: int,
        notifier: Notifier,
        announce: Announce,
        bans: BanLine | None = None,
    ) -> None:
        self._installation = installation
        self._bound = bound
        self._count = count
        self._notifier = notifier
        self._announce = announce
        self._bans = bans
        self._log = Log(installation.config.log, time.time)
        self._metrics = Metrics()
        self._inherited: Snapshot = {}
        """What workers that ended had counted."""
        self._counters = SharedCounters(workers=count)
        self._crew = Crew(count, self._work)
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._signalled = socket.socketpair()
        self._has_terminal = os.isatty(0)
        self._is_started = False
        self._started_at = time.time()
        self._last_reload: dict[str, Any] | None = None
        self._stop_at: float | None = None
        self._stopping_since = 0.0
        self._killed = 0
        self._failure: str | None = None
        self._reload: _Reload | None = None
        self._reload_again = False

    def run(self) -> int:
        """Start, keep running, stop. Returns the exit status."""
        directory = run_directory(self._installation.data_dir)
        self._catch_signals()
        # What was imported stays shared between the processes: the collector does not touch it any more.
        gc.collect()
        gc.freeze()
        self._crew.start()
        for member in self._crew.members.values():
            self._listen_to(member)
        try:
            while self._crew.members or self._stop_at is None:
                self._turn()
            if self._failure is None:
                self._tell(ServerStopped(time.monotonic() - self._stopping_since, self._killed))
        finally:
            self._crew.kill()
            for one in self._bound:
                one.close()
            (directory / "server.json").unlink(missing_ok=True)
            self._log.close()
        if self._failure is not None:
            raise StartupError(self._failure)
        return 0

    def _catch_signals(self) -> None:
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signalled, selectors.EVENT_READ, None)

    def _tell(self, event: TelemetryEvent) -> None:
        self._log.tell(event)
        self._metrics.tell(event)
        self._share_counts()

    def _share_counts(self) -> None:
        """The first worker shows our counts with its own; it may be a new one, so it always gets all."""
        first = self._crew.members.get(0)
        if first is not None:
            first.channel.send({"do": "count"}, json.dumps(merge([self._metrics.snapshot(), self._inherited])))

    def _work(self, index: int, channel: Channel) -> int:
        """In the new process: let go of what is the supervisor's, then be a worker."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wakeup.close()
        self._signalled.close()
        mine = [(one, one.of_worker(index)) for one in self._bound]
        kept = {one.fileno() for _, one in mine}
        for bound in self._bound:
            for one in bound.sockets:
                if one.fileno() not in kept:
                    one.close()
        assignment = worker.Assignment(
            index=index,
            count=self._count,
            installation=self._installation,
            sockets=tuple((bound.listener, bound.key, one) for bound, one in mine),
            counters=self._counters.of_worker(index),
            bans=self._bans,
        )
        return worker.main(assignment, channel)

    # --- one turn ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.data is None:
                self._on_signals()
            else:
                self._on_packets(key.data)
        self._reap()
        if self._stop_at is None:
            for member in self._crew.fill():
                self._listen_to(member)
        elif time.monotonic() >= self._stop_at:
            self._killed = max(self._killed, len(self._crew.members))
            self._crew.kill()
        if self._notifier.watchdog_seconds and self._crew.is_healthy:
            self._notifier.alive()

    def _patience(self) -> float:
        waits = [HEARTBEAT_SECONDS, self._crew.seconds_to_next()]
        if self._notifier.watchdog_seconds:
            waits.append(self._notifier.watchdog_seconds / 3)
        if self._stop_at is not None:
            waits.append(max(0.05, self._stop_at - time.monotonic()))
        return min(wait for wait in waits if wait is not None)

    def _on_signals(self) -> None:
        try:
            numbers = set(self._signalled.recv(4096))
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stop("SIGTERM" if signal.SIGTERM in numbers else "SIGINT")
        if signal.SIGHUP in numbers and self._stop_at is None:
            if self._is_terminal_gone():
                self._stop("the terminal is gone")
            else:
                self._begin_reload()
        if signal.SIGUSR1 in numbers or signal.SIGHUP in numbers:
            self._log.reopen()
            for member in self._crew.members.values():
                member.channel.send({"do": "reopen"})

    def _is_terminal_gone(self) -> bool:
        """True when this SIGHUP is the kernel's: the terminal that we were started from was closed."""
        if not self._has_terminal:
            return False
        try:
            os.tcgetpgrp(0)
        except OSError:
            return True
        return False

    def _reap(self) -> None:
        for member, status in self._crew.reap():
            self._on_packets(member)  # its last words
            self._inherited = merge([self._inherited, json.loads(member.counts)])
            with suppress(KeyError):
                self._selector.unregister(member.channel)
            member.channel.close()
            self._counters.forget_worker(member.index)
            if self._stop_at is None:
                self._tell(WorkerExited(member.index, f"{status}: {member.problem}" if member.problem else status))
                if not self._is_started:
                    self._fail(f"worker {member.index} ended before it was ready: {status}")
            if self._reload is not None:
                self._on_reloaded(member, "")

    def _listen_to(self, member: Member) -> None:
        self._selector.register(member.channel, selectors.EVENT_READ, member)

    def _on_packets(self, member: Member) -> None:
        while True:
            try:
                received = member.channel.receive()
            except BlockingIOError:
                return
            if received is None:
                with suppress(KeyError):
                    self._selector.unregister(member.channel)
                return
            member.heard_at = time.monotonic()
            packet, text, _ = received
            match packet.get("said"):
                case "ready":
                    member.is_ready = True
                    self._share_counts()
                    self._check_started()
                case "failed":
                    member.problem = str(packet["problem"])
                    self._fail(member.problem)
                case "reloaded" if self._reload is not None:
                    self._on_reloaded(member, str(packet["problem"]))
                case "alive":
                    member.counts = text
                case _:
                    pass

    # --- start and stop ---------------------------------------------------------------------------------------------

    def _check_started(self) -> None:
        if self._is_started or not self._crew.is_ready:
            return
        self._is_started = True
        self._write_facts()
        listeners = " ".join(str(one) for one in self._bound)
        self._tell(ServerStarted(__version__, self._count, listeners))
        self._notifier.ready(f"accepting mail with {self._count} workers")
        self._announce(self._bound)

    def _write_facts(self) -> None:
        """For the tools: who serves here, and where. Written whole or not at all."""
        facts: dict[str, Any] = {
            "pid": os.getpid(),
            "version": __version__,
            "core": describe_core(),
            "config": str(self._installation.path.absolute()),
            "started_at": self._started_at,
            "last_reload": self._last_reload,
            "workers": self._count,
            "listeners": [{"name": one.listener, "address": one.address, "port": one.port} for one in self._bound],
        }
        path = run_directory(self._installation.data_dir) / "server.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(facts, indent=2) + "\n")
        draft.replace(path)

    def _fail(self, problem: str) -> None:
        """A worker cannot start: before all were ready that ends the server, later it is retried."""
        if self._is_started:
            return
        self._failure = self._failure or problem
        self._stop("failed start")

    def _stop(self, reason: str) -> None:
        now = time.monotonic()
        if self._stop_at is not None:
            if reason == "SIGINT":
                self._stop_at = now  # asked twice: at once
            return
        self._stopping_since, self._stop_at = now, now + _KILL_AFTER_SECONDS
        if self._failure is None:
            self._tell(ServerStopping(reason))
        self._notifier.stopping()
        self._crew.disband()
        for one in self._bound:
            one.close()

    # --- reload -----------------------------------------------------------------------------------------------------

    def _begin_reload(self) -> None:
        """Read the file anew; what is wrong with it is found out here, before any worker hears of it."""
        if self._reload is not None:
            self._reload_again = True
            return
        self._notifier.reloading()
        try:
            fresh = read(self._installation.path)
            problems = check_files(fresh)
            if problems:
                raise ConfigError(str(fresh.path), problems)
            kept, notes = _keep_fixed(self._installation.config, fresh.config)
            held = {one.key: one for one in self._bound}
            wanted = [listener_settings(kept, one) for one in kept.listener]
            bound = bind_all(wanted, self._count, held=held)
            self._log.change(kept.log)
        except (ConfigError, StartupError) as problem:
            self._end_reload("; ".join(str(problem).splitlines()) + "; the old configuration stays in force")
            return
        except OSError as problem:
            self._end_reload(f"log file: {problem.strerror}; the old configuration stays in force")
            return
        self._installation = replace(fresh, config=kept)
        keys = {one.key for one in bound}
        dropped = tuple(one for key, one in held.items() if key not in keys)
        self._bound = bound
        self._reload = _Reload(set(self._crew.members), "; ".join(notes), dropped)
        for member in list(self._crew.members.values()):
            added = [one for one in bound if one.key not in held]
            packet = {
                "do": "reload",
                "listeners": [(one.listener, list(one.key)) for one in bound],
                "added": [list(one.key) for one in added],
            }
            sockets = [one.of_worker(member.index) for one in added]
            if not member.channel.send(packet, self._installation.text, sockets):
                self._on_reloaded(member, f"worker {member.index} does not listen")

    def _on_reloaded(self, member: Member, problem: str) -> None:
        reload = self._reload
        if reload is None or member.index not in reload.awaited:
            return
        reload.awaited.discard(member.index)
        if problem and problem not in reload.problems:
            reload.problems.append(problem)
        if not reload.awaited:
            for one in reload.dropped:
                one.close()
            self._reload = None
            self._end_reload("; ".join(reload.problems), reload.note)
            if self._reload_again:
                self._reload_again = False
                self._begin_reload()

    def _end_reload(self, problem: str, note: str = "") -> None:
        self._last_reload = {"at": time.time(), "problem": problem, "note": note}
        self._write_facts()
        self._tell(ConfigReloaded(str(self._installation.path.absolute()), problem, note))
        self._notifier.ready(f"accepting mail with {self._count} workers")


def _keep_fixed(old: Config, new: Config) -> tuple[Config, list[str]]:
    """The new configuration with what cannot change while running as it was, and a note on each such change."""
    notes = []
    for name in ("data_dir", "user", "workers"):
        if getattr(old, name) != getattr(new, name):
            notes.append(f"{name} takes effect at the next start")
    return new.model_copy(update={name: getattr(old, name) for name in ("data_dir", "user", "workers")}), notes
