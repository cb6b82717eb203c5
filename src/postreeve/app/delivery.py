"""The outgoing half of a worker, put together: resolver, connections, deliverers, a scheduler for each queue file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, cast

from postreeve.app.configuration import Installation
from postreeve.app.process import own_addresses
from postreeve.config.assemble import identity, queue_settings
from postreeve.config.model import DnsTable
from postreeve.mail.domain import Domain
from postreeve.net.certificate import ClientTrust, load_client_trust
from postreeve.net.resolver import NetResolver, ResolverSettings
from postreeve.outbound.attempt import Connections, Means
from postreeve.outbound.bounce import Bouncer
from postreeve.outbound.deliver import Attempted, Deliverer
from postreeve.outbound.maildir import MaildirWriter
from postreeve.outbound.pool import Pool
from postreeve.outbound.scheduler import Clocks, Scheduler
from postreeve.outbound.smtp import Connector
from postreeve.queue.model import Claim, NewMessage, QueueStats, Settlement
from postreeve.queue.outcome import DestinationDead
from postreeve.queue.route import Route, Router
from postreeve.queue.settings import QueueSettings
from postreeve.report.fact import DsnSettings
from postreeve.store.face import Store, StoreError, StoreFull
from postreeve.store.shards import add_stats
from postreeve.telemetry.event import StoreTrouble, Tell

LEASE_SECONDS: Final = 300.0
SWEEP_SECONDS: Final = 60.0
_SWEEPS_AT_ONCE: Final = 1_000
_CLOCKS: Final = Clocks(time.time, time.monotonic)


class Current:
    """The deliverer that the configuration in force makes; a scheduler keeps this one over reloads."""

    __slots__ = ("deliverer",)

    def __init__(self, deliverer: Deliverer) -> None:
        self.deliverer = deliverer

    def attempt(self, claim: Claim, dead: DestinationDead | None = None) -> Coroutine[Any, Any, Attempted]:
        """See `outbound.deliver.Deliverer`."""
        return self.deliverer.attempt(claim, dead)

    def fail(self, claim: Claim, problem: str) -> Coroutine[Any, Any, Attempted]:
        """See `outbound.deliver.Deliverer`."""
        return self.deliverer.fail(claim, problem)

    def release(self, claim: Claim) -> Settlement:
        """See `outbound.deliver.Deliverer`."""
        return self.deliverer.release(claim)


@dataclass(slots=True)
class _Line:
    """One queue file and who works on it."""

    store: Store
    current: Current
    scheduler: Scheduler
    task: asyncio.Task[None]


class Delivery:
    """Deliveries out of `stores`; the first is the one that mail is accepted into."""

    def __init__(self, installation: Installation, count: int, stores: Sequence[Store], tell: Tell) -> None:
        """Raises OSError when the certificate authorities cannot be read."""
        self._count = count
        self._stores = tuple(stores)
        self._tell = tell
        self._maildirs = MaildirWriter(time.time)
        self._lines: list[_Line] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._use(installation)

    def _use(self, installation: Installation) -> None:
        config = installation.config
        self._settings: QueueSettings = queue_settings(config, self._count, installation.secrets)
        self._router = Router(self._settings.routes)
        self._identity = identity(config, own_addresses())
        self._dns: DnsTable = config.dns
        self._resolver = NetResolver(resolver_settings(config.dns))
        connector = Connector(self._settings.delivery, load_trust(config.delivery.ca_file), time.time)
        self._pool = Pool(connector, self._settings.delivery)

    def start(self) -> None:
        """Begin to work on what is due; call it in the running loop."""
        self._lines = [self._line(store, Current(self._deliverer(store))) for store in self._stores]
        self._sweeper = asyncio.create_task(self._sweep())

    def _deliverer(self, store: Store) -> Deliverer:
        delivery = self._settings.delivery
        # The pool takes back only what it has handed out, which the Protocol cannot say.
        pool = cast(Connections, self._pool)
        means = Means(store, self._resolver, pool, self._maildirs, time.time, delivery.keep_conversations)
        bouncer = Bouncer(store, self._router, DsnSettings(delivery.hostname))
        return Deliverer(means, self._router, self._identity, self._settings, bouncer, self._tell)

    def _line(self, store: Store, current: Current) -> _Line:
        settings = self._settings
        scheduler = Scheduler(store, current, settings.delivery, self._tell, _CLOCKS, LEASE_SECONDS, settings.schedule)
        store.watch(scheduler.wake)
        return _Line(store, current, scheduler, asyncio.create_task(scheduler.run(), name="scheduler"))

    async def reload(self, installation: Installation) -> None:
        """Use another configuration for the attempts to come; those under way go on with the old one."""
        before = self._settings
        old_pool, old_resolver = self._pool, self._resolver
        self._use(installation)
        lines = []
        for line in self._lines:
            line.current.deliverer = self._deliverer(line.store)
            if (self._settings.delivery, self._settings.schedule) == (before.delivery, before.schedule):
                lines.append(line)
            else:
                # Other numbers mean other lanes: a new scheduler, while the old one finishes what it has in hand.
                lines.append(self._line(line.store, line.current))
                self._keep(asyncio.create_task(line.scheduler.drain()))
        self._lines = lines
        old_pool.close()
        self._keep(asyncio.create_task(self._close_later(old_resolver)))

    async def _close_later(self, resolver: NetResolver) -> None:
        # Attempts under way still ask it; a lookup takes no longer than this.
        await asyncio.sleep(2 * self._dns.total)
        await resolver.close()

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, seconds: float) -> None:
        """Finish what is under way for at most `seconds`, give the rest back to the queue."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*(line.scheduler.drain(seconds) for line in self._lines), return_exceptions=True)
        for line in self._lines:
            line.task.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(line.task for line in self._lines), *self._tasks, return_exceptions=True)
        self._pool.close()
        await self._resolver.close()

    # For acceptance

    def route(self, domain: Domain) -> Route | None:
        """Where mail for `domain` goes now."""
        return self._router.route(domain)

    def wants_claims(self) -> bool:
        """True when a message just accepted may be handed over with `offer`."""
        return self._lines[0].scheduler.has_room()

    def offer(self, claims: tuple[Claim, ...]) -> None:
        """Deliver these, which were born leased."""
        self._lines[0].scheduler.offer(claims)

    def announce(self, message: NewMessage) -> None:
        """This message waits in the first queue file."""
        self._lines[0].scheduler.announce(message)

    # For operators

    def wake(self) -> None:
        """The queue may have changed."""
        for line in self._lines:
            line.scheduler.wake()

    def status(self) -> dict[str, int]:
        """What is under way."""
        return {
            "deliveries": sum(line.scheduler.held for line in self._lines),
            "agents": sum(line.scheduler.agents for line in self._lines),
            "open_connections": self._pool.open_connections,
            "idle_connections": self._pool.idle_connections,
        }

    async def stats(self) -> QueueStats:
        """The queue of this worker. Raises StoreError."""
        now = time.time()
        return add_stats([await store.stats(now) for store in self._stores])

    async def _sweep(self) -> None:
        """Forget old history, a bounded piece at a time."""
        while True:
            for store in self._stores:
                try:
                    await self._sweep_one(store)
                except StoreFull:
                    pass  # the store tells itself, also when there is room again
                except StoreError as problem:
                    self._tell(StoreTrouble("unavailable", f"history cannot be swept: {problem}"))
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep_one(self, store: Store) -> None:
        for _ in range(_SWEEPS_AT_ONCE):
            if not await store.sweep(time.time(), self._settings.history_seconds):
                return
            await asyncio.sleep(0.05)


def load_trust(ca_file: PurePosixPath | None) -> ClientTrust:
    """The system's authorities and those in `ca_file`. Raises OSError when they cannot be read."""
    trust = load_client_trust()
    if ca_file is not None:
        trust.verified.load_verify_locations(cafile=ca_file)
    return trust


def resolver_settings(dns: DnsTable) -> ResolverSettings:
    """[dns]."""
    servers = tuple((str(server.address), server.port) for server in dns.servers)
    return ResolverSettings(servers, dns.timeout, dns.total)
