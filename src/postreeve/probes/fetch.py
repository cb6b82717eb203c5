"""One small question over plain HTTP, as certificates ask for it: OCSP and the issuer's certificate.

Authorities publish both at http:// URLs on purpose (RFC 5280, section 8: whoever needs TLS to check a certificate goes
in circles); what comes back is signed, so the way there need not be. No redirects, no cookies, one connection, bounded.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

MAX_OCTETS: Final = 262_144
_OCSP_TYPE: Final = "application/ocsp-request"


async def fetch(url: str, seconds: float, question: bytes | None = None) -> bytes | None:
    """The body of a 200 answer to GET, or to POST of an OCSP `question`; None for anything else. Never raises."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        return None
    if parts.scheme != "http" or not host:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"{'GET' if question is None else 'POST'} {path} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
    if question is not None:
        head += f"Content-Type: {_OCSP_TYPE}\r\nContent-Length: {len(question)}\r\n"
    if not (head.isascii() and path.isprintable() and " " not in path):
        return None
    try:
        async with asyncio.timeout(seconds):
            return _body_of(await _exchange(host, port, head.encode() + b"\r\n" + (question or b"")))
    except (OSError, TimeoutError, UnicodeError, ValueError):
        return None


async def _exchange(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        answer = b""
        while len(answer) <= MAX_OCTETS:
            data = await reader.read(65_536)
            if not data:
                return answer
            answer += data
        return b""
    finally:
        writer.transport.abort()


def _body_of(answer: bytes) -> bytes | None:
    head, end, body = answer.partition(b"\r\n\r\n")
    status = head.split(None, 2)
    return body if end and len(status) > 1 and head.startswith(b"HTTP/") and status[1] == b"200" else None
