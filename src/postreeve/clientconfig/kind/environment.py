"""Dialects of the environment: which variables say what to which programs.

Laravel (`config/mail.php`: MAIL_ENCRYPTION, since 11 MAIL_SCHEME), django-environ (`EMAIL_URL`), Django's own
names, Flask-Mail and FastAPI-Mail, and the `SMTP_…` that everybody else invents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes
from postreeve.clientconfig.program.outline import ModeChanges, Names, amend, outline
from postreeve.clientconfig.settings import SubmissionSettings, TlsMode, Value, Wanted

_IMPLICIT_PORTS: Final = (465, 2465, 8465)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One set of variables. It is spoken where one of `marks` (names after `named`) is there."""

    name: str
    names: Names
    prefixes: tuple[str, ...]
    marks: tuple[str, ...]
    spells: Names
    settle: Callable[[Group], SubmissionSettings | None]
    change: Callable[[Group, Wanted], Changes | None]


def port_of(group: Group) -> int | None:
    """The port that is written, where it is a number."""
    found = group.number("port")
    return None if found is None else found.value


# Laravel


def _laravel(group: Group) -> SubmissionSettings | None:
    mailer = group.says("mailer")
    if "host" not in group.last or mailer not in ("", "smtp", "failover", "roundrobin"):
        return None
    return outline(group, laravel_mode(group), contradictions=laravel_contradictions(group))


def laravel_mode(group: Group) -> Value[TlsMode] | None:
    """`encryption` as Laravel up to 8 (Swift Mailer) takes it; where there is a scheme, it is Laravel 11 or later.

    `MailManager::createSmtpTransport`: from 9 on a scheme of smtps or port 465 is implicit TLS, anything else STARTTLS
    where it is offered, whatever `encryption` says.
    """
    if "scheme" in group.last:
        if _scheme(group) == "smtps" or port_of(group) == 465:
            return group.mode(TlsMode.IMPLICIT, "scheme")
        return group.mode(TlsMode.OPPORTUNISTIC, "scheme")
    match group.says("encryption"):
        case "ssl" | "smtps":
            return group.mode(TlsMode.IMPLICIT, "encryption")
        case "tls" | "starttls":
            return group.mode(TlsMode.STARTTLS, "encryption")
        case "" | "null" | "none" | "false":
            if "encryption" not in group.last:
                return None
            return group.mode(TlsMode.OPPORTUNISTIC, "encryption")
    return None


def _scheme(group: Group) -> str:
    scheme = group.says("scheme")
    return "" if scheme in ("null", "none", "(null)", "empty", "(empty)") else scheme


def laravel_contradictions(group: Group) -> tuple[str, ...]:
    """A scheme is smtp, smtps or nothing; the mailer refuses any other."""
    scheme = _scheme(group)
    if scheme in ("", "smtp", "smtps"):
        return ()
    key = group.source.written(group.last["scheme"].key_span).strip("\"'")
    return (f"{key} is {scheme!r}, which Laravel refuses: it is smtp, smtps or null",)


LARAVEL_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"encryption": "ssl", "~scheme": "smtps"},
    TlsMode.STARTTLS: {"encryption": "tls"},
    TlsMode.OPPORTUNISTIC: {"encryption": "null"},
}
_SCHEME_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"scheme": "smtps", "~encryption": "ssl"},
    TlsMode.OPPORTUNISTIC: {"scheme": "smtp"},
}


def laravel_change(group: Group, wanted: Wanted) -> Changes | None:
    """Changes of Laravel's settings; with a scheme there is no way to insist on STARTTLS."""
    changes = amend(group, wanted, _SCHEME_MODES if "scheme" in group.last else LARAVEL_MODES)
    if changes is None or "scheme" in changes or not laravel_contradictions(group):
        return changes
    return {**changes, "scheme": "smtps" if port_of(group) == 465 or _scheme(group) == "ssl" else "smtp"}


LARAVEL: Final = Dialect(
    "laravel-env",
    {
        "mail_host": "host", "mail_port": "port", "mail_username": "user", "mail_password": "password",
        "mail_encryption": "encryption", "mail_scheme": "scheme", "mail_from_address": "from",
        "mail_mailer": "mailer", "mail_driver": "mailer", "mail_from_name": "from_name", "mail_url": "url",
        "mail_ehlo_domain": "hello", "mail_log_channel": "log", "mail_sendmail_path": "sendmail",
        "mail_timeout": "timeout",
    },
    ("mail_",),
    ("host",),
    {"encryption": "MAIL_ENCRYPTION", "port": "MAIL_PORT", "user": "MAIL_USERNAME", "from": "MAIL_FROM_ADDRESS",
     "scheme": "MAIL_SCHEME", "host": "MAIL_HOST", "timeout": "MAIL_TIMEOUT"},
    _laravel,
    laravel_change,
)  # fmt: skip


# Django


def two_flags(group: Group, starttls: str, implicit: str) -> tuple[Value[TlsMode] | None, tuple[str, ...]]:
    """The mode of two truth values of which at most one may be true; None where one is not known."""
    tls, ssl = group.is_yes(starttls), group.is_yes(implicit)
    if tls and ssl:
        one, other = (_written(group, name) for name in (starttls, implicit))
        return group.mode(TlsMode.BOTH, implicit), (f"{one} and {other} are both true",)
    if ssl:
        return group.mode(TlsMode.IMPLICIT, implicit), ()
    if tls:
        return group.mode(TlsMode.STARTTLS, starttls), ()
    for name in (starttls, implicit):
        if name in group.last and group.is_yes(name) is None:
            return None, ()
    return group.mode(TlsMode.PLAIN, starttls, implicit), ()


def _written(group: Group, name: str) -> str:
    return group.source.written(group.last[name].key_span).strip("\"'`:")


FLAG_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"ssl": True, "~tls": False},
    TlsMode.STARTTLS: {"tls": True, "~ssl": False},
    TlsMode.PLAIN: {"~tls": False, "~ssl": False},
}


def _django(group: Group) -> SubmissionSettings | None:
    if "host" not in group.last or (group.has("backend") and not group.says("backend").endswith("smtp.emailbackend")):
        return None
    mode, contradictions = two_flags(group, "tls", "ssl")
    if "tls" not in group.last and "ssl" not in group.last:
        mode = None
    return outline(group, mode, contradictions=contradictions)


def flag_change(group: Group, wanted: Wanted) -> Changes | None:
    """Changes where `tls` and `ssl` are truth values."""
    return amend(group, wanted, FLAG_MODES)


DJANGO_NAMES: Final = {
    "email_host": "host", "email_port": "port", "email_host_user": "user", "email_host_password": "password",
    "email_use_tls": "tls", "email_use_ssl": "ssl", "email_timeout": "timeout", "default_from_email": "from",
    "email_backend": "backend", "server_email": "server", "email_subject_prefix": "prefix",
    "email_ssl_certfile": "certificate", "email_ssl_keyfile": "key", "email_use_localtime": "localtime",
    "email_file_path": "path",
}  # fmt: skip
DJANGO_SPELLS: Final = {
    "port": "EMAIL_PORT", "tls": "EMAIL_USE_TLS", "ssl": "EMAIL_USE_SSL", "timeout": "EMAIL_TIMEOUT",
    "from": "DEFAULT_FROM_EMAIL", "user": "EMAIL_HOST_USER", "host": "EMAIL_HOST",
}  # fmt: skip
DJANGO: Final = Dialect(
    "django-env", DJANGO_NAMES, ("email_",), ("host",), DJANGO_SPELLS, _django, flag_change,
)  # fmt: skip


# Flask-Mail and FastAPI-Mail


def flask(group: Group) -> SubmissionSettings | None:
    """Flask-Mail: `MAIL_USE_TLS` is STARTTLS, `MAIL_USE_SSL` implicit, neither plaintext."""
    if not group.has("host"):
        return None
    mode, contradictions = two_flags(group, "tls", "ssl")
    return outline(group, mode, default_port=25, contradictions=contradictions)


FLASK_NAMES: Final = {
    "mail_server": "host", "mail_port": "port", "mail_username": "user", "mail_password": "password",
    "mail_use_tls": "tls", "mail_use_ssl": "ssl", "mail_default_sender": "from", "mail_debug": "debug",
    "mail_suppress_send": "suppress", "mail_max_emails": "most", "mail_ascii_attachments": "ascii",
}  # fmt: skip
FLASK_SPELLS: Final = {
    "port": "MAIL_PORT", "tls": "MAIL_USE_TLS", "ssl": "MAIL_USE_SSL", "from": "MAIL_DEFAULT_SENDER",
    "user": "MAIL_USERNAME", "host": "MAIL_SERVER",
}  # fmt: skip
FASTAPI_NAMES: Final = {
    "mail_server": "host", "mail_port": "port", "mail_username": "user", "mail_password": "password",
    "mail_starttls": "tls", "mail_ssl_tls": "ssl", "mail_tls": "tls", "mail_ssl": "ssl", "mail_from": "from",
    "mail_from_name": "from_name", "validate_certs": "verify", "use_credentials": "credentials",
    "mail_debug": "debug", "suppress_send": "suppress", "timeout": "timeout", "template_folder": "templates",
    "mail_validate_certs": "verify", "mail_use_credentials": "credentials", "cert_bundle": "bundle",
    "local_hostname": "hello",
}  # fmt: skip
FASTAPI_SPELLS: Final = {
    "port": "MAIL_PORT", "tls": "MAIL_STARTTLS", "ssl": "MAIL_SSL_TLS", "from": "MAIL_FROM", "user": "MAIL_USERNAME",
    "host": "MAIL_SERVER", "timeout": "TIMEOUT",
}  # fmt: skip
FLASK: Final = Dialect("flask", FLASK_NAMES, ("mail_",), ("host",), FLASK_SPELLS, flask, flag_change)
FASTAPI: Final = Dialect("fastapi-mail", FASTAPI_NAMES, ("mail_",), ("host",), FASTAPI_SPELLS, flask, flag_change)


# Everybody else


def _generic(group: Group) -> SubmissionSettings | None:
    return outline(group, _generic_mode(group)) if "host" in group.last else None


def _generic_mode(group: Group) -> Value[TlsMode] | None:
    """What the variables can only mean; None where programs disagree on them."""
    for name in ("encryption", "secure", "tls", "starttls"):
        match group.says(name):
            case "ssl" | "smtps" | "ssl/tls" | "implicit" | "force_tls":
                return group.mode(TlsMode.IMPLICIT, name)
            case "starttls" | "required":
                return group.mode(TlsMode.STARTTLS, name)
            case "tls" if name in ("encryption", "secure"):
                return group.mode(TlsMode.STARTTLS, name)
            case "none" | "off" | "plain" if name == "encryption":
                return group.mode(TlsMode.PLAIN, name)
    secure, ssl, starttls = group.is_yes("secure"), group.is_yes("ssl"), group.is_yes("starttls")
    if ssl and (group.is_yes("tls") or starttls):
        return group.mode(TlsMode.BOTH, "ssl")
    if secure or ssl:
        return group.mode(TlsMode.IMPLICIT, "secure" if secure else "ssl")
    if starttls:
        return group.mode(TlsMode.STARTTLS, "starttls")
    if secure is False and port_of(group) in _IMPLICIT_PORTS:
        return group.mode(TlsMode.STARTTLS, "secure")
    return None


_GENERIC_MODES: Final[dict[str, ModeChanges]] = {
    "encryption": {TlsMode.IMPLICIT: {"encryption": "ssl"}, TlsMode.STARTTLS: {"encryption": "starttls"}},
    "secure": {TlsMode.IMPLICIT: {"secure": True}, TlsMode.STARTTLS: {"secure": False}},
    "ssl": {
        TlsMode.IMPLICIT: {"ssl": True, "~tls": False, "~starttls": False},
        TlsMode.STARTTLS: {"ssl": False, "~tls": True, "~starttls": True},
    },
    "starttls": {TlsMode.STARTTLS: {"starttls": True}, TlsMode.IMPLICIT: {"ssl": True, "starttls": False}},
}


def _generic_change(group: Group, wanted: Wanted) -> Changes | None:
    there = next((name for name in _GENERIC_MODES if name in group.last), None)
    if there == "secure" and group.is_yes("secure") is None:
        there = "encryption" if wanted.mode is None else None
    return amend(group, wanted, _GENERIC_MODES[there] if there else {})


def _generic_names() -> dict[str, str]:
    words = {
        "host": "host server address hostname",
        "port": "port",
        "user": "user username login user_name auth_user",
        "password": "pass password auth_pass auth_password",
        "from": "from sender from_email from_address mail_from email_from sender_email default_from",
        "encryption": "encryption security",
        "secure": "secure",
        "ssl": "ssl use_ssl enable_ssl",
        "tls": "tls use_tls",
        "starttls": "starttls enable_starttls starttls_enable use_starttls enable_starttls_auto",
        "verify": "tls_reject_unauthorized reject_unauthorized ssl_verify verify_certs tls_verify",
        "unverified": "insecure_skip_verify tls_skip_verify skip_verify insecure",
        "timeout": "timeout",
        "mechanism": "auth_method authentication auth_mechanism",
        "hello": "domain helo",
        "other": "auth from_name name reply_to debug service enabled pool tls_ciphers ignore_tls require_tls",
    }
    return {f"smtp_{word}": name for name, keys in words.items() for word in keys.split()}


GENERIC: Final = Dialect(
    "env", _generic_names(), ("smtp_",), ("host",),
    {"port": "SMTP_PORT", "user": "SMTP_USER", "from": "SMTP_FROM", "ssl": "SMTP_SSL", "host": "SMTP_HOST",
     "secure": "SMTP_SECURE", "starttls": "SMTP_STARTTLS", "encryption": "SMTP_ENCRYPTION"},
    _generic, _generic_change,
)  # fmt: skip

DIALECTS: Final = (LARAVEL, DJANGO, FASTAPI, FLASK, GENERIC)
