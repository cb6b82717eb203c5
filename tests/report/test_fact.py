"""Who is told: NOTIFY, and never the null reverse-path."""

from dataclasses import replace

import pytest

from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import DeliverBy, Envelope, EnvelopeRecipient, Notify, RecipientParameters
from postreeve.queue.outcome import Handover
from postreeve.report.fact import (
    DsnAction,
    RecipientReport,
    recipients_to_report,
    success_action,
    wants_relay_report,
)

SENDER = Mailbox("sender", Domain("example.com"))
RECIPIENT = Mailbox("user", Domain("example.org"))


def report(action: DsnAction, notify: frozenset[Notify] | None) -> RecipientReport:
    return RecipientReport(EnvelopeRecipient(RECIPIENT, RecipientParameters(notify)), action, "")


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [
        pytest.param(None, {DsnAction.FAILED, DsnAction.DELAYED}, id="default"),
        pytest.param(frozenset({Notify.NEVER}), set(), id="never"),
        pytest.param(frozenset({Notify.FAILURE}), {DsnAction.FAILED}, id="failure"),
        pytest.param(frozenset({Notify.DELAY}), {DsnAction.DELAYED}, id="delay"),
        pytest.param(
            frozenset({Notify.SUCCESS}), {DsnAction.DELIVERED, DsnAction.RELAYED, DsnAction.EXPANDED}, id="success"
        ),
        pytest.param(frozenset({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY}), set(DsnAction), id="all"),
    ],
)
def test_recipients_to_report_obeys_notify(notify: frozenset[Notify] | None, wanted: set[DsnAction]) -> None:
    reports = [report(action, notify) for action in DsnAction]
    chosen = recipients_to_report(Envelope(SENDER, ()), reports)
    assert {each.action for each in chosen} == wanted


def test_recipients_to_report_never_answers_the_null_reverse_path() -> None:
    everything = frozenset({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY})
    assert recipients_to_report(Envelope(None, ()), [report(action, everything) for action in DsnAction]) == ()


def test_recipients_to_report_keeps_the_order_of_those_chosen() -> None:
    reports = [
        report(DsnAction.FAILED, None),
        report(DsnAction.FAILED, frozenset({Notify.NEVER})),
        report(DsnAction.DELAYED, None),
    ]
    assert recipients_to_report(Envelope(SENDER, ()), reports) == (reports[0], reports[2])


NEVER = frozenset({Notify.NEVER})
FAILURE = frozenset({Notify.FAILURE})


@pytest.mark.parametrize(
    ("notify", "is_wanted"), [(None, True), (FAILURE, True), (NEVER, False)], ids=["nothing", "failure", "never"]
)
def test_recipients_to_report_gives_deliver_by_what_it_asks_for(notify: frozenset[Notify], is_wanted: bool) -> None:
    """RFC 2852, section 4.2."""
    asked = replace(report(DsnAction.RELAYED, notify), is_asked_by_deliver_by=True)
    assert bool(recipients_to_report(Envelope(SENDER, ()), [asked])) is is_wanted
    assert recipients_to_report(Envelope(None, ()), [asked]) == ()


RELAYS = {
    "without DELIVERBY": (None, Handover.WITHOUT_DSN, False, False),
    "trace": (DeliverBy(1.0, True, trace=True), Handover.WITH_DSN, True, True),
    "trace into a mailbox": (DeliverBy(1.0, True, trace=True), Handover.FINAL, False, False),
    "no trace, heeded": (DeliverBy(1.0, False), Handover.WITHOUT_DSN, True, False),
    "no trace, not heeded": (DeliverBy(1.0, False), Handover.WITH_DSN, False, True),
}


@pytest.mark.parametrize(("deliver_by", "handover", "heeds", "wanted"), RELAYS.values(), ids=RELAYS)
def test_wants_relay_report(deliver_by: DeliverBy | None, handover: Handover, heeds: bool, wanted: bool) -> None:
    assert wants_relay_report(deliver_by, handover, heeds) is wanted


def test_success_action_leaves_the_word_to_a_next_hop_with_dsn() -> None:
    assert success_action(Handover.FINAL) is DsnAction.DELIVERED
    assert success_action(Handover.WITHOUT_DSN) is DsnAction.RELAYED
    assert success_action(Handover.WITH_DSN) is None
