"""One address and port as measured: what came of the connect, what was spoken, which TLS came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postreeve.ports.service import Mode


class Reach(Enum):
    """What came of the connect. The values are those of `checks.path.DialOutcome`."""

    OPEN = "open"
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    PROHIBITED = "prohibited"
    NO_ROUTE = "no route"
    NO_SOURCE = "no source address"
    FORBIDDEN = "forbidden"
    OTHER = "other"


class Flaw(Enum):
    """Why a connection that was made is of no use; the value is said of the server."""

    NONE = ""
    SILENT = "says nothing, neither in the clear nor to a TLS ClientHello"
    NOT_SMTP = "speaks another protocol"
    CLOSED = "closes the connection at once"
    REJECTED = "refuses this client in its greeting"
    BUSY = "asks this client to come back later (421)"
    EHLO_REFUSED = "refuses EHLO"
    STARTTLS_REFUSED = "offers STARTTLS and then refuses it"
    TLS_FAILED = "fails in the TLS handshake"
    AFTER_TLS = "breaks off after the TLS handshake"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one address and port is like from here. Texts of the server are escaped and bounded.

    `mode` is the TLS mode really spoken, None where no SMTP was heard. `is_trusted` and `is_name_right` are None where
    no certificate was seen. `auth_before` is what AUTH offers in the clear, `auth_after` within TLS.
    """

    host: str
    address: str
    port: int
    reach: Reach
    connect_seconds: float
    reach_detail: str = ""
    """Who said no: an ICMP error and its sender, the errno."""
    flaw: Flaw = Flaw.NONE
    flaw_detail: str = ""
    protocol: str = ""
    """What was heard: a key of `sniff.WORDS`, "" for silence and the unknown."""
    greeting: str = ""
    mode: Mode | None = None
    tls_version: str = ""
    is_trusted: bool | None = None
    is_name_right: bool | None = None
    certificate_problem: str = ""
    """Why it is not trusted, or which names it has instead."""
    auth_before: tuple[str, ...] = ()
    auth_after: tuple[str, ...] = ()
    total_seconds: float = 0.0
    connections: int = 1

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def is_verified(self) -> bool:
        """TLS was made with a certificate that is trusted and names the host."""
        return bool(self.tls_version and self.is_trusted and self.is_name_right)

    @property
    def auth(self) -> tuple[str, ...]:
        """The mechanisms that a careful client can use here."""
        return self.auth_after if self.tls_version else self.auth_before
