"""Why a recipient waits, in a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postreeve.cli.moment import Clock, size, span
from postreeve.cli.prospect import Circumstances, tell_prospect
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.queue.backoff import next_due, spread
from postreeve.queue.model import Attempt, MessageStory, MessageSummary, Origin, RecipientRecord, RecipientState
from postreeve.queue.settings import Schedule
from tests.cli.mail import mailbox

NOW, IDENT, SCHEDULE = 1_800_000_000.0, 4711, Schedule()
RUNNING = Circumstances(Clock(NOW), SCHEDULE, is_running=True)
STOPPED = replace(RUNNING, is_running=False)
WAITING = RecipientRecord(
    0, EnvelopeRecipient(mailbox("bob@example.com")), "mx:example.com", RecipientState.QUEUED, NOW - 5
)


def story(record: RecipientRecord, attempts: int = 0, ended: float = NOW - 60) -> MessageStory:
    summary = MessageSummary(IDENT, NOW - 3600, "a@example.org", 10, Origin("mx"), 0, (record,))
    made = tuple(Attempt(ended - 1, 1.0, (0,), "mx:example.com", "mx1.example.com") for _ in range(attempts))
    return MessageStory(summary, Envelope(None, (record.recipient,)), made)


def after(attempts: int, ended: float = NOW - 60) -> RecipientRecord:
    due = next_due(SCHEDULE, ended, attempts, spread(IDENT, attempts))
    return replace(WAITING, attempts=attempts, due=due, last_problem="450 4.2.1 busy")


CASES = {
    "first, due": (WAITING, 0, RUNNING, "due now: the first attempt; waits for a free connection to mx:example.com"),
    "first, stopped": (WAITING, 0, STOPPED, "due since 5s, but the server is not running"),
    "leased": (replace(WAITING, leased_until=NOW + 60, due=NOW + 60), 0, RUNNING, "being delivered now"),
    "leased, stopped": (
        replace(WAITING, leased_until=NOW + 60, due=NOW + 60), 0, STOPPED,
        "its attempt was cut off: tried again when the server runs",
    ),
    "second": (after(1), 1, RUNNING, "2nd attempt of the schedule: +5m"),
    "fourth": (after(3), 3, RUNNING, "4th attempt of the schedule: +20m"),
    "beyond the schedule": (after(12), 12, RUNNING, "13th attempt of the schedule: +4h"),
    "operator": (
        replace(after(3), due=NOW + 2), 3, RUNNING,
        "4th attempt, not by the schedule (+20m): an operator asked for it, or the attempt before was cut off",
    ),
    "dead destination": (
        replace(after(3), due=NOW + 90, last_problem="not tried, the destination does not answer: x"), 3, RUNNING,
        "next try in 1m 30s: 4th attempt, when mx:example.com is tried again: it does not answer",
    ),
    "dead destination, never tried": (
        replace(WAITING, due=NOW + 90, last_problem="not tried, the destination does not answer: x"), 0, RUNNING,
        "next try in 1m 30s: 1st attempt, when mx:example.com is tried again: it does not answer",
    ),
    "doomed": (
        replace(WAITING, doomed=True), 0, RUNNING,
        "an operator wants it returned: the sender gets a failure report at once",
    ),
    "dropped": (replace(WAITING, state=RecipientState.DROPPED), 0, RUNNING, "dropped by an operator, without a report"),
    "delivered": (
        replace(WAITING, state=RecipientState.DELIVERED), 1, RUNNING, "delivered to mx1.example.com 1m ago",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("record", "attempts", "about", "expected"), CASES.values(), ids=CASES.keys())
def test_prospect(record: RecipientRecord, attempts: int, about: Circumstances, expected: str) -> None:
    assert tell_prospect(story(record, attempts), record, about).endswith(expected)


SPANS = {0: "0s", 45: "45s", 60: "1m", 90: "1m 30s", 600: "10m", 3600: "1h", 4800: "1h 20m", 86_400: "1d", 1e6: "11d"}


@pytest.mark.parametrize(("seconds", "expected"), SPANS.items())
def test_span_in_one_or_two_units(seconds: float, expected: str) -> None:
    assert span(seconds) == expected


def test_clock_tells_relative_or_absolute_times() -> None:
    assert [Clock(NOW).tell(NOW + away) for away in (-7200, 0.4, 240)] == ["2h ago", "now", "in 4m"]
    assert Clock(NOW, is_absolute=True).tell(NOW) == "2027-01-15T08:00:00Z"


def test_size_in_the_nearest_unit() -> None:
    assert [size(octets) for octets in (0, 1023, 1024, 5 << 20, 3 << 40)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB",
    ]  # fmt: skip
