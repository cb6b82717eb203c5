"""What is counted, and that no peer decides how many series there are."""

import dataclasses
import json
from typing import Any, get_args

import pytest

from postreeve.queue.model import QueueStats
from postreeve.telemetry.event import (
    AuthenticationFailed,
    CommandRefused,
    MessageAccepted,
    MessageRefused,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    SessionClosed,
    SessionOpened,
    StoreTrouble,
    TelemetryEvent,
    WrongProtocolSeen,
)
from postreeve.telemetry.metric import MAX_SERIES, Metrics, Snapshot, keep_counts, merge, never_less


def read(snapshot: Snapshot, name: str, *labels: str) -> Any:
    return {tuple(key): value for key, value in snapshot.get(name, [])}.get(labels)


def accepted(listener: str = "relay", seconds: float = 0.002) -> MessageAccepted:
    return MessageAccepted("s", "m", listener, "192.0.2.1", "", "a@example.com", 3, "b@example.org", 4096, seconds)


def test_metrics_count_acceptance() -> None:
    metrics = Metrics()
    metrics.tell(accepted())
    metrics.tell(accepted(seconds=100.0))
    metrics.tell(accepted("submission"))
    snapshot = metrics.snapshot()
    assert read(snapshot, "postreeve_messages_accepted_total", "relay") == 2
    assert read(snapshot, "postreeve_messages_accepted_total", "submission") == 1
    assert read(snapshot, "postreeve_recipients_accepted_total", "relay") == 6
    assert read(snapshot, "postreeve_octets_accepted_total", "relay") == 8192
    counts, total = read(snapshot, "postreeve_accept_seconds", "relay")
    assert (counts[1], counts[-1], sum(counts)) == (1, 1, 2)
    assert total == pytest.approx(100.002)


def test_metrics_count_deliveries_by_outcome() -> None:
    metrics = Metrics()
    metrics.tell(RecipientDelivered("m", "r", "d", "h", "TLSv1.3 TLS_AES unverified", "250 ok", 1, 0.3))
    metrics.tell(RecipientDelivered("m", "r", "d", "h", "", "250 ok", 1, 0.3))
    metrics.tell(RecipientDeferred("m", "r", "d", "h", "rcpt", "450 4.7.1 later", 1, 99.0))
    metrics.tell(RecipientDeferred("m", "r", "d", "h", "connect", "timed out", 1, 99.0))
    metrics.tell(RecipientFailed("m", "r", "d", "h", "rcpt", "550 5.1.1 no", "bounced", "m2"))
    snapshot = metrics.snapshot()
    outcomes = {key[0]: value for key, value in snapshot["postreeve_deliveries_total"]}
    assert outcomes == {"delivered": 2, "deferred": 2, "bounced": 1}
    assert read(snapshot, "postreeve_deliveries_tls_total", "TLSv1.3") == 1
    assert read(snapshot, "postreeve_deliveries_tls_total", "none") == 1
    assert read(snapshot, "postreeve_deferrals_total", "rcpt", "450") == 1
    assert read(snapshot, "postreeve_deferrals_total", "connect", "none") == 1
    assert read(snapshot, "postreeve_failures_total", "rcpt", "550") == 1


def test_metrics_keep_sessions_open() -> None:
    metrics = Metrics()
    for session in "abc":
        metrics.tell(SessionOpened(session, "relay", "192.0.2.1"))
    metrics.tell(SessionClosed("a", "relay", "192.0.2.1", "quit", 2.0, 1, 5))
    snapshot = metrics.snapshot()
    assert read(snapshot, "postreeve_sessions_total", "relay") == 3
    assert read(snapshot, "postreeve_sessions_open", "relay") == 2
    assert read(snapshot, "postreeve_sessions_closed_total", "relay", "quit") == 1


def test_metrics_count_refusals() -> None:
    metrics = Metrics()
    metrics.tell(CommandRefused("s", "192.0.2.1", "RCPT", "550 5.7.1 relaying denied", "relay"))
    metrics.tell(CommandRefused("s", "192.0.2.1", "{{7*7}}", "500 5.5.2 what", "syntax"))
    metrics.tell(MessageRefused("s", "192.0.2.1", "", "٥٥٠ no", 3))
    metrics.tell(AuthenticationFailed("s", "192.0.2.1", "mallory", "PLAIN", "password"))
    metrics.tell(WrongProtocolSeen("s", "relay", "192.0.2.1", "http", "hint"))
    snapshot = metrics.snapshot()
    assert read(snapshot, "postreeve_commands_refused_total", "RCPT", "550") == 1
    assert read(snapshot, "postreeve_commands_refused_total", "other", "500") == 1
    assert read(snapshot, "postreeve_messages_refused_total", "none") == 1
    assert read(snapshot, "postreeve_authentication_failures_total", "password") == 1
    assert read(snapshot, "postreeve_wrong_protocol_total", "relay", "http") == 1


def test_metrics_store_health_follows_trouble() -> None:
    metrics = Metrics()
    assert read(metrics.snapshot(), "postreeve_store_healthy") == 1
    metrics.tell(StoreTrouble("unavailable", "EIO"))
    assert read(metrics.snapshot(), "postreeve_store_healthy") == 0
    metrics.tell(StoreTrouble("recovered", ""))
    assert read(metrics.snapshot(), "postreeve_store_healthy") == 1


def test_metrics_queue_gauges_are_replaced() -> None:
    metrics = Metrics()
    metrics.set_queue(QueueStats(5, {"queued": 7, "held": 1}, 900, 100.0, 2, {"mx:example.org": 7}, 1), now=160.0)
    metrics.set_queue(QueueStats(4, {"queued": 6}, 800, 100.0, 2, {"mx:example.net": 6}, 1), now=170.0)
    snapshot = metrics.snapshot()
    assert snapshot["postreeve_queue_recipients"] == [[["queued"], 6]]
    assert snapshot["postreeve_queue_destination_recipients"] == [[["mx:example.net"], 6]]
    assert read(snapshot, "postreeve_queue_oldest_age_seconds") == 70.0
    metrics.set_queue(QueueStats(0), now=170.0)
    assert read(metrics.snapshot(), "postreeve_queue_oldest_age_seconds") == 0.0


def test_metrics_series_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_SERIES * 2):
        metrics.tell(WrongProtocolSeen("s", "relay", "192.0.2.1", f"{number}" * 200, ""))
    series = metrics.snapshot()["postreeve_wrong_protocol_total"]
    assert len(series) == MAX_SERIES + 1
    assert all(len(label) <= 128 for labels, _ in series for label in labels)
    assert sum(value for _, value in series) == MAX_SERIES * 2


@pytest.mark.parametrize("kind", get_args(TelemetryEvent), ids=lambda kind: kind.__name__)
def test_metrics_take_every_event(kind: type) -> None:
    values: dict[str, Any] = {"str": "x", "int": 3, "float": 0.5, "bool": True}
    metrics = Metrics()
    before = metrics.snapshot()
    metrics.tell(kind(**{field.name: values[str(field.type)] for field in dataclasses.fields(kind)}))
    assert (metrics.snapshot() != before) or kind.__name__ in ("ServerStopping", "ServerStopped")


def test_snapshot_is_json_and_independent() -> None:
    metrics = Metrics()
    metrics.tell(accepted())
    snapshot = metrics.snapshot()
    text = json.dumps(snapshot)
    metrics.tell(accepted())
    assert json.dumps(snapshot) == text
    assert merge([json.loads(text)]) == snapshot


def test_merge_adds_workers_up() -> None:
    one, other = Metrics(), Metrics()
    one.tell(accepted())
    other.tell(accepted())
    other.tell(accepted("submission"))
    other.tell(StoreTrouble("full", ""))
    one.set_queue(QueueStats(5, oldest_accepted_at=0.0), now=50.0)
    other.set_queue(QueueStats(6, oldest_accepted_at=0.0), now=20.0)
    merged = merge([one.snapshot(), other.snapshot(), {"postreeve_from_another_version": [[[], 1]]}])
    assert read(merged, "postreeve_messages_accepted_total", "relay") == 2
    assert read(merged, "postreeve_messages_accepted_total", "submission") == 1
    assert sum(read(merged, "postreeve_accept_seconds", "relay")[0]) == 2
    assert read(merged, "postreeve_queue_messages") == 11
    assert read(merged, "postreeve_queue_oldest_age_seconds") == 50.0
    assert read(merged, "postreeve_store_healthy") == 0
    assert "postreeve_from_another_version" not in merged
    assert merge([]) == {}


def test_keep_counts_leaves_gauges_out() -> None:
    metrics = Metrics()
    metrics.tell(accepted())
    metrics.tell(SessionOpened("s", "relay", "192.0.2.1"))
    metrics.set_queue(QueueStats(5), now=1.0)
    kept = keep_counts(metrics.snapshot())
    assert read(kept, "postreeve_messages_accepted_total", "relay") == 1
    assert read(kept, "postreeve_sessions_total", "relay") == 1
    assert sum(read(kept, "postreeve_accept_seconds", "relay")[0]) == 1
    assert not {"postreeve_sessions_open", "postreeve_queue_messages", "postreeve_store_healthy"} & set(kept)


def test_never_less_holds_counters_where_they_were() -> None:
    """Also where a series is missing for a while; gauges and a worker's own processor time go down as they like."""
    many, few = Metrics(), Metrics()
    for _ in range(3):
        many.tell(accepted())
    many.tell(accepted("submission"))
    few.tell(accepted())
    process = "postreeve_process_cpu_seconds_total"
    before = many.snapshot() | {process: [[["0"], 9.0]], "postreeve_queue_messages": [[[], 7]]}
    now = few.snapshot() | {process: [[["0"], 1.0]], "postreeve_queue_messages": [[[], 2]]}
    shown = never_less(before, now)
    assert read(shown, "postreeve_messages_accepted_total", "relay") == 3
    assert read(shown, "postreeve_messages_accepted_total", "submission") == 1
    assert sum(read(shown, "postreeve_accept_seconds", "relay")[0]) == 3
    assert read(shown, process, "0") == 1.0
    assert read(shown, "postreeve_queue_messages") == 2
    assert never_less({}, now) == now
    assert read(never_less(shown, many.snapshot()), "postreeve_messages_accepted_total", "relay") == 3
