"""Environment files (.env) in the dialects of Laravel, Django, Flask-Mail, FastAPI-Mail and everybody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from postreeve.clientconfig.kind.environment import DJANGO, GENERIC, LARAVEL, Dialect
from postreeve.clientconfig.program.form import env_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Notation
from postreeve.clientconfig.program.outline import named
from postreeve.clientconfig.program.program import Form, Program, basename
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.settings import Server, TlsMode
from postreeve.clientconfig.text import Source

_ENV_FILE: Final = re.compile(
    r"(?:\.env(?:[.-].*)?|.*\.env|env(?:\.(?:example|sample|dist|prod.*))?|.*\.envrc|\.envrc)\Z"
)
_SHELL: Final = re.compile(r"(?:environment|.*\.conf|.*\.sh|.*\.txt|.*\.default)\Z")


def is_env_file(file: str) -> bool:
    """True when the name of this file is one that environment files have."""
    return _ENV_FILE.match(basename(file)) is not None


def dialect_form(dialect: Dialect, *marks: str) -> Form:
    """The form of an environment file in this dialect; the file must have one of `marks` in it."""

    def is_mine(file: str, text: str) -> bool:
        return is_env_file(file) and any(mark in text for mark in marks)

    def scan(source: Source) -> Iterable[Group]:
        found = group_of(source, named(scan_env(source), dialect.names, dialect.prefixes), dialect.name)
        return (found,) if any(mark in found.last for mark in dialect.marks) else ()

    return Form(is_mine, scan, env_notation(dialect))


def env_notation(dialect: Dialect) -> Notation:
    """Lines `KEY=value`."""
    return Notation(
        line=lambda key, literal: f"{key}={literal}",
        literal=env_literal,
        spell=lambda name: dialect.spells.get(name, name.upper()),
    )


def _program(
    title: str, dialect: Dialect, modes: frozenset[TlsMode], marks: str, show: Callable[[Server], str]
) -> Program:
    form = dialect_form(dialect, *marks.split())
    return Program(dialect.name, title, modes, (form,), dialect.settle, dialect.change, show)


def _show_laravel(server: Server) -> str:
    encryption = {TlsMode.IMPLICIT: "ssl", TlsMode.STARTTLS: "tls"}.get(server.mode, "null")
    return (
        "MAIL_MAILER=smtp\n"
        f"MAIL_HOST={server.host}\n"
        f"MAIL_PORT={server.port}\n"
        f"MAIL_ENCRYPTION={encryption}\n"
        f"MAIL_USERNAME={server.username}\n"
        f'MAIL_PASSWORD="${{{server.password_variable}}}"\n'
        f"MAIL_FROM_ADDRESS={server.sender}\n"
    )


def _show_django(server: Server) -> str:
    return (
        f"EMAIL_HOST={server.host}\n"
        f"EMAIL_PORT={server.port}\n"
        f"EMAIL_USE_TLS={server.mode is TlsMode.STARTTLS}\n"
        f"EMAIL_USE_SSL={server.mode is TlsMode.IMPLICIT}\n"
        f"EMAIL_HOST_USER={server.username}\n"
        f'EMAIL_HOST_PASSWORD="${{{server.password_variable}}}"\n'
        "EMAIL_TIMEOUT=30\n"
        f"DEFAULT_FROM_EMAIL={server.sender}\n"
    )


def _show_generic(server: Server) -> str:
    encryption = {TlsMode.IMPLICIT: "ssl", TlsMode.STARTTLS: "starttls"}.get(server.mode, "none")
    return (
        f"SMTP_HOST={server.host}\n"
        f"SMTP_PORT={server.port}\n"
        f"SMTP_ENCRYPTION={encryption}\n"
        f"SMTP_USER={server.username}\n"
        f'SMTP_PASSWORD="${{{server.password_variable}}}"\n'
        f"SMTP_FROM={server.sender}\n"
    )


_ALL: Final = frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT})
LARAVEL_ENV: Final = _program(
    "Laravel (.env)", LARAVEL, _ALL - {TlsMode.PLAIN}, "MAIL_HOST MAIL_MAILER MAIL_DRIVER", _show_laravel
)
DJANGO_ENV: Final = _program("Django (.env)", DJANGO, _ALL - {TlsMode.OPPORTUNISTIC}, "EMAIL_HOST", _show_django)
ENV: Final = _program("environment file (SMTP_…)", GENERIC, _ALL, "SMTP_", _show_generic)
