"""The envelope: who gets a message, on whose behalf, and under which conditions (paths and ESMTP parameters).

The envelope never contains a header field; the content never contains an envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postreeve.mail.address import Mailbox


class BodyType(Enum):
    """What the content may contain: RFC 6152 (7BIT, 8BITMIME), RFC 3030 (BINARYMIME)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


class Return(Enum):
    """How much of the content a DSN returns (RFC 3461, section 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(Enum):
    """When the sender wants to hear of a recipient (RFC 3461, section 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """ORCPT (RFC 3461, section 4.2; RFC 6533 for `utf-8`): address type in lower case and the decoded address."""

    address_type: str
    address: str


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """BY (RFC 2852): `deadline` in POSIX seconds; `must_return` for mode R, else notify (N); `trace` for T."""

    deadline: float
    must_return: bool
    trace: bool = False


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What MAIL FROM said beyond the path; every default means "not given"."""

    size_octets: int | None = None
    """SIZE (RFC 1870)."""
    body: BodyType | None = None
    """BODY (RFC 6152, RFC 3030)."""
    smtputf8: bool = False
    """SMTPUTF8 (RFC 6531)."""
    ret: Return | None = None
    """RET (RFC 3461)."""
    envid: str | None = None
    """ENVID (RFC 3461), decoded from xtext: printable US-ASCII."""
    auth: str | None = None
    """AUTH (RFC 4954, section 5), decoded from xtext; "<>" when the client vouches for nobody."""
    hold_until: float | None = None
    """FUTURERELEASE (RFC 4865): POSIX seconds, from HOLDFOR or HOLDUNTIL."""
    deliver_by: DeliverBy | None = None
    """DELIVERBY (RFC 2852)."""
    priority: int | None = None
    """MT-PRIORITY (RFC 6710), −9 … 9."""


@dataclass(frozen=True, slots=True)
class RecipientParameters:
    """What RCPT TO said beyond the path."""

    notify: frozenset[Notify] | None = None
    """NOTIFY (RFC 3461); None = not given, which means FAILURE and perhaps DELAY."""
    orcpt: OriginalRecipient | None = None


NO_MAIL_PARAMETERS = MailParameters()
NO_RECIPIENT_PARAMETERS = RecipientParameters()


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """One forward-path with its parameters."""

    mailbox: Mailbox
    parameters: RecipientParameters = NO_RECIPIENT_PARAMETERS


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path (None is the null reverse-path `<>`), recipients and parameters."""

    reverse_path: Mailbox | None
    recipients: tuple[EnvelopeRecipient, ...]
    parameters: MailParameters = field(default=NO_MAIL_PARAMETERS)
