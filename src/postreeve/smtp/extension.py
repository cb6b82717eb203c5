"""The ESMTP extensions: what EHLO says, which commands are closed, and what MAIL and RCPT may carry.

One `Offer` holds all of it for one listener in one situation (TLS or not, authenticated or not). It is made once and
shared by all conversations in that situation, so that a command costs a look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain, parse_domain
from postreeve.mail.envelope import BodyType, MailParameters, RecipientParameters
from postreeve.mail.reply import Reply
from postreeve.smtp.grammar import split_parameters
from postreeve.smtp.order import Verb
from postreeve.smtp.parameter import MAIL_PARAMETERS, RECIPIENT_PARAMETERS, Parameter, Terms, timestamp
from postreeve.smtp.sasl import MECHANISMS
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer

TLS_FIRST: Final = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
AUTH_FIRST: Final = Reply(530, "5.7.0", "Authentication required")
ENCRYPTION_REQUIRED: Final = Reply(538, "5.7.11", "Encryption required for authentication")
TLS_ACTIVE: Final = Reply(503, "5.5.1", "TLS is active already")
AUTHENTICATED: Final = Reply(503, "5.5.1", "you are authenticated already")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "command not implemented")
BAD_PARAMETERS: Final = Reply(501, "5.5.4", "malformed parameter")
TOO_LATE: Final = Reply(501, "5.5.4", "BY ends before the message is to be released")
TWICE: Final = Reply(501, "5.5.4", "parameter given twice")

_CLOSED_WITHOUT_TLS: Final = (
    Verb.AUTH, Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT, Verb.VRFY, Verb.EXPN, Verb.HELP,
)  # fmt: skip
_CLOSED_WITHOUT_AUTH: Final = (Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT, Verb.VRFY, Verb.EXPN)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a listener offers in one situation."""

    keywords: tuple[str, ...]
    """The EHLO lines after the first, FUTURERELEASE left out: its date moves with the clock."""
    closed: Mapping[Verb, Reply]
    """Commands refused in this situation wherever they stand."""
    mail: Mapping[str, Parameter]
    recipient: Mapping[str, Parameter]
    postmaster: Mailbox
    """Whom the bare `<postmaster>` means (RFC 5321, section 4.5.1)."""
    lines: bytes
    """The EHLO lines as they go out, code and all; the last one is HELP."""


@lru_cache(maxsize=256)
def offer(settings: ServerSettings, *, tls_active: bool, authenticated: bool) -> Offer:
    """What `settings` mean with or without TLS, before or after AUTH."""
    keywords = tuple(_keywords(settings, tls_active))
    names = {keyword.partition(" ")[0] for keyword in keywords}
    if _may_hold(settings):
        names.add("FUTURERELEASE")
    return Offer(
        keywords=keywords,
        closed=MappingProxyType(_closed(settings, tls_active, authenticated)),
        mail=_offered(MAIL_PARAMETERS, names),
        recipient=_offered(RECIPIENT_PARAMETERS, names),
        postmaster=Mailbox("postmaster", parse_domain(settings.hostname) or Domain(settings.hostname.lower())),
        lines=b"".join(b"250-%b\r\n" % keyword.encode() for keyword in keywords) + b"250 HELP\r\n",
    )


def ehlo_lines(offered: Offer, settings: ServerSettings, now: float) -> bytes:
    """The capability lines of an EHLO reply at `now` (RFC 5321, section 4.1.1.1)."""
    if not _may_hold(settings):
        return offered.lines
    # RFC 4865, section 4: the longest interval in seconds and the latest date-time.
    latest = timestamp(now + settings.max_hold_seconds)
    return b"250-FUTURERELEASE %d %b\r\n" % (settings.max_hold_seconds, latest.encode()) + offered.lines


def parse_mail_parameters(offered: Offer, text: str, terms: Terms) -> MailParameters | Reply:
    """What follows MAIL's path, or the reply that refuses it."""
    fields = _fields(offered.mail, text, terms)
    if isinstance(fields, Reply):
        return fields
    parameters = MailParameters(**fields)
    hold_until, deliver_by = parameters.hold_until, parameters.deliver_by
    if hold_until is None or deliver_by is None or not deliver_by.must_return or hold_until < deliver_by.deadline:
        return parameters
    return TOO_LATE


def parse_recipient_parameters(offered: Offer, text: str, terms: Terms) -> RecipientParameters | Reply:
    """What follows RCPT's path, or the reply that refuses it."""
    fields = _fields(offered.recipient, text, terms)
    return fields if isinstance(fields, Reply) else RecipientParameters(**fields)


def _fields(known: Mapping[str, Parameter], text: str, terms: Terms) -> dict[str, Any] | Reply:
    parameters = split_parameters(text)
    if parameters is None:
        return BAD_PARAMETERS
    fields: dict[str, Any] = {}
    for keyword, value in parameters:
        parameter = known.get(keyword)
        if parameter is None:
            return Reply(555, "5.5.4", f"parameter {keyword[:32]} is not recognised or not offered here")
        if value is not None and not value.isascii() and keyword != "ORCPT":
            return BAD_PARAMETERS
        if parameter.field in fields:
            return TWICE
        parsed = parameter.parse(value, terms)
        if isinstance(parsed, Reply):
            return parsed
        fields[parameter.field] = parsed
    return fields


def _keywords(settings: ServerSettings, tls_active: bool) -> list[str]:
    """RFC 1870, 2920, 6152, 2034, 6531, 3030, 3461, 3207, 4954, 9422, 2852, 6710."""
    keywords = [
        f"SIZE {settings.max_message_octets}",
        "PIPELINING",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "SMTPUTF8",
        "DSN",
        f"LIMITS RCPTMAX={settings.max_recipients} MAILMAX={settings.max_messages}",
    ]
    if settings.offer_chunking:
        keywords += ["CHUNKING", "BINARYMIME"]
    if settings.tls in (TlsOffer.STARTTLS, TlsOffer.REQUIRED) and not tls_active:
        keywords.append("STARTTLS")
    if _may_authenticate(settings, tls_active):
        keywords.append("AUTH " + " ".join(MECHANISMS))
    if settings.offer_deliver_by:
        minimum = settings.min_deliver_by_seconds
        keywords.append(f"DELIVERBY {minimum}" if minimum else "DELIVERBY")
    if settings.offer_mt_priority:
        keywords.append("MT-PRIORITY")
    return keywords


def _may_hold(settings: ServerSettings) -> bool:
    return settings.offer_future_release and settings.max_hold_seconds > 0


def _may_authenticate(settings: ServerSettings, tls_active: bool) -> bool:
    return settings.auth is not AuthOffer.NEVER and (tls_active or settings.auth_without_tls)


def _closed(settings: ServerSettings, tls_active: bool, authenticated: bool) -> dict[Verb, Reply]:
    """Later lines override earlier ones: TLS comes before AUTH (RFC 3207, section 4; RFC 4954, section 6)."""
    closed: dict[Verb, Reply] = {}
    if not settings.offer_chunking:
        closed[Verb.BDAT] = NOT_IMPLEMENTED
    if tls_active:
        closed[Verb.STARTTLS] = TLS_ACTIVE
    elif settings.tls is TlsOffer.NONE:
        closed[Verb.STARTTLS] = NOT_IMPLEMENTED
    if authenticated:
        closed[Verb.AUTH] = AUTHENTICATED
    elif settings.auth is AuthOffer.REQUIRED:
        closed |= dict.fromkeys(_CLOSED_WITHOUT_AUTH, AUTH_FIRST)
    if not tls_active and settings.tls is TlsOffer.REQUIRED:
        closed |= dict.fromkeys(_CLOSED_WITHOUT_TLS, TLS_FIRST)
    elif not _may_authenticate(settings, tls_active):
        closed[Verb.AUTH] = ENCRYPTION_REQUIRED
    if settings.auth is AuthOffer.NEVER:
        closed[Verb.AUTH] = Reply(503, "5.5.1", settings.auth_refusal)
    return closed


def _offered(parameters: tuple[Parameter, ...], names: set[str]) -> Mapping[str, Parameter]:
    return MappingProxyType({p.keyword: p for p in parameters if p.extension in names})


_BINARY_MIME: Final = BodyType.BINARY_MIME


def is_binary(parameters: MailParameters) -> bool:
    """True for BODY=BINARYMIME (RFC 3030, section 3)."""
    return parameters.body is _BINARY_MIME
