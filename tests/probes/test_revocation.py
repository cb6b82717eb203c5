"""Asking the authority of a certificate: OpenSSL's own responder, answers that do not count, missing intermediates."""

from __future__ import annotations

import asyncio
import datetime
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from postreeve.checks.conversation import Revocation, Tls
from postreeve.checks.stage import Stage
from postreeve.probes.fetch import MAX_OCTETS, fetch
from postreeve.probes.revocation import read_answer
from postreeve.probes.script import Login
from tests.lab.certificates import DAY, Authority, Issued, key_pem
from tests.lab.faulty import HOST, middle, root
from tests.lab.probing import BYE, PLAIN, hello, secure, served, talk
from tests.lab.sink import Line


@asynccontextmanager
async def web(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives one answer to everything; its URL, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/it", asked


def good(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + body


async def tls_of(issued: Issued, ca_file: Path) -> Tls:
    acts = secure(Line(), hello(), *BYE, tls=served(issued))
    script = replace(PLAIN, server_name=HOST, ca_file=ca_file, may_ask_authority=True)
    conversation, _ = await talk(acts, script)
    assert conversation.tls is not None
    return conversation.tls


# OpenSSL's responder


@asynccontextmanager
async def responder(openssl: Path, directory: Path) -> AsyncIterator[tuple[str, Path]]:
    """A URL where OpenSSL answers, and the index that says what became of which certificate."""
    index = directory / "index.txt"
    authority = middle().write(directory / "middle.pem")
    (directory / "middle.key").write_bytes(key_pem(middle().key))
    command = [openssl, "ocsp", "-index", index, "-CA", authority, "-rsigner", authority, "-ndays", "1"]
    command += ["-rkey", directory / "middle.key", "-reqin", directory / "asked", "-respout", directory / "answer"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Type: application/ocsp-request\r\n" in head
        length = int(head.partition(b"Content-Length: ")[2].split()[0])
        (directory / "asked").write_bytes(await reader.readexactly(length))
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        writer.write(good((directory / "answer").read_bytes()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", index


@pytest.mark.asyncio
@pytest.mark.peer("openssl")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("V\t351231235959Z\t\t{serial}\tunknown\t/CN=x\n", Revocation.GOOD),
        ("R\t351231235959Z\t251231235959Z,keyCompromise\t{serial}\tunknown\t/CN=x\n", Revocation.REVOKED),
        ("", Revocation.UNKNOWN),
    ],
    ids=["good", "revoked", "unknown"],
)
async def test_revocation_is_what_the_authority_says(
    entry: str, said: Revocation, ca_file: Path, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    async with responder(peer("openssl"), tmp_path) as (url, index):
        issued = middle().issue(HOST, ocsp_url=url)
        serial = f"{issued.certificate.serial_number:X}"
        index.write_text(entry.format(serial=serial if len(serial) % 2 == 0 else f"0{serial}"))
        assert (await tls_of(issued, ca_file)).revocation is said
        assert (tmp_path / "answer").exists()


@pytest.mark.asyncio
async def test_a_password_does_not_go_to_a_revoked_certificate(ca_file: Path) -> None:
    shown: list[Issued] = []
    async with web_of_answer(shown) as url:
        shown.append(middle().issue(HOST, ocsp_url=url))
        acts = secure(Line(), hello("AUTH PLAIN"), *BYE, tls=served(shown[0]))
        login = Login("ann", "secret word")
        script = replace(PLAIN, server_name=HOST, ca_file=ca_file, may_ask_authority=True, login=login)
        conversation, sink = await talk(acts, script)
    assert conversation.ended_at is Stage.CERT
    assert b"AUTH" not in sink.connections[0].over_tls


@asynccontextmanager
async def web_of_answer(shown: list[Issued]) -> AsyncIterator[str]:
    """A responder that says "revoked" of the first of `shown`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(good(answer(shown[0].certificate, status=ocsp.OCSPCertStatus.REVOKED)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# What counts


def answer(
    leaf: x509.Certificate,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    signer: Authority | None = None,
    by: Issued | None = None,
    age: datetime.timedelta = datetime.timedelta(),
) -> bytes:
    now = datetime.datetime.now(datetime.UTC) - age
    signer = signer or middle()
    certificate, key = (signer.certificate, signer.key) if by is None else (by.certificate, by.key)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=middle().certificate,
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=now,
        next_update=now + DAY,
        revocation_time=now if status is ocsp.OCSPCertStatus.REVOKED else None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, certificate)
    if by is not None:
        builder = builder.certificates([by.certificate])
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


DELEGATE = x509.ExtendedKeyUsageOID.OCSP_SIGNING


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda leaf: answer(leaf), Revocation.GOOD),
        (lambda leaf: answer(leaf, status=ocsp.OCSPCertStatus.REVOKED), Revocation.REVOKED),
        (lambda leaf: answer(leaf, by=middle().issue("ocsp", usages=(DELEGATE,))), Revocation.GOOD),
        (lambda leaf: answer(leaf, by=middle().issue("ocsp")), Revocation.UNKNOWN),
        (lambda leaf: answer(leaf, by=root().issue("ocsp", usages=(DELEGATE,))), Revocation.UNKNOWN),
        (lambda leaf: answer(leaf, signer=Authority("Intermediate")), Revocation.UNKNOWN),
        (lambda leaf: answer(leaf, age=3 * DAY), Revocation.UNKNOWN),
        (lambda leaf: answer(leaf, age=-3 * DAY), Revocation.UNKNOWN),
        (lambda leaf: answer(middle().issue("other.example.com").certificate), Revocation.UNKNOWN),
        (lambda leaf: b"\x30\x03\x0a\x01\x06", Revocation.UNKNOWN),
        (lambda leaf: b"<html>", Revocation.UNKNOWN),
        (lambda leaf: b"", Revocation.UNKNOWN),
    ],
    ids=[
        "good", "revoked", "delegate", "no delegate", "delegate of another", "forged", "old", "future", "another's",
        "unauthorised", "html", "empty",
    ],
)  # fmt: skip
def test_answer_counts_only_when_it_is_the_authoritys(
    make: Callable[[x509.Certificate], bytes], said: Revocation
) -> None:
    leaf = middle().issue(HOST).certificate
    assert read_answer(make(leaf), leaf, middle().certificate, time.time()) is said


# The missing intermediate


@pytest.mark.asyncio
@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM], ids=["DER", "PEM"])
async def test_missing_intermediate_is_fetched_to_prove_the_case(encoding: Encoding, ca_file: Path) -> None:
    async with web(good(middle().certificate.public_bytes(encoding))) as (url, asked):
        issued = middle().issue(HOST, issuer_url=url)
        tls = await tls_of(Issued(issued.certificate, issued.key, (issued.certificate,)), ca_file)
    assert (tls.missing_issuer, tls.is_completed_by_issuer) == ("CN=Intermediate", True)
    assert tls.chain[0].issuer_url == url
    assert {one.code for one in tls.troubles} == {20, 21}
    assert asked[0].startswith(b"GET /it HTTP/1.0\r\nHost: 127.0.0.1:")


@pytest.mark.asyncio
async def test_private_authority_is_not_completed_by_its_own_certificate(ca_file: Path) -> None:
    private = Authority("Private Root")
    async with web(good(private.certificate.public_bytes(Encoding.DER))) as (url, _):
        tls = await tls_of(private.issue(HOST, issuer_url=url), ca_file)
    assert tls.is_completed_by_issuer is False


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body", [b"HTTP/1.1 404 No\r\n\r\n", good(b"nonsense"), b""], ids=["404", "nonsense", "nothing"]
)
async def test_nothing_is_said_of_an_intermediate_that_cannot_be_had(body: bytes, ca_file: Path) -> None:
    async with web(body) as (url, _):
        issued = middle().issue(HOST, issuer_url=url)
        tls = await tls_of(Issued(issued.certificate, issued.key, (issued.certificate,)), ca_file)
    assert tls.is_completed_by_issuer is None


@pytest.mark.asyncio
async def test_nobody_is_asked_unless_allowed(ca_file: Path) -> None:
    async with web(good(b"")) as (url, asked):
        issued = middle().issue(HOST, issuer_url=url, ocsp_url=url)
        acts = secure(Line(), hello(), *BYE, tls=served(issued))
        await talk(acts, replace(PLAIN, server_name=HOST, ca_file=ca_file))
    assert asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "ftp://127.0.0.1/", "http:///x", "http://127.0.0.1:99999/", "http://127.0.0.1:1/", "x"],
)
async def test_fetch_takes_no_other_url(url: str) -> None:
    assert await fetch(url, 1.0) is None


@pytest.mark.asyncio
async def test_fetch_bounds_what_it_takes() -> None:
    async with web(good(b"x" * (MAX_OCTETS + 100_000))) as (url, _):
        assert await fetch(url, 5.0) is None
