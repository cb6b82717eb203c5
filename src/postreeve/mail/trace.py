"""Trace fields: `Received:` at acceptance, `Return-Path:` at final delivery (RFC 5321, section 4.4), and the hop count.

What a client says of itself stands in these fields; it is written so that it can be nothing but a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.date import format_date
from postreeve.mail.header import MAX_HEADER_OCTETS

MAX_LINE: Final = 78
_MAX_WORD: Final = 255

_SAFE_WORD: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
# tls-cipher-name of RFC 8314, section 4.3; only registered names begin so, the names of libraries do not.
_REGISTERED_CIPHER: Final = re.compile(r"TLS_[A-Z0-9_]{1,80}")


@dataclass(frozen=True, slots=True)
class Reception:
    """How a message reached us: what `Received:` tells. Empty strings stand for what is unknown or not to be told."""

    hostname: str
    """Our name."""
    hello: str
    """The argument of EHLO or HELO."""
    client_name: str
    """The name that forward-confirms to the client's address."""
    client_address: str
    protocol: str
    """See `protocol_name`."""
    tls_version: str
    """Such as "TLSv1.3"."""
    cipher: str
    ident: str
    received_at: float
    recipient: Mailbox | None = None
    """Given only where a message has one recipient: others are nobody's business (RFC 5321, section 7.6)."""
    priority: int | None = None
    """What MT-PRIORITY said, None where it said nothing."""


def protocol_name(*, extended: bool, tls: bool, auth: bool, smtputf8: bool, lmtp: bool = False) -> str:
    """The `with` protocol type: RFC 3848, and RFC 6531, section 4.3, where the message came with SMTPUTF8."""
    if not extended and not lmtp:
        return "SMTP"
    base = "LMTP" if lmtp else "SMTP" if smtputf8 else "ESMTP"
    return ("UTF8" if smtputf8 else "") + base + ("S" if tls else "") + ("A" if auth else "")


def received_field(reception: Reception) -> bytes:
    """The `Received:` field, folded to lines of at most 78 octets where its words allow, CRLF at its end.

    RFC 5321, section 4.4: Time-stamp-line; the `tls` clause is RFC 8314, section 4.3, the `priority` clause RFC 6710.
    """
    words = [f"Received: from {_word(reception.hello)}"]
    if reception.client_address:
        name = _word(reception.client_name) + " " if reception.client_name else ""
        words.append(f"({name}{_literal(reception.client_address)})")
    words += (f"by {_word(reception.hostname)}", f"with {_word(reception.protocol)}")
    is_registered = _REGISTERED_CIPHER.fullmatch(reception.cipher) is not None
    if reception.tls_version:
        words.append(f"(using {_word(reception.tls_version)} with cipher {_word(reception.cipher)})")
    words.append(f"id {_word(reception.ident)}")
    if reception.recipient is not None:
        words.append(f"for <{reception.recipient}>")
    if reception.tls_version and is_registered:
        words.append(f"tls {reception.cipher}")
    if reception.priority is not None:
        words.append(f"priority {reception.priority}")
    words[-1] += ";"
    words.append(format_date(reception.received_at))
    return _fold(words).encode("utf-8", "replace")


def return_path_field(reverse_path: Mailbox | None) -> bytes:
    """The `Return-Path:` field of final delivery (RFC 5321, section 4.4), CRLF at its end."""
    return f"Return-Path: <{reverse_path or ''}>\r\n".encode("utf-8", "replace")


def count_received(content: bytes, max_octets: int = MAX_HEADER_OCTETS) -> int:
    """How many hops `content` has made: its `Received:` fields (RFC 5321, section 6.3)."""
    return count_fields(content, b"received", max_octets)


def count_fields(content: bytes, key: bytes, max_octets: int = MAX_HEADER_OCTETS) -> int:
    """How many fields named `key` (in lower case) the header section has; looks at no more than `max_octets`."""
    if content[:2] == b"\r\n":
        return 0
    end = content.find(b"\r\n\r\n", 0, max_octets)
    header = content[: max_octets if end < 0 else end].lower()
    return header.count(b"\r\n" + key + b":") + header.startswith(key + b":")


def _fold(words: list[str]) -> str:
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > MAX_LINE:
            lines.append(line)
            line = "\t" + word
        else:
            line += " " + word
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def _word(text: str) -> str:
    """`text` where it is a plain name, else its plain characters: nothing may end a comment, clause or line."""
    if _SAFE_WORD.fullmatch(text):
        return text
    return _UNSAFE.sub("?", text[:_MAX_WORD]) or "unknown"


def _literal(address: str) -> str:
    word = _word(address)
    return f"[IPv6:{word}]" if ":" in word else f"[{word}]"
