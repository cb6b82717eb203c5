"""Discourse: variables `DISCOURSE_SMTP_…` (app.yml of its container, environment files) or `smtp_…` of discourse.conf.

Discourse 3.3, `config/discourse_defaults.conf` and `app/models/global_setting.rb`: `smtp_force_tls` is TLS from the
first octet and wins; otherwise STARTTLS is taken when offered unless `smtp_enable_start_tls` is false. Port 25 and the
mechanism PLAIN are the defaults. discourse.conf ends an unquoted value at `#`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import env_form, prefixed, yaml_notation
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import ABSENT, Changes, Notation, bare
from postreeve.clientconfig.program.program import Form, Program, basename, fulfil, settings_of
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Source, renamed

_NAME_OF, _SPELL = prefixed("DISCOURSE_")


def _is_yaml(file: str, text: str) -> bool:
    return file.lower().endswith((".yml", ".yaml")) and "DISCOURSE_SMTP_ADDRESS" in text


def _scan_yaml(source: Source) -> Iterable[Group]:
    found = []
    for root in scan_yaml(source):
        for entry in flatten(root):
            path, _, variable = entry.key.rpartition(".")
            if variable.startswith(("DISCOURSE_SMTP_", "DISCOURSE_NOTIFICATION")):
                found.append((path, renamed(entry, _NAME_OF(variable))))
    paths = dict.fromkeys(path for path, _entry in found)
    return [group_of(source, (entry for at, entry in found if at == path), path) for path in paths]


def _is_conf(file: str, text: str) -> bool:
    return basename(file) in ("discourse.conf", "discourse_defaults.conf") and "smtp_address" in text


def _scan_conf(source: Source) -> Iterable[Group]:
    found = group_of(source, (one for one in scan_env(source) if one.key.startswith(("smtp_", "notification_"))))
    return (found,) if found.entries else ()


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("smtp_address"):
        return None
    contradictions = []
    if "#" in _password_line(group):
        contradictions.append("the password has an unquoted #, at which it ends: put it between quotes")
    return settings_of(
        group,
        host=group.text("smtp_address"),
        port=group.number("smtp_port", 25),
        mode=_mode(group),
        username=group.text("smtp_user_name"),
        password=group.text("smtp_password"),
        mechanism=group.text("smtp_authentication"),
        sender=group.text("notification_email"),
        verifies_certificate=group.decides(
            group.says("smtp_openssl_verify_mode") != "none", "smtp_openssl_verify_mode"
        ),
        timeout_seconds=group.seconds("smtp_open_timeout"),
        hello_name=group.text("smtp_domain"),
        contradictions=tuple(contradictions),
    )


def _password_line(group: Group) -> str:
    """What stands on the password's line, without quoted text and a comment of its own."""
    entry = group.last.get("smtp_password")
    if entry is None or entry.scalar.quote:
        return ""
    return group.source.written(entry.scalar.span)


def _mode(group: Group) -> Value[TlsMode]:
    if group.is_yes("smtp_force_tls"):
        return group.mode(TlsMode.IMPLICIT, "smtp_force_tls")
    is_off = group.is_yes("smtp_enable_start_tls") is False
    return group.mode(TlsMode.PLAIN if is_off else TlsMode.OPPORTUNISTIC, "smtp_enable_start_tls")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(
        wanted,
        host="smtp_address",
        port="smtp_port",
        username="smtp_user_name",
        sender="notification_email",
        timeout_seconds="smtp_open_timeout",
    )
    if changes is None or wanted.mode is TlsMode.BOTH:
        return None
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT:
            changes |= {"smtp_force_tls": True, "smtp_enable_start_tls": False}
        case mode:
            changes |= {"smtp_force_tls": ABSENT, "smtp_enable_start_tls": mode is not TlsMode.PLAIN}
    if wanted.verifies_certificate is not None:
        changes["smtp_openssl_verify_mode"] = "peer" if wanted.verifies_certificate else "none"
    return changes


def _show(server: Server) -> str:
    is_implicit = server.mode is TlsMode.IMPLICIT
    is_starttls = server.mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC)
    return (
        "env:\n"
        f"  DISCOURSE_SMTP_ADDRESS: {server.host}\n"
        f"  DISCOURSE_SMTP_PORT: {server.port}\n"
        f"  DISCOURSE_SMTP_FORCE_TLS: {str(is_implicit).lower()}\n"
        f"  DISCOURSE_SMTP_ENABLE_START_TLS: {str(is_starttls).lower()}\n"
        f'  DISCOURSE_SMTP_USER_NAME: "{server.username}"\n'
        f'  DISCOURSE_SMTP_PASSWORD: "${{{server.password_variable}}}"\n'
        f'  DISCOURSE_NOTIFICATION_EMAIL: "{server.sender}"\n'
    )


_KNOWN: Final = frozenset({
    "smtp_address", "smtp_port", "smtp_domain", "smtp_user_name", "smtp_password", "smtp_authentication",
    "smtp_enable_start_tls", "smtp_openssl_verify_mode", "smtp_force_tls", "smtp_open_timeout",
    "smtp_read_timeout", "notification_email",
})  # fmt: skip
DISCOURSE: Final = Program(
    name="discourse",
    title="Discourse",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT}),
    forms=(
        Form(_is_yaml, _scan_yaml, yaml_notation(_SPELL)),
        env_form("DISCOURSE_SMTP_", _NAME_OF, _SPELL),
        Form(_is_conf, _scan_conf, Notation(line=lambda key, literal: f"{key} = {literal}", literal=bare)),
    ),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
