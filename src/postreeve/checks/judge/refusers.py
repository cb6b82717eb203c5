"""Who else will fail: clients that refuse this server, or behave worse, though the probe did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Opening, Tls
from postreeve.checks.facts import Intent
from postreeve.checks.judge.banner import SLOW_SECONDS
from postreeve.checks.judge.case import Case, mechanisms
from postreeve.checks.judge.certificate import matches, rsa_bits
from postreeve.checks.judge.fix import fix_for
from postreeve.checks.judge.judgement import Refuser
from postreeve.checks.judge.login import PASSWORD_MECHANISMS, TOKEN_MECHANISMS
from postreeve.checks.judge.tls import is_small_dh
from postreeve.checks.stage import Stage

_OLD: Final = ("SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1")
_SECLEVEL_2: Final = (
    "OpenSSL at security level 2 (Python, Ruby, PHP, curl, Postfix on Debian, Ubuntu, Fedora), Node.js 24"
)


def refusers(case: Case) -> Iterator[Refuser]:
    """Client families that an observation at this endpoint rules out."""
    yield from _by_certificate(case)
    yield from _by_handshake(case)
    yield from _by_mode(case)
    yield from _by_login(case)
    talk = case.main
    greeting = talk.reply(Stage.BANNER) if talk is not None else None
    if greeting is not None and greeting.code == 220 and greeting.seconds >= SLOW_SECONDS:
        reason = f"they wait 5 to 10 s for the greeting, which took {greeting.seconds:.1f} s"
        yield _refuser(case, "applications with short time-outs, health checks, web forms", "slow-banner", reason)


def _refuser(case: Case, client: str, cause: str, reason: str) -> Refuser:
    return Refuser(client, cause, reason, fix_for(cause, case), case.place)


def _by_certificate(case: Case) -> Iterator[Refuser]:
    tls = case.tls
    if tls is None or not tls.chain:
        return
    leaf = tls.chain[0]
    if not leaf.names and leaf.common_name:
        named = matches(leaf.common_name, case.host)
        reason = "it looks at subjectAltName only, and the certificate has none"
        yield _refuser(case, "Go (crypto/tls)", "cert-cn-only", reason)
        if named:
            others = "rustls, Java and .NET in newer versions"
            yield _refuser(case, others, "cert-cn-only", "they follow RFC 9525, which ignores the common name")
    other = case.nameless
    if other is not None and tls.is_name_right and other.is_name_right is False:
        reason = f"without SNI the server shows a certificate for {', '.join(other.chain[0].names[:4]) or 'no name'}"
        clients = "clients that send no SNI: Postfix and Exim unless told to (smtp_tls_servername, tls_sni)"
        yield _refuser(case, clients, "cert-hostname", reason)
    if 0 < rsa_bits(leaf) < 2048:
        reason = f"the key is {leaf.key}; they demand RSA 2048 (EE certificate key too weak)"
        yield _refuser(case, _SECLEVEL_2, "cert-weak", reason)
    weak = [one for one in tls.chain if one.signature.lower() in ("sha1", "md5") and not one.is_self_signed]
    if weak:
        reason = f"“{weak[0].subject}” is signed with {weak[0].signature} (CA md too weak)"
        yield _refuser(case, f"{_SECLEVEL_2}, Go, Java", "cert-weak", reason)
    if leaf.usages and "serverAuth" not in leaf.usages:
        reason = "the certificate's extended key usage lacks serverAuth; GnuTLS (msmtp) alone accepts it"
        yield _refuser(case, "OpenSSL, Go, Java, .NET", "cert-purpose", reason)


def _by_handshake(case: Case) -> Iterator[Refuser]:
    strict = [one.tls for one in case.conversations if one.tls is not None and one.tls.version]
    lenient = case.lenient
    if lenient is not None and not strict and lenient.version in _OLD:
        reason = f"the server has {lenient.version} at most; they begin at TLS 1.2"
        clients = "Python 3.10 and later, Go, Java 11 and later, Node.js, curl with OpenSSL 3, Rust"
        yield _refuser(case, clients, "tls-protocol", reason)
    for tls in (*strict, *((lenient,) if lenient is not None else ())):
        if is_small_dh(tls):
            reason = f"the key exchange is {tls.group} (dh key too small)"
            yield _refuser(case, f"{_SECLEVEL_2} (OpenSSL 3.5)", "tls-dh", reason)
            break
    yield from _by_cipher(case, strict)


def _by_cipher(case: Case, strict: list[Tls]) -> Iterator[Refuser]:
    for tls in strict:
        if tls.version == "TLSv1.2" and tls.cipher.startswith(("DHE-", "AES", "DES-")):
            kind = "DHE" if tls.cipher.startswith("DHE-") else "RSA key transport"
            reason = f"with an ordinary client the server chose {tls.cipher} ({kind}), no ECDHE"
            yield _refuser(
                case, "Go, Rust (rustls) and Python 3.10 and later, which offer ECDHE only", "tls-cipher", reason
            )
            return


def _by_mode(case: Case) -> Iterator[Refuser]:
    implicit = [one for one in case.opened(Opening.TLS) if one.tls is not None and one.tls.version]
    if implicit and case.mode in (Intent.IMPLICIT, Intent.AUTO):
        reason = "it has no implicit TLS: it waits for a greeting until it times out"
        yield _refuser(case, ".NET System.Net.Mail.SmtpClient", "dotnet-465", reason)


def _by_login(case: Case) -> Iterator[Refuser]:
    talk = case.main
    hello = talk.reply(Stage.EHLO) if talk is not None else None
    if hello is None or hello.code != 250 or not case.asked.is_application:
        return
    offered = set(mechanisms(hello))
    if not offered and (case.asked.has_credentials or hello.is_in_tls):
        reason = "AUTH is not offered: with a user name and password set they send without a login and say nothing"
        yield _refuser(case, "nodemailer, curl, JavaMail", "auth-not-offered", reason)
    elif offered and not offered & PASSWORD_MECHANISMS and offered & TOKEN_MECHANISMS:
        reason = f"only {' '.join(sorted(offered))} is offered: a password is of no use"
        yield _refuser(case, "every client that is set up with a password", "oauth-only", reason)
    elif "PLAIN" in offered and not hello.is_in_tls and case.mode is Intent.PLAIN:
        reason = "it refuses to send a password without TLS (unencrypted connection)"
        yield _refuser(case, "Go (net/smtp)", "go-unencrypted", reason)
