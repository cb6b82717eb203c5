"""Rules on TLS, certificates and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.finding import Level
from postreeve.checks.settings import rule
from postreeve.checks.settings.server import best_port, provider_of
from postreeve.checks.settings.subject import (
    Problem,
    Subject,
    is_example,
    is_placeholder,
    may_hold_secrets,
    problem,
    said,
)
from postreeve.clientconfig.kind.smtplib import NO_CONTEXT
from postreeve.clientconfig.settings import Edit, TlsMode, Value, Wanted
from postreeve.ports.service import BY_PORT, Mode, Use

_WORDS: Final = {
    TlsMode.IMPLICIT: "implicit TLS",
    TlsMode.STARTTLS: "STARTTLS",
    TlsMode.OPPORTUNISTIC: "STARTTLS where offered",
    TlsMode.PLAIN: "no TLS",
    TlsMode.BOTH: "both",
}
_WEB_PORTS: Final = (80, 443)
COMMITTED: Final = frozenset({
    "django", "flask-mail", "fastapi-mail", "rails", "nodemailer", "laravel", "spring", "phpmailer", "go",
    "appsettings", "web-config", "javamail", "smtpclient", "mailkit", "smtplib", "compose", "kubernetes", "symfony",
})  # fmt: skip
"""Kinds whose files belong to a program's source; the others are a server's own configuration."""


def port_and_mode(subject: Subject) -> Iterator[Problem]:
    """Port and TLS mode are what goes together."""
    mode, port = subject.mode, subject.port
    if mode is TlsMode.BOTH:
        yield _both(subject)
        return
    expected = _expected(subject)
    if mode is None or expected is None:
        return
    is_implicit = mode is TlsMode.IMPLICIT
    if is_implicit == (expected is TlsMode.IMPLICIT):
        return
    because = f"port {port} means {_WORDS[expected]}, and these settings do {_WORDS[mode]}"
    is_of_old = _is_of_old_laravel(subject)
    if is_of_old:
        because += " up to Laravel 8; from Laravel 9 on the port decides, and this setting is not read"
    decides = subject.settings.mode
    place: Value[TlsMode] | Value[int] | None = decides if decides and decides.span else subject.settings.port
    can_starttls = TlsMode.STARTTLS in subject.kind.modes or TlsMode.OPPORTUNISTIC in subject.kind.modes
    if expected not in subject.kind.modes and not (expected is TlsMode.STARTTLS and can_starttls):
        other, its_mode = best_port(subject)
        wanted = Wanted(port=other, mode=None if mode is its_mode else its_mode)
        fix = f"port {other}, where {_WORDS[its_mode]} is right"
        yield problem(subject, rule.TLS_NOT_SUPPORTED, subject.settings.port, because, fix, wanted=wanted)
        return
    wanted = Wanted(mode=expected)
    fix = f"{_WORDS[expected]} on port {port}"
    other, provider = 465 if is_implicit else 587, provider_of(subject)
    has_other = provider is None or provider.serves(other) is not None
    can_change = expected in subject.kind.modes and subject.kind.correct(subject.text, subject.settings, wanted)
    if has_other and not can_change:
        wanted, fix = Wanted(port=other), f"port {other} for {_WORDS[mode]}"
    span = place.span if place is not None else None
    level = Level.WARNING if is_of_old else None
    yield problem(subject, rule.PORT_TLS_MISMATCH, Value("", span=span), because, fix, wanted=wanted, level=level)


def _is_of_old_laravel(subject: Subject) -> bool:
    """True where only Laravel up to 8 (of 2020) would do what `encryption` says, and nothing says that it is that."""
    decides = subject.settings.mode
    is_encryption = decides is not None and decides.key.lower().endswith("encryption")
    is_laravel = subject.kind.name in ("laravel", "laravel-env") or "MAIL_ENCRYPTION" in (
        decides.key if decides else ""
    )
    return is_encryption and is_laravel and "MAIL_DRIVER" not in subject.text


def _expected(subject: Subject) -> TlsMode | None:
    """The mode that the port calls for: at a known provider its own, else the convention; None where nobody knows."""
    port = subject.port
    if port is None:
        return None
    provider = provider_of(subject)
    if provider is not None:
        served = provider.serves(port)
        return None if served is None else TlsMode(served.mode.value)
    known = BY_PORT.get(port)
    if known is None or known.use is Use.LOCAL or port in _WEB_PORTS or known.mode is Mode.PLAIN:
        return None
    return TlsMode(known.mode.value)


def _both(subject: Subject) -> Problem:
    expected = _expected(subject) or TlsMode.STARTTLS
    if expected not in subject.kind.modes:
        expected = best_port(subject)[1]
    because = "\n".join(subject.settings.contradictions) or "both are switched on"
    fix = f"{_WORDS[expected]} alone" + (f", as port {subject.port} wants it" if subject.port else "")
    return problem(subject, rule.TLS_BOTH, subject.settings.mode, because, fix, wanted=Wanted(mode=expected))


def plaintext(subject: Subject) -> Iterator[Problem]:
    """A password goes over TLS, and never without."""
    mode, place = subject.mode, subject.settings.mode
    if mode not in (TlsMode.PLAIN, TlsMode.OPPORTUNISTIC) or not subject.has_login:
        return
    if not subject.host or subject.is_near or (place is not None and place.is_reference):
        return
    provider = provider_of(subject)
    if provider is not None and provider.is_sandbox:
        return
    expected = _expected(subject)
    if expected is TlsMode.IMPLICIT:
        # That finding says it already, and its correction mends both.
        return
    target = TlsMode.STARTTLS if TlsMode.STARTTLS in subject.kind.modes else TlsMode.OPPORTUNISTIC
    wanted: Wanted | None = Wanted(mode=target)
    # Nothing to change means that it is as near as this program comes.
    can_insist = bool(subject.kind.correct(subject.text, subject.settings, Wanted(mode=target)))
    if mode is TlsMode.PLAIN:
        is_able = can_insist or TlsMode.IMPLICIT not in subject.kind.modes
        fix = f"switch {_WORDS[target]} on" if is_able else "use port 465 with implicit TLS"
        because = f"these settings log in at {subject.host} without TLS"
        yield problem(subject, rule.TLS_NEVER, place, because, fix, wanted=wanted if can_insist else None)
        return
    because = f"these settings log in at {subject.host} over TLS only where the server offers it"
    if target is not TlsMode.STARTTLS or not can_insist:
        fix = "use port 465 with implicit TLS where the server has it"
        yield problem(subject, rule.TLS_OPPORTUNISTIC, place, because, fix, level=Level.NOTE)
        return
    yield problem(subject, rule.TLS_OPPORTUNISTIC, place, because, "insist on STARTTLS", wanted=wanted)


def verification(subject: Subject) -> Iterator[Problem]:
    """Certificates are verified."""
    place = subject.settings.verifies_certificate
    if place is None or place.value is not False or subject.is_near or place.span is None:
        return
    because = f"{place.key} switches it off"
    wanted = Wanted(verifies_certificate=True)
    fix = "verify, and trust the server's own authority where it is not a public one"
    if place.key == NO_CONTEXT:
        because, fix = "smtplib verifies nothing without a context", "context=ssl.create_default_context()"
        yield problem(subject, rule.VERIFICATION_OFF, place, because, fix, level=Level.NOTE)
        return
    yield problem(subject, rule.VERIFICATION_OFF, place, because, fix, wanted=wanted)


def secret(subject: Subject) -> Iterator[Problem]:
    """No password in a file that is committed."""
    place, file = subject.settings.password, subject.settings.file
    value = said(place) or ""
    if place is None or place.span is None or is_placeholder(value):
        return
    if place.is_reference and not value:
        return
    is_shown = is_example(file) and _looks_random(value)
    is_source = subject.kind.name in COMMITTED and not may_hold_secrets(file) and not is_example(file)
    if not (is_shown or is_source) or subject.is_near:
        return
    fix = "take it from the environment or a secret store, and change it: it has been seen"
    yield problem(subject, rule.SECRET_IN_FILE, place, f"{place.key} has a password written out", fix)


def _looks_random(value: str) -> bool:
    kinds = (str.isdigit, str.islower, str.isupper)
    return len(value) >= 8 and sum(any(test(one) for one in value) for test in kinds) >= 2


def misspelt(subject: Subject) -> Iterator[Problem]:
    """Every key is one that the program reads."""
    for place in subject.settings.unknown:
        meant = place.value if place.value and place.value != place.key else ""
        fix = f"did you mean {meant}?" if meant else "take it out"
        edits: tuple[Edit, ...] = ()
        if meant and place.span is not None:
            written = subject.text[place.span.start : place.span.end]
            if place.key in written:
                start = place.span.start + written.index(place.key)
                edits = (Edit(start, start + len(place.key), meant),)
        because = f"{place.key} is no setting of {subject.kind.title}"
        yield problem(subject, rule.KEY_MISSPELT, place, because, fix, edits=edits)


def contradictions(subject: Subject) -> Iterator[Problem]:
    """What the reader saw to be impossible together."""
    if subject.mode is TlsMode.BOTH:
        return
    # A kind that can decide what it saw itself does so for a wish that asks for nothing else.
    edits = subject.kind.correct(subject.text, subject.settings, Wanted()) if subject.settings.contradictions else None
    wanted, fix = (Wanted(), "as corrected") if edits else (None, "decide for one of them")
    for sentence in subject.settings.contradictions:
        yield problem(subject, rule.CONTRADICTION, None, sentence, fix, wanted=wanted)


ENDLESS: Final = {
    "django": "EMAIL_TIMEOUT = 30",
    "spring": "spring.mail.properties.mail.smtp.timeout=30000, connectiontimeout=10000, writetimeout=30000",
    "phpmailer": "$mail->Timeout = 30;",
    "smtplib": "timeout=30",
    "javamail": 'properties.put("mail.smtp.timeout", "30000"), and connectiontimeout and writetimeout alike',
}
"""Kinds whose library waits without end unless it is told otherwise, and what tells it."""


def timeout(subject: Subject) -> Iterator[Problem]:
    """There is an end to waiting."""
    if subject.settings.timeout_seconds is not None or subject.kind.name not in ENDLESS or subject.is_near:
        return
    yield problem(subject, rule.TIMEOUT_ENDLESS, None, "no time-out is set", ENDLESS[subject.kind.name])
