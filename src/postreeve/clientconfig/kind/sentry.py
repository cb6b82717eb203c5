"""Sentry, self-hosted: `mail.…` of config.yml.

Sentry 24 (`src/sentry/options/defaults.py`): `mail.use-tls` is STARTTLS, `mail.use-ssl` implicit TLS, both false and
never together; `mail.backend` smtp, `mail.port` 25 and `mail.from` root@localhost are the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import yaml_notation
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import ABSENT, Changes
from postreeve.clientconfig.program.program import Form, Program, fulfil, settings_of
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Source, renamed


def _is_yaml(file: str, text: str) -> bool:
    return file.lower().endswith((".yml", ".yaml")) and "mail.host" in text


def _scan(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        mail = (renamed(one, one.key[5:]) for one in flatten(root) if one.key.startswith("mail."))
        found = group_of(source, mail)
        if found.entries:
            yield found


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host") or group.says("backend") not in ("", "smtp"):
        return None
    return settings_of(
        group,
        host=group.text("host"),
        port=group.number("port", 25),
        mode=_mode(group),
        username=group.text("username"),
        password=group.text("password"),
        sender=group.text("from") or Value("root@localhost"),
        timeout_seconds=group.seconds("timeout"),
    )


def _mode(group: Group) -> Value[TlsMode]:
    if group.is_yes("use-ssl"):
        return group.mode(TlsMode.BOTH if group.is_yes("use-tls") else TlsMode.IMPLICIT, "use-ssl")
    return group.mode(TlsMode.STARTTLS if group.is_yes("use-tls") else TlsMode.PLAIN, "use-tls")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, host="host", port="port", username="username", sender="from", timeout_seconds="timeout")
    if changes is None or wanted.verifies_certificate is not None:
        return None
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT:
            changes |= {"use-tls": False if "use-tls" in group.last else ABSENT, "use-ssl": True}
        case TlsMode.STARTTLS:
            changes |= {"use-tls": True, "use-ssl": False if "use-ssl" in group.last else ABSENT}
        case TlsMode.PLAIN:
            changes |= {"use-tls": False, "use-ssl": False}
        case _:
            return None
    return changes


def _show(server: Server) -> str:
    return (
        "mail.backend: smtp\n"
        f"mail.host: {server.host}\n"
        f"mail.port: {server.port}\n"
        f"mail.use-tls: {str(server.mode is TlsMode.STARTTLS).lower()}\n"
        f"mail.use-ssl: {str(server.mode is TlsMode.IMPLICIT).lower()}\n"
        f'mail.username: "{server.username}"\n'
        f'mail.password: "${{{server.password_variable}}}"\n'
        f'mail.from: "{server.sender}"\n'
    )


_KNOWN: Final = frozenset({
    "backend", "host", "port", "username", "password", "use-tls", "use-ssl", "subject-prefix", "from",
    "list-namespace", "enable-replies", "reply-hostname", "timeout", "mailgun-api-key",
})  # fmt: skip
SENTRY: Final = Program(
    name="sentry",
    title="Sentry",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_yaml, _scan, yaml_notation(lambda name: f"mail.{name}")),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
