"""The few fields of TLS handshake messages that Python does not tell: groups, certificates, alerts by name.

PURE and total: octets that are no such message give "" or (). RFC 8446 and RFC 5246.
"""

from __future__ import annotations

from typing import Final

GROUPS: Final = {
    19: "secp192r1",
    21: "secp224r1",
    22: "secp256k1",
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
    29: "x25519",
    30: "x448",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
    259: "ffdhe6144",
    260: "ffdhe8192",
    4587: "SecP256r1MLKEM768",
    4588: "X25519MLKEM768",
    4589: "SecP384r1MLKEM1024",
}
"""RFC 8446, section 4.2.7, and RFC 8422, section 5.1.1."""

ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""RFC 8446, section 6, and those that only older versions know."""

_KEY_SHARE: Final = 51
_NAMED_CURVE: Final = 3
_MAX_CERTIFICATES: Final = 20


def alert_name(number: int) -> str:
    """An alert in the words of RFC 8446, section 6."""
    return ALERTS.get(number, f"alert {number}")


def looks_like_tls(first: bytes) -> bool:
    """True when these octets may begin a TLS record (RFC 8446, section 5.1)."""
    return first[:1] in (b"\x14", b"\x15", b"\x16", b"\x17") and first[1:2] in (b"\x03", b"")


def hello_group(body: bytes) -> str:
    """The group of a ServerHello's or HelloRetryRequest's key_share (RFC 8446, section 4.2.8)."""
    place = 34 + 1 + (body[34] if len(body) > 34 else 0) + 3
    end = place + 2 + _number(body[place : place + 2])
    place += 2
    while place + 4 <= min(end, len(body)):
        kind, size = _number(body[place : place + 2]), _number(body[place + 2 : place + 4])
        if kind == _KEY_SHARE and size >= 2:
            return _group_name(_number(body[place + 4 : place + 6]))
        place += 4 + size
    return ""


def exchange_group(body: bytes) -> str:
    """The group of a ServerKeyExchange: a named curve (RFC 8422, section 5.4) or a prime (RFC 5246, section 7.4.3)."""
    if len(body) < 4:
        return ""
    if body[0] == _NAMED_CURVE and _number(body[1:3]) in GROUPS:
        return GROUPS[_number(body[1:3])]
    size = _number(body[:2])
    if 32 <= size <= len(body) - 2:
        return f"DH {int.from_bytes(body[2 : 2 + size], 'big').bit_length()}"
    return ""


def certificates_of(body: bytes) -> tuple[bytes, ...]:
    """The certificates in a Certificate message, of TLS 1.3 (RFC 8446, section 4.4.2) or before."""
    is_old = _number(body[:3]) == len(body) - 3
    place = 3 if is_old else 1 + (body[0] if body else 0) + 3
    found: list[bytes] = []
    while place + 3 < len(body) and len(found) < _MAX_CERTIFICATES:
        size = _number(body[place : place + 3])
        found.append(body[place + 3 : place + 3 + size])
        place += 3 + size
        if not is_old:
            place += 2 + _number(body[place : place + 2])
    return tuple(found)


def _group_name(number: int) -> str:
    return GROUPS.get(number, f"group {number}")


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
