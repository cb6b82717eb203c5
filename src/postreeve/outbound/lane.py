"""What the scheduler remembers in memory: claims in hand, and a lane for each destination that has work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

from postreeve.queue.model import Claim, Lease
from postreeve.queue.throttle import Throttle

FIRST_BATCH: Final = 25


@dataclass(slots=True, eq=False)
class Holding:
    """A claim in hand, from the moment it is ours until it is settled. `lease` is the newest one known."""

    claim: Claim
    lease: Lease
    is_lost: bool = False
    """The lease is somebody else's, or an operator changed the recipients: not to be begun any more."""

    @property
    def destination(self) -> str:
        """Where all its recipients wait for."""
        return self.claim.recipients[0].destination


class Holdings:
    """All claims in hand, to tell a claim that we have already from a new one, and to renew leases."""

    __slots__ = ("_by_ident", "count", "octets")

    def __init__(self) -> None:
        self._by_ident: dict[int, list[Holding]] = {}
        self.count = 0
        self.octets = 0
        """Content held in memory for them."""

    def add(self, claim: Claim) -> Holding | None:
        """Hold `claim`; None when we are at it already.

        The store hands a claim out again when its lease ran out while we were busy: then the attempt under way goes on
        under the new lease, and nothing is delivered twice.
        """
        ident = claim.lease.ident
        known = self._by_ident.get(ident)
        if known is None:
            known = self._by_ident[ident] = []
        else:
            wanted = set(claim.lease.recipients)
            for holding in known:
                if wanted == set(holding.lease.recipients):
                    holding.lease, holding.is_lost = claim.lease, False
                    return None
        holding = Holding(claim, claim.lease)
        known.append(holding)
        self.count += 1
        self.octets += len(claim.content or b"")
        return holding

    def overlaps(self, claim: Claim) -> bool:
        """True when some, but not all, of its recipients are in hand: to be given back until those are settled."""
        wanted = set(claim.lease.recipients)
        known = self._by_ident.get(claim.lease.ident, ())
        held = [set(holding.lease.recipients) for holding in known]
        return wanted not in held and any(wanted & recipients for recipients in held)

    def remove(self, holding: Holding) -> None:
        """Settled, or lost."""
        ident = holding.lease.ident
        known = self._by_ident.get(ident, [])
        if holding in known:
            known.remove(holding)
            self.count -= 1
            self.octets -= len(holding.claim.content or b"")
        if not known:
            self._by_ident.pop(ident, None)

    def ending_before(self, until: float) -> list[Holding]:
        """Those whose leases end before that time."""
        return [
            holding
            for known in self._by_ident.values()
            for holding in known
            if holding.lease.until < until and not holding.is_lost
        ]


class Lane:
    """One destination: what is ready to be tried, what waits in the store, and who works on it."""

    __slots__ = (
        "_numbers",
        "_ready",
        "agents",
        "batch",
        "destination",
        "due",
        "is_claiming",
        "is_waiting",
        "parked",
        "throttle",
        "turns",
        "used_at",
    )

    def __init__(self, destination: str, throttle: Throttle) -> None:
        self.destination = destination
        self.throttle = throttle
        self.agents = 0
        self.parked: list[asyncio.Future[bool]] = []
        """Agents without work; True wakes one, False sends it away."""
        self.due: set[int] = set()
        """Priorities for which the store has, or may have, something due."""
        self.is_claiming = False
        self.is_waiting = False
        """In the scheduler's line for a free agent."""
        self.batch = FIRST_BATCH
        """How many messages to claim next time: more while claims come back full."""
        self.turns = 0
        """Claims begun since the store was last asked."""
        self.used_at = 0.0
        self._ready: list[tuple[int, int, Holding]] = []
        self._numbers = count()

    @property
    def ready(self) -> int:
        """How many claims wait for an agent."""
        return len(self._ready)

    @property
    def has_work(self) -> bool:
        """True when an agent would find something."""
        return bool(self._ready) or bool(self.due and not self.is_claiming)

    @property
    def is_empty(self) -> bool:
        """True when nobody works here and nothing waits."""
        return not (self.agents or self._ready or self.due)

    def push(self, holding: Holding) -> None:
        """Ready: higher priority first, then in the order of coming."""
        heappush(self._ready, (-holding.claim.priority, next(self._numbers), holding))

    def pop(self) -> Holding | None:
        """The next to try."""
        return heappop(self._ready)[2] if self._ready else None

    def wake_one(self) -> bool:
        """Wake the agent that was parked last, whose connection is the warmest; False when there is none."""
        while self.parked:
            future = self.parked.pop()
            if not future.done():
                future.set_result(True)
                return True
        return False
