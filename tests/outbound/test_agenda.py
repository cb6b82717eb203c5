from __future__ import annotations

from postreeve.outbound.agenda import DIRTY_REFRESH_SECONDS, REFRESH_SECONDS, Agenda
from postreeve.queue.model import Upcoming


def _refreshed(*upcoming: Upcoming, took: float = 0.0) -> Agenda:
    agenda = Agenda()
    agenda.begin_refresh()
    agenda.refresh(upcoming, 100.0 - took, 100.0)
    return agenda


def test_agenda_asks_at_the_start_and_then_now_and_then() -> None:
    assert Agenda().is_stale(0.0)
    agenda = _refreshed()
    assert not agenda.is_stale(100.0 + REFRESH_SECONDS - 1)
    assert agenda.is_stale(100.0 + REFRESH_SECONDS)


def test_agenda_asks_sooner_when_the_store_may_know_more() -> None:
    agenda = _refreshed()
    agenda.mark_dirty()
    assert not agenda.is_stale(100.0 + DIRTY_REFRESH_SECONDS / 2)
    assert agenda.is_stale(100.0 + DIRTY_REFRESH_SECONDS)
    agenda.ask_now()
    assert agenda.is_stale(100.0 + DIRTY_REFRESH_SECONDS / 2)
    assert not agenda.is_stale(100.01)


def test_agenda_spends_a_small_share_of_the_time_on_asking() -> None:
    agenda = _refreshed(took=2.0)
    agenda.mark_dirty()
    assert not agenda.is_stale(120.0)
    assert agenda.is_stale(140.0)


def test_agenda_gives_out_what_is_due_once_and_in_order() -> None:
    agenda = _refreshed(Upcoming("mx:b.example", 0, 20.0), Upcoming("mx:a.example", 0, 10.0), Upcoming("late", 0, 99.0))
    assert agenda.add("mx:c.example", 5, 5.0)
    assert not agenda.add("mx:c.example", 5, 7.0)
    assert not agenda.add("mx:b.example", 0, 15.0)
    assert list(agenda.pop_due(50.0)) == [("mx:c.example", 5), ("mx:a.example", 0), ("mx:b.example", 0)]
    assert list(agenda.pop_due(50.0)) == []


def test_agenda_knows_how_long_there_is_nothing_to_do() -> None:
    agenda = _refreshed(Upcoming("mx:a.example", 0, 10.0))
    assert agenda.pause_seconds(9.5) == 0.5
    assert agenda.pause_seconds(0.0) == DIRTY_REFRESH_SECONDS
    assert agenda.pause_seconds(1e12) == 0.01
    assert agenda.pause_seconds(None) == DIRTY_REFRESH_SECONDS
    assert agenda.pause_seconds(-1e12) == DIRTY_REFRESH_SECONDS
