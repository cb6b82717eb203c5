"""The client's side of AUTH: which mechanism to use, and what to answer to each challenge.

PURE. RFC 4954; PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), OAUTHBEARER (RFC 7628), XOAUTH2 (which has no RFC).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Final

from postreeve.probes.script import Login
from postreeve.smtp.sasl import prepare

WITH_PASSWORD: Final = ("PLAIN", "LOGIN", "CRAM-MD5")
WITH_TOKEN: Final = ("OAUTHBEARER", "XOAUTH2")
_IN_CLEAR: Final = ("CRAM-MD5", "PLAIN", "LOGIN")
_MAX_LINE_OCTETS: Final = 500
"""RFC 5321, section 4.5.3.1.4 has 512 for a command: a longer initial response waits for its challenge."""


def choose_mechanism(offered: Iterable[str], login: Login, *, is_in_tls: bool) -> str:
    """The best mechanism in common, "" for none."""
    has = {one.upper() for one in offered}
    ours = WITH_TOKEN if login.token else (WITH_PASSWORD if is_in_tls else _IN_CLEAR)
    wanted = tuple(one.upper() for one in login.mechanisms if one.upper() in ours) if login.mechanisms else ours
    return next((one for one in wanted if one in has), "")


class Answers:
    """What we say in one AUTH exchange; one object for one exchange."""

    __slots__ = ("_host", "_login", "_mechanism", "_port", "_steps")

    def __init__(self, mechanism: str, login: Login, host: str, port: int) -> None:
        """`host` and `port` are those of the server, for OAUTHBEARER."""
        self._mechanism = mechanism
        self._login = login
        self._host = host
        self._port = port
        self._steps = 0

    def command(self) -> bytes:
        """The AUTH command, with the initial response where the mechanism has one that fits into a line."""
        bare = f"AUTH {self._mechanism}".encode()
        if self._mechanism in ("LOGIN", "CRAM-MD5"):
            return bare
        encoded = base64.b64encode(self._response(b""))
        if len(bare) + len(encoded) + 1 > _MAX_LINE_OCTETS:
            return bare
        self._steps = 1
        return bare + b" " + encoded

    def answer(self, challenge: bytes) -> bytes:
        """The line for a 334's text, base64 or "*" when there is nothing more to say."""
        try:
            plain = base64.b64decode(challenge, validate=True)
        except binascii.Error:
            plain = challenge  # a prompt that was not encoded: LOGIN does not care, the others fail
        self._steps += 1
        match self._mechanism, self._steps:
            case "LOGIN", 1:
                return base64.b64encode(_octets(self._login.username))
            case "LOGIN", 2:
                return base64.b64encode(_octets(self._login.password))
            case _, 1:
                return base64.b64encode(self._response(plain))
            case "XOAUTH2", 2:
                return b""  # the challenge was the reason for the refusal, which now follows
            case "OAUTHBEARER", 2:
                return base64.b64encode(b"\x01")  # RFC 7628, section 3.2.3
            case _:
                return b"*"

    def _response(self, challenge: bytes) -> bytes:
        username, password = _octets(self._login.username), _octets(self._login.password)
        bearer = b"auth=Bearer " + self._login.token.encode()
        match self._mechanism:
            case "PLAIN":
                return b"\0" + username + b"\0" + password
            case "CRAM-MD5":
                return username + b" " + hmac.new(password, challenge, "md5").hexdigest().encode()
            case "XOAUTH2":
                return b"user=" + username + b"\x01" + bearer + b"\x01\x01"
            case _:
                place = f"host={self._host}\x01port={self._port}\x01".encode()
                return b"n,a=" + _gs2(username) + b",\x01" + place + bearer + b"\x01\x01"


def secrets_of(login: Login) -> tuple[bytes, ...]:
    """What must never be shown, in every form in which a server could echo it; the longest first."""
    found: set[bytes] = set()
    for secret in (login.password, login.token):
        if len(secret) >= 3:
            plain = secret.encode()
            found |= {plain, base64.b64encode(plain), base64.b64encode(_octets(secret))}
    return tuple(sorted(found, key=len, reverse=True))


def _octets(text: str) -> bytes:
    # What SASLprep forbids is sent as it is: the server then says what it thinks of it.
    return (prepare(text) or text).encode("utf-8", "surrogateescape")


def _gs2(name: bytes) -> bytes:
    """RFC 5801, section 4: saslname."""
    return name.replace(b"=", b"=3D").replace(b",", b"=2C")
