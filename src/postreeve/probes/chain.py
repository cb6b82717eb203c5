"""Would this chain be trusted, and if not, what is wrong with it: everything, not only what OpenSSL meets first.

PURE. The path is built as OpenSSL builds it (the trust store before what the server sent), and each trouble has
OpenSSL's number and words (x509_vfy.h), so that they can be searched for. Policies and revocation lists are
not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from postreeve.checks.conversation import Trouble
from postreeve.probes.authority import Authorities
from postreeve.probes.certificate import (
    UNREADABLE,
    common_name_of,
    hash_name,
    is_authority,
    is_signed_by,
    names_of,
    usages_of,
)
from postreeve.probes.identity import NameMatch, is_address, match_name, normal_name
from postreeve.probes.name_constraint import violation

UNREADABLE_CODE: Final = 1
TEXTS: Final = {
    1: "unspecified certificate verification error",
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    32: "key usage does not include certificate signing",
    34: "unhandled critical extension",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    62: "hostname mismatch",
    64: "IP address mismatch",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    79: "invalid CA certificate",
}
"""The words of OpenSSL 3 for its codes."""
_MAX_DEPTH: Final = 10
_WEAK_HASHES: Final = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the chain came to. `is_anchored`: it leads to an authority, whatever else is wrong with it.

    `missing_issuer` is the name that the path breaks off at, `missing_from` the certificate which has that issuer.
    `issuer` is the leaf's, where there is one.
    """

    troubles: tuple[Trouble, ...]
    name_match: NameMatch | None
    is_anchored: bool
    missing_issuer: str = ""
    missing_from: x509.Certificate | None = None
    issuer: x509.Certificate | None = None


def judge(chain: Sequence[x509.Certificate], authorities: Authorities, host: str, now: float) -> Judgement:
    """Judge a chain as the server sent it, leaf first; `host` "" compares no name. An empty chain has no troubles."""
    if not chain:
        return Judgement((), None, is_anchored=False)
    path, trusted_from = _build(chain, authorities, now)
    troubles = [*_path_troubles(path, trusted_from, authorities)]
    for depth, one in enumerate(path):
        troubles += _own_troubles(one, depth, path, is_anchor=trusted_from is not None and depth >= trusted_from)
        troubles += _time_troubles(one, depth, now)
    name_match = match_name(host, names_of(path[0]), common_name_of(path[0])) if host else None
    if name_match is NameMatch.WRONG:
        troubles.append(trouble(64 if is_address(normal_name(host)) else 62, 0))
    is_missing = trusted_from is None and path[-1].issuer != path[-1].subject
    return Judgement(
        troubles=tuple(sorted(dict.fromkeys(troubles), key=lambda one: (one.depth, one.code))),
        name_match=name_match,
        is_anchored=trusted_from is not None,
        missing_issuer=path[-1].issuer.rfc4514_string() if is_missing else "",
        missing_from=path[-1] if is_missing else None,
        issuer=path[1] if len(path) > 1 else (path[0] if path[0].issuer == path[0].subject else None),
    )


def trouble(code: int, depth: int) -> Trouble:
    """A trouble in OpenSSL's words."""
    return Trouble(code, depth, TEXTS[code])


def _build(
    chain: Sequence[x509.Certificate], authorities: Authorities, now: float
) -> tuple[list[x509.Certificate], int | None]:
    """The path from the leaf upwards, and the depth of its first trusted certificate if it has one."""
    path = [chain[0]]
    if chain[0].issuer == chain[0].subject and authorities.hold(chain[0]):
        return path, 0
    trusted_from: int | None = None
    while len(path) < _MAX_DEPTH:
        top = path[-1]
        if top.issuer == top.subject:
            break
        found = _issuer_of(top, authorities.named(top.issuer), now)
        if found is not None:
            trusted_from = len(path) if trusted_from is None else trusted_from
        elif trusted_from is None:
            found = _issuer_of(top, [one for one in chain[1:] if one not in path], now)
        if found is None or found in path:
            break
        path.append(found)
    if trusted_from is not None and path[-1].issuer != path[-1].subject:
        trusted_from = None  # OpenSSL wants the root too, unless told otherwise
    return path, trusted_from


def _issuer_of(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate], now: float
) -> x509.Certificate | None:
    """The best of those whose name fits: one that signed it and is valid, one that signed it, one that might have."""
    named = [one for one in candidates if one.subject == certificate.issuer]
    signed = [one for one in named if is_signed_by(certificate, one)]
    valid = [one for one in signed if not _time_troubles(one, 0, now)]
    for found in (valid, signed, [one for one in named if _is_key_named(certificate, one)]):
        if found:
            return found[0]
    return None


def _is_key_named(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """The key identifiers agree (RFC 5280, section 4.2.1.1), or nobody names any."""
    try:
        wanted = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        given = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, *UNREADABLE):
        return True
    return wanted is None or wanted == given


def _path_troubles(
    path: Sequence[x509.Certificate], trusted_from: int | None, authorities: Authorities
) -> list[Trouble]:
    found: list[Trouble] = []
    for depth, one in enumerate(path[:-1]):
        if not is_signed_by(one, path[depth + 1]):
            found.append(trouble(7, depth))  # also where the algorithm is unknown: nothing unchecked is trusted
    if trusted_from is not None:
        return found
    last = len(path) - 1
    top = path[-1]
    if top.issuer == top.subject:
        found.append(trouble(18, 0) if last == 0 else trouble(19, last))
    elif authorities.hold(top):
        found.append(trouble(2, last))
    else:
        found.append(trouble(20, last))
        if last == 0:
            found.append(trouble(21, 0))
    return found


def _time_troubles(certificate: x509.Certificate, depth: int, now: float) -> list[Trouble]:
    if certificate.not_valid_before_utc.timestamp() > now:
        return [trouble(9, depth)]
    if certificate.not_valid_after_utc.timestamp() < now:
        return [trouble(10, depth)]
    return []


def _own_troubles(
    certificate: x509.Certificate, depth: int, path: Sequence[x509.Certificate], *, is_anchor: bool
) -> list[Trouble]:
    """What is wrong with one certificate in its place."""
    found: list[Trouble] = []
    usages = usages_of(certificate)
    if usages and "serverAuth" not in usages and not is_anchor:
        found.append(trouble(26, depth))
    if depth == 0:
        if not _may(certificate, "digital_signature", "key_encipherment", "key_agreement"):
            found.append(trouble(26, 0))
    else:
        found += _authority_troubles(certificate, depth, path)
        code = violation(path[0], certificate)
        if code:
            found.append(trouble(code, 0))
    if _is_weak_key(certificate):
        found.append(trouble(67 if depth else 66, depth))
    if not is_anchor and certificate.issuer != certificate.subject and hash_name(certificate) in _WEAK_HASHES:
        found.append(trouble(68, depth))
    if _has_unknown_critical(certificate):
        found.append(trouble(34, depth))
    return found


def _authority_troubles(certificate: x509.Certificate, depth: int, path: Sequence[x509.Certificate]) -> list[Trouble]:
    found: list[Trouble] = []
    is_old = certificate.version is x509.Version.v1 and certificate.issuer == certificate.subject
    if not is_authority(certificate) and not is_old:
        found += [trouble(79, depth), trouble(26, depth)]  # OpenSSL says both
    if not _may(certificate, "key_cert_sign"):
        found.append(trouble(32, depth))
    try:
        most = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except (x509.ExtensionNotFound, *UNREADABLE):
        most = None
    below = sum(one.issuer != one.subject for one in path[1:depth])
    if most is not None and below > most:
        found.append(trouble(25, depth))
    return found


def _may(certificate: x509.Certificate, *usages: str) -> bool:
    """keyUsage allows one of them, or there is none (RFC 5280, section 4.2.1.3)."""
    try:
        allowed = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return True
    return any(getattr(allowed, one) for one in usages)


def _is_weak_key(certificate: x509.Certificate) -> bool:
    """Less than 112 bits of security: what OpenSSL refuses at its level 2."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return False
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey():
            return key.key_size < 2048
        case ec.EllipticCurvePublicKey():
            return key.curve.key_size < 224
        case _:
            return False


def _has_unknown_critical(certificate: x509.Certificate) -> bool:
    try:
        return any(one.critical and isinstance(one.value, x509.UnrecognizedExtension) for one in certificate.extensions)
    except UNREADABLE:
        return False
