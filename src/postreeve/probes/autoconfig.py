"""What a domain says of its submission servers over HTTPS: Thunderbird's autoconfig, where the domain publishes it."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final
from xml.etree import ElementTree

from postreeve.checks.facts import Intent, Lookup
from postreeve.mail.domain import parse_domain

_MAX_OCTETS: Final = 131_072
_MODES: Final = {"SSL": Intent.IMPLICIT, "STARTTLS": Intent.STARTTLS, "PLAIN": Intent.PLAIN}


@dataclass(frozen=True, slots=True)
class Suggested:
    """One outgoing server."""

    host: str
    port: int
    intent: Intent


async def ask_autoconfig(domain: str, seconds: float) -> Lookup:
    """The servers as a Lookup of kind AUTOCONFIG: records such as "smtp.example.com 465 SSL"; never raises."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    url = f"https://autoconfig.{domain}/mail/config-v1.1.xml"
    try:
        async with asyncio.timeout(seconds):
            data = await loop.run_in_executor(None, _fetch, url, seconds)
    except (TimeoutError, OSError, HTTPException, ValueError) as problem:
        words = str(getattr(problem, "reason", "") or problem) or "time-out"
        is_absent = isinstance(problem, urllib.error.HTTPError) or "not known" in words
        failure = "" if is_absent else words[:200]
        return Lookup(
            url, "AUTOCONFIG", absence="NODATA" if is_absent else "", failure=failure, seconds=loop.time() - began
        )
    records = tuple(f"{one.host} {one.port} {_word(one.intent)}" for one in parse_autoconfig(data))
    return Lookup(url, "AUTOCONFIG", records, "" if records else "NODATA", seconds=loop.time() - began)


def parse_autoconfig(data: bytes) -> tuple[Suggested, ...]:
    """The outgoing SMTP servers of a config-v1.1 document, in its order; () for anything else."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return ()
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        return ()
    found = []
    for server in root.iterfind("./emailProvider/outgoingServer"):
        host, port = (server.findtext(tag, "").strip() for tag in ("hostname", "port"))
        domain = parse_domain(host)
        mode = _MODES.get(server.findtext("socketType", "").strip().upper())
        is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536
        if server.get("type") == "smtp" and domain is not None and not domain.is_literal and is_port and mode:
            found.append(Suggested(domain.ascii, int(port), mode))
    return tuple(found[:16])


def read_record(record: str) -> Suggested | None:
    """A record of `ask_autoconfig` back as a value."""
    host, port, word = record.split(" ")
    return Suggested(host, int(port), _MODES[word])


def _word(intent: Intent) -> str:
    return next(word for word, mode in _MODES.items() if mode is intent)


def _fetch(url: str, seconds: float) -> bytes:
    context = ssl.create_default_context()
    request = urllib.request.Request(url, headers={"User-Agent": "postreeve"})
    with urllib.request.urlopen(request, timeout=seconds, context=context) as answer:
        return bytes(answer.read(_MAX_OCTETS))
