"""Chains with one fault each, and what OpenSSL calls it: (code, depth)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.lab.certificates import CLIENT, SERVER, Authority, Issued

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


def _constrained(permitted: str = "", excluded: str = "") -> Authority:
    trees = [[x509.DNSName(one)] if one else None for one in (permitted, excluded)]
    return Authority("Constrained", root(), more=(x509.NameConstraints(*trees),))


def unknown_algorithm() -> Issued:
    """Signed in a way that nobody knows; OpenSSL then finds no issuer at all."""
    authority = Authority("Intermediate", root(), key=rsa.generate_private_key(65537, 2048))
    issued = authority.issue(HOST)
    der = issued.certificate.public_bytes(Encoding.DER).replace(_SHA256_WITH_RSA, _SHA256_WITH_RSA[:-1] + b"\x63")
    certificate = x509.load_der_x509_certificate(der)
    return Issued(certificate, issued.key, (certificate, authority.certificate))


def _sha1() -> Issued:
    # cryptography does not make such certificates any more: another algorithm of the same length is written over.
    authority = Authority("Intermediate", root(), key=rsa.generate_private_key(65537, 2048))
    assert isinstance(authority.key, rsa.RSAPrivateKey)
    issued = authority.issue(HOST)
    der = issued.certificate.public_bytes(Encoding.DER).replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    signature = authority.key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    certificate = x509.load_der_x509_certificate(der[: -len(signature)] + signature)
    return Issued(certificate, issued.key, (certificate, authority.certificate))


_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")


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
    "permitted name": (lambda: _constrained(permitted="example.com").issue(HOST), set()),
    "permitted names below": (lambda: _constrained(permitted=".example.com").issue(HOST), set()),
    "name not permitted": (lambda: _constrained(permitted="example.org").issue(HOST), {(47, 0)}),
    "name excluded": (lambda: _constrained(excluded="example.com").issue(HOST), {(48, 0)}),
    "another excluded": (lambda: _constrained(excluded="mple.com").issue(HOST), set()),
    "common name not permitted": (
        lambda: _constrained(permitted="example.org").issue(HOST, has_alternative=False),
        {(47, 0)},
    ),
}
"""By name: the maker of the chain, and its troubles."""


def make(name: str) -> Fault:
    """One of FAULTS."""
    maker, troubles = FAULTS[name]
    return Fault(maker(), frozenset(troubles))
