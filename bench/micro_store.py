"""How fast the embedded store is on its own: accepts, and accepts with their settlements, from one event loop.

    python -m bench.micro_store [--messages 20000] [--queued 1000000] [--directory DIR] [--history]
                                [--busy 100] [--switch 0.005] [--json FILE] [--defer]

`--busy` burns so many microseconds of the loop's time per message, as a protocol engine does, so that the writer has to
compete for the interpreter; `--switch` sets the interpreter's switch interval in seconds.

`--defer` measures instead what a dead next hop costs: messages claimed and put off, with the story of the attempt.

Times are wall-clock as the awaiting session sees them; CPU is of the whole process, all threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.queue.model import (
    Attempt,
    Change,
    Claim,
    NewMessage,
    NewRecipient,
    Origin,
    QueueFilter,
    RecipientState,
    Result,
    Settlement,
)
from postreeve.store.face import LeaseTerms
from postreeve.store.sqlite import SqliteStore

CONTENT = os.urandom(4096)
ORIGIN = Origin("relay", "192.0.2.1", "client.example.net", "", "ESMTPS", "s-0123456789abc")
SENDER = parse_mailbox("sender@example.org")
RECIPIENTS = [EnvelopeRecipient(box) for n in range(500) if (box := parse_mailbox(f"user{n}@example.com"))]


@dataclass
class Figures:
    """One measurement."""

    what: str
    concurrency: int
    queued: int
    per_second: float
    cpu_microseconds: float
    p50_milliseconds: float
    p99_milliseconds: float
    worst_milliseconds: float


def message(store: SqliteStore, number: int, destinations: int = 1000, due_in: float = 0.0) -> NewMessage:
    now = time.time()
    to = RECIPIENTS[number % len(RECIPIENTS)]
    return NewMessage(
        store.new_ident(now),
        now,
        Envelope(SENDER, (to,)),
        (NewRecipient(to, f"mx:example{number % destinations}.org", now + due_in),),
        ORIGIN,
        len(CONTENT),
        CONTENT,
    )


async def accept_only(store: SqliteStore, number: int) -> float:
    begun = time.perf_counter()
    await store.accept(message(store, number))
    return time.perf_counter() - begun


async def accept_and_settle(store: SqliteStore, number: int) -> float:
    begun = time.perf_counter()
    new = message(store, number)
    (claim,) = await store.accept(new, LeaseTerms(new.accepted_at + 900))
    took = time.perf_counter() - begun
    attempt = Attempt(
        new.accepted_at,
        0.01,
        (0,),
        claim.recipients[0].destination,
        "mx.example.org",
        "198.51.100.7",
        "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "final",
        "delivered",
        "250 2.0.0 Ok: queued",
    )
    results = (Result(0, RecipientState.DELIVERED),)
    await store.settle(Settlement(claim.lease, results, (attempt,), (), new.accepted_at))
    return took


async def defer(store: SqliteStore, claims: Sequence[Claim], begun: float) -> None:
    """Settle as the scheduler does, some hundreds at a time."""
    numbers = iter(claims)

    async def settle() -> None:
        for claim in numbers:
            attempt = Attempt(
                begun,
                0.0,
                (0,),
                "smarthost:provider",
                "mx.example.org",
                "198.51.100.7",
                stage="connect",
                outcome="deferred",
                reply="not tried, the destination does not answer: connection timed out: no answer within 30 s",
            )
            results = (Result(0, RecipientState.QUEUED, begun + 300, attempt.reply),)
            await store.settle(Settlement(claim.lease, results, (attempt,), (), begun))

    await asyncio.gather(*(settle() for _ in range(256)))


async def measure_deferral(directory: Path, total: int) -> None:
    """Rounds of claiming and putting off the same messages."""
    store = SqliteStore(directory, 0)
    await store.open()
    for start in range(0, total, 1000):
        await asyncio.gather(*(store.accept(message(store, n, 1)) for n in range(start, start + 1000)))
    now = time.time() + 1
    for number in range(3):
        claims: list[Claim] = []
        while len(claims) < total:
            claims += await store.claim("mx:example0.org", 0, now, 200, LeaseTerms(now + 900))
        cpu = time.process_time()
        begun = time.perf_counter()
        await defer(store, claims, now)
        cpu, took = time.process_time() - cpu, time.perf_counter() - begun
        print(f"defer, round {number + 1}: {total / took:8.0f}/s  cpu {cpu / total * 1e6:5.1f} us", flush=True)
        now += 301
    await store.close()


def burn(microseconds: int) -> None:
    """Use up processor time in the interpreter."""
    until = time.thread_time_ns() + microseconds * 1000
    while microseconds and time.thread_time_ns() < until:
        pass


async def measure(store: SqliteStore, name: str, concurrency: int, total: int, queued: int, busy: int) -> Figures:
    work = accept_only if name == "accept" else accept_and_settle
    numbers = iter(range(total))
    times: list[float] = []

    async def client() -> None:
        for number in numbers:
            burn(busy)
            times.append(await work(store, number))

    cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    took = time.perf_counter() - begun
    cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - cpu
    times.sort()
    return Figures(
        name,
        concurrency,
        queued,
        total / took,
        cpu / total * 1e6,
        times[len(times) // 2] * 1e3,
        times[len(times) * 99 // 100] * 1e3,
        times[-1] * 1e3,
    )


async def fill(store: SqliteStore, count: int) -> None:
    """Queue `count` messages for 100,000 destinations, due in an hour."""
    for start in range(0, count, 2000):
        await asyncio.gather(*(store.accept(message(store, n, 100_000, 3600)) for n in range(start, start + 2000)))


async def look(store: SqliteStore) -> None:
    """What an operator's questions cost on a long queue."""
    questions = {
        "upcoming": store.upcoming(),
        "stats": store.stats(time.time()),
        "find by recipient": store.find(QueueFilter(recipient="nobody@*"), 100),
        "find by reason": store.find(QueueFilter(reason="*timed out*"), 100),
        "hold one destination": store.change(QueueFilter(destination="mx:example77.org"), Change.HOLD, time.time()),
    }
    for name, question in questions.items():
        begun = time.perf_counter()
        await question
        print(f"{name}: {time.perf_counter() - begun:.3f} s")


async def run(options: argparse.Namespace) -> list[Figures]:
    directory = Path(tempfile.mkdtemp(dir=options.directory))
    figures = []
    try:
        for queued in (0, options.queued) if options.queued else (0,):
            store = SqliteStore(directory, 0, keep_history=options.history)
            await store.open()
            if queued:
                begun = time.perf_counter()
                await fill(store, queued)
                print(f"filled with {queued} in {time.perf_counter() - begun:.1f} s")
                await store.close()
                store = SqliteStore(directory, 0, keep_history=options.history)
                begun = time.perf_counter()
                await store.open()
                await store.accept(message(store, 0))
                print(f"opened and first message accepted in {time.perf_counter() - begun:.3f} s")
                await look(store)
            for name in ("accept", "accept+settle"):
                for concurrency in (1, 20, 64):
                    total = options.messages // 10 if concurrency == 1 else options.messages
                    one = await measure(store, name, concurrency, total, queued, options.busy)
                    figures.append(one)
                    print(
                        f"{one.what:14} at {one.concurrency:3}, {one.queued:8} queued: {one.per_second:8.0f}/s"
                        f"  cpu {one.cpu_microseconds:5.1f} us  p50 {one.p50_milliseconds:.2f}"
                        f"  p99 {one.p99_milliseconds:.2f}  worst {one.worst_milliseconds:.1f} ms",
                        flush=True,
                    )
            await store.close()
    finally:
        shutil.rmtree(directory)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--queued", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--switch", type=float, default=sys.getswitchinterval())
    parser.add_argument("--defer", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.setswitchinterval(options.switch)
    if options.defer:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            uvloop.run(measure_deferral(Path(directory), options.messages))
        return
    figures = uvloop.run(run(options))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
