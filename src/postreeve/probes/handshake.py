"""A TLS handshake as a probe makes it: everything is accepted, and everything that the server showed is kept.

OpenSSL's message call-back tells what a finished handshake does not: the certificates, the group and a wanted client
certificate of handshakes that fail later on, and the alerts. It is there from CPython 3.8 on, under a private name;
without it a probe knows less and works on.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from typing import Final

from postreeve.checks.conversation import Ending, Tls
from postreeve.probes.channel import Broken, Channel, reason_of
from postreeve.probes.hearing import MAX_HEARD_OCTETS, escape
from postreeve.probes.identity import is_address, normal_name
from postreeve.probes.tls_message import alert_name, certificates_of, exchange_group, hello_group, looks_like_tls

_HOOK: Final = "_msg_callback"
_HANDSHAKE, _ALERT = 22, 21
_LEGACY_SERVER_CONNECT: Final = 0x4
_WAIT_FOR_LINE_SECONDS: Final = 0.3


@dataclass(slots=True)
class Witness:
    """What the server was seen to send while TLS was on."""

    chain: tuple[bytes, ...] = ()
    group: str = ""
    alert: str = ""
    is_stapled: bool = False
    wants_client_certificate: bool = False

    def see(
        self, _: ssl.SSLObject, direction: str, _version: int, content_type: int, message_type: int, data: bytes
    ) -> None:
        """Called by OpenSSL for each message; must not raise."""
        if direction != "read":
            return
        if content_type == _ALERT and len(data) >= 2:
            self.alert = alert_name(data[1]) if data[1] else self.alert
        elif content_type == _HANDSHAKE:
            self._take(message_type, data[4:])

    def _take(self, message_type: int, body: bytes) -> None:
        match message_type:
            case 2:  # server_hello
                self.group = hello_group(body) or self.group
            case 11:  # certificate
                self.chain = certificates_of(body) or self.chain
            case 12:  # server_key_exchange
                self.group = exchange_group(body) or self.group
            case 13:  # certificate_request
                self.wants_client_certificate = True
            case 22:  # certificate_status
                self.is_stapled = True
            case _:
                pass


def probe_context(*, is_lenient: bool, witness: Witness) -> ssl.SSLContext:
    """What we offer: as a careful client of today does, or all the old things that OpenSSL can do. Verifies nothing.

    A lenient client ends at TLS 1.2: its ClientHello is a small one without key shares, such as servers and devices on
    the way still take that hang up on today's. Beyond even this is what OpenSSL 3 has dropped or a distribution left
    out: SSL 2 and 3, export ciphers, RC4, DH below 512 bits.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if is_lenient:
        context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
        context.options |= _LEGACY_SERVER_CONNECT
        context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if hasattr(context, _HOOK):
        setattr(context, _HOOK, witness.see)
    return context


@dataclass(frozen=True, slots=True)
class Shaken:
    """How a handshake went: the bare facts, the chain as sent, how the connection ended if it did."""

    tls: Tls
    chain: tuple[bytes, ...]
    witness: Witness
    ending: Ending | None = None
    first: bytes = b""
    """The first octets that came, ciphertext or not."""


async def shake_hands(channel: Channel, server_name: str, *, is_lenient: bool, seconds: float) -> Shaken:
    """Make TLS on the channel; afterwards `channel.tls` is set unless it failed. Never raises Broken."""
    began, until = channel.now(), channel.until(seconds)
    witness = Witness()
    context = probe_context(is_lenient=is_lenient, witness=witness)
    name, session = _wrap(channel, context, server_name)
    first = bytearray()
    ending, error = None, ""
    try:
        await _exchange(channel, session, first, until)
        channel.tls = session
    except ssl.SSLError as problem:
        ending, error = Ending.TLS_FAILED, reason_of(problem)
        with contextlib.suppress(Broken):
            await channel.flush(until)  # our alert
            while not looks_like_tls(bytes(first[:2])) and b"\n" not in first:
                first += await channel.read_clear(channel.until(_WAIT_FOR_LINE_SECONDS))
    except Broken as problem:
        ending, error = problem.ending, _ERRORS.get(problem.ending, problem.error)
    is_other = ending is not None and first and not looks_like_tls(bytes(first[:2]))
    tls = Tls(
        server_name=name,
        version="" if ending else session.version() or "",
        cipher="" if ending else (session.cipher() or ("", "", 0))[0],
        group=witness.group,
        seconds=channel.now() - began,
        is_stapled=witness.is_stapled,
        wants_client_certificate=witness.wants_client_certificate,
        alert=witness.alert,
        error=error,
        heard=escape(bytes(first)) if is_other else "",
        is_lenient=is_lenient,
    )
    chain = witness.chain
    if not chain and ending is None:
        leaf = session.getpeercert(binary_form=True)
        chain = (leaf,) if leaf else ()
    return Shaken(tls, chain, witness, ending, bytes(first))


async def _exchange(channel: Channel, session: ssl.SSLObject, first: bytearray, until: float) -> None:
    while True:
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            await channel.flush(until)
            data = await channel.pull(until)
            if len(first) < MAX_HEARD_OCTETS:
                first += data
            continue
        await channel.flush(until)
        return


def _wrap(channel: Channel, context: ssl.SSLContext, server_name: str) -> tuple[str, ssl.SSLObject]:
    """The session, and the name that it really puts into SNI: none for an address (RFC 6066, section 3)."""
    name = normal_name(server_name)
    if name:
        with contextlib.suppress(ValueError):  # a name that cannot be one
            return ("" if is_address(name) else name), channel.wrap(context, name)
    return "", channel.wrap(context, "")


_ERRORS: Final = {
    Ending.TIMED_OUT: "TIMED_OUT",
    Ending.CLOSED: "UNEXPECTED_EOF_WHILE_READING",
    Ending.RESET: "CONNECTION_RESET",
}
"""What no OpenSSL says for us, in its style: an empty `Tls.error` means that the handshake worked."""
