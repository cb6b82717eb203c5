"""Whether a message and its recipients fit a QueueFilter.

Patterns are shell-style (`*`, `?`, `[a-z]`); case is ignored for ASCII letters, as every back end can do.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from postreeve.mail.envelope import Envelope
from postreeve.queue.model import MessageSummary, Origin, QueueFilter, RecipientRecord

NULL_PATH = "<>"


def sender_text(envelope: Envelope) -> str:
    """The reverse-path as filters and lists show it: `<>` for the null one."""
    return NULL_PATH if envelope.reverse_path is None else str(envelope.reverse_path)


def fits(pattern: str | None, text: str) -> bool:
    """True when there is no pattern, or `text` fits it."""
    return pattern is None or _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE | re.ASCII if pattern.isascii() else re.IGNORECASE)


def message_fits(where: QueueFilter, ident: int, accepted_at: float, sender: str, origin: Origin) -> bool:
    """True when the conditions on the message itself hold."""
    return (
        (not where.idents or ident in where.idents)
        and (where.older_than is None or accepted_at < where.older_than)
        and (where.younger_than is None or accepted_at > where.younger_than)
        and fits(where.sender, sender)
        and fits(where.account, origin.account)
    )


def recipient_fits(where: QueueFilter, record: RecipientRecord) -> bool:
    """True when the conditions on one recipient hold."""
    return (
        (where.state is None or record.state is where.state)
        and fits(where.destination, record.destination)
        and fits(where.reason, record.last_problem)
        and fits(where.recipient, str(record.recipient.mailbox))
    )


def summary_fits(where: QueueFilter, summary: MessageSummary) -> bool:
    """True when the message fits and at least one of its recipients does."""
    return message_fits(where, summary.ident, summary.accepted_at, summary.sender, summary.origin) and any(
        recipient_fits(where, record) for record in summary.recipients
    )
