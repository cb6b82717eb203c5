"""The parameters of MAIL and RCPT, one parser each.

A parser gets the value (None where no "=" came) and the terms, and gives the field's value in `MailParameters` or
`RecipientParameters`, or the reply that refuses the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import BodyType, DeliverBy, Notify, OriginalRecipient, Return
from postreeve.mail.reply import Reply
from postreeve.smtp.grammar import decode_utf8_address, decode_xtext
from postreeve.smtp.settings import ServerSettings

MAX_ENVID_CHARACTERS: Final = 100
MAX_ORCPT_CHARACTERS: Final = 500
"""RFC 3461, sections 5.4 and 5.2."""
_MAX_DELIVER_BY_DIGITS: Final = 9


class Terms(NamedTuple):
    """What parsing a parameter depends on: the listener, the time, and whether the transaction has SMTPUTF8."""

    settings: ServerSettings
    now: float
    smtputf8: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword: the extension that must be offered for it, the field it fills, and its parser."""

    keyword: str
    extension: str
    field: str
    parse: Callable[[str | None, Terms], object]


def timestamp(seconds: float) -> str:
    """RFC 3339 date-time in UTC, whole seconds."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59Z"


def _refuse(text: str) -> Reply:
    return Reply(501, "5.5.4", text)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _size(value: str | None, terms: Terms) -> int | Reply:
    """RFC 1870, section 6: size-value ::= 1*20DIGIT."""
    if value is None or len(value) > 20 or not _is_digits(value):
        return _refuse("syntax: SIZE=octets")
    size = int(value)
    if size > terms.settings.max_message_octets:
        return Reply(552, "5.3.4", f"message exceeds the size limit of {terms.settings.max_message_octets} octets")
    return size


_BODY_TYPES: Final = {body.value: body for body in BodyType}


def _body(value: str | None, terms: Terms) -> BodyType | Reply:
    """RFC 6152, section 3; RFC 3030, section 3 (BINARYMIME only where CHUNKING is offered)."""
    body = _BODY_TYPES.get((value or "").upper())
    if body is None or (body is BodyType.BINARY_MIME and not terms.settings.offer_chunking):
        return _refuse("BODY is 7BIT, 8BITMIME or, where offered, BINARYMIME")
    return body


def _smtputf8(value: str | None, _terms: Terms) -> bool | Reply:
    """RFC 6531, section 3.4: no value."""
    return True if value is None else _refuse("SMTPUTF8 takes no value")


def _ret(value: str | None, _terms: Terms) -> Return | Reply:
    """RFC 3461, section 4.3."""
    match (value or "").upper():
        case "FULL":
            return Return.FULL
        case "HDRS":
            return Return.HEADERS
        case _:
            return _refuse("RET is FULL or HDRS")


def _envid(value: str | None, _terms: Terms) -> str | Reply:
    """RFC 3461, section 4.4."""
    if not value or len(value) > MAX_ENVID_CHARACTERS or not (decoded := decode_xtext(value)):
        return _refuse("ENVID is xtext of at most 100 characters")
    return decoded


def _auth(value: str | None, _terms: Terms) -> str | Reply:
    """RFC 4954, section 5: the xtext of a mailbox, or "<>"."""
    decoded = decode_xtext(value or "")
    if not decoded or (decoded != "<>" and parse_mailbox(decoded) is None):
        return _refuse("AUTH is the xtext of a mailbox, or <>")
    return decoded


def _hold_for(value: str | None, terms: Terms) -> float | Reply:
    """RFC 4865, section 4: future-release-integer = 1*9DIGIT."""
    if value is None or len(value) > 9 or not _is_digits(value):
        return _refuse("syntax: HOLDFOR=seconds")
    return _hold(int(value), terms)


# RFC 3339, section 5.6: date-time = full-date "T" full-time
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def _hold_until(value: str | None, terms: Terms) -> float | Reply:
    """RFC 4865, section 4, with the date-time of RFC 3339 (erratum 2040). A moment already past holds nothing."""
    text = (value or "").upper()
    if _DATE_TIME.fullmatch(text) is None:
        return _refuse("syntax: HOLDUNTIL=date-time")
    try:
        moment = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return _refuse("syntax: HOLDUNTIL=date-time")
    return _hold(moment - terms.now, terms)


def _hold(seconds: float, terms: Terms) -> float | Reply:
    if seconds > terms.settings.max_hold_seconds:
        return _refuse(f"cannot hold a message for longer than {terms.settings.max_hold_seconds} seconds")
    return terms.now + seconds


def _by(value: str | None, terms: Terms) -> DeliverBy | Reply:
    """RFC 2852, section 4: by-value = by-time ";" by-mode [by-trace]; by-time = ["-" / "+"] 1*9digit."""
    time, semicolon, mode = (value or "").upper().partition(";")
    digits = time[1:] if time[:1] in ("-", "+") else time
    if not semicolon or mode not in ("N", "R", "NT", "RT"):
        return _refuse("syntax: BY=seconds;mode")
    if not _is_digits(digits) or len(digits) > _MAX_DELIVER_BY_DIGITS:
        return _refuse("syntax: BY=seconds;mode")
    seconds = int(time)
    must_return = mode[0] == "R"
    if must_return and seconds <= 0:
        return _refuse("BY with mode R needs a time above zero")
    if must_return and seconds < terms.settings.min_deliver_by_seconds:
        return Reply(553, "5.4.7", f"cannot deliver within less than {terms.settings.min_deliver_by_seconds} seconds")
    return DeliverBy(deadline=terms.now + seconds, must_return=must_return, trace=mode.endswith("T"))


# RFC 6710, section 6: priority-value = (["-"] NZDIGIT) / "0"
_PRIORITY: Final = re.compile("-?[1-9]|0")


def _priority(value: str | None, _terms: Terms) -> int | Reply:
    """RFC 6710, section 4."""
    if value is None or _PRIORITY.fullmatch(value) is None:
        return _refuse("MT-PRIORITY is a number from -9 to 9")
    return int(value)


_NOTIFY: Final = {notify.value: notify for notify in Notify}


def _notify(value: str | None, _terms: Terms) -> frozenset[Notify] | Reply:
    """RFC 3461, section 4.1: NEVER, or a list of SUCCESS, FAILURE and DELAY."""
    words = (value or "").upper().split(",")
    notify = frozenset(_NOTIFY[word] for word in words if word in _NOTIFY)
    if len(notify) != len(words) or (Notify.NEVER in notify and len(notify) > 1):
        return _refuse("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
    return notify


_ADDRESS_TYPE: Final = re.compile("[A-Za-z0-9!#$%&'*/?^_`{|}~.-]+")


def _orcpt(value: str | None, terms: Terms) -> OriginalRecipient | Reply:
    """RFC 3461, section 4.2: original-recipient-address = addr-type ";" xtext; RFC 6533, section 3, for type utf-8."""
    address_type, semicolon, encoded = (value or "").partition(";")
    address_type = address_type.lower()
    if len(value or "") > MAX_ORCPT_CHARACTERS or not semicolon or _ADDRESS_TYPE.fullmatch(address_type) is None:
        return _refuse("ORCPT is an address type, a semicolon and an address as xtext")
    if address_type != "utf-8":
        decoded = decode_xtext(encoded)
    elif encoded.isascii() or terms.smtputf8:
        decoded = decode_utf8_address(encoded)
    else:
        decoded = None
    return OriginalRecipient(address_type, decoded) if decoded else _refuse("ORCPT's address is malformed")


MAIL_PARAMETERS: Final = (
    Parameter("SIZE", "SIZE", "size_octets", _size),
    Parameter("BODY", "8BITMIME", "body", _body),
    Parameter("SMTPUTF8", "SMTPUTF8", "smtputf8", _smtputf8),
    Parameter("RET", "DSN", "ret", _ret),
    Parameter("ENVID", "DSN", "envid", _envid),
    Parameter("AUTH", "AUTH", "auth", _auth),
    Parameter("HOLDFOR", "FUTURERELEASE", "hold_until", _hold_for),
    Parameter("HOLDUNTIL", "FUTURERELEASE", "hold_until", _hold_until),
    Parameter("BY", "DELIVERBY", "deliver_by", _by),
    Parameter("MT-PRIORITY", "MT-PRIORITY", "priority", _priority),
)
RECIPIENT_PARAMETERS: Final = (
    Parameter("NOTIFY", "DSN", "notify", _notify),
    Parameter("ORCPT", "DSN", "orcpt", _orcpt),
)
