"""An authority over HTTP on loopback: OCSP (RFC 6960) that knows of revoked certificates, and its own by GET."""

from __future__ import annotations

import asyncio
import datetime
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.lab import faulty
from tests.lab.certificates import Issued


class Responder:
    """Answers for certificates of `faulty.middle()`."""

    def __init__(self) -> None:
        self.url = ""
        self._issued: dict[int, Issued] = {}
        self._server: asyncio.Server | None = None

    def revoke(self, issued: Issued) -> None:
        """From now on this one is revoked."""
        self._issued[issued.certificate.serial_number] = issued

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET "):
                certificate = faulty.middle().certificate.public_bytes(Encoding.DER)
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/pkix-cert\r\n\r\n" + certificate)
                await writer.drain()
                return
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            request = ocsp.load_der_ocsp_request(await reader.readexactly(length))
            body = self._respond(request.serial_number)
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n" + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _respond(self, serial: int) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        issuer = faulty.middle()
        issued = self._issued[serial]
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                issued.certificate,
                issuer.certificate,
                hashes.SHA1(),
                ocsp.OCSPCertStatus.REVOKED,
                now - datetime.timedelta(hours=1),
                now + datetime.timedelta(days=1),
                now - datetime.timedelta(days=1),
                x509.ReasonFlags.key_compromise,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
            .sign(issuer.key, hashes.SHA256())
        )
        return response.public_bytes(Encoding.DER)
