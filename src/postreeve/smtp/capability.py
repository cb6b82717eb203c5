"""What a server offers: the EHLO reply, read once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The keywords of an EHLO reply that a client of ours can use; the defaults are a HELO-only server's."""

    starttls: bool = False
    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    binary_mime: bool = False
    size: bool = False
    size_limit: int | None = None
    """RFC 1870; None where none is declared."""
    auth: frozenset[str] = frozenset()
    deliver_by: bool = False
    """RFC 2852."""
    mt_priority: bool = False
    """RFC 6710."""
    requiretls: bool = False
    """RFC 8689."""
    future_release: bool = False
    """RFC 4865."""
    max_recipients: int | None = None
    """RCPTMAX (RFC 9422)."""
    max_messages: int | None = None
    """MAILMAX (RFC 9422)."""
    max_domains: int | None = None
    """RCPTDOMAINMAX (RFC 9422): different domains of recipients in one session."""


_FLAGS: Final = {
    b"STARTTLS": "starttls",
    b"PIPELINING": "pipelining",
    b"8BITMIME": "eight_bit_mime",
    b"SMTPUTF8": "smtputf8",
    b"DSN": "dsn",
    b"CHUNKING": "chunking",
    b"BINARYMIME": "binary_mime",
    b"DELIVERBY": "deliver_by",
    b"MT-PRIORITY": "mt_priority",
    b"REQUIRETLS": "requiretls",
    b"FUTURERELEASE": "future_release",
}


def parse_capabilities(lines: Iterable[bytes]) -> Capabilities:
    """The capabilities in an EHLO reply's lines (the first, which names the server, left out).

    Unknown keywords are skipped and absurd parameters count as absent: a server that declares nonsense still gets mail.
    """
    flags: dict[str, bool] = {}
    mechanisms: set[str] = set()
    size_limit = max_recipients = max_messages = max_domains = None
    for line in lines:
        keyword, *parameters = line.upper().split() or [b""]
        if keyword in _FLAGS:
            flags[_FLAGS[keyword]] = True
        elif keyword == b"SIZE":
            flags["size"] = True
            size_limit = _number(parameters[0], 18) if parameters else None
        elif keyword == b"AUTH" or keyword.startswith(b"AUTH="):
            # "AUTH=LOGIN" is what servers said before RFC 2554; some still do, beside or instead of the real line.
            parameters += [keyword[5:]] if len(keyword) > 5 else []
            mechanisms.update(one.decode("ascii", "replace") for one in parameters[:32])
        elif keyword == b"LIMITS":
            limits = dict(one.split(b"=", 1) for one in parameters[:32] if b"=" in one)
            max_recipients = _number(limits.get(b"RCPTMAX", b""), 6)
            max_messages = _number(limits.get(b"MAILMAX", b""), 6)
            max_domains = _number(limits.get(b"RCPTDOMAINMAX", b""), 6)
    return Capabilities(
        **flags,
        size_limit=size_limit,
        auth=frozenset(mechanisms),
        max_recipients=max_recipients,
        max_messages=max_messages,
        max_domains=max_domains,
    )


def _number(digits: bytes, most: int) -> int | None:
    """A positive number of at most so many digits; None for zero (RFC 1870: no limit) and for anything else."""
    return (int(digits) or None) if digits.isdigit() and len(digits) <= most else None
