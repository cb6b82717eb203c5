"""The certificate: why a client that verifies refuses it. The worst first; each further fault is said too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Certificate, Revocation, Tls
from postreeve.checks.judge.case import Case, ipaddress_version
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import day, shown
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

NOT_YET, EXPIRED, SELF_SIGNED, ROOT_IN_CHAIN = 9, 10, 18, 19
_NO_ISSUER: Final = frozenset({2, 20, 21, 27})
_REVOKED, _PURPOSE, _NAME, _ADDRESS = 23, 26, 62, 64
_WEAK: Final = frozenset({66, 67, 68})
_KNOWN: Final = frozenset({NOT_YET, EXPIRED, SELF_SIGNED, ROOT_IN_CHAIN, _REVOKED, _PURPOSE, _NAME, _ADDRESS}) | (
    _NO_ISSUER | _WEAK
)
INTERCEPTORS: Final = (
    "avast", "avg", "kaspersky", "eset", "bitdefender", "zscaler", "fortinet", "fortigate", "sophos", "mail shield",
    "netskope", "blue coat", "palo alto", "mcafee", "norton", "checkpoint", "trend micro", "dr.web", "untangle",
)  # fmt: skip
"""Words in the issuer's name of security products that open TLS on the way."""


def judge_certificate(case: Case) -> Iterator[Verdict]:
    """Nothing when the chain is trusted and names the host, or when nobody would verify: MX hosts without a policy."""
    if not case.asked.is_application:
        return
    yield from certificate_faults(case)


def certificate_faults(case: Case) -> Iterator[Verdict]:
    """Every reason for which a client that verifies refuses, the one that it would name first."""
    talk = case.main
    tls = talk.tls if talk is not None and talk.tls is not None and talk.tls.chain else case.tls
    if tls is None or not tls.chain:
        return
    leaf = tls.chain[0]
    codes = {trouble.code for trouble in tls.troubles}
    yield from _issuer(case, tls, codes)
    if EXPIRED in codes or leaf.not_after < case.facts.at:
        yield from _expired(case, tls)
    elif NOT_YET in codes or leaf.not_before > case.facts.at:
        line = f"it begins to be valid at {day(leaf.not_before)}, our clock says {day(case.facts.at)}"
        yield found(case, "cert-notyet", Confidence.HIGH, Stage.CERT, shown(leaf), line)
    if _REVOKED in codes or tls.revocation is Revocation.REVOKED:
        stapled = " (stapled by the server)" if tls.is_stapled else ""
        line = f"its authority says by OCSP that it is revoked{stapled}"
        yield found(case, "cert-revoked", Confidence.HIGH, Stage.CERT, shown(leaf), line)
    yield from _names(case, tls, leaf, codes)
    if any(one.code == _PURPOSE and not one.depth for one in tls.troubles) or (
        leaf.usages and not {"serverAuth", "anyExtendedKeyUsage"} & set(leaf.usages)
    ):
        line = f"its extended key usage is {', '.join(leaf.usages) or 'not for servers'}, without serverAuth"
        yield found(case, "cert-purpose", Confidence.HIGH, Stage.CERT, shown(leaf), line)
    weak = weaknesses(tls)
    if codes & _WEAK or weak:
        told = [f"depth {one.depth}: {one.text}" for one in tls.troubles if one.code in _WEAK]
        yield found(case, "cert-weak", Confidence.HIGH, Stage.CERT, shown(leaf), *weak, *told)
    for trouble in tls.troubles:
        if trouble.code not in _KNOWN or (trouble.code == _PURPOSE and trouble.depth):
            line = f"verification at depth {trouble.depth} says {trouble.text} (code {trouble.code})"
            yield found(case, "cert-untrusted", Confidence.HIGH, Stage.CERT, shown(leaf), line)


def weaknesses(tls: Tls) -> tuple[str, ...]:
    """What OpenSSL at security level 2 refuses in the leaf; a root's own signature does not count."""
    leaf = tls.chain[0]
    lines = []
    bits = rsa_bits(leaf)
    if bits and bits < 2048:
        lines.append(f"its key is {leaf.key}; clients at OpenSSL's security level 2 demand RSA 2048")
    if leaf.signature.lower() in ("sha1", "md5"):
        lines.append(f"it is signed with {leaf.signature}")
    return tuple(lines)


def rsa_bits(certificate: Certificate) -> int:
    """The size of an RSA key, 0 for another kind."""
    match = re.fullmatch(r"RSA (\d+)", certificate.key)
    return int(match[1]) if match else 0


def _issuer(case: Case, tls: Tls, codes: set[int]) -> Iterator[Verdict]:
    leaf, last = tls.chain[0], tls.chain[-1]
    if SELF_SIGNED in codes or (leaf.is_self_signed and codes & (_NO_ISSUER | {ROOT_IN_CHAIN})):
        yield found(case, "cert-selfsigned", Confidence.HIGH, Stage.CERT, shown(leaf), "its own key signed it")
        return
    if not codes & (_NO_ISSUER | {ROOT_IN_CHAIN}):
        return
    product = next((word for word in INTERCEPTORS if any(word in one.issuer.lower() for one in tls.chain)), "")
    if product:
        line = f"its issuer is a security product that opens TLS on the way: “{leaf.issuer}”"
        yield found(case, "cert-chain-root", Confidence.HIGH, Stage.CERT, shown(leaf), line, issuer=last.issuer)
    elif ROOT_IN_CHAIN in codes or (len(tls.chain) > 1 and last.is_self_signed):
        line = f"the chain of {len(tls.chain)} ends in “{last.subject}”, which signed itself and is not trusted here"
        yield found(case, "cert-chain-root", Confidence.HIGH, Stage.CERT, shown(leaf), line, issuer=last.subject)
    elif tls.is_completed_by_issuer:
        line = (
            f"missing is “{tls.missing_issuer or last.issuer}”; fetched from {last.issuer_url}, it completes the chain"
        )
        known = {"missing": tls.missing_issuer or last.issuer}
        yield found(case, "cert-missing-intermediate", Confidence.HIGH, Stage.CERT, shown(leaf), line, **known)
    elif tls.is_completed_by_issuer is None and last.issuer_url and not last.is_authority:
        yield _missing(case, tls)
    else:
        yield _private(case, tls)


def _missing(case: Case, tls: Tls) -> Verdict:
    """Certificates of public authorities say where their issuer's is to be had; this one could not be fetched."""
    missing = tls.missing_issuer or tls.chain[-1].issuer
    line = f"the server sent {len(tls.chain)} certificate(s); missing is “{missing}”, which this machine does not know"
    other = f"it is an intermediate that the server must send ({tls.chain[-1].issuer_url}, which was not fetched), or "
    other += "a private authority (cert-private-root)"
    evidence = (shown(tls.chain[0]), line, other)
    return found(case, "cert-missing-intermediate", Confidence.MEDIUM, Stage.CERT, *evidence, missing=missing)


def _private(case: Case, tls: Tls) -> Verdict:
    last = tls.chain[-1]
    line = f"the last certificate sent was issued by “{last.issuer}”, which this machine does not know"
    if tls.is_completed_by_issuer is False:
        tried = f"fetched from {last.issuer_url}, its issuer leads to no known authority"
        certain = Confidence.HIGH
    else:
        tried = "it does not say where its issuer's certificate is, as those of public authorities do; if it is one's "
        tried += "all the same, the server must send that too (cert-missing-intermediate)"
        certain = Confidence.MEDIUM
    tried = "" if certain is Confidence.MEDIUM and last.issuer_url else tried
    known = {"issuer": last.issuer}
    return found(case, "cert-private-root", certain, Stage.CERT, shown(tls.chain[0]), line, tried, **known)


def _expired(case: Case, tls: Tls) -> Iterator[Verdict]:
    leaf = tls.chain[0]
    old = next((one for one in tls.chain if one.not_after < case.facts.at), leaf)
    days = (case.facts.at - old.not_after) / 86_400
    line = f"it expired {days:.1f} days before {day(case.facts.at)}, which is our clock"
    which = "" if old is leaf else f"not the leaf, but an intermediate: {shown(old)}"
    yield found(case, "cert-expired", Confidence.HIGH, Stage.CERT, shown(leaf), which, line)


def _names(case: Case, tls: Tls, leaf: Certificate, codes: set[int]) -> Iterator[Verdict]:
    if tls.is_name_right is not False and not codes & {_NAME, _ADDRESS}:
        return
    names = ", ".join(leaf.names) or leaf.common_name
    why = _why_this_one(case, leaf)
    if ipaddress_version(case.host):
        line = f"the host is given as the address {case.host}; the certificate has {names}"
        yield found(case, "cert-ip", Confidence.HIGH, Stage.CERT, shown(leaf), line, why, good=usable(leaf))
    elif not leaf.names and matches(leaf.common_name, case.host):
        line = f"it has no subjectAltName; {case.host} stands in the common name only (RFC 9525, section 2)"
        yield found(case, "cert-cn-only", Confidence.HIGH, Stage.CERT, shown(leaf), line)
    else:
        line = f"the host is {case.host}; the certificate has {names}"
        yield found(case, "cert-hostname", Confidence.HIGH, Stage.CERT, shown(leaf), line, why, good=usable(leaf))


def _why_this_one(case: Case, leaf: Certificate) -> str:
    """What the certificate that is shown without SNI tells of a wrong one."""
    other = case.nameless
    if other is None:
        return ""
    if other.chain[0].fingerprint == leaf.fingerprint:
        return "it shows the same without SNI: this is its default, and it has none for this name"
    return f"it chooses by SNI, and wrongly: without SNI it shows another one, {shown(other.chain[0])}"


def matches(pattern: str, host: str) -> bool:
    """A DNS name of a certificate against a host; `*` stands for the whole left-most label (RFC 9525, section 6.3)."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:] and "." in pattern[2:]
    return pattern == host


def usable(leaf: Certificate) -> str:
    """A name of it that a client can put into its settings, "" where there is none."""
    return next((name for name in leaf.names if not name.startswith("*") and not ipaddress_version(name)), "")
