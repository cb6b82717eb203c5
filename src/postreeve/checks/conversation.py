"""One connection as a probe had it: what was said, which TLS came of it, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postreeve.checks.path import Dial
from postreeve.checks.stage import Stage


class Opening(Enum):
    """How the connection was begun."""

    CLEAR = "clear"
    """We waited for the server to speak."""
    TLS = "tls"
    """We sent a ClientHello at once."""


class Ending(Enum):
    """How it ended."""

    QUIT = "quit"
    """In good order, by us."""
    CLOSED = "closed"
    """The server closed it."""
    RESET = "reset"
    TIMED_OUT = "timed out"
    """We waited as long as we meant to."""
    TLS_FAILED = "tls failed"
    NOT_SMTP = "not smtp"
    """What came was no SMTP; `Conversation.heard` has its beginning."""
    STOPPED = "stopped"
    """We hung up since the server asked us to (421) or since we were told to stop."""


@dataclass(frozen=True, slots=True)
class Said:
    """One command and what came for it. `command` is "" for the greeting; secrets are masked as `****`.

    `code` is 0 when no reply came; `lines` are the reply's texts without code, the enhanced status left in.
    """

    stage: Stage
    command: str
    code: int
    lines: tuple[str, ...]
    seconds: float
    is_in_tls: bool

    @property
    def text(self) -> str:
        """The reply in one line."""
        return f"{self.code} {' '.join(self.lines)}".strip() if self.code else ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate as shown. `der` is base64; everything else is read from it. Moments are POSIX seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """DNS names and addresses of subjectAltName, lower case."""
    common_name: str
    not_before: float
    not_after: float
    key: str
    """"RSA 2048", "EC secp256r1", "Ed25519"."""
    signature: str
    """The hash of its signature: "sha256", "sha1"; "" for none."""
    fingerprint: str
    """SHA-256 of the DER, hexadecimal."""
    usages: tuple[str, ...] = ()
    """Extended key usages: "serverAuth", "clientAuth" or dotted OIDs; () for no such extension."""
    is_authority: bool = False
    is_self_signed: bool = False
    """Its own key signed it (checked, not just equal names)."""
    issuer_url: str = ""
    """caIssuers of authorityInfoAccess: where the missing intermediate is."""
    ocsp_url: str = ""
    der: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One reason for which a chain is not trusted: OpenSSL's X509_V_ERR code, its depth (0 = leaf) and words."""

    code: int
    depth: int
    text: str


class Revocation(Enum):
    """What the authority says of the leaf."""

    UNKNOWN = "unknown"
    GOOD = "good"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Tls:
    """A handshake. `version` is "" when there was none; then `error`, `alert` and `heard` say what came instead."""

    server_name: str
    """What we named in SNI, "" for nothing."""
    version: str = ""
    cipher: str = ""
    group: str = ""
    """Of the key exchange where known."""
    seconds: float = 0.0
    chain: tuple[Certificate, ...] = ()
    """As the server sent it, leaf first."""
    troubles: tuple[Trouble, ...] = ()
    """Against the trust store of this machine; () means trusted."""
    is_name_right: bool | None = None
    """The leaf names the host (RFC 9525); None without a certificate."""
    missing_issuer: str = ""
    """The subject of the intermediate that the server should have sent, "" when none is missing."""
    is_completed_by_issuer: bool | None = None
    """The certificate at the chain's `issuer_url` completes it to a trusted one; None when that was not tried."""
    revocation: Revocation = Revocation.UNKNOWN
    is_stapled: bool = False
    wants_client_certificate: bool = False
    alert: str = ""
    """The TLS alert of the peer in the words of RFC 8446, section 6 ("protocol_version")."""
    error: str = ""
    """OpenSSL's reason ("WRONG_VERSION_NUMBER"), "" when the handshake worked."""
    heard: str = ""
    """What came where a TLS record was due (escaped): the beginning of another protocol."""
    is_lenient: bool = False
    """Made with old versions, weak ciphers and small keys allowed, to see what the server has to offer."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One connection from connect to end. `heard` is the first octets that came in the clear (escaped, bounded)."""

    opening: Opening
    dial: Dial
    heard: str = ""
    protocol: str = ""
    """What the first octets are: "smtp", "imap", "pop3", "http", "ssh", "tls" …, "" for silence or unknown."""
    said: tuple[Said, ...] = ()
    tls: Tls | None = None
    injected: tuple[str, ...] = ()
    """What came in the clear after the reply to STARTTLS and before TLS: something on the way, or a broken server."""
    ending: Ending = Ending.QUIT
    ended_at: Stage = Stage.NONE
    """The stage in which it ended unless it went to the end."""
    auth_tried: str = ""
    """The mechanism of the one AUTH that was made, "" for none."""
    is_nameless: bool = False
    """The same as one before, but for SNI: made to see which certificate a client gets that names no host."""

    def reply(self, stage: Stage, *, in_tls: bool | None = None) -> Said | None:
        """The last exchange of a stage; `in_tls` picks the one before (False) or after TLS (True)."""
        fit = [one for one in self.said if one.stage is stage and in_tls in (None, one.is_in_tls)]
        return fit[-1] if fit else None
