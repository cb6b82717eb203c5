"""Counts shared by processes."""

import os

import pytest

from postreeve.inbound.counter import SharedCounters


def test_gauge_goes_up_and_down() -> None:
    counters = SharedCounters(64)
    place, other = counters.find(b"one"), counters.find(b"two")
    for _ in range(3):
        counters.change(place, 1)
    counters.change(place, -1)
    assert counters.gauge(place) == 2
    assert place == counters.find(b"one")
    assert place != other
    assert counters.gauge(other) == 0


def test_gauge_is_the_sum_over_processes() -> None:
    counters = SharedCounters(64, workers=3)
    place = counters.find(b"client")
    for worker in (1, 2):
        child = os.fork()
        if child == 0:
            counters.of_worker(worker).change(place, 5)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    counters.of_worker(0).change(place, 1)
    assert counters.gauge(place) == 11
    assert counters.of_worker(2).gauge(place) == 11
    counters.forget_worker(1)
    assert counters.gauge(place) == 6


def test_rate_is_the_sum_over_processes_and_forgets_the_window_before() -> None:
    counters = SharedCounters(64, workers=2)
    place = counters.find(b"client")
    for worker in (0, 1, 1):
        counters.of_worker(worker).note(place, 7)
    assert counters.rate(place, 7) == 3
    assert counters.rate(place, 8) == 0
    counters.of_worker(0).note(place, 8)
    assert counters.rate(place, 8) == 1
    assert counters.rate(place, 8 + 65_536) == 1


def test_rate_stops_counting_before_it_overflows() -> None:
    counters = SharedCounters(4)
    place = counters.find(b"client")
    for _ in range(70_000):
        counters.note(place, 3)
    assert counters.rate(place, 3) == 0xFFFF


def test_clients_that_share_one_slot_are_told_apart() -> None:
    counters = SharedCounters(16)
    places = {counters.find(bytes([number])) for number in range(64)}
    first = counters.find(b"\0")
    half_shared = [place for place in places if len(set(place) & set(first)) == 1 and len(set(place)) == 2]
    assert half_shared
    counters.change(first, 9)
    assert {counters.gauge(place) for place in half_shared} == {0}


def test_place_differs_from_start_to_start() -> None:
    assert len({SharedCounters(1 << 16).find(b"client") for _ in range(8)}) > 1


@pytest.mark.parametrize("worker", [-1, 2])
def test_worker_must_exist(worker: int) -> None:
    with pytest.raises(ValueError, match="worker"):
        SharedCounters(4, workers=2).of_worker(worker)
