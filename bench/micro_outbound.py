"""What delivering one message costs between the store and the wire: scheduler, plan, judgement, settlement, event.

    python -m bench.micro_outbound [--messages 20000] [--json FILE] [--profile]

The peer and the store answer at the next turn of the loop, out of memory: the figure is the scheduler's and the
deliverer's own, and that of the turns. CPU time of the process, microseconds per message, median of five rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import uvloop

from postreeve.dns.zone import ZoneResolver
from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.mail.ident import IdentSource
from postreeve.mail.reply import Reply
from postreeve.outbound.attempt import Means
from postreeve.outbound.bounce import Bouncer
from postreeve.outbound.deliver import Deliverer
from postreeve.outbound.maildir import MaildirWriter
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.scheduler import Clocks, Scheduler
from postreeve.outbound.smtp import NotOpened
from postreeve.queue.model import Claim, Lease, Origin, RecipientRecord, RecipientState, Settlement
from postreeve.queue.outcome import Delivered, Outcome
from postreeve.queue.route import Identity, Router
from postreeve.queue.settings import DeliverySettings, QueueSettings, RouteSettings, Smarthost, TlsMode
from postreeve.queue.step import Connect
from postreeve.report.fact import DsnSettings
from postreeve.store.memory import MemoryStore
from postreeve.telemetry.event import TelemetryEvent

CONTENT = b"Subject: x\r\n\r\n" + b"x" * 4000
OK = Delivered(Reply(250, "2.0.0", "Ok: queued as 12345"))


@dataclass
class _Connection:
    step: Connect
    tls: str = ""
    is_usable: bool = True
    max_recipients: int = 0
    failed: tuple[tuple[str, Outcome], ...] = ()

    def transcript(self) -> str:
        return ""

    async def send(self, message: Outgoing) -> list[Outcome]:
        await asyncio.sleep(0)  # the peer's answer takes at least a turn of the loop
        return [OK] * len(message.recipients)


@dataclass
class _Connections:
    idle: list[_Connection] = field(default_factory=list)

    def take(self, destination: str) -> _Connection | None:
        return self.idle.pop() if self.idle else None

    async def open(self, step: Connect) -> _Connection | NotOpened:
        return _Connection(step)

    def give_back(self, destination: str, connection: _Connection) -> None:
        self.idle.append(connection)


class _Store(MemoryStore):
    """Settles in a turn of the loop and remembers nothing; `after` is called with the number settled so far."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.after: Callable[[int], None] = lambda count: None

    async def settle(self, settlement: Settlement) -> None:
        await asyncio.sleep(0)
        self.count += 1
        self.after(self.count)


def make_claims(count: int) -> list[Claim]:
    """Messages with one recipient each, for one smarthost."""
    source, now = IdentSource(1), time.time()
    sender = parse_mailbox("alice@example.org")
    claims = []
    for number in range(count):
        mailbox = parse_mailbox(f"user{number % 1000}@example.net")
        assert mailbox is not None
        path = EnvelopeRecipient(mailbox)
        ident = source.next(now)
        record = RecipientRecord(0, path, "smarthost:provider", RecipientState.QUEUED, now)
        lease = Lease(ident, (0,), number + 1, now + 300, whole=True)
        origin = Origin("relay")
        claims.append(Claim(lease, now, Envelope(sender, (path,)), origin, len(CONTENT), 0, None, (record,), CONTENT))
    return claims


async def measure(claims: Sequence[Claim]) -> float:
    """CPU seconds for all claims."""
    routes = (RouteSettings("provider", ("*",), Smarthost("192.0.2.1", 25, TlsMode.NONE)),)
    settings = QueueSettings(routes, delivery=DeliverySettings(concurrency=100))
    store, router, told = _Store(), Router(routes), [0]

    def tell(event: TelemetryEvent) -> None:
        told[0] += 1

    await store.open()
    means = Means(store, ZoneResolver({}), _Connections(), MaildirWriter(time.time), time.time)
    deliverer = Deliverer(means, router, Identity(), settings, Bouncer(store, router, DsnSettings("m.example")), tell)
    scheduler = Scheduler(store, deliverer, settings.delivery, tell, Clocks(time.time, time.monotonic))
    running = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)
    waiting, finished = iter(claims), asyncio.Event()

    def after(count: int) -> None:
        scheduler.offer(islice(waiting, 1))
        if count == len(claims):
            finished.set()

    store.after = after
    started = time.process_time()
    scheduler.offer(islice(waiting, 200))
    await finished.wait()
    spent = time.process_time() - started
    await scheduler.drain(1.0)
    await running
    assert told[0] == len(claims)
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    claims = make_claims(arguments.messages)
    profile = cProfile.Profile()
    rounds = []
    for _ in range(1 if arguments.profile else 5):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if arguments.profile:
                profile.enable()
            rounds.append(runner.run(measure(claims)) / len(claims) * 1e6)
            profile.disable()
    figures = {"microseconds_per_message": round(sorted(rounds)[len(rounds) // 2], 1)}
    print(f"scheduler and deliverer: {figures['microseconds_per_message']} µs CPU per message")
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
