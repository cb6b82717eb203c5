"""The Store: what every back end promises.

Durability. When `accept` or `settle` returns, what it was given is on stable storage, whole: content, envelope and
queue record together. When it raises, or the process dies before it returns, the effect is all or nothing, and nothing
has been promised to anyone.

Ownership. Recipients that are due are handed out under leases. Two claims never hold the same recipient at the same
time; a lease that ran out can be claimed again, and then the earlier holder's `settle` raises LeaseLost and changes
nothing.

Order. Within a destination, higher priority first, then earlier due.

Failure. A failed sync is never retried: the store latches `StoreUnavailable` for every later accept until it is opened
anew. A damaged message is set aside (quarantined), reported, and never stops the others or the start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from postreeve.mail.error import PostreeveError
from postreeve.queue.model import (
    Change,
    Claim,
    Lease,
    MessageStory,
    MessageSummary,
    NewMessage,
    QueueFilter,
    QueueStats,
    Settlement,
    Upcoming,
)


class StoreError(PostreeveError):
    """Something about durable state; the session answers 451 4.3.0 unless a subclass says otherwise."""


class StoreUnavailable(StoreError):
    """Cannot promise durability now (I/O error, failed sync, closed): 451 4.3.0, and stop accepting."""


class StoreFull(StoreError):
    """No room: 452 4.3.1. Queued mail still leaves."""


class LeaseLost(StoreError):
    """The lease ran out and somebody else may hold it, or an operator changed the recipient meanwhile."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How long a claim holds: `until` in POSIX seconds."""

    until: float
    with_content: bool = True
    """False: claims need not bring content, for a claimer that will hardly need it."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A damaged record that was set aside."""

    ident: int
    problem: str


class Spool(Protocol):
    """Content too large for memory on its way in. Not yet a message: a crash leaves nothing that counts."""

    async def write(self, data: bytes) -> None:
        """Append; may wait for the disk (back-pressure). Raises StoreFull, StoreUnavailable."""
        ...

    async def discard(self) -> None:
        """Forget the content; harmless after `accept`."""
        ...


class Store(Protocol):
    """See the module's text for the promises that hold for all methods."""

    async def open(self) -> None:
        """Ready to accept within 2 s whatever the queue holds; leases of a dead owner become claimable soon after."""
        ...

    async def close(self) -> None:
        """Finish what was begun; later calls raise StoreUnavailable."""
        ...

    def new_ident(self, now: float) -> int:
        """An identifier that no message of this store ever had."""
        ...

    async def spool(self, ident: int) -> Spool:
        """Begin spooling content for the message `ident`."""
        ...

    async def accept(
        self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
    ) -> tuple[Claim, ...]:
        """Make `message` durable. Exactly one of message.content and `spool` is given.

        With `lease`, its queued recipients that are due are born leased and returned as claims, one per destination
        (so the acceptor may deliver at once without asking again); without, nothing is returned.
        """
        ...

    async def claim(
        self, destination: str, priority: int, now: float, limit: int, terms: LeaseTerms
    ) -> tuple[Claim, ...]:
        """Lease up to `limit` messages due for the destination at that priority, earliest due first."""
        ...

    async def renew(self, leases: Sequence[Lease], terms: LeaseTerms) -> tuple[Lease, ...]:
        """Extend those leases that still hold; the ones returned are held until `terms.until`."""
        ...

    async def settle(self, settlement: Settlement) -> None:
        """End a lease: write results and story, begin the spawned messages, remove the message once all is final.

        Raises LeaseLost without any effect when any recipient of the lease is no longer held under its number.
        """
        ...

    async def upcoming(self) -> tuple[Upcoming, ...]:
        """Every (destination, priority) that has queued recipients, with the earliest due time; a leased recipient is
        due when its lease ends. Costs by destinations."""
        ...

    def content(self, ident: int) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB, verified: raises StoreError before the last piece if damaged
        (and the message is quarantined)."""
        ...

    async def find(self, where: QueueFilter, limit: int, after: int = 0) -> tuple[MessageSummary, ...]:
        """Messages with a recipient that matches, by ident, those greater than `after`."""
        ...

    async def story(self, ident: int) -> MessageStory | None:
        """All that is known of a message, also after it left the queue while history is kept."""
        ...

    async def change(self, where: QueueFilter, change: Change, now: float) -> int:
        """Do it to all matching recipients that are not final; returns how many. A leased recipient's lease is lost
        by HOLD, BOUNCE, DROP (its attempt under way may still succeed at the peer; then the change is too late)."""
        ...

    async def stats(self, now: float) -> QueueStats:
        """Counts; may be some seconds old on a large queue."""
        ...

    async def sweep(self, now: float, keep_history_seconds: float) -> int:
        """Bounded housekeeping: old history, abandoned spools. Returns how much was removed; call again while > 0."""
        ...

    async def quarantined(self) -> tuple[Quarantined, ...]:
        """Damaged records set aside."""
        ...

    def watch(self, callback: Callable[[], None]) -> None:
        """`callback` is called (in the event loop) when another process changed the queue, or work came back that
        nobody settled: a dead owner's leases, messages rescued from a damaged file."""
        ...
