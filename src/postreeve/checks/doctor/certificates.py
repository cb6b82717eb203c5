"""The certificates that clients are really shown, port by port, and the files that they came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Certificate
from postreeve.checks.doctor.check import Check, Seen, place, span
from postreeve.checks.finding import Level
from postreeve.checks.machine import Machine, Served

_RENEWAL_SHARE: Final = 1 / 3
"""A certificate is renewed when a third of its life is left (30 of 90 days); a margin of a tenth is for the job."""
_LATE_SHARE: Final = _RENEWAL_SHARE - 0.1
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET: Final = 9  # X509_V_ERR_CERT_NOT_YET_VALID
_OWN_CHECKS: Final = (_EXPIRED, _NOT_YET, 62, 64)  # and X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_RENEW: Final = "renew it (certbot renew, acme.sh --cron …); the server takes renewed files up by itself"


def _shown(machine: Machine) -> Iterator[tuple[Served, Certificate]]:
    for served in machine.served:
        tls = served.conversation.tls
        if tls is not None and tls.chain:
            yield served, tls.chain[0]


def _subject(served: Served) -> str:
    return f"{served.listener} {place(served.reached, served.port)}"


def expired(machine: Machine) -> Iterator[Seen]:
    """Past its end."""
    for served, leaf in _shown(machine):
        if leaf.not_after <= machine.at:
            ago = span(machine.at - leaf.not_after)
            yield Seen(_subject(served), (f"{leaf.subject} ended {ago} ago",), _RENEW)


def not_yet(machine: Machine) -> Iterator[Seen]:
    """Before its beginning: the clock, or whoever issued it."""
    for served, leaf in _shown(machine):
        if leaf.not_before > machine.at:
            ahead = span(leaf.not_before - machine.at)
            yield Seen(_subject(served), (f"{leaf.subject} begins in {ahead}",), "timedatectl   # is the clock right?")


def late(machine: Machine) -> Iterator[Seen]:
    """It should have been renewed by now: whatever renews it does not run."""
    for served, leaf in _shown(machine):
        left, life = leaf.not_after - machine.at, leaf.not_after - leaf.not_before
        if 0 < left < life * _LATE_SHARE:
            yield Seen(
                _subject(served),
                (
                    f"{leaf.subject} ends in {span(left)}",
                    f"of a life of {span(life)} it should have been renewed with {span(life * _RENEWAL_SHARE)} left",
                ),
                "systemctl list-timers | grep -Ei 'certbot|acme|lego'   # the renewal does not run; " + _RENEW,
            )


def stale(machine: Machine) -> Iterator[Seen]:
    """The file on disk is newer than what is served."""
    newest = {name: file for file in machine.certificate_files if not file.problem for name in file.names}
    known = {file.fingerprint for file in machine.certificate_files}
    for served, leaf in _shown(machine):
        fresh = next((newest[name] for name in leaf.names if name in newest), None)
        if fresh is not None and leaf.fingerprint not in known and fresh.not_after > leaf.not_after:
            yield Seen(
                _subject(served),
                (
                    f"served: {leaf.fingerprint[:16]}…, ends in {span(leaf.not_after - machine.at)}",
                    f"{fresh.path}: {fresh.fingerprint[:16]}…, ends in {span(fresh.not_after - machine.at)}",
                ),
                f"kill -HUP {machine.process}",
            )


def foreign(machine: Machine) -> Iterator[Seen]:
    """What is shown is in none of our files: a proxy or another server answers."""
    if not machine.certificate_files:
        return
    known = {file.fingerprint for file in machine.certificate_files}
    names = {name for file in machine.certificate_files for name in file.names}
    for served, leaf in _shown(machine):
        if leaf.fingerprint not in known and not names & set(leaf.names):
            yield Seen(
                _subject(served),
                (f"served: {leaf.subject}, issued by {leaf.issuer}", "it is in none of the configured files"),
                f"ss -ltnp 'sport = :{served.port}'   # who answers there?",
            )


def wrong_name(machine: Machine) -> Iterator[Seen]:
    """It does not name this server."""
    for served, leaf in _shown(machine):
        tls = served.conversation.tls
        if tls is not None and tls.is_name_right is False:
            names = ", ".join(leaf.names) or f"none (common name {leaf.common_name})"
            yield Seen(
                _subject(served),
                (f"clients connect to {machine.hostname}", f"the certificate names {names}"),
                f"get a certificate for {machine.hostname}, or set hostname to one of these in {machine.config_path}",
            )


def untrusted(machine: Machine) -> Iterator[Seen]:
    """Clients that verify would refuse the chain (dates and names have checks of their own)."""
    for served, leaf in _shown(machine):
        tls = served.conversation.tls
        troubles = [one for one in (tls.troubles if tls else ()) if one.code not in _OWN_CHECKS]
        if not troubles:
            continue
        because = tuple(f"depth {one.depth}: {one.text}" for one in troubles)
        if tls is not None and tls.missing_issuer:
            fix = f"put the intermediate {tls.missing_issuer} into the file (fullchain.pem instead of cert.pem)"
        elif leaf.is_self_signed:
            fix = "use a certificate of a public authority, or give clients this one to trust"
        else:
            fix = f"postreeve probe {place(served.reached, served.port)}   # says which link is wrong"
        yield Seen(_subject(served), because, fix)


def unusable_file(machine: Machine) -> Iterator[Seen]:
    """A configured file that would not load at the next start."""
    for file in machine.certificate_files:
        if file.problem:
            yield Seen(file.path, (file.problem,), "put it right before the next restart: postreeve config check")


CHECKS: Final = (
    Check("certificate-expired", Level.ERROR, "An expired certificate is served", "What each TLS port shows.", expired),
    Check(
        "certificate-not-yet-valid",
        Level.ERROR,
        "A certificate of the future is served",
        "What each TLS port shows.",
        not_yet,
    ),
    Check(
        "certificate-renewal-late",
        Level.WARNING,
        "A certificate was not renewed when it should have been",
        "What each TLS port shows, against a renewal with a third of its life left.",
        late,
    ),
    Check(
        "certificate-stale",
        Level.ERROR,
        "The server still shows an older certificate than the file has",
        "What each TLS port shows, against the configured files.",
        stale,
    ),
    Check(
        "certificate-foreign",
        Level.ERROR,
        "Somebody else's certificate is shown on our port",
        "What each TLS port shows, against the configured files.",
        foreign,
    ),
    Check(
        "certificate-name",
        Level.ERROR,
        "The certificate does not name this server",
        "What each TLS port shows, against the host name.",
        wrong_name,
    ),
    Check(
        "certificate-untrusted",
        Level.WARNING,
        "Clients that verify refuse the certificate",
        "What each TLS port shows, against this machine's trust store.",
        untrusted,
    ),
    Check(
        "certificate-unusable",
        Level.ERROR,
        "A certificate file cannot be used",
        "The configured files as they are now.",
        unusable_file,
    ),
)
