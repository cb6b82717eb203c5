"""TLS contexts: the server's certificates, chosen by name and replaced while running, and what clients trust."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from postreeve.net.tls import NamedObject
from postreeve.net.trust import TrustRecorder

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FORMAT: Final = serialization.PublicFormat.SubjectPublicKeyInfo
_DER: Final = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A chain (leaf first) and its private key, both PEM; they may be one file."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What a server shows: `default` to clients that name nobody or nobody we know, `extra` by SNI."""

    default: CertificateFiles
    extra: tuple[CertificateFiles, ...] = ()
    minimum_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class CertificateFinding:
    """Something about a certificate. `is_fatal`: it cannot be used at all."""

    path: Path
    problem: str
    hint: str
    is_fatal: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.problem} ({self.hint})" if self.hint else f"{self.path}: {self.problem}"


@dataclass(frozen=True, slots=True)
class LoadedCertificate:
    """A certificate in use. `names` are its DNS names and addresses in lower case; times are POSIX seconds."""

    path: Path
    names: tuple[str, ...]
    not_before: float
    not_after: float

    @property
    def not_after_text(self) -> str:
        """The end of validity, for people and logs."""
        return datetime.fromtimestamp(self.not_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class ServerContexts:
    """One consistent set: hand `default` to TlsPipe; it turns itself into the right one by SNI."""

    default: ssl.SSLContext
    loaded: tuple[LoadedCertificate, ...]
    findings: tuple[CertificateFinding, ...]
    """Nothing fatal: expired, misordered, names nobody."""


class ServerTls:
    """The contexts in use. A reload replaces them in one assignment: sessions that have begun keep theirs."""

    __slots__ = ("current",)

    def __init__(self, contexts: ServerContexts) -> None:
        self.current = contexts

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self.current.default

    def reload(self, settings: TlsSettings, now: float) -> tuple[CertificateFinding, ...]:
        """Use the files as they are now; on any fatal finding the old certificates stay. Returns all findings.

        Reads files: call it in a thread.
        """
        made = load_contexts(settings, now)
        if isinstance(made, ServerContexts):
            self.current = made
            return made.findings
        return made


def load_contexts(settings: TlsSettings, now: float) -> ServerContexts | tuple[CertificateFinding, ...]:
    """The contexts for these files, or what is wrong with them: every finding of every file, at least one fatal.

    An expired certificate is loaded with a finding: a server that greets with it still takes mail, one that does not
    start takes none. `now` is POSIX seconds. Reads files.
    """
    findings: list[CertificateFinding] = []
    loaded: list[LoadedCertificate] = []
    contexts: list[ssl.SSLContext] = []
    minimum = _VERSIONS.get(settings.minimum_version)
    if minimum is None:
        hint = f"one of {', '.join(_VERSIONS)}"
        return (CertificateFinding(settings.default.certificate, "unknown minimum TLS version", hint, True),)
    for files in (settings.default, *settings.extra):
        certificate, found = inspect(files, now)
        findings += found
        if certificate is None:
            continue
        context = _server_context(minimum)
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            findings.append(CertificateFinding(files.certificate, f"OpenSSL refuses it: {error}", "", True))
            continue
        loaded.append(certificate)
        contexts.append(context)
    if any(finding.is_fatal for finding in findings):
        return tuple(findings)
    default = contexts[0]
    _choose_by_name(default, tuple(zip(loaded, contexts, strict=True)))
    return ServerContexts(default, tuple(loaded), tuple(findings))


def inspect(files: CertificateFiles, now: float) -> tuple[LoadedCertificate | None, list[CertificateFinding]]:
    """Look at one chain and key: None when they cannot be used, and everything there is to say about them."""

    def fatal(path: Path, problem: str, hint: str) -> tuple[None, list[CertificateFinding]]:
        return None, [CertificateFinding(path, problem, hint, True)]

    try:
        chain = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    except OSError as error:
        return fatal(files.certificate, f"cannot be read: {error.strerror}", "check the path and the permissions")
    except ValueError:
        return fatal(files.certificate, "holds no PEM certificate", "it must begin with -----BEGIN CERTIFICATE-----")
    try:
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    except OSError as error:
        return fatal(files.key, f"cannot be read: {error.strerror}", "check the path and the permissions")
    except TypeError:
        return fatal(files.key, "the key is encrypted", "store it without a passphrase, readable by the server only")
    except (ValueError, UnsupportedAlgorithm):
        return fatal(files.key, "holds no usable PEM private key", "it must hold -----BEGIN PRIVATE KEY-----")
    wanted = key.public_key().public_bytes(_DER, _FORMAT)
    owners = [place for place, one in enumerate(chain) if one.public_key().public_bytes(_DER, _FORMAT) == wanted]
    if not owners:
        return fatal(files.certificate, f"does not belong to the key {files.key}", "certificate and key were mixed up")
    if owners[0] != 0:
        hint = "the server's own certificate must come first, then the intermediates"
        return fatal(files.certificate, "the chain is in the wrong order", hint)
    return _describe(files.certificate, chain, now)


def _describe(
    path: Path, chain: Sequence[x509.Certificate], now: float
) -> tuple[LoadedCertificate, list[CertificateFinding]]:
    leaf = chain[0]
    certificate = LoadedCertificate(
        path, _names(leaf), leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    )
    findings = []
    if certificate.not_after < now:
        problem = f"expired on {certificate.not_after_text}"
        findings.append(CertificateFinding(path, problem, "renew it: peers that verify refuse it", False))
    if certificate.not_before > now:
        findings.append(CertificateFinding(path, "is not valid yet", "check the clock of this machine", False))
    if not certificate.names:
        hint = "it needs a subjectAltName; the common name alone is not looked at any more"
        findings.append(CertificateFinding(path, "names no host", hint, False))
    for lower, upper in itertools.pairwise(chain):
        if lower.issuer != upper.subject:
            hint = "each certificate must be followed by its issuer"
            findings.append(CertificateFinding(path, "the chain is in the wrong order or has a gap", hint, False))
            break
    return certificate, findings


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return tuple(hosts) + tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))


def _server_context(minimum: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.sslobject_class = NamedObject
    return context


def _no_password() -> str:
    return ""  # never ask on the terminal


def _choose_by_name(default: ssl.SSLContext, certificates: Sequence[tuple[LoadedCertificate, ssl.SSLContext]]) -> None:
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, context in certificates:
        for name in certificate.names:
            by_name.setdefault(name, context)

    def choose(tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        # An unknown name gets the default certificate: mail servers come with all sorts of names.
        wanted = (name or "").lower().rstrip(".")[:255]
        if isinstance(tls, NamedObject):
            tls.requested_name = wanted
        found = by_name.get(wanted) or by_name.get("*." + wanted.partition(".")[2])
        if found is not None and found is not default:
            tls.context = found

    default.sni_callback = choose


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """What a client needs for TLS: the two kinds of context, and the recorder for chains that were not verified."""

    opportunistic: ssl.SSLContext
    verified: ssl.SSLContext
    recorder: TrustRecorder


def load_client_trust(ca_file: Path | None = None) -> ClientTrust:
    """With the system's authorities, or those in `ca_file`. Raises OSError when the file cannot be used."""
    return ClientTrust(opportunistic_context(), verified_context(ca_file), TrustRecorder(ca_file))


def opportunistic_context() -> ssl.SSLContext:
    """For a next hop that promises nothing: any certificate will do, since plaintext would do (RFC 7435)."""
    context = _client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """For a next hop that must prove its name, to the system's authorities or to those in `ca_file`.

    Raises OSError (ssl.SSLError is one) when the file cannot be used.
    """
    context = _client_context()
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context
