"""One worker process: an event loop with listeners, a queue file of its own and the deliveries out of it."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import signal
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from postreeve.app.bans import Bans
from postreeve.app.binding import Key
from postreeve.app.channel import Channel
from postreeve.app.configuration import Installation, parse
from postreeve.app.crew import HEARTBEAT_SECONDS
from postreeve.app.log import Log
from postreeve.app.parts import Parts
from postreeve.config.problem import ConfigError
from postreeve.enforce.bans import BanLine
from postreeve.inbound.counter import SharedCounters
from postreeve.mail.error import PostreeveError
from postreeve.telemetry.event import InternalError, TelemetryEvent
from postreeve.telemetry.metric import Metrics, keep_counts

DRAIN_SECONDS: Final = 25.0
"""Within what the supervisor waits for."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker gets from the supervisor. `sockets`: listener name, key, listening socket."""

    index: int
    count: int
    installation: Installation
    sockets: tuple[tuple[str, Key, socket.socket], ...]
    counters: SharedCounters
    bans: BanLine | None = None


def main(assignment: Assignment, channel: Channel) -> int:
    """The worker's life, in its own process; returns the exit status."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
        # The terminal's Ctrl-C and a signal to the group reach the workers too; the supervisor passes on what is meant.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()
    log = Log(assignment.installation.config.log, time.time)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Worker(assignment, channel, log).run())
    except Exception as error:
        log.tell(InternalError(f"worker {assignment.index}", "", "".join(traceback.format_exception(error))))
        return 70
    finally:
        log.close()


class Worker:
    """Runs the parts, listens to the supervisor, ends in good order."""

    def __init__(self, assignment: Assignment, channel: Channel, log: Log) -> None:
        self._assignment = assignment
        self._channel = channel
        self._log = log
        self._metrics = Metrics()
        self._parts = Parts(
            assignment.index, assignment.count, assignment.installation, assignment.counters, self._metrics, self._tell
        )
        self._sockets: dict[Key, socket.socket] = {key: one for _, key, one in assignment.sockets}
        self._bans = Bans(assignment.bans, assignment.installation.config, assignment.counters, self._tell_of_ban)
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    async def run(self) -> int:
        """Start, work until told to stop, finish."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_stray_exception)
        self._log.defer_to(loop.call_later)
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        try:
            await self._parts.start([(name, one) for name, _, one in self._assignment.sockets])
        except (PostreeveError, OSError) as problem:
            self._channel.send({"said": "failed", "problem": str(problem)})
            await self._parts.stop(0.0)
            return 1
        loop.add_reader(self._channel.fileno(), self._on_packets)
        self._channel.send({"said": "ready"})
        heart = asyncio.create_task(self._beat())
        await self._stopping.wait()
        heart.cancel()
        # Who comes now is refused at once and tries another host, instead of waiting for a server that is leaving.
        self._parts.stop_accepting()
        for one in self._sockets.values():
            one.close()
        await self._parts.stop(DRAIN_SECONDS)
        loop.remove_reader(self._channel.fileno())
        return 0

    def _tell(self, what: TelemetryEvent) -> None:
        self._tell_of_ban(what)
        self._bans.tell(what)

    def _tell_of_ban(self, what: TelemetryEvent) -> None:
        self._metrics.tell(what)
        self._log.tell(what)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._channel.send({"said": "alive"}, json.dumps(keep_counts(self._metrics.snapshot())))

    def _on_packets(self) -> None:
        while True:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            if received is None:
                # The supervisor is gone: nobody would restart us or hold our sockets.
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self._stopping.set()
                return
            packet, text, sockets = received
            match packet.get("do"):
                case "stop":
                    self._stopping.set()
                case "reopen":
                    self._log.reopen()
                case "reload":
                    task = asyncio.create_task(self._reload(packet, text, sockets))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                case "count":
                    self._parts.counted_elsewhere = json.loads(text)
                case _:
                    pass

    async def _reload(self, packet: dict[str, Any], text: str, sockets: Sequence[socket.socket]) -> None:
        async with self._reloading:
            self._sockets.update(zip((_key(one) for one in packet["added"]), sockets, strict=True))
            wanted = [(str(name), _key(key)) for name, key in packet["listeners"]]
            try:
                installation = parse(self._assignment.installation.path, text)
                self._log.change(installation.config.log)
                self._bans.change(installation.config)
                problem = await self._parts.reload(installation, [(name, self._sockets[key]) for name, key in wanted])
            except (ConfigError, PostreeveError, OSError, ImportError) as error:
                problem = f"worker {self._assignment.index}: {error}"
            keys = {key for _, key in wanted}
            for key in [key for key in self._sockets if key not in keys]:
                self._sockets.pop(key).close()
            self._channel.send({"said": "reloaded", "problem": problem})

    def _on_stray_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self._tell(InternalError(str(context.get("message", "event loop")), "", text))


def _key(parts: Sequence[Any]) -> Key:
    return str(parts[0]), str(parts[1]), int(parts[2])
