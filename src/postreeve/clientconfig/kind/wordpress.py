"""WordPress: constants in wp-config.php, those of the plugin WP Mail SMTP (`WPMS_…`) and the usual `SMTP_…`.

WP Mail SMTP 4, `src/Options.php`: WPMS_SSL is ssl for implicit TLS, tls for STARTTLS, empty for none, and then
WPMS_SMTP_AUTOTLS takes STARTTLS where it is offered. It counts only with WPMS_ON true and WPMS_MAILER smtp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.kind.environment import GENERIC
from postreeve.clientconfig.kind.laravel import php_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation
from postreeve.clientconfig.program.outline import ModeChanges, amend, named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Call, as_scalar, text_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source

_NAMES: Final = {
    "wpms_smtp_host": "host", "wpms_smtp_port": "port", "wpms_ssl": "ssl", "wpms_smtp_auth": "auth",
    "wpms_smtp_user": "user", "wpms_smtp_pass": "password", "wpms_smtp_autotls": "auto",
    "wpms_mail_from": "from", "wpms_on": "on", "wpms_mailer": "mailer", "wpms_mail_from_name": "from_name",
    "wpms_mail_from_force": "force", "wpms_mail_from_name_force": "name_force", "wpms_set_return_path": "path",
    "wpms_license_key": "licence", "wpms_do_not_send": "stop",
}  # fmt: skip
_SPELLS: Final = {
    "port": "WPMS_SMTP_PORT", "ssl": "WPMS_SSL", "auto": "WPMS_SMTP_AUTOTLS", "from": "WPMS_MAIL_FROM",
    "on": "WPMS_ON", "user": "WPMS_SMTP_USER",
}  # fmt: skip


def _is_plugin(file: str, text: str) -> bool:
    return file.endswith(".php") and "WPMS_" in text


def _is_plain(file: str, text: str) -> bool:
    return file.endswith(".php") and "define" in text and "SMTP_HOST" in text


def _scan_plugin(source: Source) -> Iterable[Group]:
    found = group_of(source, named(_constants(source), _NAMES, ("wpms_",)), "wpms")
    return (found,) if found.has("host") else ()


def _scan_plain(source: Source) -> Iterable[Group]:
    found = group_of(source, named(_constants(source), GENERIC.names, ("smtp_",)), "smtp")
    return (found,) if found.has("host") else ()


def _constants(source: Source) -> list[Entry]:
    entries = []
    for call in scan_code(source, Language.PHP).calls:
        entry = _constant(call) if call.name.lower() == "define" and len(call.arguments) >= 2 else None
        if entry is not None:
            entries.append(entry)
    return entries


def _constant(call: Call) -> Entry | None:
    name, value = text_of(call.arguments[0]), as_scalar(call.arguments[1])
    return Entry(name, value, call.arguments[0].span) if isinstance(name, str) and value is not None else None


def _settle(group: Group) -> SubmissionSettings | None:
    if group.label == "smtp":
        return GENERIC.settle(group)
    if group.says("mailer") not in ("", "smtp"):
        return None
    contradictions = []
    if group.is_yes("on") is not True and not (group.has("on") and group.last["on"].scalar.is_reference):
        contradictions.append("WPMS_ON is not true, so none of the other WPMS_ constants counts")
    if group.is_yes("auth") is False and group.has("user"):
        contradictions.append("WPMS_SMTP_USER is set, but WPMS_SMTP_AUTH is false, so nobody logs in")
    return outline(group, _mode(group), default_port=25, contradictions=tuple(contradictions))


def _mode(group: Group) -> Value[TlsMode] | None:
    match group.says("ssl"):
        case "ssl":
            return group.mode(TlsMode.IMPLICIT, "ssl")
        case "tls":
            return group.mode(TlsMode.STARTTLS, "ssl")
    if "ssl" in group.last and group.last["ssl"].scalar.is_reference:
        return None
    if group.is_yes("auto") is False:
        return group.mode(TlsMode.PLAIN, "auto")
    return group.mode(TlsMode.OPPORTUNISTIC, "ssl")


_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"ssl": "ssl"},
    TlsMode.STARTTLS: {"ssl": "tls"},
    TlsMode.OPPORTUNISTIC: {"ssl": "", "~auto": True},
    TlsMode.PLAIN: {"ssl": "", "auto": False},
}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    return GENERIC.change(group, wanted) if group.label == "smtp" else amend(group, wanted, _MODES)


def _notation(spells: dict[str, str]) -> Notation:
    return Notation(
        line=lambda key, literal: f"define( '{key}', {literal} );",
        literal=php_literal,
        spell=lambda name: spells.get(name, name),
    )


def _show(server: Server) -> str:
    ssl = {TlsMode.IMPLICIT: "ssl", TlsMode.STARTTLS: "tls"}.get(server.mode, "")
    auto = "" if ssl or server.mode is TlsMode.OPPORTUNISTIC else "define( 'WPMS_SMTP_AUTOTLS', false );\n"
    return (
        "<?php\n"
        "define( 'WPMS_ON', true );\n"
        "define( 'WPMS_MAILER', 'smtp' );\n"
        f"define( 'WPMS_SMTP_HOST', '{server.host}' );\n"
        f"define( 'WPMS_SMTP_PORT', {server.port} );\n"
        f"define( 'WPMS_SSL', '{ssl}' );\n"
        f"{auto}"
        "define( 'WPMS_SMTP_AUTH', true );\n"
        f"define( 'WPMS_SMTP_USER', '{server.username}' );\n"
        f"define( 'WPMS_SMTP_PASS', getenv( '{server.password_variable}' ) );\n"
        f"define( 'WPMS_MAIL_FROM', '{server.sender}' );\n"
    )


WORDPRESS: Final = Program(
    name="wordpress",
    title="WordPress (WP Mail SMTP, wp-config.php)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(
        Form(_is_plugin, _scan_plugin, _notation(_SPELLS)),
        Form(_is_plain, _scan_plain, _notation(dict(GENERIC.spells))),
    ),
    settle=_settle,
    change=_change,
    show=_show,
)
