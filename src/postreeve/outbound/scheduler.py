"""The scheduler: who works on which destination, and when.

Each destination with work has a *lane*; *agents* are its workers, as many as its throttle allows and all lanes together
may have. An agent takes one claim after the other, so that a connection serves many messages and no task is made per
message. Work comes in two ways: born-leased claims offered by whoever accepted the message, which cost no query, and
claims from the store, asked for when a hint of the *agenda* falls due.

The wall clock may jump: nobody sleeps for long, and the clock is read anew each time.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from postreeve.outbound.agenda import Agenda
from postreeve.outbound.crew import Crew
from postreeve.outbound.deliver import Attempted
from postreeve.outbound.lane import FIRST_BATCH, Holding, Holdings, Lane
from postreeve.outbound.lease import Leases
from postreeve.outbound.settler import Settler
from postreeve.queue.model import Claim, NewMessage, RecipientState, Settlement
from postreeve.queue.outcome import DestinationDead
from postreeve.queue.settings import DeliverySettings, Schedule
from postreeve.queue.throttle import Turn
from postreeve.store.face import Store, StoreError
from postreeve.telemetry.event import DestinationChanged, InternalError, StoreTrouble, Tell

LANE_READY: Final = 1_000
"""Claims in hand for one destination beyond which acceptance keeps its leases."""
MOST_HELD: Final = 2_000
MOST_HELD_OCTETS: Final = 64 << 20
LARGEST_BATCH: Final = 200
"""Messages claimed at once; a claim waits for the disk like a commit, so a long queue is fetched in large pieces."""
FRESH_TURNS: Final = 100
"""After so many claims in hand those waiting in the store have their turn."""
DOWN_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 5.0
"""What a shutdown allows at least for writing down how the last attempts ended."""


class Delivers(Protocol):
    """What `outbound.deliver.Deliverer` is."""

    async def attempt(self, claim: Claim, dead: DestinationDead | None = None) -> Attempted:
        """Try to deliver."""
        ...

    async def fail(self, claim: Claim, problem: str) -> Attempted:
        """After a bug of ours."""
        ...

    def release(self, claim: Claim) -> Settlement:
        """Not tried."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` gives POSIX seconds and may jump; `steady` only goes forward."""

    wall: Callable[[], float]
    steady: Callable[[], float]


class Scheduler:
    """`run` it as a task; `offer` and `has_room` are for acceptance, `wake` for operators' changes, `drain` to end."""

    def __init__(
        self,
        store: Store,
        deliverer: Delivers,
        settings: DeliverySettings,
        tell: Tell,
        clocks: Clocks,
        lease_seconds: float = 300.0,
        schedule: Schedule | None = None,
    ) -> None:
        """A destination stays dead no longer than `schedule` pauses."""
        self._store = store
        self._deliverer = deliverer
        self._tell = tell
        self._clocks = clocks
        self._agenda = Agenda()
        self._holdings = Holdings()
        self._leases = Leases(store, self._holdings, clocks.wall, lease_seconds, self._fall)
        pauses = (schedule or Schedule()).retry_seconds
        self._crew = Crew(settings, pauses, clocks.steady, self._serve_next, self._is_idle, self._start_due)
        self._settler = Settler(store, self._settled, self._fall)
        self._changed = asyncio.Event()
        self._finished = asyncio.Event()
        self._is_down = False
        self._is_stopping = False
        self._is_last_lane_full = False

    # For acceptance and operators

    def has_room(self) -> bool:
        """True when a message just accepted may be handed over with `offer`; else let the store keep it."""
        has_room = (
            self._holdings.count < MOST_HELD
            and self._holdings.octets < MOST_HELD_OCTETS
            and not self._is_last_lane_full
            and not self._is_down
            and not self._is_stopping
        )
        if not has_room:
            # What the store keeps now is found by asking it.
            self._is_last_lane_full = False
            self._agenda.mark_dirty()
        return has_room

    def offer(self, claims: Iterable[Claim]) -> None:
        """Take claims that were born leased; never waits."""
        for claim in claims:
            holding = self._holdings.add(claim)
            if holding is None:
                continue
            lane = self._crew.lane(holding.destination)
            lane.push(holding)
            if self._is_stopping:
                self._release_ready(lane)
                continue
            self._is_last_lane_full = lane.ready >= LANE_READY
            if self._is_down or not lane.wake_one():
                self._crew.dispatch(lane)

    def announce(self, message: NewMessage) -> None:
        """A message that waits in the store, due now or later: what it needs is claimed in time."""
        for recipient in message.recipients:
            if recipient.state is RecipientState.QUEUED:
                self._hint(recipient.destination, message.priority, recipient.due)

    def wake(self) -> None:
        """The queue may have changed: look again now."""
        self._agenda.ask_now()
        self._changed.set()

    @property
    def held(self) -> int:
        """Claims in hand, settlements under way included."""
        return self._holdings.count

    @property
    def agents(self) -> int:
        """Workers, the idle ones included."""
        return len(self._crew.agents)

    # Life

    async def run(self) -> None:
        """Work until `drain` has ended."""
        async with asyncio.TaskGroup() as group:
            self._settler.start(group)
            keepers = [group.create_task(self._pace(), name="pace"), group.create_task(self._renew(), name="renew")]
            self._crew.start(group)
            await self._finished.wait()
            for task in keepers:
                task.cancel()
            self._settler.stop()

    async def drain(self, timeout_seconds: float = 30.0) -> None:
        """Begin nothing new, finish what is under way for so long, give the rest back to the store, end `run`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        self._is_stopping = True
        self._changed.set()
        self._crew.dismiss_idle()
        for lane in self._crew.lanes():
            self._release_ready(lane)
        agents = set(self._crew.agents)
        if agents:
            _, late = await asyncio.wait(agents, timeout=timeout_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(max(until, loop.time() + SETTLE_SECONDS)):
                await self._settler.flush()
        self._finished.set()

    def _is_idle(self) -> bool:
        """True when nothing is to be begun: what cannot be settled is not to be attempted."""
        return self._is_stopping or self._is_down

    def _fall(self, problem: str) -> None:
        self._agenda.mark_dirty()
        if not self._is_down:
            self._is_down = True
            self._tell(StoreTrouble("unavailable", problem))

    def _release_ready(self, lane: Lane) -> None:
        while (holding := lane.pop()) is not None:
            self._release(holding)

    def _release(self, holding: Holding) -> None:
        if not self._settler.put_at_once(holding, self._deliverer.release(holding.claim)):
            self._holdings.remove(holding)  # The lease runs out by itself.

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._leases.seconds / 4)
            await self._leases.renew_all()

    # Hints

    async def _pace(self) -> None:
        while not self._is_stopping:
            self._changed.clear()
            if self._agenda.is_stale(self._clocks.steady()):
                await self._refresh()
            self._start_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._changed.wait()

    def _pause_seconds(self) -> float:
        if self._is_down:
            return DOWN_SECONDS
        # Without a free agent what is due waits until one leaves, not for this loop.
        return self._agenda.pause_seconds(self._clocks.wall() if self._crew.has_slot() else None)

    async def _refresh(self) -> None:
        started = self._clocks.steady()
        self._agenda.begin_refresh()
        try:
            upcoming = await self._store.upcoming()
        except StoreError as error:
            self._fall(str(error))
            self._agenda.give_up_refresh(started)
            return
        self._agenda.refresh(upcoming, started, self._clocks.steady())
        self._crew.forget_idle()
        if self._is_down:
            self._rise()

    def _rise(self) -> None:
        if self._settler.failing:
            self._agenda.mark_dirty()
            return
        self._is_down = False
        self._tell(StoreTrouble("recovered", "the queue can be read and written again"))
        for lane in self._crew.lanes():
            self._crew.dispatch(lane)

    def _start_due(self) -> None:
        if self._is_idle() or not self._crew.has_slot():
            return
        for destination, priority in self._agenda.pop_due(self._clocks.wall()):
            lane = self._crew.lane(destination)
            lane.due.add(priority)
            self._crew.dispatch(lane)
            if not self._crew.has_slot():
                return

    # Claims

    async def _serve_next(self, lane: Lane) -> bool:
        holding = await self._next(lane)
        if holding is None:
            return False
        await self._serve(lane, holding)
        return True

    async def _next(self, lane: Lane) -> Holding | None:
        """The next claim to try, from those in hand or from the store."""
        if lane.due and not lane.is_claiming:
            # Fetched while others still work on what is in hand.
            lane.turns += 1
            if lane.ready < lane.batch // 2 or (lane.turns >= FRESH_TURNS and lane.ready < LANE_READY):
                await self._claim(lane)
        while not self._is_idle():
            holding = lane.pop()
            if holding is not None:
                if await self._leases.still_holds(holding):
                    return holding
                self._holdings.remove(holding)
            elif lane.due and not lane.is_claiming:
                await self._claim(lane)
            else:
                return None
        return None

    async def _claim(self, lane: Lane) -> None:
        priority = max(lane.due)
        has_room = self._holdings.count < MOST_HELD and self._holdings.octets < MOST_HELD_OCTETS
        limit = lane.batch if has_room else 1
        lane.turns = 0
        lane.is_claiming = True
        try:
            # Of a dead destination nearly all will not be tried: their content stays where it is.
            is_dead = lane.throttle.dead_until(self._clocks.steady()) is not None
            now, terms = self._clocks.wall(), self._leases.terms(with_content=not is_dead)
            claims = await self._store.claim(lane.destination, priority, now, limit, terms)
        except StoreError as error:
            self._fall(str(error))
            return
        finally:
            lane.is_claiming = False
        if len(claims) < limit:
            lane.due.discard(priority)
            self._agenda.mark_dirty()
            lane.batch = FIRST_BATCH
        else:
            lane.batch = min(LARGEST_BATCH, lane.batch * 2)
        for claim in claims:
            if self._holdings.overlaps(claim):
                self._release(Holding(claim, claim.lease))
            elif (holding := self._holdings.add(claim)) is not None:
                lane.push(holding)
        if self._is_stopping:
            self._release_ready(lane)
        else:
            self._crew.dispatch(lane)

    # Attempts

    async def _serve(self, lane: Lane, holding: Holding) -> None:
        throttle = lane.throttle
        now = self._clocks.steady()
        dead_until = throttle.dead_until(now)
        if dead_until is not None:
            dead = DestinationDead(throttle.reason, self._clocks.wall() + dead_until - now, throttle.dead_seconds(now))
            attempted = await self._attempt(holding, dead)
        else:
            attempted = await self._attempt_live(lane, holding)
        await self._settler.put(holding, attempted.settlement)
        if lane.ready and lane.agents < throttle.concurrency:
            self._crew.dispatch(lane)

    async def _attempt_live(self, lane: Lane, holding: Holding) -> Attempted:
        """Attempt, and tell the throttle what that says about the destination."""
        throttle = lane.throttle
        throttle.start()
        attempted: Attempted | None = None
        turn: Turn | None = None
        try:
            attempted = await self._attempt(holding, None)
            return attempted
        finally:
            if attempted is None or not attempted.is_telling:
                throttle.on_nothing()
            elif attempted.trouble:
                turn = throttle.on_failure(self._clocks.steady(), attempted.trouble)
            else:
                turn = throttle.on_success()
            if turn is not None:
                reason = throttle.reason if turn is Turn.DIED else ""
                self._tell(DestinationChanged(lane.destination, turn.value, reason, throttle.concurrency))

    async def _attempt(self, holding: Holding, dead: DestinationDead | None) -> Attempted:
        try:
            return await self._deliverer.attempt(holding.claim, dead)
        except asyncio.CancelledError:
            self._release(holding)  # Shutdown did not wait for this one.
            raise
        except Exception as error:
            self._tell(InternalError("attempt", "", traceback.format_exc()))
            return await self._deliverer.fail(holding.claim, type(error).__name__)

    def _settled(self, holding: Holding, settlement: Settlement, is_written: bool) -> None:
        self._holdings.remove(holding)
        if not is_written:
            return
        for one in settlement.results:
            if one.state is RecipientState.QUEUED:
                self._hint(holding.destination, holding.claim.priority, one.due)
        for message in settlement.spawned:
            self.announce(message)

    def _hint(self, destination: str, priority: int, due: float) -> None:
        if self._agenda.add(destination, priority, due):
            self._changed.set()
