"""The parts of one worker, put together: store, logins, certificates, listeners, deliveries, control socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from postreeve.app.accounts import FILE_NAME, ServedAccounts
from postreeve.app.certificates import Certificates
from postreeve.app.configuration import Installation, tls_settings
from postreeve.app.control import Answer, ControlServer, ask_all, socket_path
from postreeve.app.delivery import Delivery
from postreeve.app.disk import find_shortage
from postreeve.app.selfcheck import SelfCheck
from postreeve.app.startup import StartupError
from postreeve.config.assemble import listener_settings, policy_settings
from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.listener import Listener
from postreeve.inbound.login import Logins
from postreeve.inbound.room import RoomGuard
from postreeve.inbound.service import Services
from postreeve.policy.settings import ListenerSettings, Role
from postreeve.store.face import StoreError
from postreeve.store.shards import find_nodes
from postreeve.store.sqlite import SqliteStore
from postreeve.telemetry.event import QueueChanged, StoreTrouble, Tell
from postreeve.telemetry.metric import Metrics, Snapshot, merge, never_less
from postreeve.web.process import count_workers, measure_process

if TYPE_CHECKING:
    from postreeve.web.metrics import MetricsServer


class Parts:
    """Start them once, reload them any time, stop them once."""

    def __init__(
        self,
        index: int,
        count: int,
        installation: Installation,
        counters: SharedCounters,
        metrics: Metrics,
        tell: Tell,
    ) -> None:
        self._index = index
        self._count = count
        self._installation = installation
        self._counters = counters
        self._metrics = metrics
        self._tell = tell
        self._listeners: dict[int, Listener] = {}
        """By descriptor of the listening socket."""
        self._leaving: dict[Listener, asyncio.Task[None]] = {}
        """Those that a reload removed, until their last session has ended."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stores: list[SqliteStore] = []
        """The first is our own; the others were left behind by workers that are no longer configured."""
        self._delivery: Delivery | None = None
        self._accounts = ServedAccounts(installation.data_dir / FILE_NAME, self._tell_first)
        self._logins: Logins | None = None
        self._certificates: Certificates | None = None
        self._control: ControlServer | None = None
        self._endpoint: MetricsServer | None = None
        self._self_check: SelfCheck | None = None
        # One for good: what it said last must not be forgotten by a reload.
        self._room = RoomGuard(self._find_shortage, time.monotonic, tell)
        self._started_at = time.time()
        self.counted_elsewhere: Snapshot = {}
        """What the supervisor and workers that ended have counted; only the first worker is told."""
        self._shown: Snapshot = {}

    async def start(self, sockets: Sequence[tuple[str, socket.socket]]) -> None:
        """Open everything, then accept. Raises PostreeveError or OSError when something cannot be opened."""
        installation = self._installation
        self._certificates = Certificates(tls_settings(installation.config), self._tell_first)
        await self._accounts.look()
        await self._open_stores()
        self._delivery = Delivery(installation, self._count, self._stores, self._tell)
        self._delivery.start()
        run = installation.data_dir / "run"
        self._control = ControlServer(
            socket_path(run, self._index), {"status": self._status, "metrics": self._snapshot, "wake": self._wake}
        )
        await self._control.start()
        await self._show_metrics(None)
        await self._listen(sockets)
        self._tasks = [asyncio.create_task(self._certificates.watch()), asyncio.create_task(self._accounts.watch())]
        if self._index == 0:
            self._self_check = SelfCheck(installation, self._stores[0], self._delivery.route, self._tell)
            self._self_check.start()

    async def _open_stores(self) -> None:
        """Our queue file, which must open, and orphans, which are reported when they do not."""
        directory, queue = self._installation.data_dir, self._installation.config.queue
        orphans = [node for node in find_nodes(directory) if node >= self._count and node % self._count == self._index]
        for node in (self._index, *orphans):
            store = SqliteStore(directory, node, queue.history > 0, tell=self._tell, is_synchronous=queue.synchronous)
            try:
                await store.open()
            except StoreError as problem:
                if node == self._index:
                    raise
                self._tell(StoreTrouble("unavailable", str(problem)))
                continue
            self._stores.append(store)

    async def reload(self, installation: Installation, sockets: Sequence[tuple[str, socket.socket]]) -> str:
        """Use another configuration for what comes from now on; returns what could not be changed, or ""."""
        assert self._certificates is not None
        assert self._delivery is not None
        problem = await self._certificates.change(tls_settings(installation.config))
        if problem:
            return problem
        before, self._installation = self._installation, installation
        await self._delivery.reload(installation)
        await self._show_metrics(before)
        await self._listen(sockets)
        if self._self_check is not None:
            self._self_check.reload(installation)
        return ""

    def stop_accepting(self) -> None:
        """No new connections; the listening sockets may be closed."""
        for listener in self._listeners.values():
            listener.stop_accepting()

    async def stop(self, seconds: float) -> None:
        """Finish the messages in hand, then close everything; takes `seconds` and a little more at most."""
        for task in self._tasks:
            task.cancel()
        if self._self_check is not None:
            self._self_check.stop()
        if self._control is not None:
            await self._control.close()
        if self._endpoint is not None:
            await self._endpoint.stop()
        for task in self._leaving.values():
            task.cancel()
        drains: list[Any] = [one.drain(seconds) for one in (*self._listeners.values(), *self._leaving)]
        if self._delivery is not None:
            drains.append(self._delivery.stop(seconds))
        await asyncio.gather(*drains, return_exceptions=True)
        if self._logins is not None:
            self._logins.close()
        for store in self._stores:
            await store.close()
        self._accounts.close()

    async def _listen(self, sockets: Sequence[tuple[str, socket.socket]]) -> None:
        """Listeners for these sockets: those that are there get the new settings, others begin or leave."""
        config = self._installation.config
        wanted = {one.label: listener_settings(config, one) for one in config.listener}
        services = await self._services(list(wanted.values()))
        before = self._listeners
        self._listeners = {}
        for name, one in sockets:
            known = before.pop(one.fileno(), None)
            if known is not None and known.settings.name == name:
                known.reload(wanted[name], services)
            else:
                if known is not None:
                    self._leave(known)
                known = Listener(wanted[name], [one], services)
                known.start()
            self._listeners[one.fileno()] = known
        for listener in before.values():
            self._leave(listener)

    async def _show_metrics(self, before: Installation | None) -> None:
        """The Prometheus endpoint, in the first worker. Raises StartupError when its port cannot be had."""
        listen = self._installation.config.metrics.listen
        if self._index != 0 or (before is not None and before.config.metrics.listen == listen):
            return
        if self._endpoint is not None:
            await self._endpoint.stop()
            self._endpoint = None
        if listen is None:
            return
        from postreeve.web.metrics import MetricsServer

        try:
            self._endpoint = MetricsServer(str(listen.address), listen.port, self._collect, self._tell)
        except OSError as problem:
            raise StartupError(f"metrics: cannot listen on {listen}: {problem.strerror}", "change [metrics]") from None
        self._endpoint.start()

    async def _collect(self) -> Snapshot:
        answers = await ask_all(self._installation.data_dir / "run", {"do": "metrics"})
        snapshots = [answer["snapshot"] for answer in answers.values() if "snapshot" in answer]
        now = merge([*snapshots, count_workers(self._count, len(snapshots))])
        self._shown = never_less(self._shown, now)
        return self._shown

    def _leave(self, listener: Listener) -> None:
        """No new connections; those that are open end in their own time."""
        listener.stop_accepting()
        self._leaving[listener] = asyncio.create_task(self._see_off(listener))

    async def _see_off(self, listener: Listener) -> None:
        for _ in range(int(listener.settings.limits.session_timeout_seconds) + 1):
            if not listener.connections:
                break
            await asyncio.sleep(1.0)
        await listener.drain(0.0)
        del self._leaving[listener]

    async def _services(self, listeners: Sequence[ListenerSettings]) -> Services:
        assert self._certificates is not None
        assert self._delivery is not None
        installation = self._installation
        takes_logins = any(listener.role is Role.SUBMISSION for listener in listeners)
        if takes_logins and self._logins is None:
            self._logins = await asyncio.to_thread(Logins, self._accounts, self._counters)
        return Services(
            policy=policy_settings(installation.config),
            store=self._stores[0],
            route=self._delivery.route,
            tell=self._tell,
            counters=self._counters,
            tls_context=self._certificates.context,
            logins=self._logins if takes_logins else None,
            room=self._room,
            wants_claims=self._delivery.wants_claims,
            offer=self._delivery.offer,
            announce=self._delivery.announce,
        )

    def _find_shortage(self) -> str:
        return find_shortage(self._installation.data_dir, self._installation.config.queue.min_free)

    def _tell_first(self, event: Any) -> None:
        """What is the same in every worker is told by the first."""
        if self._index == 0:
            self._tell(event)

    # --- the control socket -----------------------------------------------------------------------------------------

    async def _status(self, _: Mapping[str, Any]) -> Answer:
        assert self._delivery is not None
        connections: dict[str, int] = {}
        for listener in self._listeners.values():
            name = listener.settings.name
            connections[name] = connections.get(name, 0) + listener.connections
        return {
            "worker": self._index,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "connections": connections,
            "certificates": [] if self._certificates is None else self._certificates.describe(),
            "accounts": self._accounts.describe(),
            **self._delivery.status(),
        }

    async def _snapshot(self, _: Mapping[str, Any]) -> Answer:
        assert self._delivery is not None
        with suppress(StoreError):
            self._metrics.set_queue(await self._delivery.stats(), time.time())
        counts = merge([self._metrics.snapshot(), self.counted_elsewhere])
        return {"snapshot": counts | measure_process(self._index, self._started_at)}

    async def _wake(self, request: Mapping[str, Any]) -> Answer:
        assert self._delivery is not None
        self._delivery.wake()
        if "change" in request:
            count = request.get("recipients")
            self._tell(
                QueueChanged(
                    str(request["change"]), count if isinstance(count, int) else 0, str(request.get("filter", ""))
                )
            )
        return {}
