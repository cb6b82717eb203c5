"""One certificate as a value: everything that a check wants to know, read from its DER."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from postreeve.checks.conversation import Certificate

_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}
_PARSED_LATE: Final[tuple[Callable[[x509.Certificate], object], ...]] = (
    lambda one: one.subject.rfc4514_string(),
    lambda one: one.issuer.rfc4514_string(),
    lambda one: one.not_valid_before_utc.timestamp(),
    lambda one: one.not_valid_after_utc.timestamp(),
)
"""What is decoded only when it is asked for, and without which there is nothing to say."""
UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a certificate of strangers may raise: broken DER, unknown keys, forbidden encodings."""


def read_certificate(der: bytes) -> x509.Certificate | None:
    """The certificate, None where it cannot be read at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = x509.load_der_x509_certificate(der)
            for read in _PARSED_LATE:
                read(certificate)
    except UNREADABLE:
        return None
    return certificate


def describe(der: bytes) -> Certificate:
    """The certificate as a fact; what cannot be read of it stays empty."""
    fingerprint = hashlib.sha256(der).hexdigest()
    encoded = base64.b64encode(der).decode()
    certificate = read_certificate(der)
    if certificate is None:
        return Certificate("", "", (), "", 0.0, 0.0, "", "", fingerprint, der=encoded)
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=names_of(certificate),
        common_name=common_name_of(certificate),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        key=key_name(certificate),
        signature=hash_name(certificate),
        fingerprint=fingerprint,
        usages=usages_of(certificate),
        is_authority=is_authority(certificate),
        is_self_signed=is_signed_by(certificate, certificate),
        issuer_url=access_url(certificate, AuthorityInformationAccessOID.CA_ISSUERS),
        ocsp_url=access_url(certificate, AuthorityInformationAccessOID.OCSP),
        der=encoded,
    )


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True when the issuer's name fits and its key made the signature."""
    try:
        if hash_name(certificate) in ("sha1", "md5"):
            return certificate.issuer == issuer.subject and _has_old_signature(certificate, issuer)
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _has_old_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Hashes of old, which cryptography checks only where it is not asked about certificates. Raises as it does."""
    key, algorithm = issuer.public_key(), certificate.signature_hash_algorithm
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    match key:
        case rsa.RSAPublicKey() if algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePublicKey() if algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case _:
            return False
    return True


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names and addresses of subjectAltName, lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def common_name_of(certificate: x509.Certificate) -> str:
    """The last common name of the subject, "" for none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def usages_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The extended key usages (RFC 5280, section 4.2.1.12), by name where they have one."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()
    return tuple(_USAGES.get(one, one.dotted_string) for one in usages)


def is_authority(certificate: x509.Certificate) -> bool:
    """basicConstraints says CA (RFC 5280, section 4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def key_name(certificate: x509.Certificate) -> str:
    """Kind and size of the public key."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "unknown"
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return "unknown"


def hash_name(certificate: x509.Certificate) -> str:
    """The hash of the signature, "" where the algorithm has none of its own (Ed25519) or is unknown."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UNREADABLE:
        return ""
    return algorithm.name if algorithm is not None else ""


def access_url(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> str:
    """The first HTTP URL of authorityInfoAccess for this method (RFC 5280, section 4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ""
    for one in access:
        if one.access_method == method and isinstance(one.access_location, x509.UniformResourceIdentifier):
            url = one.access_location.value
            if url.lower().startswith("http://"):
                return url
    return ""
