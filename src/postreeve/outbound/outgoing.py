"""A message as a connection takes it: what a transaction needs to know of its content is found out here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from postreeve.mail.address import Mailbox
from postreeve.mail.envelope import NO_MAIL_PARAMETERS, BodyType, EnvelopeRecipient, MailParameters
from postreeve.outbound.pieces import rejoin
from postreeve.smtp.client_command import Transaction
from postreeve.smtp.stuffing import is_clean


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for some recipients. `content` is all of it, or pieces of any size; then give `size_octets`."""

    reverse_path: Mailbox | None
    recipients: Sequence[EnvelopeRecipient]
    content: bytes | AsyncIterator[bytes]
    size_octets: int
    parameters: MailParameters = NO_MAIL_PARAMETERS
    now: float = 0.0
    """POSIX seconds, for DELIVERBY."""
    requires_tls: bool = False
    hold_for_seconds: int | None = None
    """FUTURERELEASE, for a message that we submit."""
    submitter: str = ""
    """See `smtp.client_command.Transaction`."""


async def prepare(message: Outgoing, parameters: MailParameters) -> tuple[Transaction, bytes | AsyncIterator[bytes]]:
    """What the content is like decides which extensions are needed; of content in pieces only the first is seen."""
    content = message.content
    is_binary = parameters.body is BodyType.BINARY_MIME
    has_utf8_header = False
    if isinstance(content, bytes):
        is_eight_bit = not content.isascii()
        is_binary = is_binary and not is_clean(content)
        if parameters.smtputf8 and is_eight_bit:
            has_utf8_header = not content.partition(b"\r\n\r\n")[0].isascii()
    else:
        is_eight_bit = parameters.body is not BodyType.SEVEN_BIT
        if parameters.smtputf8:
            first = await anext(content, b"")
            has_utf8_header = not first.partition(b"\r\n\r\n")[0].isascii()
            content = rejoin(first, content)
    left = None if parameters.deliver_by is None else int(parameters.deliver_by.deadline - message.now)
    transaction = Transaction(
        message.reverse_path,
        message.recipients,
        message.size_octets,
        parameters,
        is_eight_bit,
        is_binary,
        has_utf8_header,
        left,
        message.requires_tls,
        message.hold_for_seconds,
        message.submitter,
    )
    return transaction, content
