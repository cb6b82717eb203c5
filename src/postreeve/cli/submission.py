"""Submitting one message to a server, and saying in people's words how it went.

Connections, TLS and the dialogue are those of deliveries (`outbound.smtp`); here only the server is found.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve.cli.refusal import Refused
from postreeve.net.certificate import ClientTrust, opportunistic_context, verified_context
from postreeve.net.trust import TrustRecorder
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.smtp import Connection, Connector, NotOpened
from postreeve.queue.outcome import Outcome
from postreeve.queue.settings import Credentials, DeliverySettings, Timeouts, TlsMode
from postreeve.queue.step import Connect, TlsRequirement

_TIMEOUTS: Final = Timeouts(connect=10, greeting=25, ehlo=60, mail=60, rcpt=120, data=120, starttls=30, quit=5)
"""Somebody waits; except for the final dot, where giving up early makes duplicates."""
_QUIT_SECONDS: Final = 2.0
# A queue identifier, as most servers tell it: "queued as 01kdbxq2sh0r4", "Ok: queued as 4F0B31A0".
_QUEUED_AS: Final = re.compile(r"\bqueued as ([0-9A-Za-z.-]{4,40})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Server:
    """Where to submit, and how sure to be of it."""

    host: str
    """A name or an IP address."""
    port: int
    tls: TlsMode
    verify: bool = True
    name: str = ""
    """What the certificate must name, if not `host`."""
    ca_file: Path | None = None
    """Authorities beside the system's, or the certificate itself."""
    credentials: Credentials | None = None
    hello: str = "localhost"
    is_ours: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Submitted:
    """One outcome for each recipient, in their order."""

    outcomes: tuple[Outcome, ...]
    tls: str
    transcript: str


async def submit(server: Server, message: Outgoing, needed: frozenset[str]) -> Submitted | Outcome:
    """Send; an Outcome when it did not come to a transaction. Raises Refused where the server lacks what is `needed`.

    `needed` are fields of Capabilities.
    """
    opened = await _open(server)
    if not isinstance(opened, Connection):
        await _settle()
        return opened.outcome
    try:
        lacking = sorted(_KEYWORDS[field] for field in needed if not getattr(opened.capabilities, field))
        if lacking:
            raise Refused(f"{server} does not offer {' and '.join(lacking)}; nothing was sent", "leave the option out")
        outcomes = await opened.send(message)
        return Submitted(tuple(outcomes), opened.tls, opened.transcript())
    finally:
        await _close(opened)


async def _close(opened: Connection) -> None:
    """Leave in good order: a server that saw QUIT does not log a lost connection."""
    opened.close()
    try:
        async with asyncio.timeout(_QUIT_SECONDS):
            await opened.wait_closed()
    except TimeoutError:
        opened.abort()
        await _settle()


async def _settle() -> None:
    """Let transports that are closing get rid of their sockets before the loop ends."""
    for _ in range(3):
        await asyncio.sleep(0)


_KEYWORDS: Final = {
    "dsn": "DSN",
    "future_release": "FUTURERELEASE",
    "mt_priority": "MT-PRIORITY",
    "deliver_by": "DELIVERBY",
}


def queue_id(text: str) -> str:
    """The identifier that a positive reply names, or ""."""
    found = _QUEUED_AS.search(text)
    return found[1] if found else ""


async def _open(server: Server) -> Connection | NotOpened:
    settings = DeliverySettings(hostname=server.hello, timeouts=_TIMEOUTS)
    connector = Connector(settings, _trust(server), time.time)
    tls = TlsRequirement(server.tls, server.verify and server.tls is not TlsMode.NONE, server.name or server.host)
    addresses = await _addresses(server)
    if not addresses:
        raise Refused(f"{server.host} has no address")
    first, *others = addresses
    return await connector.open(Connect(server.host, first, server.port, tls, server.credentials, others=tuple(others)))


async def _addresses(server: Server) -> list[str]:
    try:
        return [str(ipaddress.ip_address(server.host.strip("[]")))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise Refused(f"{server.host}: no address found: {getattr(problem, 'strerror', problem)}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def _trust(server: Server) -> ClientTrust:
    verified = verified_context()
    if server.ca_file is not None:
        try:
            verified.load_verify_locations(cafile=server.ca_file)
        except OSError as problem:
            what = problem.strerror if not isinstance(problem, ssl.SSLError) else "it holds no certificates in PEM"
            raise Refused(f"{server.ca_file} cannot be used: {what}") from None
        # A certificate named by itself is trusted as it is, whoever signed it.
        verified.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return ClientTrust(opportunistic_context(), verified, TrustRecorder(server.ca_file))
