"""What a delivery status notification reports, and for which recipients the sender wants one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.mail.envelope import DeliverBy, Envelope, EnvelopeRecipient, Notify
from postreeve.queue.outcome import Handover


class DsnAction(Enum):
    """The Action field (RFC 3464, section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    """Handed to a server that will send no success DSN."""
    EXPANDED = "expanded"

    @property
    def asked_for_by(self) -> Notify:
        """The NOTIFY word that asks for it (RFC 3461, section 4.1)."""
        match self:
            case DsnAction.FAILED:
                return Notify.FAILURE
            case DsnAction.DELAYED:
                return Notify.DELAY
            case _:
                return Notify.SUCCESS


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient."""

    recipient: EnvelopeRecipient
    action: DsnAction
    status: str
    """Enhanced status code (RFC 3463), such as "5.1.1"."""
    diagnostic: str = ""
    """The remote server's reply verbatim ("550 5.1.1 …"), or our own words where `remote_host` is ""."""
    remote_host: str = ""
    """The host that said so; "" where nobody did."""
    attempted_at: float | None = None
    retry_until: float | None = None
    """DELAYED only: when we shall give up."""
    log_id: str = ""
    is_asked_by_deliver_by: bool = False
    """DELIVERBY wants this report (RFC 2852, section 4.2): whoever did not say NOTIFY=NEVER gets it."""


@dataclass(frozen=True, slots=True)
class DsnSettings:
    """Who reports, and how much of a message goes back."""

    hostname: str
    max_returned_octets: int = 50_000
    sender_name: str = "Mail Delivery System"
    sender_local_part: str = "postmaster"
    """People answer bounces; the answer reaches somebody."""


# RFC 3461, section 4.1: without NOTIFY a failure is reported, and a delay may be.
_DEFAULT_NOTIFY: Final = frozenset((Notify.FAILURE, Notify.DELAY))


def is_wanted(envelope: Envelope, report: RecipientReport) -> bool:
    """True when the sender is to hear of it (RFC 3461, sections 4.1 and 5.2); never for the null reverse-path."""
    if envelope.reverse_path is None:
        return False
    notify = report.recipient.parameters.notify
    if report.is_asked_by_deliver_by:
        return notify is None or Notify.NEVER not in notify
    return report.action.asked_for_by in (_DEFAULT_NOTIFY if notify is None else notify)


def recipients_to_report(envelope: Envelope, reports: Sequence[RecipientReport]) -> tuple[RecipientReport, ...]:
    """Those of `reports` that one DSN to the sender is to carry; empty: no DSN."""
    return tuple(report for report in reports if is_wanted(envelope, report))


def wants_relay_report(deliver_by: DeliverBy | None, handover: Handover, heeds_deliver_by: bool) -> bool:
    """True when DELIVERBY wants a relay reported (RFC 2852, section 4.2): every one with the trace modifier, and any to
    a server without DELIVERBY, which cannot be told of the time. Into a mailbox is no relay."""
    if deliver_by is None or handover is Handover.FINAL:
        return False
    return deliver_by.trace or not heeds_deliver_by


def success_action(handover: Handover) -> DsnAction | None:
    """What a delivery is reported as, if anybody asked; None: the next hop speaks (RFC 3461, section 5.2.1)."""
    match handover:
        case Handover.FINAL:
            return DsnAction.DELIVERED
        case Handover.WITHOUT_DSN:
            return DsnAction.RELAYED
        case Handover.WITH_DSN:
            return None
