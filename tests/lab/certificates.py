"""Certificates made on the spot: an authority, and what it or nobody signed."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
SERVER, CLIENT = x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Issued:
    """A certificate with its chain (leaf first, without the root) and key."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...]

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """As `name`.pem and `name`.key."""
        chain, key = directory / f"{name}.pem", directory / f"{name}.key"
        chain.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self.chain))
        key.write_bytes(key_pem(self.key))
        return chain, key


def key_pem(key: Key) -> bytes:
    """Unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A root that signs."""

    def __init__(
        self,
        name: str = "Test Authority",
        parent: Authority | None = None,
        *,
        key: Key | None = None,
        is_authority: bool = True,
        expired: bool = False,
        path_length: int | None = None,
        usages: tuple[x509.ObjectIdentifier, ...] = (),
        more: tuple[x509.ExtensionType, ...] = (),
    ) -> None:
        """`more` are extensions that are critical."""
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer, issuer = (self.key, subject) if parent is None else (parent.key, parent.certificate.subject)
        now = datetime.datetime.now(datetime.UTC)
        builder = _builder(subject, issuer, self.key, now - 3 * DAY, now - DAY if expired else now + 30 * DAY)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for one in more:
            builder = builder.add_extension(one, critical=True)
        self.certificate = (
            builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        self.intermediates = () if parent is None else (self.certificate, *parent.intermediates)

    def write(self, path: Path) -> Path:
        """The root's certificate as PEM."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(
        self,
        *names: str,
        expired: bool = False,
        future: bool = False,
        key: Key | None = None,
        usages: tuple[x509.ObjectIdentifier, ...] = (SERVER,),
        has_alternative: bool = True,
        issuer_url: str = "",
        ocsp_url: str = "",
        more: tuple[x509.ExtensionType, ...] = (),
    ) -> Issued:
        """A server certificate for these DNS names and addresses, the first of them its common name too.

        `more` are extensions that are critical.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        start = now + DAY if future else now - 3 * DAY
        end = now - DAY if expired else now + 20 * DAY
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (names or ("nameless",))[0])])
        builder = _builder(subject, self.certificate.subject, key, start, end)
        if names and has_alternative:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for one in more:
            builder = builder.add_extension(one, critical=True)
        access = [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in (
                (x509.AuthorityInformationAccessOID.CA_ISSUERS, issuer_url),
                (x509.AuthorityInformationAccessOID.OCSP, ocsp_url),
            )
            if url
        ]
        if access:
            builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Issued(certificate, key, (certificate, *self.intermediates))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
