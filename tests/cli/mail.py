"""Queued messages for tests, as values."""

from __future__ import annotations

import itertools
import time

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.envelope import Envelope, EnvelopeRecipient, MailParameters, RecipientParameters
from postreeve.mail.ident import IdentSource
from postreeve.queue.model import NewMessage, NewRecipient, Origin, RecipientState

NOW = time.time()
_salt = itertools.count()


def mailbox(text: str) -> Mailbox:
    """The mailbox of an address."""
    found = parse_mailbox(text)
    assert found is not None
    return found


def message(
    sender: str = "alice@example.org",
    recipients: tuple[str, ...] = ("bob@example.com",),
    *,
    age: float = 60.0,
    node: int = 0,
    content: bytes = b"Subject: test\r\n\r\nHello\r\n",
    account: str = "alice",
    client: str = "192.0.2.7",
    destination: str = "",
    state: RecipientState = RecipientState.QUEUED,
    parameters: MailParameters | None = None,
    recipient_parameters: RecipientParameters | None = None,
    priority: int = 0,
    due: float | None = None,
    expires_at: float | None = None,
) -> NewMessage:
    """A message accepted `age` seconds ago, for mx:<domain> unless said otherwise."""
    at = NOW - age
    boxes = [mailbox(text) for text in recipients]
    given = recipient_parameters or RecipientParameters()
    enveloped = tuple(EnvelopeRecipient(box, given) for box in boxes)
    path = mailbox(sender) if sender != "<>" else None
    return NewMessage(
        ident=IdentSource(node).next(at, next(_salt)),
        accepted_at=at,
        envelope=Envelope(path, enveloped, parameters or MailParameters()),
        recipients=tuple(
            NewRecipient(one, destination or f"mx:{one.mailbox.domain}", at if due is None else due, state)
            for one in enveloped
        ),
        origin=Origin("submissions", client, "client.example.org", account, "ESMTPSA", "s1"),
        size_octets=len(content),
        content=content,
        priority=priority,
        expires_at=expires_at,
    )
