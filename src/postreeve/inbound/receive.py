"""From content to a durable message: gathered in memory, past a bound in the store's spool; judged,
prepended to, stored.

Received octets are never written anew: `Received:` and what a submission lacked are put before them (RFC 5321,
section 4.4; RFC 6409, section 8). Only `Transaction.finish` says 250, and only after `Store.accept` has returned.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.inbound.peer import Peer
from postreeve.inbound.service import Services
from postreeve.mail.address import Mailbox
from postreeve.mail.addresslist import read_address_list
from postreeve.mail.envelope import BodyType, Envelope, EnvelopeRecipient, MailParameters
from postreeve.mail.fixup import fix_submission
from postreeve.mail.header import HeaderSection, read_header_section
from postreeve.mail.ident import to_text
from postreeve.mail.trace import Reception, count_received, received_field
from postreeve.policy import content as policy
from postreeve.policy.facts import Account
from postreeve.policy.sender import grant_priority, grant_submitter
from postreeve.policy.settings import LimitSettings, Role
from postreeve.policy.verdict import Verdict
from postreeve.queue.model import NewMessage, NewRecipient, RecipientState
from postreeve.queue.route import Route
from postreeve.smtp.event import ContentEnd
from postreeve.store.face import LeaseTerms, Spool, StoreError, StoreFull
from postreeve.telemetry.event import MessageAccepted, StoreTrouble

MEMORY_OCTETS: Final = 262_144
"""Content past this goes to the store's spool in pieces of this size."""

_ORIGINATORS: Final = (b"from", b"sender", b"resent-from", b"resent-sender")


class Transaction:
    """One mail transaction: the envelope as it grows, then its content."""

    __slots__ = (
        "_chunks",
        "_held_octets",
        "_ident",
        "_ident_text",
        "_is_ascii",
        "_memory_octets",
        "_peer",
        "_prefix",
        "_refusal",
        "_services",
        "_spool",
        "_started",
        "limits",
        "octets",
        "parameters",
        "recipients",
        "reverse_path",
    )

    def __init__(
        self,
        services: Services,
        peer: Peer,
        limits: LimitSettings,
        reverse_path: Mailbox | None,
        parameters: MailParameters,
    ) -> None:
        self._services = services
        self._peer = peer
        self.limits = limits
        self.reverse_path = reverse_path
        self.parameters = parameters
        self.recipients: dict[Mailbox, tuple[EnvelopeRecipient, Route]] = {}
        self._chunks: list[bytes] = []
        self._held_octets = 0
        # What is judged before the spool begins must hold the whole header section.
        self._memory_octets = max(MEMORY_OCTETS, limits.max_header_octets)
        self.octets = 0
        """Content received so far."""
        self._is_ascii = True
        self._spool: Spool | None = None
        self._ident = 0
        self._ident_text = ""
        self._prefix = b""
        self._refusal: Verdict | None = None
        self._started = time.time()

    @property
    def is_spooled(self) -> bool:
        """True when content lies in the store's spool and must be discarded if there is to be no message."""
        return self._spool is not None

    def add_recipient(self, recipient: EnvelopeRecipient, route: Route) -> None:
        """An accepted RCPT. One that names a recipient again changes nothing: he gets the message once."""
        self.recipients.setdefault(recipient.mailbox, (recipient, route))

    def add_content(self, data: bytes) -> bool:
        """Some content. True when `write_out` must be awaited before there is more."""
        size = len(data)
        self.octets += size
        if self._refusal is not None:
            return False
        self._chunks.append(data)
        self._held_octets += size
        return self._held_octets > self._memory_octets

    async def write_out(self) -> None:
        """Move what is held in memory to the spool."""
        content = self._take_chunks()
        if self._spool is None:
            self._begin(content)
            if self._refusal is not None:
                return
        try:
            if self._spool is None:
                self._spool = await self._services.store.spool(self._ident)
                await self._spool.write(self._prefix)
            await self._spool.write(content)
        except StoreError as error:
            self._refusal = self._report(error)
            await self.discard()

    async def finish(self, end: ContentEnd) -> Verdict:
        """All content has come: make the message durable. A positive verdict means that it is."""
        content = self._take_chunks()
        if end.problem is not None:
            await self.discard()
            return Verdict(end.problem, reason=end.problem.text)
        if self._spool is None and self._refusal is None:
            self._begin(content)
        if self._refusal is not None:
            await self.discard()
            return self._refusal
        try:
            return await self._store(content)
        except StoreError as error:
            await self.discard()
            return self._report(error)

    async def discard(self) -> None:
        """There will be no message: forget the content."""
        self._chunks.clear()
        spool, self._spool = self._spool, None
        if spool is not None:
            try:
                await spool.discard()
            except StoreError:
                pass  # Abandoned spools are swept by the store.

    def _take_chunks(self) -> bytes:
        chunks = self._chunks
        content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._held_octets = 0
        if self._is_ascii and not content.isascii():
            self._is_ascii = False
        return content

    def _begin(self, head: bytes) -> None:
        """Judge the beginning of the content, and make what stands before it."""
        self._ident = self._services.store.new_ident(self._started)
        self._ident_text = to_text(self._ident)
        self._refusal = policy.judge_hops(count_received(head), self.limits.max_hops)
        if self._refusal is not None:
            return
        fields = b""
        if self._peer.role is Role.SUBMISSION:
            fields = self._fix_up(head)
        elif head[:1] in (b" ", b"\t"):
            self._refusal = policy.LEADING_FOLD
        self._prefix = self._received() + fields

    def _fix_up(self, head: bytes) -> bytes:
        section = read_header_section(head, self.limits.max_header_octets)
        fixup = fix_submission(
            section,
            hostname=self._services.policy.hostname,
            ident=self._ident_text,
            now=self._started,
            eight_bit_body=not self._is_ascii and not head[section.body :].isascii(),
        )
        account = self._peer.account
        if fixup.refusal is not None:
            self._refusal = Verdict(fixup.refusal, reason=fixup.refusal.text)
        elif account is not None:
            self._refusal = policy.judge_originators(account, _originators(account, section))
        return fixup.fields

    def _received(self) -> bytes:
        peer = self._peer
        return received_field(
            Reception(
                hostname=self._services.policy.hostname,
                hello=peer.hello,
                client_name="",
                client_address=peer.text,
                protocol=peer.origin(self.parameters.smtputf8).protocol,
                tls_version=peer.tls_version,
                cipher=peer.cipher,
                ident=self._ident_text,
                received_at=self._started,
                recipient=next(iter(self.recipients)) if len(self.recipients) == 1 else None,
                priority=self.parameters.priority,
            )
        )

    async def _store(self, content: bytes) -> Verdict:
        services = self._services
        now = time.time()
        message = self._message(content, now)
        lease = LeaseTerms(now + services.lease_seconds) if services.wants_claims() else None
        spool = self._spool
        if spool is not None and content:
            await spool.write(content)
        claims = await services.store.accept(message, lease, spool)
        # From here on the message is ours, whatever becomes of the session.
        if claims:
            services.offer(claims)
        if lease is None or message.recipients[0].due > now:
            services.announce(message)
        services.tell(self._accepted(message, now))
        return policy.queued(self._ident_text)

    def _message(self, content: bytes, now: float) -> NewMessage:
        parameters = self.parameters
        if not self._is_ascii and parameters.body in (None, BodyType.SEVEN_BIT):
            # Clients that just send eight bits are common; the next hop is told the truth (RFC 6152, section 3).
            parameters = replace(parameters, body=BodyType.EIGHT_BIT_MIME)
        if parameters.auth is not None:
            parameters = replace(parameters, auth=grant_submitter(self._peer.facts, parameters.auth))
        hold_until = parameters.hold_until
        due = hold_until if hold_until is not None and hold_until > now else now
        deliver_by = parameters.deliver_by
        return NewMessage(
            ident=self._ident,
            accepted_at=now,
            envelope=Envelope(self.reverse_path, tuple([one for one, _ in self.recipients.values()]), parameters),
            recipients=tuple(
                NewRecipient(
                    recipient,
                    route.destination,
                    due,
                    RecipientState.HELD if route.is_held else RecipientState.QUEUED,
                )
                for recipient, route in self.recipients.values()
            ),
            origin=self._peer.origin(parameters.smtputf8),
            size_octets=len(self._prefix) + self.octets,
            content=None if self._spool is not None else self._prefix + content,
            priority=grant_priority(self._peer.facts, parameters.priority),
            expires_at=deliver_by.deadline if deliver_by is not None and deliver_by.must_return else None,
        )

    def _accepted(self, message: NewMessage, now: float) -> MessageAccepted:
        origin = message.origin
        return MessageAccepted(
            session=origin.session,
            message=self._ident_text,
            listener=origin.listener,
            client=origin.client_address,
            account=origin.account,
            sender=str(self.reverse_path or ""),
            recipients=len(self.recipients),
            first_recipient=str(next(iter(self.recipients))),
            octets=message.size_octets,
            seconds=now - self._started,
        )

    def _report(self, error: StoreError) -> Verdict:
        state = "full" if isinstance(error, StoreFull) else "unavailable"
        self._services.tell(StoreTrouble(state, str(error)))
        return policy.FULL if isinstance(error, StoreFull) else policy.UNAVAILABLE


def _originators(account: Account, section: HeaderSection) -> list[Mailbox] | None:
    """Every mailbox that readers may take for the author or sender; None when a field cannot be understood."""
    if account.may_send_as_anybody:
        return []
    found: list[Mailbox] = []
    for listed in _originator_lists(section):
        if listed is None:
            return None
        found += listed
    return found


def _originator_lists(section: HeaderSection) -> Iterator[tuple[Mailbox, ...] | None]:
    for field in section.fields:
        if field.key in _ORIGINATORS:
            addresses = read_address_list(field.value)
            yield None if addresses.problem or not addresses.mailboxes else addresses.mailboxes
