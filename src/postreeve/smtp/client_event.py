"""The values around the client core: what it is told, what it tells, and how each recipient fared."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postreeve.mail.reply import Reply
from postreeve.smtp.client_command import Shortcoming


class StartTlsUse(Enum):
    """What the client does about STARTTLS."""

    NEVER = "never"
    """Plaintext, or TLS was there from the first octet."""
    IF_OFFERED = "if offered"
    """Plaintext goes on where it is not offered or refused; a failed handshake ends the connection."""
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How one connection is to be made."""

    hostname: str
    """For EHLO, HELO, LHLO."""
    is_lmtp: bool = False
    starttls: StartTlsUse = StartTlsUse.IF_OFFERED
    username: str = ""
    """Log in, or fail; "" for no login."""
    password: str = field(default="", repr=False)
    eight_bit_anyway: bool = True
    """Send 8-bit content also to servers that do not offer 8BITMIME."""


class ClientStage(Enum):
    """Whose answer is awaited; where an attempt ended. Values as in `Attempt.stage`."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    READY = "ready"
    """Nothing is under way; `begin` or `quit`."""
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    """354 was said; the content is not yet out."""
    FINAL = "final"
    """All content is out, or handed to the transport: the server may have it."""
    QUIT = "quit"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class HandshakeWanted:
    """Do the TLS handshake now, then call `tls_started`. What arrives from here on is ciphertext."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The connection is open for transactions."""


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """Hand over the content: `content`, or `content_piece` … `content_end`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The transaction is over; every recipient has its result."""


class FailureKind(Enum):
    """How a connection ended against our will."""

    REFUSED = "refused"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    """What came is no SMTP, or answers nothing that was asked."""
    TLS_NOT_OFFERED = "TLS not offered"
    AUTH_NOT_OFFERED = "AUTH not offered"


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection is of no more use: close it. Within a transaction, `results` tells who was decided before."""

    kind: FailureKind
    stage: ClientStage
    reply: Reply | None = None
    """With REFUSED."""
    detail: str = ""


ClientEvent = HandshakeWanted | Ready | ContentWanted | Finished | Failed


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's last word on one recipient."""

    reply: Reply
    stage: ClientStage
    is_taken: bool


RecipientResult = Answer | Shortcoming | None
"""None: undecided, the connection failed before."""
