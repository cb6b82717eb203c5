"""A small question to an HTTP server, over a chosen address: bounded in size and time, and never redirected."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

_MAX_OCTETS: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came. `body` is cut at 1 MiB."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class NotFetched:
    """Why nothing came, in words for the operator."""

    problem: str


def split_url(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if is_good and parts.username is None else None


async def fetch(
    parts: SplitResult,
    address: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float,
    context: ssl.SSLContext | None = None,
) -> Fetched | NotFetched:
    """Ask the server of `parts` at this IP address; its certificate must bear the name in the URL (https)."""
    work = asyncio.to_thread(_fetch, parts, address, method, body, dict(headers or {}), timeout_seconds, context)
    try:
        async with asyncio.timeout(timeout_seconds + 1):
            return await work
    except TimeoutError:
        return NotFetched(f"no answer within {timeout_seconds:g} s")


def _fetch(
    parts: SplitResult,
    address: str,
    method: str,
    body: bytes,
    headers: dict[str, str],
    timeout_seconds: float,
    context: ssl.SSLContext | None,
) -> Fetched | NotFetched:
    host = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = (
        _Secure(parts, address, timeout_seconds, context)
        if parts.scheme == "https"
        else _Plain(address, parts.port or 80, timeout=timeout_seconds)
    )
    try:
        named = f"[{host}]" if ":" in host else host
        connection.request(method, target, body or None, {"Host": parts.netloc or named, **headers})
        answer = connection.getresponse()
        return Fetched(answer.status, answer.read(_MAX_OCTETS))
    except ssl.SSLCertVerificationError as problem:
        return NotFetched(f"the certificate of {host} is not trusted: {problem.verify_message}")
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return NotFetched(str(problem) or type(problem).__name__)
    finally:
        connection.close()


_Plain = http.client.HTTPConnection


class _Secure(http.client.HTTPSConnection):
    """Connects to an address and verifies the name of the URL."""

    def __init__(
        self, parts: SplitResult, address: str, timeout_seconds: float, context: ssl.SSLContext | None
    ) -> None:
        self._trust = context or ssl.create_default_context()
        super().__init__(address, parts.port or 443, timeout=timeout_seconds, context=self._trust)
        self._name = parts.hostname or ""

    def connect(self) -> None:
        """Connect, with the handshake."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._name)
