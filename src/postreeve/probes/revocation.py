"""Has the authority taken this certificate back? Asked by OCSP (RFC 6960), where the certificate says whom to ask.

An answer counts only when the issuer signed it, or a responder that the issuer named; anything else is UNKNOWN.
Revocation lists are not read: an authority without OCSP leaves the question open.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from postreeve.checks.conversation import Revocation
from postreeve.probes.certificate import UNREADABLE, is_signed_by, usages_of
from postreeve.probes.fetch import fetch

_SKEW_SECONDS: Final = 300.0


async def ask_revocation(
    leaf: x509.Certificate, issuer: x509.Certificate, url: str, now: float, seconds: float
) -> Revocation:
    """What the responder at `url` says of `leaf`; UNKNOWN when it says nothing that counts. Never raises."""
    try:
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
        question = builder.build().public_bytes(Encoding.DER)
    except UNREADABLE:
        return Revocation.UNKNOWN
    answer = await fetch(url, seconds, question)
    return Revocation.UNKNOWN if answer is None else read_answer(answer, leaf, issuer, now)


def read_answer(answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: float) -> Revocation:
    """An OCSP response's word on `leaf`, if it is signed by who may, for this certificate, and not out of date."""
    try:
        response = ocsp.load_der_ocsp_response(answer)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Revocation.UNKNOWN
        signer = _signer_of(response, issuer)
        if signer is None or response.serial_number != leaf.serial_number or not _is_current(response, now):
            return Revocation.UNKNOWN
        _verify(signer, response)
        status = response.certificate_status
    except (InvalidSignature, *UNREADABLE):
        return Revocation.UNKNOWN
    match status:
        case ocsp.OCSPCertStatus.GOOD:
            return Revocation.GOOD
        case ocsp.OCSPCertStatus.REVOKED:
            return Revocation.REVOKED
        case _:
            return Revocation.UNKNOWN


def _signer_of(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> x509.Certificate | None:
    """RFC 6960, section 4.2.2.2: the issuer, or one with OCSPSigning that the issuer signed."""
    name, digest = response.responder_name, response.responder_key_hash
    for one in response.certificates:
        if "OCSPSigning" in usages_of(one) and is_signed_by(one, issuer) and (name is None or one.subject == name):
            return one
    if name is not None and name != issuer.subject:
        return None
    if digest is not None and digest != x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest:
        return None
    return issuer


def _is_current(response: ocsp.OCSPResponse, now: float) -> bool:
    moment = datetime.fromtimestamp(now, UTC)
    ended = response.next_update_utc
    is_begun = (response.this_update_utc - moment).total_seconds() <= _SKEW_SECONDS
    return is_begun and (ended is None or (moment - ended).total_seconds() <= _SKEW_SECONDS)


def _verify(signer: x509.Certificate, response: ocsp.OCSPResponse) -> None:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    signature, signed = response.signature, response.tbs_response_bytes
    match key:
        case rsa.RSAPublicKey() if algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePublicKey() if algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, signed)
        case _:
            raise InvalidSignature
