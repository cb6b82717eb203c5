"""Paths and parameters of MAIL and RCPT, and the encodings in their values.

mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF              RFC 5321, section 4.1.1.2
rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
Path = "<" [ A-d-l ":" ] Mailbox ">"                                    RFC 5321, section 4.1.2
"""

from __future__ import annotations

import re
from typing import Final

# Path with a Quoted-string in it, which may hold ">" itself; without one, the first ">" ends the path.
_QUOTING_PATH: Final = re.compile(r'<((?:[^"<>\\]|"(?:[^"\\]|\\.)*")*)>')
# A-d-l = At-domain *( "," At-domain ); At-domain = "@" Domain. A domain literal may hold colons.
_AT_DOMAIN: Final = r'@(?:\[[^][]*\]|[^][\s,:@<>"]+)'
_SOURCE_ROUTE: Final = re.compile(rf"{_AT_DOMAIN}(?:,{_AT_DOMAIN})*:")
# esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# esmtp-value = 1*(%d33-60 / %d62-126); RFC 6531, section 3.3, adds UTF8-non-ascii
_ESMTP_PARAM: Final = re.compile("([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?")


def split_path(argument: str, keyword: str) -> tuple[str, str] | None:
    """The path between the angle brackets and what follows them, or None where there is no path.

    `keyword` is "FROM:" or "TO:". A space after the colon is tolerated, as every peer does: too many senders write it.
    """
    length = len(keyword)
    if argument[:length] != keyword and argument[:length].upper() != keyword:
        return None
    rest = argument[length:].lstrip(" ")
    if not rest.startswith("<"):
        return None
    if '"' not in rest:
        end = rest.find(">")
        if end < 0:
            return None
    else:
        quoting = _QUOTING_PATH.match(rest)
        if quoting is None:
            return None
        end = quoting.end() - 1
    after = rest[end + 1 :]
    if after and after[0] != " ":
        return None
    return rest[1:end], after.strip(" ")


def strip_source_route(path: str) -> str:
    """The mailbox of a path: source routes "MUST be accepted, SHOULD NOT be generated, and SHOULD be ignored".

    RFC 5321, section 4.1.1.3 and appendix C. What a route names is never looked at: the final mailbox alone decides
    whether this is relaying.
    """
    if not path.startswith("@"):
        return path
    route = _SOURCE_ROUTE.match(path)
    return path if route is None else path[route.end() :]


def split_parameters(text: str) -> list[tuple[str, str | None]] | None:
    """The parameters as (KEYWORD, value or None), in order; None where one of them is no esmtp-param.

    esmtp-param = esmtp-keyword ["=" esmtp-value]          RFC 5321, section 4.1.2
    """
    parameters: list[tuple[str, str | None]] = []
    for word in text.split(" "):
        if not word:
            continue
        parameter = _ESMTP_PARAM.fullmatch(word)
        if parameter is None:
            return None
        parameters.append((parameter[1].upper(), parameter[2]))
    return parameters


# xtext = *( xchar / hexchar ); hexchar = "+" 2(%x30-39 / %x41-46)
# xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="      RFC 3461, section 4
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")

# utf-8-addr-xtext = 1*(QCHAR / EmbeddedUnicodeChar); utf-8-addr-unitext = 1*(QUCHAR / EmbeddedUnicodeChar)
# QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e; QUCHAR = QCHAR / UTF8-2 / UTF8-3 / UTF8-4
# EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"                                              RFC 6533, section 3
_UTF8_ADDRESS: Final = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def decode_xtext(text: str) -> str | None:
    """What xtext encodes, or None where it is no xtext or encodes anything but printable US-ASCII.

    RFC 3461, sections 4 and 4.4. `+00` and its kind end here: no control character reaches a queue, a log or a report.
    """
    if _XTEXT.fullmatch(text) is None:
        return None
    if "+" not in text:
        return text
    decoded = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    return decoded if decoded.isascii() and decoded.isprintable() else None


def decode_utf8_address(text: str) -> str | None:
    """What a utf-8-addr-xtext or utf-8-addr-unitext encodes, or None (RFC 6533, section 3)."""
    if _UTF8_ADDRESS.fullmatch(text) is None:
        return None
    if "\\" not in text:
        return text
    points = [int(match[1], 16) for match in _EMBEDDED.finditer(text)]
    if any(point > 0x10FFFF or 0xD800 <= point <= 0xDFFF for point in points):
        return None
    decoded = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), text)
    return decoded if not any(character < " " or "\x7f" <= character <= "\x9f" for character in decoded) else None
