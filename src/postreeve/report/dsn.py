"""Delivery status notifications: one message that tells a sender what became of one or several recipients.

RFC 3461 (who wants one), RFC 3464 (its fields), RFC 6522 (its parts), RFC 6533 (internationalised mail).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.date import format_date
from postreeve.mail.envelope import BodyType, Envelope, Return
from postreeve.mail.header import HeaderSection, read_header_section
from postreeve.report.fact import DsnAction, DsnSettings, RecipientReport
from postreeve.report.human import subject_of, write_text
from postreeve.report.mime import Encoding, Part, is_text, pack, raw_part, text_part
from postreeve.report.status import write_status

# msg-id of RFC 5322, section 3.6.4, without what could be mistaken for anything else.
_MESSAGE_ID: Final = re.compile(rb"<[!-;=?-~]{1,250}>")


@dataclass(frozen=True, slots=True)
class Original:
    """The message that is reported on. `content` may be a head of it: then `is_whole` is False."""

    envelope: Envelope
    content: bytes
    is_whole: bool
    arrived_at: float
    received_from: str = ""
    """The name or address of the client that brought it."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """A DSN ready to queue with the null reverse-path (RFC 3461, section 6.1); `body` and `smtputf8` are its needs."""

    recipient: Mailbox
    content: bytes
    body: BodyType
    smtputf8: bool


def make_dsn(
    settings: DsnSettings, original: Original, reports: Sequence[RecipientReport], *, ident: str, now: float
) -> Dsn:
    """One DSN for all `reports`, which `recipients_to_report` chose.

    `ident` is the new message's identifier as text (letters and digits). Raises ValueError without reports or for the
    null reverse-path: nobody is there to be told.
    """
    sender = original.envelope.reverse_path
    if sender is None or not reports:
        raise ValueError("a DSN needs a sender and something to report")
    section = read_header_section(original.content, settings.max_returned_octets)
    message_id = _message_id(section)
    returned = _returned_part(settings, original, section, reports)
    is_whole = returned.media_type in ("message/rfc822", "message/global")
    text = write_text(
        reports,
        hostname=settings.hostname,
        arrived_at=original.arrived_at,
        message_id=message_id,
        is_returned_whole=is_whole,
    )
    parts = [_human_part(text), _status_part(settings, original, reports), returned]
    packed, encoding = pack(parts, ident, "delivery-status")
    header = _header(settings, sender, reports, ident=ident, now=now, message_id=message_id)
    is_eight_bit = encoding is Encoding.EIGHT_BIT or not header.isascii()
    body = BodyType.EIGHT_BIT_MIME if is_eight_bit else BodyType.SEVEN_BIT
    return Dsn(sender, header + packed, body, smtputf8=not header.isascii())


def _header(
    settings: DsnSettings,
    sender: Mailbox,
    reports: Sequence[RecipientReport],
    *,
    ident: str,
    now: float,
    message_id: str,
) -> bytes:
    """RFC 3464, section 2; Auto-Submitted is RFC 3834, section 5: no machine is to answer."""
    lines = [
        f"From: {settings.sender_name} <{settings.sender_local_part}@{settings.hostname}>",
        f"To: <{sender}>",
        f"Subject: {subject_of(reports)}",
        f"Date: {format_date(now)}",
        f"Message-ID: <{ident}@{settings.hostname}>",
    ]
    if message_id:
        lines += [f"In-Reply-To: {message_id}", f"References: {message_id}"]
    lines += ["Auto-Submitted: auto-replied", "MIME-Version: 1.0", ""]
    return "\r\n".join(lines).encode()


def _message_id(section: HeaderSection) -> str:
    """The original's Message-ID where it is safe to repeat, else ""."""
    field = section.first(b"message-id")
    value = b"" if field is None else field.unfolded()
    return value.decode("ascii") if _MESSAGE_ID.fullmatch(value) else ""


def _human_part(text: str) -> Part:
    charset = "us-ascii" if text.isascii() else "utf-8"
    return text_part(f"text/plain; charset={charset}", "Notification", text.encode("utf-8", "replace"))


def _status_part(settings: DsnSettings, original: Original, reports: Sequence[RecipientReport]) -> Part:
    """RFC 6533, section 4: the global form only for a message that came with SMTPUTF8, and only where it is needed."""
    octets = write_status(
        original.envelope,
        reports,
        hostname=settings.hostname,
        received_from=original.received_from,
        arrived_at=original.arrived_at,
        utf8=original.envelope.parameters.smtputf8,
    )
    if octets.isascii():
        return raw_part("message/delivery-status", "Delivery report", octets)
    return raw_part("message/global-delivery-status", "Delivery report", octets)


def _returned_part(
    settings: DsnSettings, original: Original, section: HeaderSection, reports: Sequence[RecipientReport]
) -> Part:
    """The message back: whole after a failure if small and RET allows (RFC 3461, section 4.3), else its header."""
    parameters = original.envelope.parameters
    has_failed = any(report.action is DsnAction.FAILED for report in reports)
    content = original.content
    # Past the limit the section has been cut at a line's end.
    header = content[: section.end]
    is_global = parameters.smtputf8 and not section.is_ascii and _is_utf8(header)
    if (
        has_failed
        and parameters.ret is not Return.HEADERS
        and original.is_whole
        and len(content) <= settings.max_returned_octets
        and is_text(content)
    ):
        return raw_part("message/global" if is_global else "message/rfc822", "Undelivered message", content)
    if not header.endswith(b"\r\n"):
        header += b"\r\n"
    if is_global and is_text(header):
        return raw_part("message/global-headers", "Header of the message", header)
    return text_part("text/rfc822-headers", "Header of the message", header)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
