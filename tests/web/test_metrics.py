"""The endpoint over real HTTP: what it says when things go wrong. tests/cli/test_running.py scrapes a whole server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from postreeve.telemetry.event import InternalError, MessageAccepted, StoreTrouble, TelemetryEvent
from postreeve.telemetry.metric import Metrics, Snapshot, merge
from postreeve.web.health import find_problems
from postreeve.web.metrics import MetricsServer
from postreeve.web.process import count_workers, measure_process

Collect = Callable[[], Awaitable[Snapshot]]


async def ask(collect: Collect, path: str, events: list[TelemetryEvent] | None = None) -> httpx.Response:
    server = MetricsServer("127.0.0.1", 0, collect, [].append if events is None else events.append)
    server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
            return await client.get(path)
    finally:
        await server.stop()


def giving(snapshot: Snapshot) -> Collect:
    async def collect() -> Snapshot:
        return snapshot

    return collect


@pytest.mark.asyncio
async def test_metrics_text_survives_names_chosen_by_strangers() -> None:
    metrics = Metrics()
    hostile = 'mx"} 1\npostreeve_evil{a="\\'
    metrics.tell(MessageAccepted("s", "m", hostile, "192.0.2.1", "", "<>", 1, "a@example.org", 10, 0.002))
    answer = await ask(giving(metrics.snapshot()), "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["postreeve_messages_accepted"].samples[0].labels == {"listener": hostile}
    assert "postreeve_evil" not in families


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
async def test_failing_collection_is_told_as_a_bug_and_answers_one_line(path: str) -> None:
    async def collect() -> Snapshot:
        raise RuntimeError("secret words")

    events: list[TelemetryEvent] = []
    answer = await ask(collect, path, events)
    assert (answer.status_code, answer.text) == (500, "internal error, see the log\n")
    (event,) = events
    assert isinstance(event, InternalError)
    assert "secret words" in event.traceback


HEALTH = {
    "well": (("recovered",), 2, 200, "ok\n"),
    "store unavailable": (("unavailable",), 2, 503, "the store cannot promise durability, or has no room\n"),
    "store recovered": (("full", "recovered"), 2, 200, "ok\n"),
    "worker missing": ((), 1, 503, "1 of 2 workers do not answer\n"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(("states", "answering", "status", "text"), HEALTH.values(), ids=HEALTH.keys())
async def test_healthz_says_why(states: tuple[str, ...], answering: int, status: int, text: str) -> None:
    metrics = Metrics()
    for state in states:
        metrics.tell(StoreTrouble(state, "x"))
    answer = await ask(
        giving(merge([metrics.snapshot(), Metrics().snapshot(), count_workers(2, answering)])), "/healthz"
    )
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["cache-control"] == "no-store"


def test_problems_of_nothing_are_none() -> None:
    assert find_problems({}) == []


def test_process_is_measured() -> None:
    measured = measure_process(3, 1000.5)
    assert measured["postreeve_process_start_seconds"] == [[["3"], 1000.5]]
    assert measured["postreeve_process_resident_octets"][0][1] > 1_000_000
    assert measured["postreeve_process_descriptors"][0][1] >= 3
    assert measured["postreeve_process_descriptors_limit"][0][1] >= measured["postreeve_process_descriptors"][0][1]
