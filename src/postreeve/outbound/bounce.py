"""DSNs to queue: who wants to hear of an attempt, and the one message that says it (RFC 3461)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.mail.envelope import Envelope, EnvelopeRecipient, MailParameters
from postreeve.mail.ident import to_text
from postreeve.queue.model import Claim, NewMessage, NewRecipient, Origin, RecipientState
from postreeve.queue.route import Router
from postreeve.report.dsn import Original, make_dsn
from postreeve.report.fact import DsnAction, DsnSettings, RecipientReport, recipients_to_report
from postreeve.store.face import Store, StoreError

# The gravest action names the whole.
_KINDS: Final = {
    DsnAction.FAILED: "failure",
    DsnAction.DELAYED: "delay",
    DsnAction.DELIVERED: "success",
    DsnAction.RELAYED: "success",
}


@dataclass(frozen=True, slots=True)
class Spawned:
    """A DSN to queue; `kind` is failure, delay or success."""

    message: NewMessage
    kind: str


@dataclass(frozen=True, slots=True)
class Bouncer:
    """Makes DSNs; the caller settles them together with what they report, so that neither is without the other."""

    store: Store
    router: Router
    settings: DsnSettings

    async def spawn(self, claim: Claim, reports: Sequence[RecipientReport], now: float) -> Spawned | None:
        """The DSN that the sender of `claim` is to get for `reports`, or None: nobody asked, or nobody is there."""
        wanted = recipients_to_report(claim.envelope, reports)
        if not wanted:
            return None
        content, is_whole = await self._head(claim)
        origin = claim.origin
        received_from = origin.hello or origin.client_address
        original = Original(claim.envelope, content, is_whole, claim.accepted_at, received_from)
        ident = self.store.new_ident(now)
        dsn = make_dsn(self.settings, original, wanted, ident=to_text(ident), now=now)
        recipient, domain = EnvelopeRecipient(dsn.recipient), dsn.recipient.domain
        route = self.router.route(domain)
        destination = f"mx:{domain.ascii}" if route is None else route.destination
        state = RecipientState.HELD if route is not None and route.is_held else RecipientState.QUEUED
        message = NewMessage(
            ident=ident,
            accepted_at=now,
            envelope=Envelope(None, (recipient,), MailParameters(body=dsn.body, smtputf8=dsn.smtputf8)),
            recipients=(NewRecipient(recipient, destination, now, state),),
            origin=Origin("dsn"),
            size_octets=len(dsn.content),
            content=dsn.content,
            priority=claim.priority,
        )
        actions = {report.action for report in wanted}
        return Spawned(message, next(kind for action, kind in _KINDS.items() if action in actions))

    async def _head(self, claim: Claim) -> tuple[bytes, bool]:
        """As much of the content as a DSN may return, and whether that is all of it."""
        if claim.content is not None:
            return claim.content, True
        most = self.settings.max_returned_octets
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in self.store.content(claim.lease.ident):
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    break
        except StoreError:
            # Damaged content: the sender is told without it.
            return b"".join(pieces), False
        return b"".join(pieces), size <= most
