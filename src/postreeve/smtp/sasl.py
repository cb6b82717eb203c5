"""The server's side of SASL PLAIN and LOGIN, without judging the credentials.

RFC 4954, section 4 (the AUTH command and its lines), RFC 4616 (PLAIN), RFC 4013 (SASLprep). LOGIN has no RFC: two
prompts and two answers, as every mail program of the last thirty years expects them.
"""

from __future__ import annotations

import binascii
import stringprep
import unicodedata
from dataclasses import dataclass
from typing import Final, Protocol

from postreeve.mail.reply import Reply

MAX_NAME_OCTETS: Final = 255
MAX_PASSWORD_OCTETS: Final = 1024
"""RFC 4616 asks for 255 at least; the bound keeps a password hash from being fed megabytes."""

CANCELLED: Final = Reply(501, "5.7.0", "authentication cancelled")
NOT_BASE64: Final = Reply(501, "5.5.2", "cannot decode the response as base64")
MALFORMED: Final = Reply(501, "5.5.2", "malformed credentials")
TOO_LONG: Final = Reply(500, "5.5.6", "authentication exchange line is too long")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims to be, unverified. The representation never shows the password."""

    username: str
    password: str
    authorization_identity: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"


class Exchange(Protocol):
    """One SASL exchange in progress."""

    def step(self, response: bytes | None) -> bytes | Credentials | Reply:
        """The next challenge, the credentials, or the refusal; `response` is None when no initial response came."""


class Plain:
    """PLAIN: message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616, section 2)."""

    __slots__ = ()

    def step(self, response: bytes | None) -> bytes | Credentials | Reply:
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3:
            return MALFORMED
        return _credentials(parts[1], parts[2], parts[0])


class Login:
    """LOGIN: the user name, then the password."""

    __slots__ = ("_username",)

    def __init__(self) -> None:
        self._username: bytes | None = None

    def step(self, response: bytes | None) -> bytes | Credentials | Reply:
        if response is None:
            return b"Username:"
        if self._username is None:
            self._username = response
            return b"Password:"
        return _credentials(self._username, response, b"")


MECHANISMS: Final[tuple[str, ...]] = ("PLAIN", "LOGIN")


def begin(mechanism: str) -> Exchange | None:
    """A new exchange, or None for a mechanism that is not offered."""
    match mechanism:
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case _:
            return None


def decode_response(line: bytes) -> bytes | Reply:
    """What a line of the exchange says: base64 and nothing else; "*" cancels (RFC 4954, section 4)."""
    if line == b"*":
        return CANCELLED
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return NOT_BASE64


def encode_challenge(challenge: bytes) -> bytes:
    """The 334 line that carries `challenge`; an empty one still has its space (RFC 4954, section 4)."""
    return b"334 " + binascii.b2a_base64(challenge, newline=False) + b"\r\n"


def prepare(text: str) -> str | None:
    """`text` after SASLprep (RFC 4013), so that one password is one string however it was typed; None where prohibited.

    Whoever stores a name or a password prepares it in the same way. Departs from RFC 4013, section 2.5: characters that
    Unicode 3.2 did not know are taken, and right-to-left text may stand beside other text (section 2.4).
    """
    if text.isascii():
        return text if text.isprintable() else None
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    return None if any(_is_prohibited(character) for character in prepared) else prepared


def _is_prohibited(character: str) -> bool:
    """RFC 4013, section 2.3: control characters, private use, surrogates and their like."""
    return (
        stringprep.in_table_c21_c22(character)
        or stringprep.in_table_c3(character)
        or stringprep.in_table_c4(character)
        or stringprep.in_table_c5(character)
        or stringprep.in_table_c6(character)
        or stringprep.in_table_c7(character)
        or stringprep.in_table_c8(character)
        or stringprep.in_table_c9(character)
    )


def _credentials(username: bytes, password: bytes, identity: bytes) -> Credentials | Reply:
    if len(username) > MAX_NAME_OCTETS or len(identity) > MAX_NAME_OCTETS or len(password) > MAX_PASSWORD_OCTETS:
        return MALFORMED
    try:
        name, secret, other = prepare(username.decode()), prepare(password.decode()), prepare(identity.decode())
    except UnicodeDecodeError:
        return MALFORMED
    if not name or not secret or other is None:
        return MALFORMED
    return Credentials(name, secret, other)
