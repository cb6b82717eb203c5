"""Chains with one fault each, and what OpenSSL calls it: (code, depth)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.lab.certificates import CLIENT, SERVER, Authority, Issued, key_pem

ANY = x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
HOST = "mail.example.com"


@dataclass(frozen=True)
class Fault:
    """`issued` is what the server shows to a client that wants `host` and trusts `root` only."""

    issued: Issued
    troubles: frozenset[tuple[int, int]]
    host: str = HOST


@cache
def root() -> Authority:
    """What the clients of these tests trust."""
    return Authority("Trusted Root")


@cache
def middle() -> Authority:
    """An intermediate of `root`."""
    return Authority("Intermediate", root())


def _through(authority: Authority, *names: str) -> Issued:
    return authority.issue(*(names or (HOST,)))


def _chain(issued: Issued, *others: x509.Certificate) -> Issued:
    return Issued(issued.certificate, issued.key, (issued.certificate, *others))


def _private() -> Issued:
    private = Authority("Private Root")
    return _chain(private.issue(HOST), private.certificate)


def _self_signed() -> Issued:
    private = Authority(HOST)
    return private.issue(HOST, key=private.key)


def _forged() -> Issued:
    issued = middle().issue(HOST)
    der = bytearray(issued.certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    certificate = x509.load_der_x509_certificate(bytes(der))
    return Issued(certificate, issued.key, (certificate, middle().certificate))


def _reordered() -> Issued:
    lower = Authority("Lower", middle())
    return _chain(lower.issue(HOST), middle().certificate, lower.certificate)


def _sha1() -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        authority = middle().write(base / "ca.pem")
        (base / "ca.key").write_bytes(key_pem(middle().key))
        (base / "request").write_bytes(request.public_bytes(Encoding.PEM))
        (base / "extensions").write_text(f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n")
        # cryptography does not make such signatures any more.
        command = ["openssl", "x509", "-req", "-sha1", "-days", "20", "-in", base / "request", "-CA", authority]
        command += ["-CAkey", base / "ca.key", "-set_serial", "7", "-extfile", base / "extensions"]
        done = subprocess.run(command, capture_output=True, check=True)
    certificate = x509.load_pem_x509_certificate(done.stdout)
    return Issued(certificate, key, (certificate, middle().certificate))


FAULTS: dict[str, tuple[Callable[[], Issued], set[tuple[int, int]]]] = {
    "healthy": (lambda: _through(middle()), set()),
    "wildcard": (lambda: _through(middle(), "*.example.com"), set()),
    "root sent too": (lambda: _chain(middle().issue(HOST), middle().certificate, root().certificate), set()),
    "reordered": (_reordered, set()),
    "common name only": (lambda: middle().issue(HOST, has_alternative=False), set()),
    "no usages": (lambda: middle().issue(HOST, usages=()), set()),
    "both usages": (lambda: middle().issue(HOST, usages=(SERVER, CLIENT)), set()),
    "expired": (lambda: middle().issue(HOST, expired=True), {(10, 0)}),
    "not yet valid": (lambda: middle().issue(HOST, future=True), {(9, 0)}),
    "wrong name": (lambda: _through(middle(), "other.example.com"), {(62, 0)}),
    "wildcard too high": (lambda: _through(middle(), "*.com"), {(62, 0)}),
    "expired and wrong name": (lambda: middle().issue("other.example.com", expired=True), {(10, 0), (62, 0)}),
    "no intermediate": (lambda: _chain(middle().issue(HOST)), {(20, 0), (21, 0)}),
    "self-signed": (_self_signed, {(18, 0)}),
    "private root sent": (_private, {(19, 1)}),
    "private root not sent": (lambda: Authority("Private Root").issue(HOST), {(20, 0), (21, 0)}),
    "client usage": (lambda: middle().issue(HOST, usages=(CLIENT,)), {(26, 0)}),
    "weak key": (lambda: middle().issue(HOST, key=rsa.generate_private_key(65537, 1024)), {(66, 0)}),
    "SHA-1": (_sha1, {(68, 0)}),
    "issuer is no authority": (lambda: Authority("Leaf", root(), is_authority=False).issue(HOST), {(26, 1), (79, 1)}),
    "issuer expired": (lambda: Authority("Old", root(), expired=True).issue(HOST), {(10, 1)}),
    "issuer's key is weak": (
        lambda: Authority("Weak", root(), key=rsa.generate_private_key(65537, 1024)).issue(HOST),
        {(67, 1)},
    ),
    "any usage": (lambda: middle().issue(HOST, usages=(ANY,)), {(26, 0)}),
    "issuer is for clients": (lambda: Authority("Clients", root(), usages=(CLIENT,)).issue(HOST), {(26, 1)}),
    "unknown and critical": (
        lambda: middle().issue(HOST, more=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.1"), b"0"),)),
        {(34, 0)},
    ),
    "path too long": (
        lambda: Authority("Lower", Authority("Short", root(), path_length=0)).issue(HOST),
        {(25, 2)},
    ),
    "forged": (_forged, {(7, 0)}),
}
"""By name: the maker of the chain, and its troubles."""


def make(name: str) -> Fault:
    """One of FAULTS."""
    maker, troubles = FAULTS[name]
    return Fault(maker(), frozenset(troubles))
