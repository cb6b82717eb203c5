"""What the protocol cores need to know: the server's role on one listener, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TlsOffer(Enum):
    """How TLS stands on a listener."""

    NONE = "none"
    """No TLS at all."""
    STARTTLS = "starttls"
    """Offered with STARTTLS, not required."""
    REQUIRED = "required"
    """STARTTLS before anything but EHLO, NOOP, RSET, QUIT: 530 5.7.0 otherwise."""
    IMPLICIT = "implicit"
    """TLS from the first octet (RFC 8314)."""


class AuthOffer(Enum):
    """How AUTH stands on a listener."""

    NEVER = "never"
    """Never offered; an attempt is answered with `auth_refusal`."""
    OPTIONAL = "optional"
    """Offered once TLS is active."""
    REQUIRED = "required"
    """Offered once TLS is active and required before MAIL: 530 5.7.0 otherwise."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One listener's view of the protocol. Sizes in octets, times in seconds."""

    hostname: str
    tls: TlsOffer
    auth: AuthOffer
    auth_refusal: str = "no authentication on this port; use port 465 (TLS) or 587 (STARTTLS)"
    auth_without_tls: bool = False
    """Only for tests and trusted loopback listeners; production never sets it."""
    max_message_octets: int = 52_428_800
    max_header_octets: int = 262_144
    max_command_octets: int = 2_048
    max_auth_octets: int = 12_288
    max_recipients: int = 1_000
    max_messages: int = 1_000
    max_hold_seconds: int = 5_184_000
    """FUTURERELEASE: the longest hold taken (RFC 4865); 0 switches it off."""
    min_deliver_by_seconds: int = 0
    """DELIVERBY: the shortest by-time taken (RFC 2852)."""
    offer_future_release: bool = False
    offer_deliver_by: bool = True
    offer_mt_priority: bool = True
    offer_chunking: bool = True
    normalise_newlines: bool = False
    """True: a bare LF or CR in content becomes CRLF; False: the message is refused (550 5.6.0)."""
    refuse_early_talkers: bool = True
    """True: a client that is not authenticated and speaks before it may (before the greeting, the reply to EHLO or the
    354 of DATA; RFC 2920, section 3.1) is refused with 554 5.5.1 and closed."""
