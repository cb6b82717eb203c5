"""The sum itself: what the ledger tests would notice."""

from __future__ import annotations

import pytest

from tests.faults.ledger import Balance, Entry, Kill, Ledger, account
from tests.faults.sink import Delivery, LedgerSink, Report

BOX = "box.1@example.org"
REFUSED = "refused.2@example.org"
WINDOW = 1.0


def balance(deliveries: list[Delivery], kills: tuple[Kill, ...] = (), reports: tuple[Report, ...] = ()) -> Balance:
    """Of two acknowledged messages, and one that was not."""
    ledger = Ledger()
    ledger.begun["1"] = Entry("a@example.com", (BOX,), "digest")
    ledger.begun["2"] = Entry("b@example.com", (REFUSED,), "digest")
    ledger.begun["3"] = Entry("c@example.com", ("box.3@example.org",), "digest")
    ledger.acknowledged |= {"1": "250", "2": "250"}
    sink = LedgerSink(deliveries=deliveries, reports=list(reports))
    return account(ledger, sink, kills, {REFUSED} if not reports else (), WINDOW)


def delivery(at: float = 10.0, ident: str = "1", recipient: str = BOX, digest: str = "digest") -> Delivery:
    return Delivery(ident, recipient, digest, at)


def test_account_adds_up_what_came_and_what_waits() -> None:
    found = balance([delivery()])
    assert (found.delivered, found.queued, found.lost, found.duplicates) == (1, 1, [], 0)


def test_account_finds_what_is_lost() -> None:
    assert balance([]).lost == [("1", BOX)]


def test_account_takes_a_report_for_the_message_only_when_it_came() -> None:
    found = balance([delivery()], reports=(Report("b@example.com", b"", 1.0),))
    assert (found.bounced, found.queued, found.lost) == (1, 0, [])
    found = balance([delivery()], reports=(Report("elsewhere@example.com", b"", 1.0),))
    assert found.lost == [("2", REFUSED)]


def test_account_finds_altered_and_uninvited() -> None:
    found = balance([delivery(digest="other"), delivery(ident="9"), delivery(recipient="x@example.org")])
    assert found.altered == [("1", BOX)]
    assert found.uninvited == [("9", BOX), ("1", "x@example.org")]


def test_account_counts_what_came_without_acknowledgement() -> None:
    assert balance([delivery(), delivery(ident="3", recipient="box.3@example.org")]).unacknowledged_delivered == 1


KILLS = {
    "kill soon after the first": ((Kill(10.5, 10.6),), True),
    "kill just before the sink read it": ((Kill(9.8, 9.9),), True),
    "no kill": ((), False),
    "kill long before": ((Kill(5.0, 5.1),), False),
    "kill too long after the first": ((Kill(12.0, 12.1),), False),
    "kill after the second": ((Kill(20.5, 20.6),), False),
}


@pytest.mark.parametrize(("kills", "is_explained"), KILLS.values(), ids=KILLS)
def test_account_explains_a_duplicate_by_a_kill_only(kills: tuple[Kill, ...], is_explained: bool) -> None:
    found = balance([delivery(10.0), delivery(20.0)], kills)
    assert found.duplicates == 1
    assert len(found.unexplained) == (0 if is_explained else 1)
    assert found.most_at_one_kill == (1 if is_explained else 0)


def test_account_demands_an_explanation_of_duplicate_reports_too() -> None:
    report = Report("b@example.com", b"", 1.0)
    assert len(balance([delivery()], reports=(report, report)).unexplained) == 1
