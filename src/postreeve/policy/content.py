"""After the content: what we made of it. RFC 5321, sections 4.1.1.4 and 6.3; RFC 6409, section 6.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.reply import Reply
from postreeve.policy.facts import Account
from postreeve.policy.verdict import Verdict, accept, refuse

UNAVAILABLE: Final = refuse(451, "4.3.0", "cannot take the message now, try again later", "the store is unavailable")
FULL: Final = refuse(452, "4.3.1", "insufficient system storage, try again later", "the store is full")
_LOOP: Final = Reply(554, "5.4.6", "too many hops: mail loop")
_NOT_YOURS: Final = Reply(553, "5.7.1", "you may not send as an address in From or Sender")
LEADING_FOLD: Final = refuse(
    550, "5.6.0", "the header section begins with a folded line", "it would become part of our Received field"
)
_NO_ORIGINATOR: Final = refuse(
    550, "5.6.0", "From or Sender names no mailbox that can be understood", "From or Sender cannot be parsed"
)


def queued(ident: str) -> Verdict:
    """250: the message is on stable storage and ours (RFC 5321, section 6.1).

    Said after `Store.accept` returned, never before.
    """
    return accept(250, "2.0.0", f"queued as {ident}")


def judge_hops(hops: int, max_hops: int) -> Verdict | None:
    """A message that was here, there and everywhere is looping (RFC 5321, section 6.3)."""
    if hops <= max_hops:
        return None
    return Verdict(_LOOP, reason=f"{hops} Received fields, {max_hops} allowed")


def judge_originators(account: Account, mailboxes: Iterable[Mailbox] | None) -> Verdict | None:
    """May `account` use these addresses of From, Sender and their Resent- forms? None when it may.

    `mailboxes` is None when a field could not be understood: then nobody knows whom readers will see, and only an
    account that may be anybody gets through.
    """
    if account.may_send_as_anybody:
        return None
    if mailboxes is None:
        return _NO_ORIGINATOR
    for mailbox in mailboxes:
        if not account.may_send_as(mailbox):
            return Verdict(_NOT_YOURS, reason=f"account {account.name} may not send as {mailbox}")
    return None
