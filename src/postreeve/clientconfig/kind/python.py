"""Python programs: Django's settings modules, Flask-Mail and FastAPI-Mail.

Django, `django/core/mail/backends/smtp.py`: EMAIL_USE_SSL is implicit TLS, EMAIL_USE_TLS STARTTLS, both raise
ValueError, neither is plaintext; EMAIL_TIMEOUT is None unless set: no end. Flask-Mail has no sender unless
MAIL_DEFAULT_SENDER is set. FastAPI-Mail verifies certificates unless VALIDATE_CERTS says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from postreeve.clientconfig.kind.env import is_env_file
from postreeve.clientconfig.kind.environment import (
    DJANGO_NAMES,
    DJANGO_SPELLS,
    FASTAPI,
    FLASK,
    Dialect,
    flag_change,
    two_flags,
)
from postreeve.clientconfig.program.form import env_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import Names, named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.python import Block, scan_python
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode
from postreeve.clientconfig.text import Scalar, Source

_SUBSCRIPT: Final = re.compile(r"([A-Za-z_][\w.]{0,80})\[\s*[\"']MAIL_")
_MODES: Final = frozenset({TlsMode.PLAIN, TlsMode.STARTTLS, TlsMode.IMPLICIT})


def python_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A literal of Python in the quotes that stand there now."""
    if isinstance(wish, bool | int):
        return quoted(str(wish), scalar.quote) if scalar is not None and scalar.quote else str(wish)
    return quoted(plain_text(wish), (scalar.quote if scalar is not None else "") or '"')


def python_form(
    is_mine: Callable[[str, str], bool], names: Names, prefixes: tuple[str, ...], spells: Names, *, called: str = ""
) -> Form:
    """Settings in Python: statements, or with `called` the arguments of calls of one of these names."""
    functions = called.split()

    def scan(source: Source) -> Iterable[Group]:
        groups: list[Group] = []
        blocks = scan_python(source.text)
        for block in _chosen(blocks, names, functions):
            groups.append(group_of(source, named(block.entries, names, prefixes), block.name))
        return groups

    if called:
        notation = Notation(
            line=lambda key, literal: f"{key}={literal}",
            literal=python_literal,
            spell=lambda name: spells.get(name, name),
            joint=",",
            removes=False,
        )
    else:
        notation = Notation(
            line=lambda key, literal: f"{key} = {literal}",
            literal=python_literal,
            spell=lambda name: spells.get(name, name),
        )
    return Form(is_mine, scan, notation)


def _chosen(blocks: tuple[Block, ...], names: Names, functions: list[str]) -> list[Block]:
    """The scopes that have a host; branches only where the module itself has none."""
    having = [
        block
        for block in blocks
        if any(names.get(entry.key.lower()) == "host" for entry in block.entries)
        and (block.is_arguments and block.name in functions if functions else not block.is_arguments)
    ]
    outer = [block for block in having if block.depth == 0]
    return outer or having


# Django


def _is_django(file: str, text: str) -> bool:
    return file.endswith(".py") and "EMAIL_HOST" in text


def _settle_django(group: Group) -> SubmissionSettings | None:
    if not group.has("host") or (group.has("backend") and not group.says("backend").endswith("smtp.emailbackend")):
        return None
    mode, contradictions = two_flags(group, "tls", "ssl")
    contradictions += _true_words(group)
    sender = group.text("from") or group.text("server")
    return outline(group, mode, default_port=25, sender=sender, contradictions=contradictions)


def _show_django(server: Server) -> str:
    flag = {TlsMode.IMPLICIT: "EMAIL_USE_SSL = True\n", TlsMode.STARTTLS: "EMAIL_USE_TLS = True\n"}
    return (
        "import os\n\n"
        'EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"\n'
        f'EMAIL_HOST = "{server.host}"\n'
        f"EMAIL_PORT = {server.port}\n"
        f"{flag.get(server.mode, '')}"
        f'EMAIL_HOST_USER = "{server.username}"\n'
        f'EMAIL_HOST_PASSWORD = os.environ["{server.password_variable}"]\n'
        "EMAIL_TIMEOUT = 30\n"
        f'DEFAULT_FROM_EMAIL = "{server.sender}"\n'
    )


DJANGO_SETTINGS: Final = Program(
    name="django",
    title="Django settings",
    modes=_MODES,
    forms=(python_form(_is_django, DJANGO_NAMES, ("email_",), DJANGO_SPELLS),),
    settle=_settle_django,
    change=flag_change,
    show=_show_django,
)


_UNCAST: Final = re.compile(r"[\"']|(?:os\.)?(?:environ\.get|getenv)\(")


def _true_words(group: Group) -> tuple[str, ...]:
    """Flags that are text: Python takes every word for true, "False" as well."""
    return tuple(
        f"{group.value(entry, None).key} is the text {entry.scalar.value!r}, which Python takes for true"
        for name in ("tls", "ssl")
        if (entry := group.last.get(name)) is not None
        and group.is_yes(name) is False
        and isinstance(entry.scalar.value, str)
        and _UNCAST.match(group.source.written(entry.scalar.span))
    )


# Flask-Mail


def _env_form(dialect: Dialect, marks: tuple[str, ...]) -> Form:
    def is_mine(file: str, text: str) -> bool:
        return is_env_file(file) and "MAIL_SERVER" in text and any(mark in text for mark in marks)

    def scan(source: Source) -> Iterable[Group]:
        found = group_of(source, named(scan_env(source), dialect.names, dialect.prefixes))
        return (found,) if found.has("host") else ()

    notation = Notation(
        line=lambda key, literal: f"{key}={literal}",
        literal=env_literal,
        spell=lambda name: dialect.spells.get(name, name),
    )
    return Form(is_mine, scan, notation)


def _subscript_form() -> Form:
    """`app.config["MAIL_SERVER"] = …`: a new setting repeats what its neighbour is set in."""
    spells = {name: f'app.config["{key}"]' for name, key in FLASK.spells.items()}
    return python_form(
        lambda file, text: _is_flask(file, text) and "app.config[" in text and _SUBSCRIPT.search(text) is not None,
        FLASK.names,
        FLASK.prefixes,
        spells,
    )


def _is_flask(file: str, text: str) -> bool:
    return file.endswith(".py") and "MAIL_SERVER" in text and "MAIL_STARTTLS" not in text and "MAIL_SSL_TLS" not in text


def _is_updated(file: str, text: str) -> bool:
    return _is_flask(file, text) and ("config.update(" in text or "from_mapping(" in text)


def _show_flask(server: Server) -> str:
    flag = {TlsMode.IMPLICIT: "MAIL_USE_SSL = True\n", TlsMode.STARTTLS: "MAIL_USE_TLS = True\n"}
    return (
        "import os\n\n"
        f'MAIL_SERVER = "{server.host}"\n'
        f"MAIL_PORT = {server.port}\n"
        f"{flag.get(server.mode, '')}"
        f'MAIL_USERNAME = "{server.username}"\n'
        f'MAIL_PASSWORD = os.environ["{server.password_variable}"]\n'
        f'MAIL_DEFAULT_SENDER = "{server.sender}"\n'
    )


FLASK_MAIL: Final = Program(
    name="flask-mail",
    title="Flask-Mail",
    modes=_MODES,
    forms=(
        _env_form(FLASK, ("MAIL_USE_TLS", "MAIL_USE_SSL", "MAIL_DEFAULT_SENDER")),
        python_form(_is_updated, FLASK.names, FLASK.prefixes, FLASK.spells, called="update from_mapping"),
        _subscript_form(),
        python_form(_is_flask, FLASK.names, FLASK.prefixes, FLASK.spells),
    ),
    settle=FLASK.settle,
    change=flag_change,
    show=_show_flask,
)


# FastAPI-Mail


def _is_fastapi(file: str, text: str) -> bool:
    return file.endswith(".py") and "ConnectionConfig(" in text and "MAIL_SERVER" in text


def _show_fastapi(server: Server) -> str:
    return (
        "import os\n\n"
        "from fastapi_mail import ConnectionConfig\n\n"
        "conf = ConnectionConfig(\n"
        f'    MAIL_SERVER="{server.host}",\n'
        f"    MAIL_PORT={server.port},\n"
        f"    MAIL_STARTTLS={server.mode is TlsMode.STARTTLS},\n"
        f"    MAIL_SSL_TLS={server.mode is TlsMode.IMPLICIT},\n"
        f'    MAIL_USERNAME="{server.username}",\n'
        f'    MAIL_PASSWORD=os.environ["{server.password_variable}"],\n'
        f'    MAIL_FROM="{server.sender}",\n'
        "    USE_CREDENTIALS=True,\n"
        "    VALIDATE_CERTS=True,\n"
        ")\n"
    )


FASTAPI_MAIL: Final = Program(
    name="fastapi-mail",
    title="FastAPI-Mail",
    modes=_MODES,
    forms=(
        _env_form(FASTAPI, ("MAIL_STARTTLS", "MAIL_SSL_TLS")),
        python_form(_is_fastapi, FASTAPI.names, FASTAPI.prefixes, FASTAPI.spells, called="ConnectionConfig"),
    ),
    settle=FASTAPI.settle,
    change=flag_change,
    show=_show_fastapi,
)
