"""The scheduler with a queue in memory, scripted peers and clocks that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from postreeve.mail.reply import Reply
from postreeve.outbound.scheduler import LANE_READY, Clocks, Scheduler
from postreeve.queue import settings as targets
from postreeve.queue.model import (
    Change,
    Claim,
    Lease,
    NewMessage,
    QueueFilter,
    RecipientState,
    Settlement,
    Upcoming,
)
from postreeve.queue.outcome import ConnectFailed, ConnectProblem, Outcome, Refused, Stage
from postreeve.queue.settings import DeliverySettings, QueueSettings, RouteSettings, Schedule, Smarthost
from postreeve.queue.step import Connect
from postreeve.store.face import LeaseLost, LeaseTerms, StoreError, StoreFull, StoreUnavailable
from postreeve.store.memory import MemoryStore
from postreeve.telemetry.event import (
    DestinationChanged,
    InternalError,
    RecipientDeferred,
    RecipientDelivered,
    StoreTrouble,
)
from tests.lab.delivery import OK, START, Clock, House, take_all, until

REFUSED = ConnectFailed(ConnectProblem.REFUSED)
GREYLISTED = Refused(Reply(450, "4.7.1", "later"), Stage.RCPT)
LEASE = 300.0
SCHEDULE = Schedule()


class CountingStore(MemoryStore):
    """Counts what the scheduler asks, and fails where a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = 0
        self.asked = 0
        self.settled: list[Settlement] = []
        self.trouble: Callable[[str], None] = lambda operation: None

    async def claim(
        self, destination: str, priority: int, now: float, limit: int, terms: LeaseTerms
    ) -> tuple[Claim, ...]:
        self.trouble("claim")
        self.claims += 1
        return await super().claim(destination, priority, now, limit, terms)

    async def upcoming(self) -> tuple[Upcoming, ...]:
        self.trouble("upcoming")
        self.asked += 1
        return await super().upcoming()

    async def settle(self, settlement: Settlement) -> None:
        await asyncio.sleep(0)
        self.trouble("settle")
        await super().settle(settlement)
        self.settled.append(settlement)

    async def renew(self, leases: Sequence[Lease], terms: LeaseTerms) -> tuple[Lease, ...]:
        self.trouble("renew")
        return await super().renew(leases, terms)


class Yard(House):
    """A house with a scheduler at work in it."""

    def __init__(self, schedule: Schedule = SCHEDULE, **delivery: Any) -> None:
        routes = (
            RouteSettings("provider", ("smart.example",), Smarthost("192.0.2.50", 25, targets.TlsMode.NONE)),
            RouteSettings("direct", ("*",), targets.Mx()),
        )
        settings = QueueSettings(routes, schedule, DeliverySettings(**delivery))
        self.counting = CountingStore()
        super().__init__(settings, store=self.counting)
        self.steady = Clock(1000.0)
        clocks = Clocks(self.clock, self.steady)
        self.scheduler = Scheduler(
            self.store, self.deliverer(), settings.delivery, self.events.append, clocks, LEASE, schedule
        )

    @asynccontextmanager
    async def open(self, drain_seconds: float = 5.0):  # type: ignore[no-untyped-def]
        await self.store.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.scheduler.run())
            yield self.scheduler
            await self.scheduler.drain(drain_seconds)
        await self.store.close()

    async def accept(self, message: NewMessage, lease: float = LEASE) -> tuple[Claim, ...]:
        return await self.store.accept(message, LeaseTerms(self.clock() + lease))

    async def offer(self, *recipients: str, **more: Any) -> None:
        self.scheduler.offer(await self.accept(self.message(*recipients, **more)))

    async def put(self, *recipients: str, **more: Any) -> int:
        message = self.message(*recipients, **more)
        await self.store.accept(message)
        return message.ident

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.steady.now += seconds
        self.scheduler.wake()

    def delivered(self) -> int:
        return len(self.told(RecipientDelivered))

    async def states(self) -> list[RecipientState]:
        return [one.state for summary in await self.store.find(QueueFilter(), 10_000) for one in summary.recipients]


def _run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


class Gate:
    """Holds messages at the peer until a test opens it."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.opened = asyncio.Event()
        self.inside = 0
        self.outcomes = outcomes

    async def __call__(self, step: Connect, message: Any) -> Sequence[Outcome]:
        self.inside += 1
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1
        return self.outcomes or [OK] * len(message.recipients)


# The two ways in


def test_offered_claims_are_delivered_without_asking_the_store() -> None:
    async def main() -> None:
        yard = Yard()
        async with yard.open():
            await until(lambda: yard.counting.asked == 1)
            for number in range(50):
                await yard.offer(f"u{number}@smart.example")
            await until(lambda: yard.delivered() == 50)
            await until(lambda: yard.scheduler.held == 0)
            assert yard.counting.claims == 0
            assert await yard.states() == []

    _run(main)


def test_agents_serve_many_messages_over_few_connections() -> None:
    async def main() -> None:
        yard = Yard()
        async with yard.open():
            for number in range(200):
                await yard.offer(f"u{number}@smart.example")
                if number % 10 == 0:
                    await asyncio.sleep(0)
            await until(lambda: yard.delivered() == 200)
            assert len(yard.network.opened) <= 20
            assert yard.scheduler.agents <= 20

    _run(main)


def test_queued_mail_is_found_at_the_start() -> None:
    async def main() -> None:
        yard = Yard()
        await yard.store.open()
        for number in range(120):
            await yard.put(f"u{number}@example.net")
        async with yard.open():
            await until(lambda: yard.delivered() == 120)
            assert yard.counting.claims < 12

    _run(main)


def test_mail_from_another_process_is_found_when_told() -> None:
    async def main() -> None:
        yard = Yard()
        async with yard.open():
            await until(lambda: yard.counting.asked == 1)
            await yard.put("bob@example.net")
            yard.pass_time(0.2)
            await until(lambda: yard.delivered() == 1)

    _run(main)


def test_future_mail_waits_until_it_is_due() -> None:
    async def main() -> None:
        yard = Yard()
        await yard.store.open()
        await yard.put("bob@example.net", due=START + 3600)
        async with yard.open():
            await until(lambda: yard.counting.asked == 1)
            yard.pass_time(3599)
            await until(lambda: yard.counting.asked == 2)
            assert yard.counting.claims == 0
            yard.pass_time(2)
            await until(lambda: yard.delivered() == 1)

    _run(main)


def test_higher_priority_goes_first() -> None:
    async def main() -> None:
        yard = Yard(initial_per_destination=1, per_destination=1)
        await yard.store.open()
        for priority in (-3, 0, 5):
            await yard.put(f"p{priority + 3}@example.net", priority=priority)
        async with yard.open():
            await until(lambda: yard.delivered() == 3)
        assert [recipients for _, recipients in yard.network.sent] == [
            ("p8@example.net",),
            ("p3@example.net",),
            ("p0@example.net",),
        ]

    _run(main)


def test_retries_come_when_due_without_asking_again() -> None:
    async def main() -> None:
        yard = Yard()
        answers = [[GREYLISTED], [OK]]
        yard.network.sends = lambda step, message: answers.pop(0)
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: len(yard.told(RecipientDeferred)) == 1 and yard.scheduler.held == 0)
            (deferred,) = yard.told(RecipientDeferred)
            assert isinstance(deferred, RecipientDeferred)
            yard.pass_time(deferred.due - 1 - yard.clock())
            await until(lambda: yard.counting.asked == 2)
            assert yard.delivered() == 0
            yard.pass_time(2)
            await until(lambda: yard.delivered() == 1)

    _run(main)


def test_bounces_leave_by_themselves() -> None:
    async def main() -> None:
        yard = Yard()
        yard.network.sends = lambda step, message: (
            [OK] if message.reverse_path is None else [Refused(Reply(550, "5.1.1", "unknown"), Stage.RCPT)]
        )
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: yard.delivered() == 1 and yard.scheduler.held == 0)
        assert yard.network.sent[-1][1] == ("alice@example.org",)

    _run(main)


# Bounds


def test_a_destination_has_as_many_attempts_as_its_throttle_allows() -> None:
    async def main() -> None:
        yard, gate = Yard(initial_per_destination=3, per_destination=10), Gate()
        yard.network.sends = gate
        async with yard.open():
            for number in range(40):
                await yard.offer(f"u{number}@example.net")
            await until(lambda: gate.inside == 3)
            for _ in range(50):
                await asyncio.sleep(0)
            assert gate.inside == 3
            gate.opened.set()
            await until(lambda: yard.delivered() == 40)
            assert yard.network.most_busy <= 10

    _run(main)


def test_all_destinations_together_keep_to_the_concurrency() -> None:
    async def main() -> None:
        yard, gate = Yard(concurrency=7), Gate()
        yard.network.sends = gate
        async with yard.open():
            for number in range(60):
                await yard.offer(f"bob@d{number % 30}.example")
            await until(lambda: gate.inside == 7)
            for _ in range(50):
                await asyncio.sleep(0)
            assert yard.scheduler.agents == 7
            gate.opened.set()
            await until(lambda: yard.delivered() == 60)
            assert yard.network.most_busy == 7

    _run(main)


def test_no_destination_keeps_others_waiting_for_ever() -> None:
    async def main() -> None:
        yard = Yard(concurrency=1, initial_per_destination=1)
        order: list[str] = []

        def note(step: Connect, message: Any) -> Sequence[Outcome]:
            order.append(str(message.recipients[0].mailbox.domain))
            return take_all(step, message)

        yard.network.sends = note
        async with yard.open():
            for number in range(100):
                await yard.offer(f"u{number}@busy.example")
            await yard.offer("bob@quiet.example")
            await until(lambda: yard.delivered() == 101)
        assert order.index("quiet.example") <= 40

    _run(main)


def test_has_room_ends_when_a_destination_is_slow() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate()
        yard.network.sends = gate
        async with yard.open():
            assert yard.scheduler.has_room()
            offered = 0
            while yard.scheduler.has_room():
                await yard.offer(f"u{offered}@example.net")
                offered += 1
                assert offered <= LANE_READY + 50
            await yard.put("late@example.net")
            assert yard.scheduler.held == offered
            gate.opened.set()
            await until(lambda: yard.delivered() >= offered)
            yard.pass_time(2)
            await until(lambda: yard.delivered() == offered + 1)
            assert yard.scheduler.has_room()

    _run(main)


# Dead destinations


def test_a_dead_destination_is_not_tried_until_its_time_has_passed() -> None:
    async def main() -> None:
        yard = Yard(initial_per_destination=3)
        yard.network.opens = lambda step: REFUSED
        async with yard.open():
            for number in range(30):
                await yard.offer(f"u{number}@example.net")
            await until(lambda: len(yard.told(RecipientDeferred)) == 30 and yard.scheduler.held == 0)
            assert 3 <= len(yard.network.opened) <= 6
            (died,) = yard.told(DestinationChanged)
            assert isinstance(died, DestinationChanged)
            assert (died.destination, died.state, died.reason) == ("mx:example.net", "dead", "connection refused")
            tried = len(yard.network.opened)
            yard.network.opens = lambda step: None
            yard.pass_time(61)
            await yard.offer("probe@example.net")
            await until(lambda: yard.delivered() == 1)
            assert len(yard.network.opened) == tried + 1
            assert [event.state for event in yard.told(DestinationChanged)] == ["dead", "alive"]  # type: ignore[attr-defined]
            yard.pass_time(400)
            await until(lambda: yard.delivered() == 31)

    _run(main)


def test_a_short_schedule_shortens_the_time_of_a_dead_destination() -> None:
    async def main() -> None:
        yard = Yard(Schedule((2.0,), jitter=0.0), initial_per_destination=3)
        yard.network.opens = lambda step: REFUSED
        async with yard.open():
            idents = [(await yard.put(f"u{number}@example.net")) for number in range(9)]
            yard.scheduler.wake()
            await until(lambda: len(yard.told(RecipientDeferred)) == 9 and yard.scheduler.held == 0)
            tried = len(yard.network.opened)
            stories = [await yard.store.story(ident) for ident in idents]
            attempts = [story.summary.recipients[0].attempts for story in stories if story is not None]
            assert sum(attempts) == sum(len(story.attempts) for story in stories if story is not None) == tried < 9
            yard.network.opens = lambda step: None
            yard.pass_time(2.5)
            await until(lambda: yard.delivered() == 9)

    _run(main)


def test_one_dead_destination_leaves_others_alone() -> None:
    async def main() -> None:
        yard = Yard()
        yard.names.hosts_addresses["mx.dead.example"] = ("192.0.2.66",)
        yard.network.opens = lambda step: REFUSED if step.address == "192.0.2.66" else None
        async with yard.open():
            for number in range(40):
                await yard.offer(f"u{number}@{'dead' if number % 2 else 'alive'}.example")
            await until(lambda: yard.delivered() == 20 and len(yard.told(RecipientDeferred)) == 20)

    _run(main)


# Leases


def test_leases_are_renewed_while_an_attempt_lasts() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate()
        yard.network.sends = gate
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: gate.inside == 1)
            for _ in range(10):
                yard.clock.now += LEASE * 0.6
                await yard.scheduler._leases.renew_all()
                assert await yard.store.claim("mx:example.net", 0, yard.clock(), 9, LeaseTerms(yard.clock() + 9)) == ()
            gate.opened.set()
            await until(lambda: yard.delivered() == 1 and yard.scheduler.held == 0)
        assert len(yard.network.sent) == 1

    _run(main)


def test_a_lease_that_ran_out_under_way_is_not_delivered_twice() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate()
        yard.network.sends = gate
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: gate.inside == 1)
            yard.pass_time(LEASE + 60)
            await until(lambda: yard.counting.claims == 1)
            gate.opened.set()
            await until(lambda: yard.scheduler.held == 0)
            assert await yard.states() == []
        assert len(yard.network.sent) == 1
        assert len(yard.counting.settled) == 1

    _run(main)


def test_a_claim_whose_lease_is_lost_is_not_begun() -> None:
    async def main() -> None:
        yard, gate = Yard(initial_per_destination=1, per_destination=1), Gate()
        yard.network.sends = gate
        async with yard.open():
            await yard.offer("first@example.net")
            await yard.offer("second@example.net")
            await until(lambda: gate.inside == 1)
            where = QueueFilter(recipient="second@example.net")
            assert await yard.store.change(where, Change.HOLD, yard.clock()) == 1
            yard.clock.now += LEASE
            await yard.scheduler._leases.renew_all()
            gate.opened.set()
            await until(lambda: yard.scheduler.held == 0)
            assert await yard.states() == [RecipientState.HELD]
        assert [recipients for _, recipients in yard.network.sent] == [("first@example.net",)]

    _run(main)


def test_partly_overlapping_claims_are_given_back() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate()
        yard.network.sends = gate
        async with yard.open():
            (claim,) = await yard.accept(yard.message("a@example.net", "b@example.net"))
            part = replace(claim, lease=replace(claim.lease, recipients=(0,)), recipients=claim.recipients[:1])
            yard.scheduler.offer([part])
            await until(lambda: gate.inside == 1)
            yard.pass_time(LEASE + 60)
            await until(lambda: len(yard.counting.settled) == 1)
            assert not yard.counting.settled[0].results[0].counts_as_attempt
            assert len(yard.network.sent) == 1
            gate.opened.set()

    _run(main)


# Faults


def test_a_bug_defers_the_message_and_is_told() -> None:
    async def main() -> None:
        yard = Yard()

        def breaks(step: Connect, message: Any) -> Sequence[Outcome]:
            raise RuntimeError("a bug")

        yard.network.sends = breaks
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: yard.scheduler.held == 0)
            assert await yard.states() == [RecipientState.QUEUED]
            (told,) = yard.told(InternalError)
            assert isinstance(told, InternalError)
            assert "a bug" in told.traceback
            yard.network.sends = take_all
            yard.pass_time(400)
            await until(lambda: yard.delivered() == 1)

    _run(main)


@pytest.mark.parametrize("operation", ["claim", "upcoming", "settle", "renew"])
@pytest.mark.parametrize("problem", [StoreUnavailable("input/output error"), StoreFull("no space left")], ids=str)
def test_nothing_is_attempted_while_the_store_fails(
    operation: str, problem: StoreError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postreeve.outbound.scheduler.DOWN_SECONDS", 0.02)

    def trouble(asked: str) -> None:
        if asked == operation:
            raise problem

    async def main() -> None:
        yard = Yard()
        yard.scheduler._settler._pause = 0.02
        await yard.store.open()
        yard.counting.trouble = trouble
        async with yard.open():
            if operation == "renew":
                (claim,) = await yard.accept(yard.message("bob@example.net"), lease=5.0)
                yard.scheduler.offer([claim])
            elif operation == "settle":
                await yard.offer("bob@example.net")
            else:
                await yard.put("bob@example.net")
            await until(lambda: len(yard.told(StoreTrouble)) == 1)
            sent = len(yard.network.sent)
            assert sent == (1 if operation == "settle" else 0)
            await yard.put("carol@example.net")
            for _ in range(5):
                yard.pass_time(2.0)
                await asyncio.sleep(0.03)
                if operation in ("settle", "upcoming"):
                    assert not yard.scheduler.has_room()
                    assert len(yard.network.sent) == sent
            yard.counting.trouble = lambda asked: None
            for _ in range(50):
                yard.pass_time(2.0)
                await asyncio.sleep(0.03)
                if yard.told(StoreTrouble)[-1].state == "recovered":  # type: ignore[attr-defined]
                    break
            yard.pass_time(LEASE + 60)
            await until(lambda: yard.delivered() == 2 and yard.scheduler.held == 0)
            assert await yard.states() == []
        assert len(yard.network.sent) == 2

    _run(main)


def test_drain_does_not_wait_for_a_store_that_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postreeve.outbound.scheduler.SETTLE_SECONDS", 0.05)

    async def main() -> None:
        yard = Yard()

        def trouble(asked: str) -> None:
            if asked == "settle":
                raise StoreUnavailable("input/output error")

        yard.counting.trouble = trouble
        async with yard.open(drain_seconds=0.05):
            await yard.offer("bob@example.net")
            await until(lambda: yard.delivered() == 1)
        assert len(yard.network.sent) == 1

    _run(main)


def test_a_settlement_that_comes_too_late_changes_nothing() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate(GREYLISTED)
        yard.network.sends = gate
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: gate.inside == 1)
            assert await yard.store.change(QueueFilter(), Change.DROP, yard.clock()) == 1
            gate.opened.set()
            await until(lambda: yard.scheduler.held == 0)
            assert yard.counting.settled == []

    _run(main)


@pytest.mark.parametrize("jump", [1e9, -1e9, 3600.0, -3600.0], ids=str)
def test_a_jump_of_the_clock_neither_expires_nor_forgets_mail(jump: float) -> None:
    async def main() -> None:
        yard = Yard()
        answers = [[GREYLISTED], [GREYLISTED], [GREYLISTED], [OK]]
        yard.network.sends = lambda step, message: answers.pop(0)
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: len(yard.told(RecipientDeferred)) == 1 and yard.scheduler.held == 0)
            yard.clock.now += jump
            if jump < 0:
                await yard.store.change(QueueFilter(), Change.RETRY, yard.clock())
            for _ in range(10):
                if yard.delivered():
                    break
                yard.pass_time(16_000)
                await until(lambda: yard.scheduler.held == 0)
                for _ in range(20):
                    await asyncio.sleep(0)
            assert yard.delivered() == 1

    _run(main)


# Shutdown


def test_drain_finishes_what_is_under_way_and_gives_the_rest_back() -> None:
    async def main() -> None:
        yard, gate = Yard(initial_per_destination=2, per_destination=2), Gate()
        yard.network.sends = gate
        await yard.store.open()
        running = asyncio.create_task(yard.scheduler.run())
        for number in range(10):
            await yard.offer(f"u{number}@example.net")
        await until(lambda: gate.inside == 2)
        draining = asyncio.create_task(yard.scheduler.drain(5.0))
        await until(lambda: yard.scheduler.held == 2)
        assert not yard.scheduler.has_room()
        gate.opened.set()
        await draining
        await running
        assert yard.delivered() == 2
        assert await yard.states() == [RecipientState.QUEUED] * 8
        summaries = await yard.store.find(QueueFilter(), 100)
        assert all(one.attempts == 0 and one.leased_until is None for each in summaries for one in each.recipients)
        await yard.offer("late@example.net")
        assert yard.scheduler.agents == 0

    _run(main)


def test_drain_cuts_off_what_does_not_end() -> None:
    async def main() -> None:
        yard, gate = Yard(), Gate()
        yard.network.sends = gate
        async with yard.open(drain_seconds=0.05):
            await yard.offer("bob@example.net")
            await until(lambda: gate.inside == 1)
        await yard.store.open()
        assert await yard.states() == [RecipientState.QUEUED]
        assert yard.network.busy == 0
        assert yard.told(InternalError) == []

    _run(main)


def test_drain_without_work_ends_at_once() -> None:
    async def main() -> None:
        yard = Yard()
        async with yard.open():
            await until(lambda: yard.counting.asked == 1)
        assert yard.events == []

    _run(main)


def test_lost_lease_is_no_trouble_of_the_store() -> None:
    async def main() -> None:
        yard = Yard()

        def trouble(asked: str) -> None:
            if asked == "settle":
                raise LeaseLost("somebody else has it")

        yard.counting.trouble = trouble
        async with yard.open():
            await yard.offer("bob@example.net")
            await until(lambda: yard.delivered() == 1 and yard.scheduler.held == 0)
            assert yard.told(StoreTrouble) == []
            assert yard.scheduler.has_room()

    _run(main)
