"""Hosts that are known to answer: where they do not, the way out of this network is closed, not the host down.

Two of different operators for each port, so that one's bad day is not taken for a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.ports.service import Mode, convention

VARIABLE: Final = "POSTREEVE_KNOWN_GOOD"
"""The environment variable that replaces the set; the caller reads it. "none" leaves it empty."""


@dataclass(frozen=True, slots=True)
class KnownGood:
    """A server of SMTP that answers on this port; `mode` is how TLS begins there."""

    host: str
    port: int
    mode: Mode


def _known(port: int, *hosts: str) -> tuple[KnownGood, ...]:
    return tuple(KnownGood(host, port, convention(port)) for host in hosts)


KNOWN_GOOD: Final[tuple[KnownGood, ...]] = (
    *_known(25, "aspmx.l.google.com", "in1-smtp.messagingengine.com"),
    *_known(465, "smtp.gmail.com", "smtp.fastmail.com"),
    *_known(587, "smtp.gmail.com", "smtp.office365.com"),
    *_known(2525, "smtp.sendgrid.net", "smtp.postmarkapp.com"),
    *_known(2587, "email-smtp.us-east-1.amazonaws.com", "smtp.resend.com"),
    *_known(2465, "email-smtp.us-east-1.amazonaws.com", "smtp.resend.com"),
    *_known(443, "mail.smtp2go.com"),
)


class BadKnownGood(ValueError):
    """An entry that is none; the text says which and why."""


def parse_known_good(text: str) -> tuple[KnownGood, ...]:
    """HOST:PORT, HOST:PORT/MODE or [ADDRESS]:PORT, separated by spaces or commas; "none" is nothing at all.

    Raises BadKnownGood.
    """
    if text.strip().lower() == "none":
        return ()
    return tuple(_parse_one(word) for word in text.replace(",", " ").split())


def _parse_one(word: str) -> KnownGood:
    place, _, mode = word.partition("/")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise BadKnownGood(f"{word!r} is not HOST:PORT or HOST:PORT/MODE")
    if mode and mode not in {one.value for one in Mode}:
        raise BadKnownGood(f"{word!r}: the mode is one of {', '.join(one.value for one in Mode)}")
    return KnownGood(host.lower(), int(port), Mode(mode) if mode else convention(int(port)))
