"""What an attempt leaves behind for `queue show` and for the log: stories and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.mail.ident import to_text
from postreeve.outbound.attempt import Try
from postreeve.outbound.bounce import Spawned
from postreeve.queue.disposition import Action, text_of
from postreeve.queue.lifetime import Conclusion
from postreeve.queue.model import Attempt as Story
from postreeve.queue.model import Claim, RecipientRecord, RecipientState
from postreeve.queue.outcome import Delivered, DestinationDead, Outcome, Stage, stage_of
from postreeve.queue.step import Judgement
from postreeve.telemetry.event import (
    MessageSpawned,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    TelemetryEvent,
    Tell,
)

MAX_STORIES: Final = 32
"""Stories of one attempt; a peer with a different word for each of a thousand recipients is not told in full."""
WENT_ON: Final = "next host"

_FAILED: Final = {
    Action.BOUNCED: RecipientState.BOUNCED.value,
    Action.EXPIRED: RecipientState.EXPIRED.value,
    Action.DISCARDED: RecipientState.DROPPED.value,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One recipient at the end of an attempt."""

    record: RecipientRecord
    judgement: Judgement
    conclusion: Conclusion

    @property
    def is_tried(self) -> bool:
        """False for a recipient that was not tried because its destination is dead: no attempt, no story."""
        return not isinstance(self.judgement.outcome, DestinationDead)


def write_stories(
    claim: Claim, judged: Sequence[Judged], tries: Sequence[Try], started: float, now: float
) -> tuple[Story, ...]:
    """One story per host and word of it, in order; then one per reason for those that no host was asked about.

    A dead destination that was not tried makes none: a long wait would fill the story with what never happened.
    """
    by_index = {one.record.index: one for one in judged}
    stories: list[Story] = []
    told: set[int] = set()
    for one_try in tries:
        stories.extend(_of_try(claim, one_try, by_index, told))
    if len(told) < len(judged):
        stories.extend(_untried(claim, [one for one in judged if one.record.index not in told], started, now))
    return tuple(stories[:MAX_STORIES])


def _of_try(claim: Claim, one_try: Try, judged: dict[int, Judged], told: set[int]) -> Iterator[Story]:
    groups: dict[tuple[str, str, str], Sequence[int]] = {}
    if all(isinstance(outcome, Delivered) for outcome in one_try.outcomes):
        # A thousand recipients accepted with a thousand words are one story, told with the first.
        told.update(one_try.recipients)
        reply = judged[one_try.recipients[0]].judgement.disposition.text
        groups[Stage.FINAL.value, Action.DELIVERED.value, reply] = one_try.recipients
    else:
        groups = _by_word(one_try, judged, told)
    connect = one_try.connect
    host, address = ("", "") if connect is None else (connect.host, connect.address or connect.socket)
    destination = claim.recipients[0].destination
    for (stage, result, reply), indexes in groups.items():
        yield Story(
            one_try.at,
            one_try.seconds,
            tuple(indexes),
            destination,
            host,
            address,
            one_try.tls,
            stage,
            result,
            reply,
            one_try.conversation,
        )


def _by_word(one_try: Try, judged: dict[int, Judged], told: set[int]) -> dict[tuple[str, str, str], Sequence[int]]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, outcome in zip(one_try.recipients, one_try.outcomes, strict=True):
        result, reply = WENT_ON, ""
        one = judged.get(index)
        if one is not None and one.judgement.outcome is outcome:
            result, reply = _words(one)
            told.add(index)
        key = (stage_of(outcome).value, result, reply or text_of(outcome))
        if result == Action.DELIVERED.value:
            key = next((known for known in groups if known[1] == result), key)
        groups.setdefault(key, []).append(index)
    return dict(groups)


def _untried(claim: Claim, judged: Sequence[Judged], started: float, now: float) -> Iterator[Story]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for one in judged:
        if one.is_tried and one.conclusion.disposition.action is not Action.RELEASED:
            stage = stage_of(one.judgement.outcome).value
            groups.setdefault((stage, *_words(one)), []).append(one.record.index)
    destination = claim.recipients[0].destination
    for (stage, result, reply), indexes in groups.items():
        yield Story(started, now - started, tuple(indexes), destination, stage=stage, outcome=result, reply=reply)


def _words(one: Judged) -> tuple[str, str]:
    return one.conclusion.disposition.action.value, one.judgement.disposition.text


def tell_all(
    tell: Tell, claim: Claim, judged: Sequence[Judged], tries: Sequence[Try], spawned: Spawned | None, now: float
) -> None:
    """An event for each recipient that moved, and one for the DSN."""
    message = to_text(claim.lease.ident)
    dsn = "" if spawned is None else to_text(spawned.message.ident)
    for one in judged:
        event = _event(message, claim, one, tries, dsn, now)
        if event is not None:
            tell(event)
    if spawned is not None:
        recipient = str(spawned.message.recipients[0].recipient.mailbox)
        tell(MessageSpawned(dsn, message, spawned.kind, recipient))


def _event(
    message: str, claim: Claim, one: Judged, tries: Sequence[Try], dsn: str, now: float
) -> TelemetryEvent | None:
    record, judgement, disposition = one.record, one.judgement, one.conclusion.disposition
    recipient = str(record.recipient.mailbox)
    destination, host, text = record.destination, judgement.host, disposition.text
    attempts = record.attempts + one.is_tried
    match disposition.action:
        case Action.DELIVERED:
            tls = _tls_of(judgement.outcome, tries)
            seconds = now - claim.accepted_at
            return RecipientDelivered(message, recipient, destination, host, tls, text, attempts, seconds)
        case Action.DEFERRED:
            stage, due = stage_of(judgement.outcome).value, one.conclusion.due
            return RecipientDeferred(message, recipient, destination, host, stage, text, attempts, due)
        case Action.BOUNCED | Action.EXPIRED | Action.DISCARDED as action:
            stage = stage_of(judgement.outcome).value
            return RecipientFailed(message, recipient, destination, host, stage, text, _FAILED[action], dsn)
        case _:
            return None  # Released and held recipients are as they were.


def _tls_of(outcome: Outcome, tries: Sequence[Try]) -> str:
    if len(tries) == 1:
        return tries[0].tls
    return next((one.tls for one in tries if any(other is outcome for other in one.outcomes)), "")
