"""MAIL: on whose behalf. RFC 5321, section 4.1.1.2; RFC 6409, section 6.1 (submitter authorisation); RFC 6710."""

from __future__ import annotations

from enum import Enum
from typing import Final

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.reply import Reply
from postreeve.policy.facts import Facts
from postreeve.policy.settings import Role
from postreeve.policy.verdict import Verdict, accept, refuse


class Room(Enum):
    """Can we take mail now?"""

    ENOUGH = "enough"
    FULL = "full"
    """Too little space is left."""
    UNAVAILABLE = "unavailable"
    """The store cannot promise durability."""


ACCEPTED: Final = accept(250, "2.1.0", "OK")
FULL: Final = refuse(452, "4.3.1", "insufficient system storage, try again later", "too little space is left")
UNAVAILABLE: Final = refuse(451, "4.3.0", "cannot take mail now, try again later", "the store is unavailable")
_LOGIN_FIRST: Final = refuse(530, "5.7.0", "authentication required", "no login on a submission listener")
_NOT_YOURS: Final = Reply(553, "5.7.1", "you may not send as this address")


def judge_sender(facts: Facts, reverse_path: Mailbox | None, priority: int | None, room: Room) -> Verdict:
    """May this client begin a message from `reverse_path` (None is `<>`)?

    The null reverse-path is free for accounts too: dispositions and auto-replies are sent with it.
    """
    if room is not Room.ENOUGH:
        return FULL if room is Room.FULL else UNAVAILABLE
    account = facts.account
    if facts.role is Role.SUBMISSION:
        if account is None:
            return _LOGIN_FIRST
        if reverse_path is not None and not account.may_send_as(reverse_path):
            return Verdict(_NOT_YOURS, reason=f"account {account.name} may not send as {reverse_path}")
    if priority is not None:
        granted = grant_priority(facts, priority)
        if granted != priority:
            # RFC 6710, section 4.1 with the status of section 9: the text begins with the priority we do grant.
            return accept(250, "2.3.6", f"{granted} is the priority granted")
    return ACCEPTED


def grant_submitter(facts: Facts, asserted: str | None) -> str | None:
    """Whom MAIL's AUTH parameter is trusted to name (RFC 4954, section 5): an address that the account may send as.

    "<>" is nobody known; None where the client said nothing.
    """
    if asserted is None or asserted == "<>":
        return asserted
    mailbox = parse_mailbox(asserted)
    is_trusted = facts.account is not None and mailbox is not None and facts.account.may_send_as(mailbox)
    return asserted if is_trusted else "<>"


def grant_priority(facts: Facts, requested: int | None) -> int:
    """The priority a message gets: strangers may lower theirs but not jump the queue (RFC 6710, section 10)."""
    if requested is None:
        return 0
    return requested if facts.is_trusted else min(requested, 0)
