"""The client's MAIL and RCPT lines: every parameter only where the server offers it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    BodyType,
    EnvelopeRecipient,
    MailParameters,
    OriginalRecipient,
)
from postreeve.smtp.capability import Capabilities


@dataclass(frozen=True, slots=True)
class Transaction:
    """One mail transaction as the client is asked to make it: part of an envelope, and what its content is like."""

    reverse_path: Mailbox | None
    recipients: Sequence[EnvelopeRecipient]
    size_octets: int
    parameters: MailParameters = NO_MAIL_PARAMETERS
    is_eight_bit: bool = False
    """The content has octets above 127, or may have."""
    is_binary: bool = False
    """The content cannot go as lines: BDAT or nothing (RFC 3030)."""
    has_utf8_header: bool = False
    deliver_by_seconds: int | None = None
    """What is left of DELIVERBY's time (RFC 2852), now; may be negative."""
    requires_tls: bool = False
    """REQUIRETLS (RFC 8689)."""
    hold_for_seconds: int | None = None
    """HOLDFOR (RFC 4865), for a message that we submit; what a queue held itself goes on without."""
    submitter: str = ""
    """AUTH (RFC 4954, section 5): an address, "<>" for nobody known, "" to say nothing."""


class Shortcoming(Enum):
    """What the server would have to offer for this message, and does not."""

    SMTPUTF8 = "SMTPUTF8"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"
    SIZE = "SIZE"
    REQUIRE_TLS = "REQUIRETLS"
    DELIVER_BY = "DELIVERBY"


def shortcoming(transaction: Transaction, offered: Capabilities, *, eight_bit_anyway: bool) -> Shortcoming | None:
    """Why the server cannot take this message from anybody, or None.

    Departs from RFC 6152, section 3, with `eight_bit_anyway`: 8-bit content is sent as it is to servers that do not
    offer 8BITMIME. The few that lack it pass all octets on, and conversion would break signatures; see docs/decisions.
    """
    sender = transaction.reverse_path
    if not offered.smtputf8 and (transaction.has_utf8_header or (sender is not None and not sender.is_ascii)):
        return Shortcoming.SMTPUTF8
    if transaction.is_binary and not (offered.binary_mime and offered.chunking):
        return Shortcoming.BINARY_MIME
    if transaction.is_eight_bit and not offered.eight_bit_mime and not eight_bit_anyway:
        return Shortcoming.EIGHT_BIT_MIME
    if offered.size_limit is not None and transaction.size_octets > offered.size_limit:
        return Shortcoming.SIZE
    if transaction.requires_tls and not offered.requiretls:
        return Shortcoming.REQUIRE_TLS
    deliver_by = transaction.parameters.deliver_by
    if deliver_by is not None and deliver_by.must_return and not offered.deliver_by:
        # RFC 2852, section 4.2: by-mode R is not handed to a server that would not heed it.
        return Shortcoming.DELIVER_BY
    return None


def mail_command(transaction: Transaction, offered: Capabilities, *, is_authenticated: bool = False) -> bytes:
    """MAIL FROM (RFC 5321, section 4.1.1.2) with its line end.

    Who submitted the message (RFC 4954, section 5) is told to servers that we have authenticated to, and to no others.
    """
    sender = transaction.reverse_path
    line = f"MAIL FROM:<{'' if sender is None else sender}>"
    if offered.size:
        line += f" SIZE={transaction.size_octets}"
    if transaction.is_binary:
        line += " BODY=BINARYMIME"
    elif offered.eight_bit_mime and (
        transaction.is_eight_bit or transaction.parameters.body is BodyType.EIGHT_BIT_MIME
    ):
        line += " BODY=8BITMIME"
    if offered.smtputf8 and _wants_utf8(transaction):
        line += " SMTPUTF8"
    if transaction.requires_tls:
        line += " REQUIRETLS"
    if offered.future_release and transaction.hold_for_seconds is not None:
        line += f" HOLDFOR={transaction.hold_for_seconds}"
    if is_authenticated and transaction.submitter and offered.auth:
        line += f" AUTH={transaction.submitter if transaction.submitter == '<>' else xtext(transaction.submitter)}"
    if transaction.parameters is not NO_MAIL_PARAMETERS:
        line += _mail_parameters(transaction, offered)
    return f"{line}\r\n".encode("utf-8", "replace")


def _wants_utf8(transaction: Transaction) -> bool:
    sender = transaction.reverse_path
    if transaction.parameters.smtputf8 or transaction.has_utf8_header or (sender is not None and not sender.is_ascii):
        return True
    return any(not recipient.mailbox.is_ascii for recipient in transaction.recipients)


def _mail_parameters(transaction: Transaction, offered: Capabilities) -> str:
    parameters = transaction.parameters
    text = ""
    if offered.dsn:
        if parameters.ret is not None:
            text += f" RET={parameters.ret.value}"
        if parameters.envid is not None:
            text += f" ENVID={xtext(parameters.envid)}"
    if offered.deliver_by and parameters.deliver_by is not None and transaction.deliver_by_seconds is not None:
        mode = "R" if parameters.deliver_by.must_return else "N"
        seconds = max(-999_999_999, min(transaction.deliver_by_seconds, 999_999_999))
        text += f" BY={seconds};{mode}{'T' if parameters.deliver_by.trace else ''}"
    if offered.mt_priority and parameters.priority is not None:
        text += f" MT-PRIORITY={parameters.priority}"
    return text


def recipient_command(recipient: EnvelopeRecipient, offered: Capabilities) -> bytes:
    """RCPT TO (RFC 5321, section 4.1.1.3; RFC 3461, sections 4.1 and 4.2) with its line end."""
    parameters = recipient.parameters
    if parameters is NO_RECIPIENT_PARAMETERS or not offered.dsn:
        return f"RCPT TO:<{recipient.mailbox}>\r\n".encode("utf-8", "replace")
    line = f"RCPT TO:<{recipient.mailbox}>"
    if parameters.notify:
        line += " NOTIFY=" + ",".join(sorted(one.value for one in parameters.notify))
    if parameters.orcpt is not None:
        line += _original(parameters.orcpt, offered)
    return f"{line}\r\n".encode("utf-8", "replace")


def _original(original: OriginalRecipient, offered: Capabilities) -> str:
    if original.address_type != "utf-8":
        return f" ORCPT={original.address_type};{xtext(original.address)}"
    # RFC 6533, section 3: utf-8-addr-unitext needs SMTPUTF8, utf-8-addr-xtext goes anywhere.
    encode = _unitext if offered.smtputf8 else _utf8_xtext
    return f" ORCPT=utf-8;{encode(original.address)}"


# RFC 3461, section 4: xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
_NO_XCHAR: Final = re.compile(r"[^!-*,-<>-~]")
# RFC 6533, section 3: QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e
_NO_QCHAR: Final = re.compile(r"[^!-*,-<>-\[\]-~]")
_NO_UNITEXT: Final = re.compile(r"[^!-*,-<>-\[\]-~\x80-\U0010ffff]")


def xtext(text: str) -> str:
    """RFC 3461, section 4: xtext = *( xchar / hexchar )."""
    return _NO_XCHAR.sub(lambda found: "".join(f"+{octet:02X}" for octet in found[0].encode("utf-8", "replace")), text)


def _utf8_xtext(text: str) -> str:
    return _NO_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)


def _unitext(text: str) -> str:
    return _NO_UNITEXT.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)
