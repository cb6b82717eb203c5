"""The text that a Prometheus server scrapes, read back by its own parser."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from postreeve.queue.model import QueueStats
from postreeve.telemetry.event import ConnectionRefused, MessageAccepted, SessionOpened
from postreeve.telemetry.exposition import render
from postreeve.telemetry.family import FAMILIES, Kind
from postreeve.telemetry.metric import Metrics
from tools import reference

HOSTILE = 'a"b\\c\nd{e="f"} 1\udcff'


def test_render_reads_back() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.3, 99.0):
        metrics.tell(MessageAccepted("s", "m", "relay", "192.0.2.1", "", "", 1, "", 10, seconds))
    metrics.tell(ConnectionRefused(HOSTILE, "192.0.2.1", "limit"))
    metrics.set_queue(QueueStats(3, oldest_accepted_at=0.0), now=1.25)
    families = {family.name: family for family in text_string_to_metric_families(render(metrics.snapshot()))}
    samples = {(s.name, tuple(s.labels.values())): s.value for family in families.values() for s in family.samples}
    assert samples["postreeve_messages_accepted_total", ("relay",)] == 3
    assert samples["postreeve_accept_seconds_bucket", ("relay", "0.001")] == 1
    assert samples["postreeve_accept_seconds_bucket", ("relay", "0.5")] == 2
    assert samples["postreeve_accept_seconds_bucket", ("relay", "+Inf")] == 3
    assert samples["postreeve_accept_seconds_count", ("relay",)] == 3
    assert samples["postreeve_queue_oldest_age_seconds", ()] == 1.25
    assert samples["postreeve_connections_refused_total", (HOSTILE.replace("\udcff", "?"), "limit")] == 1
    assert families["postreeve_accept_seconds"].type == "histogram"


def test_render_leaves_out_what_has_no_series() -> None:
    metrics = Metrics()
    assert "postreeve_sessions_open" not in render(metrics.snapshot())
    metrics.tell(SessionOpened("s", "relay", "192.0.2.1"))
    assert "postreeve_sessions_open" in render(metrics.snapshot())


def test_families_are_named_by_convention() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)
        assert list(family.buckets) == sorted(family.buckets)
        assert family.text.endswith(".")


def test_pages_of_events_and_metrics_are_up_to_date() -> None:
    docs = Path(reference.ROOT) / "docs"
    assert (docs / "events.md").read_text() == reference.draw_events()
    assert (docs / "metrics.md").read_text() == reference.draw_metrics()
