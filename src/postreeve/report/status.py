"""The part for programs: message/delivery-status, or message/global-delivery-status where it must (RFC 3464, 6533).

What strangers wrote (addresses, envelope identifiers, replies) passes through `clean`: one line, no controls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from postreeve.mail.date import format_date
from postreeve.mail.envelope import Envelope, OriginalRecipient
from postreeve.report.fact import DsnAction, RecipientReport

MAX_DIAGNOSTIC: Final = 900
_MAX_VALUE: Final = 700
_MAX_LINE: Final = 78
_MAX_WORD: Final = 200

# status-code = DIGIT "." 1*3DIGIT "." 1*3DIGIT      RFC 3464, section 2.3.4
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
_ADDRESS_TYPE: Final = re.compile(r"[a-z0-9-]{1,40}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
# Neither QCHAR of RFC 6533, section 3, nor an EmbeddedUnicodeChar.
_NO_QCHAR: Final = re.compile(r"[^!-*,-<>-\[\]-~]")


def write_status(
    envelope: Envelope,
    reports: Sequence[RecipientReport],
    *,
    hostname: str,
    received_from: str,
    arrived_at: float,
    utf8: bool,
) -> bytes:
    """The fields of the whole message and of each recipient; US-ASCII unless `utf8`."""
    fields = []
    if envelope.parameters.envid:
        fields.append(_field("Original-Envelope-Id", envelope.parameters.envid, utf8))
    fields.append(_field("Reporting-MTA", f"dns; {hostname}", utf8))
    if _HOST.fullmatch(received_from):
        fields.append(_field("Received-From-MTA", f"dns; {received_from}", utf8))
    fields.append(_field("Arrival-Date", format_date(arrived_at), utf8))
    groups = ["".join(fields), *(_write_recipient(report, utf8) for report in reports)]
    return "\r\n".join(groups).encode("utf-8" if utf8 else "ascii", "replace")


def _write_recipient(report: RecipientReport, utf8: bool) -> str:
    mailbox = report.recipient.mailbox
    fields = []
    if report.recipient.parameters.orcpt is not None:
        fields.append(_original_recipient(report.recipient.parameters.orcpt, utf8))
    final = OriginalRecipient("rfc822" if mailbox.is_ascii else "utf-8", str(mailbox))
    fields.append(_field("Final-Recipient", f"{final.address_type}; {_address(final, utf8)}", utf8))
    fields.append(_field("Action", report.action.value, utf8))
    fields.append(_field("Status", status_of(report), utf8))
    if _HOST.fullmatch(report.remote_host):
        fields.append(_field("Remote-MTA", f"dns; {report.remote_host}", utf8))
    if report.diagnostic:
        kind = "smtp" if report.remote_host else "x-postreeve"
        fields.append(_folded("Diagnostic-Code", f"{kind}; {report.diagnostic[:MAX_DIAGNOSTIC]}", utf8))
    if report.attempted_at is not None:
        fields.append(_field("Last-Attempt-Date", format_date(report.attempted_at), utf8))
    if report.log_id:
        fields.append(_field("Final-Log-ID", report.log_id, utf8))
    if report.retry_until is not None and report.action is DsnAction.DELAYED:
        fields.append(_field("Will-Retry-Until", format_date(report.retry_until), utf8))
    return "".join(fields)


def status_of(report: RecipientReport) -> str:
    """The report's status where it is one of the class that its action demands, else that class's general code."""
    classes = {DsnAction.FAILED: "54", DsnAction.DELAYED: "4"}.get(report.action, "2")
    if _STATUS.fullmatch(report.status) and report.status[0] in classes:
        return report.status
    return f"{classes[0]}.0.0"


def clean(text: str) -> str:
    """`text` as one line: runs of white space and controls become one space, what cannot be shown becomes "?"."""
    words = "".join(c if c.isprintable() else " " if c.isspace() or c < " " else "?" for c in text).split()
    return " ".join(words)


def _original_recipient(orcpt: OriginalRecipient, utf8: bool) -> str:
    """RFC 3461, section 6.3: the address type and address that ORCPT gave, its xtext undone."""
    address = _address(orcpt, utf8)
    # A shortened address would be another one: rather none.
    if _ADDRESS_TYPE.fullmatch(orcpt.address_type) is None or len(address.encode()) > _MAX_VALUE:
        return ""
    return _field("Original-Recipient", f"{orcpt.address_type}; {address}", utf8)


def _address(address: OriginalRecipient, utf8: bool) -> str:
    """RFC 6533, section 3: a utf-8 address stands as it is in a global part, else as utf-8-addr-xtext."""
    if address.address_type != "utf-8" or utf8:
        return address.address
    return _NO_QCHAR.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", address.address)


def _field(name: str, value: str, utf8: bool) -> str:
    return f"{name}: {_show(value, utf8)[:_MAX_VALUE]}\r\n"


def _show(value: str, utf8: bool) -> str:
    text = clean(value)
    return text if utf8 else text.encode("ascii", "replace").decode("ascii")


def _folded(name: str, value: str, utf8: bool) -> str:
    lines, line = [], f"{name}:"
    for word in _show(value, utf8).split():
        for start in range(0, len(word), _MAX_WORD):
            piece = word[start : start + _MAX_WORD]
            if len(line) + 1 + len(piece) > _MAX_LINE and line.strip() != f"{name}:":
                lines.append(line)
                line = ""
            line += " " + piece
    return "\r\n".join([*lines, line]) + "\r\n"
