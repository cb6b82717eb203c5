"""The store in memory: the executable specification of the contract, and the store of tests. Nothing survives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from postreeve.mail.ident import IdentSource
from postreeve.queue.model import (
    Attempt,
    Change,
    Claim,
    Lease,
    MessageStory,
    MessageSummary,
    NewMessage,
    QueueFilter,
    QueueStats,
    RecipientRecord,
    RecipientState,
    Settlement,
    Upcoming,
)
from postreeve.store.face import LeaseLost, LeaseTerms, Quarantined, Spool, StoreError, StoreUnavailable
from postreeve.store.match import message_fits, recipient_fits, sender_text, summary_fits
from postreeve.store.transition import (
    born,
    by_destination,
    changed,
    check_results,
    is_due_at_birth,
    is_finished,
    settled,
)

PIECE_OCTETS: Final = 1 << 20
SWEEP_MESSAGES: Final = 1000


@dataclass(slots=True)
class MemorySpool:
    """Content gathered piece by piece."""

    pieces: list[bytes] = field(default_factory=list)

    async def write(self, data: bytes) -> None:
        """Append."""
        self.pieces.append(bytes(data))

    async def discard(self) -> None:
        """Forget."""
        self.pieces.clear()


@dataclass(slots=True)
class _Message:
    new: NewMessage
    content: bytes
    records: list[RecipientRecord]
    numbers: dict[int, int] = field(default_factory=dict)
    """The lease number of each leased recipient."""
    attempts: list[Attempt] = field(default_factory=list)
    finished_at: float | None = None

    def summary(self) -> MessageSummary:
        new = self.new
        return MessageSummary(
            new.ident,
            new.accepted_at,
            sender_text(new.envelope),
            new.size_octets,
            new.origin,
            new.priority,
            tuple(self.records),
        )

    def claim(self, records: Sequence[RecipientRecord], number: int, terms: LeaseTerms) -> Claim:
        until = terms.until
        leased = tuple(replace(record, leased_until=until, due=until) for record in records)
        for record in leased:
            self.records[record.index] = record
            self.numbers[record.index] = number
        new = self.new
        indexes = tuple(record.index for record in leased)
        lease = Lease(new.ident, indexes, number, until, whole=len(indexes) == len(self.records))
        return Claim(
            lease,
            new.accepted_at,
            new.envelope,
            new.origin,
            new.size_octets,
            new.priority,
            new.expires_at,
            leased,
            new.content if terms.with_content else None,
        )

    def holds(self, lease: Lease) -> bool:
        return all(self.numbers.get(index) == lease.number for index in lease.recipients)


class MemoryStore:
    """See `face.Store`."""

    def __init__(self, node: int = 0, keep_history: bool = True) -> None:
        self._idents = IdentSource(node)
        self._keep_history = keep_history
        self._queue: dict[int, _Message] = {}
        self._history: dict[int, _Message] = {}
        self._last_number = 0
        self._is_open = False

    async def open(self) -> None:
        """Begin, or begin again with what was queued."""
        self._is_open = True

    async def close(self) -> None:
        """Later calls raise StoreUnavailable."""
        self._is_open = False

    def new_ident(self, now: float) -> int:
        """See `face.Store`."""
        return self._idents.next(now)

    async def spool(self, ident: int) -> Spool:
        """See `face.Store`."""
        self._check_open()
        return MemorySpool()

    async def accept(
        self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
    ) -> tuple[Claim, ...]:
        """See `face.Store`."""
        self._check_open()
        queued = self._enqueue(message, spool)
        if lease is None:
            return ()
        due = [
            record
            for record, new in zip(queued.records, message.recipients, strict=True)
            if is_due_at_birth(message, new)
        ]
        return tuple(queued.claim(group, self._number(), lease) for group in by_destination(due).values())

    def _enqueue(self, message: NewMessage, spool: Spool | None = None) -> _Message:
        if (message.content is None) == (spool is None):
            raise ValueError("give either the content or a spool")
        if message.ident in self._queue or message.ident in self._history:
            raise StoreError(f"identifier {message.ident} is taken")
        content = message.content
        if content is None:
            if not isinstance(spool, MemorySpool):
                raise TypeError("this spool belongs to another store")
            content = b"".join(spool.pieces)
        records = [born(index, new) for index, new in enumerate(message.recipients)]
        queued = _Message(message, content, records)
        self._queue[message.ident] = queued
        return queued

    async def claim(
        self, destination: str, priority: int, now: float, limit: int, terms: LeaseTerms
    ) -> tuple[Claim, ...]:
        """See `face.Store`."""
        self._check_open()
        found: list[tuple[float, int, list[RecipientRecord]]] = []
        for ident, message in self._queue.items():
            if message.new.priority != priority:
                continue
            due = [
                record
                for record in message.records
                if record.state is RecipientState.QUEUED and record.destination == destination and record.due <= now
            ]
            if due:
                found.append((min(record.due for record in due), ident, due))
        found.sort(key=lambda item: item[:2])
        return tuple(self._queue[ident].claim(due, self._number(), terms) for _, ident, due in found[:limit])

    async def renew(self, leases: Sequence[Lease], terms: LeaseTerms) -> tuple[Lease, ...]:
        """See `face.Store`."""
        self._check_open()
        renewed = []
        for lease in leases:
            message = self._queue.get(lease.ident)
            if message is not None and message.holds(lease):
                for index in lease.recipients:
                    record = message.records[index]
                    message.records[index] = replace(record, leased_until=terms.until, due=terms.until)
                renewed.append(replace(lease, until=terms.until))
        return tuple(renewed)

    async def settle(self, settlement: Settlement) -> None:
        """See `face.Store`."""
        self._check_open()
        check_results(settlement)
        lease = settlement.lease
        message = self._queue.get(lease.ident)
        if message is None or not message.holds(lease):
            raise LeaseLost(f"lease {lease.number} of message {lease.ident} is no longer held")
        for spawned in settlement.spawned:
            self._enqueue(spawned)
        results = {result.index: result for result in settlement.results}
        for index in lease.recipients:
            del message.numbers[index]
            message.records[index] = settled(message.records[index], results.get(index), settlement.settled_at)
        message.attempts.extend(settlement.attempts)
        self._finish(message, settlement.settled_at)

    def _finish(self, message: _Message, now: float) -> None:
        if not is_finished(message.records):
            return
        del self._queue[message.new.ident]
        if self._keep_history:
            message.finished_at = now
            self._history[message.new.ident] = message

    async def upcoming(self) -> tuple[Upcoming, ...]:
        """See `face.Store`."""
        self._check_open()
        earliest: dict[tuple[str, int], float] = {}
        for message in self._queue.values():
            for record in message.records:
                if record.state is RecipientState.QUEUED:
                    key = record.destination, message.new.priority
                    earliest[key] = min(record.due, earliest.get(key, record.due))
        return tuple(Upcoming(*key, due) for key, due in sorted(earliest.items()))

    async def content(self, ident: int) -> AsyncIterator[bytes]:
        """See `face.Store`."""
        self._check_open()
        message = self._queue.get(ident)
        if message is None:
            raise StoreError(f"message {ident} is not in the queue")
        for start in range(0, len(message.content), PIECE_OCTETS):
            yield message.content[start : start + PIECE_OCTETS]

    async def find(self, where: QueueFilter, limit: int, after: int = 0) -> tuple[MessageSummary, ...]:
        """See `face.Store`."""
        self._check_open()
        summaries = (self._queue[ident].summary() for ident in sorted(self._queue) if ident > after)
        return tuple([summary for summary in summaries if summary_fits(where, summary)][:limit])

    async def story(self, ident: int) -> MessageStory | None:
        """See `face.Store`."""
        self._check_open()
        message = self._queue.get(ident) or self._history.get(ident)
        if message is None:
            return None
        new = message.new
        return MessageStory(
            message.summary(), new.envelope, tuple(message.attempts), new.expires_at, message.finished_at
        )

    async def change(self, where: QueueFilter, change: Change, now: float) -> int:
        """See `face.Store`."""
        self._check_open()
        count = 0
        for message in list(self._queue.values()):
            new = message.new
            if not message_fits(where, new.ident, new.accepted_at, sender_text(new.envelope), new.origin):
                continue
            for record in list(message.records):
                after = changed(record, change, now) if recipient_fits(where, record) else None
                if after is not None:
                    message.records[record.index] = after
                    message.numbers.pop(record.index, None)
                    count += 1
            self._finish(message, now)
        return count

    async def stats(self, now: float) -> QueueStats:
        """See `face.Store`."""
        self._check_open()
        records = [record for message in self._queue.values() for record in message.records]
        queued = [record for record in records if record.state is RecipientState.QUEUED]
        return QueueStats(
            messages=len(self._queue),
            recipients=dict(Counter(record.state.value for record in records)),
            octets=sum(message.new.size_octets for message in self._queue.values()),
            oldest_accepted_at=min((message.new.accepted_at for message in self._queue.values()), default=None),
            due_now=sum(record.leased_until is None and record.due <= now for record in queued),
            destinations=dict(Counter(record.destination for record in queued).most_common(50)),
        )

    async def sweep(self, now: float, keep_history_seconds: float) -> int:
        """See `face.Store`."""
        self._check_open()
        cutoff = now - keep_history_seconds
        old = [ident for ident, message in self._history.items() if (message.finished_at or 0.0) <= cutoff]
        for ident in old[:SWEEP_MESSAGES]:
            del self._history[ident]
        return len(old[:SWEEP_MESSAGES])

    async def quarantined(self) -> tuple[Quarantined, ...]:
        """Memory does not rot."""
        return ()

    def watch(self, callback: Callable[[], None]) -> None:
        """No other process sees this memory: `callback` is never called."""

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")
