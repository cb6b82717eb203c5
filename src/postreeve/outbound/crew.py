"""The agents: as many per lane as its throttle allows and its work needs, and so many for all lanes together.

An agent that finds no work is parked for a moment, with its connection still open, before it leaves; one that keeps
finding work makes way after some turns when another destination waits for an agent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from postreeve.outbound.lane import Lane
from postreeve.queue.settings import DeliverySettings
from postreeve.queue.throttle import Throttle

FAIR_TURNS: Final = 20
LINGER_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 3_600.0


class Crew:
    """Lanes and the agents on them. `serve` does one piece of a lane's work and says whether there was any."""

    __slots__ = (
        "_agents",
        "_group",
        "_is_idle",
        "_lanes",
        "_left",
        "_parked",
        "_pauses",
        "_serve",
        "_settings",
        "_steady",
        "_waiting",
    )

    def __init__(
        self,
        settings: DeliverySettings,
        pauses: tuple[float, ...],
        steady: Callable[[], float],
        serve: Callable[[Lane], Awaitable[bool]],
        is_idle: Callable[[], bool],
        left: Callable[[], None],
    ) -> None:
        """`pauses` are those of the retry schedule. `is_idle` says that nothing is to be begun now; `left` is called
        when an agent has left and none waits."""
        self._settings = settings
        self._pauses = pauses
        self._steady = steady
        self._serve = serve
        self._is_idle = is_idle
        self._left = left
        self._lanes: dict[str, Lane] = {}
        self._agents: set[asyncio.Task[None]] = set()
        self._parked: OrderedDict[asyncio.Future[bool], Lane] = OrderedDict()
        self._waiting: deque[Lane] = deque()
        self._group: asyncio.TaskGroup | None = None

    @property
    def agents(self) -> set[asyncio.Task[None]]:
        """The tasks of all agents."""
        return self._agents

    def has_slot(self) -> bool:
        """True when a lane could have another agent."""
        return not self._waiting and (len(self._agents) < self._settings.concurrency or bool(self._parked))

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin; the group owns the agents."""
        self._group = group
        for lane in tuple(self._lanes.values()):
            self.dispatch(lane)

    def lane(self, destination: str) -> Lane:
        """The lane for a destination, made where there is none."""
        lane = self._lanes.get(destination)
        if lane is None:
            throttle = Throttle(self._settings.initial_per_destination, self._settings.per_destination, self._pauses)
            lane = self._lanes[destination] = Lane(destination, throttle)
        lane.used_at = self._steady()
        return lane

    def lanes(self) -> Iterator[Lane]:
        """All lanes as they are now."""
        return iter(tuple(self._lanes.values()))

    def forget_idle(self) -> None:
        """Drop lanes that nobody would miss."""
        now = self._steady()
        for lane in self.lanes():
            if lane.is_empty and (lane.throttle.is_idle or now - lane.used_at > FORGET_SECONDS):
                del self._lanes[lane.destination]

    def dispatch(self, lane: Lane) -> None:
        """Wake or make agents for the work that the lane has."""
        if self._group is None or self._is_idle():
            return
        wanted = lane.ready + (1 if lane.due and not lane.is_claiming else 0)
        while wanted > 0 and lane.wake_one():
            wanted -= 1
        while wanted > 0 and lane.agents < lane.throttle.concurrency:
            if len(self._agents) >= self._settings.concurrency:
                self._line_up(lane)
                return
            lane.agents += 1
            self._agents.add(self._group.create_task(self._work(lane), name=f"agent {lane.destination}"))
            wanted -= 1

    def dismiss_idle(self) -> None:
        """Send all parked agents away."""
        for future in tuple(self._parked):
            if not future.done():
                future.set_result(False)

    def _line_up(self, lane: Lane) -> None:
        """Wait for a free agent; an idle one of another lane makes way."""
        if not lane.is_waiting:
            lane.is_waiting = True
            self._waiting.append(lane)
        while self._parked:
            future, other = self._parked.popitem(last=False)
            if not future.done():
                other.parked.remove(future)
                future.set_result(False)
                return

    async def _work(self, lane: Lane) -> None:
        turns = 0
        try:
            while not self._is_idle():
                now = self._steady()
                if lane.throttle.dead_until(now) is None and not lane.throttle.may_start(now):
                    break
                if await self._serve(lane):
                    turns += 1
                    if self._waiting and turns >= FAIR_TURNS:
                        break
                elif not await self._park(lane):
                    break
        finally:
            self._leave(lane)

    def _leave(self, lane: Lane) -> None:
        lane.agents -= 1
        task = asyncio.current_task()
        if task is not None:
            self._agents.discard(task)
        if lane.has_work and not lane.is_waiting and lane.agents < lane.throttle.concurrency:
            lane.is_waiting = True
            self._waiting.append(lane)
        while self._waiting and len(self._agents) < self._settings.concurrency and not self._is_idle():
            waiting = self._waiting.popleft()
            waiting.is_waiting = False
            self.dispatch(waiting)
        if not self._waiting:
            self._left()

    async def _park(self, lane: Lane) -> bool:
        """Wait a while for work. True: there is some; False: leave."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        lane.parked.append(future)
        self._parked[future] = lane
        timer = loop.call_later(LINGER_SECONDS, _send_away, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._parked.pop(future, None)
            if future in lane.parked:
                lane.parked.remove(future)


def _send_away(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
