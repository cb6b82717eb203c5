"""From a claim to its settlement: attempt, judge, conclude, tell.

A claim's recipients wait for one destination. Each goes where its domain's route leads now, which after a reload may be
elsewhere; what is doomed, too late or without a route is judged without an attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from postreeve.mail.envelope import Notify
from postreeve.mail.ident import to_text
from postreeve.outbound.attempt import Attempt, Means, Try
from postreeve.outbound.bounce import Bouncer
from postreeve.outbound.story import Judged, tell_all, write_stories
from postreeve.queue.backoff import is_fallback_due, spread
from postreeve.queue.disposition import Action, Context, judge
from postreeve.queue.lifetime import (
    Conclusion,
    Waiting,
    conclude,
    conclude_untried,
    is_lifetime_over,
    is_past_deadline,
)
from postreeve.queue.model import Claim, RecipientRecord, RecipientState, Result, Settlement
from postreeve.queue.outcome import (
    Delivered,
    DestinationDead,
    Ended,
    EndReason,
    Handover,
    LocalKind,
    LocalProblem,
    LookupKind,
    LookupProblem,
    Outcome,
    Refused,
    Withheld,
)
from postreeve.queue.plan import DeliveryPlan
from postreeve.queue.route import Identity, Route, Router, fallback_key
from postreeve.queue.settings import QueueSettings
from postreeve.queue.step import Judgement
from postreeve.report.fact import DsnAction, RecipientReport, success_action, wants_relay_report
from postreeve.telemetry.event import Tell

_WITHHELD: Final = judge(Withheld(), Context()).text
_STATES: Final = {
    Action.DELIVERED: RecipientState.DELIVERED,
    Action.DISCARDED: RecipientState.DROPPED,
    Action.HELD: RecipientState.HELD,
    Action.DEFERRED: RecipientState.QUEUED,
    Action.RELEASED: RecipientState.QUEUED,
    Action.BOUNCED: RecipientState.BOUNCED,
    Action.EXPIRED: RecipientState.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Attempted:
    """What to settle, and what the attempt says about the destination."""

    settlement: Settlement
    trouble: str = ""
    """The destination as a whole does not work, and why."""
    is_telling: bool = True
    """False when the destination itself was not asked."""


@dataclass(slots=True)
class _Work:
    """What comes together while a claim is worked on."""

    claim: Claim
    judgements: list[Judgement] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    is_telling: bool = False

    def judge(self, records: Iterable[RecipientRecord], outcome: Outcome) -> None:
        """The same end for all of these, without a host."""
        disposition = judge(outcome, Context())
        self.judgements += [Judgement(record.index, disposition, outcome) for record in records]


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Works on claims; holds no state between them."""

    means: Means
    router: Router
    identity: Identity
    settings: QueueSettings
    bouncer: Bouncer
    tell: Tell

    async def attempt(self, claim: Claim, dead: DestinationDead | None = None) -> Attempted:
        """Try to deliver; with `dead`, only past the destination. The caller settles what comes back."""
        started = self.means.clock()
        work = _Work(claim)
        for route, records in self._routed(work, started):
            await self._deliver(work, route, records, dead, started)
        return await self._conclude(work, started)

    async def fail(self, claim: Claim, problem: str) -> Attempted:
        """The settlement of an attempt that ended in a bug of ours."""
        work = _Work(claim)
        work.judge(claim.recipients, LocalProblem(LocalKind.BUG, problem))
        return await self._conclude(work, self.means.clock())

    def release(self, claim: Claim) -> Settlement:
        """The settlement of a claim that was not tried: due at once, no attempt counted."""
        now = self.means.clock()
        results = [
            Result(record.index, RecipientState.QUEUED, now, record.last_problem, counts_as_attempt=False)
            for record in claim.recipients
        ]
        return Settlement(claim.lease, tuple(results), settled_at=now)

    # Attempting

    def _routed(self, work: _Work, now: float) -> Iterator[tuple[Route, list[RecipientRecord]]]:
        """The recipients to try, by route; the others are judged here."""
        records: Sequence[RecipientRecord] = work.claim.recipients
        doomed = [record for record in records if record.doomed]
        if doomed:
            work.judge(doomed, Ended(EndReason.OPERATOR))
            records = [record for record in records if not record.doomed]
        if is_past_deadline(work.claim.envelope.parameters.deliver_by, now):
            work.judge(records, Ended(EndReason.DEADLINE))
            return
        groups: dict[str, tuple[Route, list[RecipientRecord]]] = {}
        for record in records:
            domain = record.recipient.mailbox.domain
            route = self.router.route(domain)
            if route is not None and route.is_held and was_released(record):
                route = self.router.route_past_hold(domain)
            if route is None:
                work.judge([record], LocalProblem(LocalKind.NO_ROUTE, f"none speaks of {domain}"))
            elif (group := groups.get(route.destination)) is None:
                groups[route.destination] = route, [record]
            else:
                group[1].append(record)
        yield from groups.values()

    async def _deliver(
        self, work: _Work, route: Route, records: list[RecipientRecord], dead: DestinationDead | None, now: float
    ) -> None:
        claim = work.claim
        attempts = min([record.attempts for record in records])
        waiting = _waiting(claim, records[0], attempts)
        use_fallback = is_fallback_due(route.fallback, attempts, now - waiting.begun_at, dead is not None)
        is_asked = not use_fallback and route.destination == records[0].destination
        # Nothing expires without an attempt of its own.
        if dead is not None and is_asked and (attempts or not is_lifetime_over(waiting, self.settings.schedule, now)):
            work.judge(records, dead)
            return
        indexes = [record.index for record in records]
        seed = claim.lease.ident ^ attempts
        plan = DeliveryPlan(route, indexes, self.settings.delivery, self.identity, seed, use_fallback)
        attempt = Attempt(claim, fallback_key(route) if use_fallback else route.destination, self.means)
        work.judgements += [_unless_loop(one, records) for one in await attempt.run(plan)]
        work.tries += attempt.tries
        work.is_telling = work.is_telling or is_asked

    # Concluding

    async def _conclude(self, work: _Work, started: float) -> Attempted:
        claim = work.claim
        now = self.means.clock()
        records = {record.index: record for record in claim.recipients}
        judged = [self._judged(claim, records[judgement.recipient], judgement, now) for judgement in work.judgements]
        reports = [report for one in judged if (report := self._report(claim, one, now)) is not None]
        spawned = await self.bouncer.spawn(claim, reports, now) if reports else None
        tell_all(self.tell, claim, judged, work.tries, spawned, now)
        settlement = Settlement(
            claim.lease,
            tuple([_result(one, now) for one in judged]),
            write_stories(claim, judged, work.tries, started, now),
            () if spawned is None else (spawned.message,),
            now,
        )
        return Attempted(settlement, _trouble(judged), work.is_telling)

    def _judged(self, claim: Claim, record: RecipientRecord, judgement: Judgement, now: float) -> Judged:
        if judgement.disposition.action is not Action.DEFERRED:
            return Judged(record, judgement, Conclusion(judgement.disposition))
        schedule, dead = self.settings.schedule, judgement.outcome

        def fraction(number: int) -> float:
            return spread(claim.lease.ident, number)

        if isinstance(dead, DestinationDead):
            waiting = _waiting(claim, record, record.attempts)
            conclusion = conclude_untried(judgement.disposition, waiting, schedule, now, fraction, dead)
        else:
            waiting = _waiting(claim, record, record.attempts + 1)
            conclusion = conclude(judgement.disposition, waiting, schedule, now, fraction)
        return Judged(record, judgement, conclusion)

    def _report(self, claim: Claim, one: Judged, now: float) -> RecipientReport | None:
        """What a DSN would say of this recipient; whether anybody wants to hear it is not asked here."""
        disposition, outcome = one.conclusion.disposition, one.judgement.outcome
        retry_until, is_asked = None, False
        action: DsnAction | None
        match disposition.action:
            case Action.DELIVERED if isinstance(outcome, Delivered):
                action = success_action(outcome.handover) if _asks_for_success(one.record) else None
                deliver_by = claim.envelope.parameters.deliver_by
                if action is None and wants_relay_report(deliver_by, outcome.handover, outcome.heeds_deliver_by):
                    action, is_asked = DsnAction.RELAYED, True
            case Action.BOUNCED | Action.EXPIRED:
                action = DsnAction.FAILED
            case Action.DEFERRED if one.conclusion.warned:
                action = DsnAction.DELAYED
                waiting = _waiting(claim, one.record, one.record.attempts)
                retry_until = waiting.expires_at or waiting.begun_at + self.settings.schedule.lifetime_seconds
            case _:
                return None
        if action is None:
            return None
        # Only a server's own words may stand as its diagnostic (RFC 3464, section 2.3.6).
        host = one.judgement.host if isinstance(outcome, Refused | Delivered) else ""
        text = one.judgement.disposition.text if host else disposition.text
        log_id = to_text(claim.lease.ident)
        return RecipientReport(
            one.record.recipient, action, disposition.status, text, host, now, retry_until, log_id, is_asked
        )


def _asks_for_success(record: RecipientRecord) -> bool:
    notify = record.recipient.parameters.notify
    return notify is not None and Notify.SUCCESS in notify


def was_released(record: RecipientRecord) -> bool:
    """True for a queued recipient that a route held before: only an operator lets those go."""
    return record.destination.startswith("hold:") or record.last_problem == _WITHHELD


def _unless_loop(judgement: Judgement, records: Sequence[RecipientRecord]) -> Judgement:
    """Released mail whose only way leads back to us is no mistake of the sender's: it is held again."""
    outcome = judgement.outcome
    if not isinstance(outcome, LookupProblem) or outcome.kind is not LookupKind.LOOP:
        return judgement
    if not any(record.index == judgement.recipient and was_released(record) for record in records):
        return judgement
    return Judgement(judgement.recipient, judge(Withheld(), Context()), Withheld())


def _waiting(claim: Claim, record: RecipientRecord, attempts: int) -> Waiting:
    parameters = claim.envelope.parameters
    return Waiting(
        claim.accepted_at,
        attempts,
        record.warned,
        parameters.hold_until,
        claim.expires_at,
        parameters.deliver_by,
    )


def _result(one: Judged, now: float) -> Result:
    disposition, outcome, index = one.conclusion.disposition, one.judgement.outcome, one.record.index
    match disposition.action:
        case Action.DELIVERED:
            is_relayed = isinstance(outcome, Delivered) and outcome.handover is Handover.WITHOUT_DSN
            state = RecipientState.RELAYED if is_relayed else RecipientState.DELIVERED
            return Result(index, state, problem=disposition.text)
        case Action.RELEASED:
            return Result(index, RecipientState.QUEUED, now, one.record.last_problem, counts_as_attempt=False)
        case action:
            conclusion = one.conclusion
            return Result(index, _STATES[action], conclusion.due, disposition.text, conclusion.warned, one.is_tried)


def _trouble(judged: Sequence[Judged]) -> str:
    """Why the destination as a whole does not work; "" when it dealt with anything."""
    trouble = ""
    for one in judged:
        disposition = one.judgement.disposition
        if not disposition.is_site_trouble:
            return ""
        trouble = disposition.text
    return trouble
