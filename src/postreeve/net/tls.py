"""One TLS pipe for both sides: ciphertext in, plaintext out, and an exact boundary between the two.

asyncio's own upgrade is not used: on CPython 3.11 to 3.13 octets that were buffered before the handshake are handed out
after it, as if they had come inside TLS. Here nothing but what TLS itself has decrypted ever comes out of `receive`,
and nothing that follows the peer's close_notify (RFC 8446, section 6.1) is looked at.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from postreeve.mail.error import PostreeveError

MAX_SILENT_OCTETS: Final = 262_144
"""How much ciphertext may come without any plaintext: bounds handshakes, key-update floods and empty records."""
_RECORD_OCTETS: Final = 16_384
_READ_OCTETS: Final = 65_536


class TlsTrouble(Enum):
    """What went wrong, as far as one can tell from this side."""

    PLAINTEXT = "plaintext"
    """The peer speaks no TLS here."""
    UNTRUSTED_BY_PEER = "untrusted by peer"
    """The peer did not accept our certificate."""
    UNVERIFIED = "unverified"
    """We did not accept the peer's certificate."""
    VERSION = "version"
    CIPHER = "cipher"
    CLOSED = "closed"
    """The connection ended within the handshake, or without close_notify."""
    FLOOD = "flood"
    BROKEN = "broken"
    """Damaged or forbidden records."""


class TlsProblem(PostreeveError):
    """TLS failed: `detail` in OpenSSL's words, `hint` in ours. `outgoing()` may still hold the alert to send."""

    def __init__(self, kind: TlsTrouble, detail: str, hint: str) -> None:
        super().__init__(f"{detail}: {hint}" if hint else detail)
        self.kind = kind
        self.detail = detail
        self.hint = hint


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """A finished handshake. `server_name` is what the client asked for (SNI), "" for nothing.

    `verified` is True only where the context demanded and got a valid chain and name. `peer_chain_der` is what the peer
    sent, leaf first; empty on the server side, where no client certificate is asked for.
    """

    version: str
    cipher: str
    server_name: str
    peer_chain_der: tuple[bytes, ...]
    verified: bool

    @property
    def peer_certificate_der(self) -> bytes | None:
        """The peer's own certificate."""
        return self.peer_chain_der[0] if self.peer_chain_der else None


class NamedObject(ssl.SSLObject):
    """An SSLObject that remembers the server name which the client asked for; set by the contexts' SNI callback."""

    requested_name: str = ""


class TlsPipe:
    """TLS between two byte streams, without any I/O of its own.

    The caller feeds what arrives to `receive`, and after every call writes `outgoing()` to the peer, also when
    TlsProblem was raised: it then holds the alert. After TlsProblem only `outgoing` may be called.
    """

    __slots__ = ("_first", "_incoming", "_object", "_outgoing", "_silent", "_verifies", "handshake_done", "peer_closed")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        """A client's ClientHello is ready in `outgoing()` at once. `server_hostname` is for SNI and verification."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._verifies = context.verify_mode is ssl.CERT_REQUIRED
        self._silent = 0
        self._first = b""
        self.handshake_done = False
        self.peer_closed = False
        """The peer said close_notify: whatever follows is not read."""
        if not server_side:
            self._shake_hands()

    def receive(self, ciphertext: bytes) -> bytes:
        """Take what arrived; give all the plaintext that is complete now, perhaps none. Raises TlsProblem."""
        if self.peer_closed:
            return b""
        incoming = self._incoming
        incoming.write(ciphertext)
        if not self.handshake_done:
            if len(self._first) < 8:
                self._first = (self._first + ciphertext)[:8]
            if not self._shake_hands():
                self._count_silence(len(ciphertext))
                return b""
        plaintext = self._read()
        if plaintext:
            self._silent = 0
        else:
            self._count_silence(len(ciphertext))
        return plaintext

    def receive_eof(self) -> None:
        """The stream ended. Raises TlsProblem unless the peer said close_notify: what came may be cut short."""
        if not self.peer_closed:
            where = "after" if self.handshake_done else "during"
            raise TlsProblem(TlsTrouble.CLOSED, f"connection closed {where} the TLS handshake", self._closed_hint())

    def timed_out(self) -> TlsProblem:
        """What to tell of a handshake that took too long."""
        if self._first or not self._object.server_side:
            return TlsProblem(
                TlsTrouble.CLOSED, "the TLS handshake took too long", "the peer is slow, or only holds on"
            )
        return TlsProblem(TlsTrouble.CLOSED, "the client said nothing", _SILENT_HINT)

    def send(self, plaintext: bytes | bytearray | memoryview) -> None:
        """Encrypt; the result is in `outgoing()`. Only after the handshake. Raises TlsProblem."""
        if not plaintext:
            return
        try:
            if len(plaintext) <= _RECORD_OCTETS:
                self._object.write(plaintext)
                return
            with memoryview(plaintext) as view:
                start = 0
                while start < len(view):
                    start += self._object.write(view[start : start + _RECORD_OCTETS])
        except ssl.SSLError as error:
            raise self._problem(error) from None

    def outgoing(self) -> bytes:
        """The ciphertext to write now, "" for none."""
        return self._outgoing.read()

    def close(self) -> None:
        """Say close_notify; harmless at any time."""
        if not self.handshake_done:
            return
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # SSLWantRead: our close_notify is out and nobody waits for the peer's.

    @property
    def server_name(self) -> str:
        """What the client asked for (SNI), "" for nothing; known once the handshake is done."""
        if isinstance(self._object, NamedObject):
            return self._object.requested_name
        return self._object.server_hostname or ""

    @property
    def info(self) -> TlsInfo:
        """The finished handshake; costs a copy of the peer's chain. Only after the handshake."""
        cipher = self._object.cipher()
        return TlsInfo(
            version=self._object.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=self.server_name,
            peer_chain_der=() if self._object.server_side else _chain(self._object),
            verified=self._verifies,
        )

    def _shake_hands(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._problem(error) from None
        self.handshake_done = True
        return True

    def _read(self) -> bytes:
        incoming, tls = self._incoming, self._object
        pieces: list[bytes] = []
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(_READ_OCTETS)
                if not piece:
                    self.peer_closed = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        except ssl.SSLError as error:
            raise self._problem(error) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _count_silence(self, octets: int) -> None:
        self._silent += octets
        if self._silent > MAX_SILENT_OCTETS:
            raise TlsProblem(TlsTrouble.FLOOD, "too many TLS records without content", "the peer is broken or hostile")

    def _problem(self, error: ssl.SSLError) -> TlsProblem:
        return explain(error, is_server=bool(self._object.server_side), first=self._first)

    def _closed_hint(self) -> str:
        if self.handshake_done:
            return "the last words may be missing"
        if self._object.server_side and not self._first:
            return _SILENT_HINT
        if self._object.server_side:
            return "the client gave up: it may distrust the certificate, or only have probed the port"
        return "the server gave up: it may expect STARTTLS on this port, or want another TLS version"


def _chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:  # CPython 3.13
        return tuple(cast("list[bytes]", public()))
    inner = getattr(tls, "_sslobj", None)
    if inner is None or not hasattr(inner, "get_unverified_chain"):
        leaf = tls.getpeercert(binary_form=True)
        return (leaf,) if leaf else ()
    # CPython 3.10 to 3.12 have it under the private object only; the encoding 2 is DER.
    return tuple(certificate.public_bytes(2) for certificate in inner.get_unverified_chain() or ())


_SILENT_HINT: Final = (
    "the client waited for a greeting in plaintext: set it to TLS from the first octet here, or to STARTTLS on "
    "port 587; or it only probed the port"
)
_PEER_DISTRUSTS: Final = (
    "alert unknown ca",
    "alert bad certificate",
    "alert certificate",
    "alert unsupported certificate",
)
_NO_TLS: Final = (
    "wrong version number",
    "http request",
    "https proxy request",
    "unknown protocol",
    "record layer failure",
)
_VERSIONS: Final = ("unsupported protocol", "alert protocol version", "version too low", "no protocols available")
_CIPHERS: Final = (
    "no shared cipher",
    "alert handshake failure",
    "no suitable signature",
    "no suitable key",
    "dh key too small",
)


def explain(error: ssl.SSLError, *, is_server: bool, first: bytes = b"") -> TlsProblem:
    """The problem behind an error of OpenSSL; never anchored on its function, file or line, which change by version."""
    reason = (error.reason or "").replace("_", " ").lower()
    detail = reason or str(error.args[-1] if error.args else error)
    peer = "client" if is_server else "server"
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message or detail
        return TlsProblem(TlsTrouble.UNVERIFIED, f"certificate verify failed: {message}", _verify_hint(message))
    if isinstance(error, ssl.SSLEOFError):
        return TlsProblem(
            TlsTrouble.CLOSED, "connection closed within TLS", f"the {peer} went away without close_notify"
        )
    if any(text in reason for text in _PEER_DISTRUSTS):
        alert = reason[reason.index("alert") :]
        hint = f"{peer} does not trust the certificate ({alert})"
        return TlsProblem(TlsTrouble.UNTRUSTED_BY_PEER, detail, hint)
    if any(text in reason for text in _NO_TLS):
        return TlsProblem(TlsTrouble.PLAINTEXT, detail, _plaintext_hint(is_server, first))
    if any(text in reason for text in _VERSIONS):
        return TlsProblem(TlsTrouble.VERSION, detail, f"no TLS version in common: the {peer} is too old or too strict")
    if any(text in reason for text in _CIPHERS):
        return TlsProblem(TlsTrouble.CIPHER, detail, f"no cipher or key type in common with the {peer}")
    return TlsProblem(TlsTrouble.BROKEN, detail, f"the {peer} sent damaged or forbidden TLS records")


def _plaintext_hint(is_server: bool, first: bytes) -> str:
    began = f" (it began with {first[:8].decode('ascii', 'replace')!r})" if first else ""
    if is_server:
        return f"client speaks plaintext on a TLS port{began}"
    return f"server speaks plaintext on this port{began}: it wants STARTTLS, or is no TLS service"


def _verify_hint(message: str) -> str:
    lowered = message.lower()
    if "hostname mismatch" in lowered or "ip address mismatch" in lowered:
        return "the certificate is for another name"
    if "expired" in lowered:
        return "the server's certificate has expired"
    if "not yet valid" in lowered:
        return "the certificate is not valid yet: check both clocks"
    if "self-signed" in lowered or "self signed" in lowered:
        return "self-signed certificate, or a chain to an unknown authority"
    if "unable to get local issuer" in lowered:
        return "unknown authority, or the server does not send its intermediate certificates"
    return "the server's certificate is not acceptable"
