"""Nextcloud: `mail_…` in config.php, and the variables from which its container image makes them.

Nextcloud 30, `lib/private/Mail/Mailer.php` over Symfony Mailer: only `mail_smtpsecure` 'ssl' or port 465 begins TLS at
once; anything else takes STARTTLS when it is offered, and nothing can insist on it. The user name counts only with
`mail_smtpauth`. The sender is `mail_from_address` @ `mail_domain`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.kind.env import is_env_file
from postreeve.clientconfig.program.form import env_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.program import Form, Program, fulfil, settings_of
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed

_OPTIONS: Final = "mail_smtpstreamoptions.ssl."
_CHECKS: Final = {"verify_peer": False, "verify_peer_name": False, "allow_self_signed": True}
"""What each of the stream's options is where it weakens verification."""


def _is_php(file: str, text: str) -> bool:
    return file.lower().endswith(".php") and "$CONFIG" in text and "mail_" in text


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.PHP)
    roots = [one.value for one in code.assignments if one.target == "$CONFIG"]
    found: list[Entry] = []
    for root in roots:
        found += (one for one in flatten(root) if one.key.startswith("mail_"))
    for one in code.assignments:
        if one.target.startswith("$CONFIG["):
            key = one.target[len("$CONFIG[") : -1].strip("'\" ")
            found += (renamed(entry, key) for entry in flatten(one.value) if key.startswith("mail_"))
    return (group_of(source, found),) if found else ()


_VARIABLES: Final = {
    "SMTP_HOST": "mail_smtphost", "SMTP_PORT": "mail_smtpport", "SMTP_SECURE": "mail_smtpsecure",
    "SMTP_NAME": "mail_smtpname", "SMTP_PASSWORD": "mail_smtppassword", "SMTP_PASSWORD_FILE": "mail_smtppassword",
    "SMTP_AUTHTYPE": "mail_smtpauthtype", "MAIL_FROM_ADDRESS": "mail_from_address", "MAIL_DOMAIN": "mail_domain",
}  # fmt: skip
_SPELLS: Final = {name: variable for variable, name in reversed(_VARIABLES.items())}
_CONTAINER: Final = "container"


def _is_env(file: str, text: str) -> bool:
    return is_env_file(file) and all(f"{key}=" in text for key in ("SMTP_HOST", "MAIL_DOMAIN", "MAIL_FROM_ADDRESS"))


def _of_variables(source: Source, entries: Iterable[Entry]) -> Iterable[Group]:
    """The image logs in where there are a user and a password, and takes port 465 where SMTP_SECURE is set."""
    found = [renamed(entry, _VARIABLES[entry.key]) for entry in entries if entry.key in _VARIABLES]
    by_name = {entry.key: entry for entry in found}
    if not {"mail_smtphost", "mail_domain", "mail_from_address"} <= by_name.keys():
        return
    if (login := by_name.get("mail_smtpname")) is not None and "mail_smtppassword" in by_name:
        found.append(Entry("mail_smtpauth", Scalar(True, login.scalar.span, None), login.key_span))
    yield group_of(source, found, _CONTAINER)


def _port(group: Group) -> Value[int] | None:
    is_secured = group.label == _CONTAINER and group.has("mail_smtpsecure")
    return group.number("mail_smtpport", 465 if is_secured else 25)


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("mail_smtphost") or group.says("mail_smtpmode") not in ("", "smtp"):
        return None
    is_authenticating = group.is_yes("mail_smtpauth") is True
    contradictions = []
    if group.has("mail_smtpname") and not is_authenticating:
        contradictions.append("there is a mail_smtpname, but mail_smtpauth is not true, so Nextcloud does not log in")
    if is_authenticating and not group.has("mail_smtpname"):
        contradictions.append("mail_smtpauth is true, but there is no mail_smtpname")
    secure = group.says("mail_smtpsecure")
    if secure not in ("", "ssl", "tls"):
        contradictions.append(f"mail_smtpsecure is {secure!r}; it is 'ssl' or ''")
    return settings_of(
        group,
        host=group.text("mail_smtphost"),
        port=_port(group),
        mode=_mode(group),
        username=group.text("mail_smtpname") if is_authenticating else None,
        password=group.text("mail_smtppassword"),
        sender=_sender(group),
        verifies_certificate=_verifies(group),
        timeout_seconds=group.seconds("mail_smtptimeout"),
        contradictions=tuple(contradictions),
    )


def _mode(group: Group) -> Value[TlsMode]:
    if group.says("mail_smtpsecure") == "ssl":
        return group.mode(TlsMode.IMPLICIT, "mail_smtpsecure")
    port = _port(group)
    if port is not None and port.value == 465:
        return group.mode(TlsMode.IMPLICIT, "mail_smtpport")
    return group.mode(TlsMode.OPPORTUNISTIC, "mail_smtpsecure")


def _sender(group: Group) -> Value[str] | None:
    local, domain = group.text("mail_from_address"), group.text("mail_domain")
    if local is None or domain is None or local.value is None or domain.value is None:
        return local or domain
    return Value(f"{local.value}@{domain.value}", local.key, local.span)


def _verifies(group: Group) -> Value[bool]:
    for name, weak in _CHECKS.items():
        if group.is_yes(_OPTIONS + name) is weak:
            return group.decides(False, _OPTIONS + name)
    return Value(True)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(
        wanted,
        host="mail_smtphost",
        port="mail_smtpport",
        username="mail_smtpname",
        sender="mail_from_address",
        timeout_seconds="mail_smtptimeout",
    )
    if changes is None or wanted.mode in (TlsMode.PLAIN, TlsMode.BOTH):
        return None
    if wanted.sender is not None:
        changes["mail_from_address"], _, changes["mail_domain"] = wanted.sender.rpartition("@")
    is_465 = str(changes.get("mail_smtpport", group.written("mail_smtpport"))) == "465"
    if wanted.mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC) and is_465:
        return None
    if wanted.mode is not None:
        changes["mail_smtpsecure"] = "ssl" if wanted.mode is TlsMode.IMPLICIT else ""
    if wanted.verifies_certificate is False:
        return None
    if wanted.verifies_certificate:
        for name, weak in _CHECKS.items():
            if _OPTIONS + name in group.last:
                changes[_OPTIONS + name] = not weak
    if wanted.username is not None or (group.has("mail_smtpname") and group.is_yes("mail_smtpauth") is not True):
        changes["mail_smtpauth"] = True
    return changes


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    if scalar is not None and scalar.quote:
        return quoted(plain_text(wish), scalar.quote)
    return plain_text(wish) if isinstance(wish, bool | int) else quoted(plain_text(wish), "'")


def _show(server: Server) -> str:
    local, _, domain = server.sender.rpartition("@")
    return (
        "<?php\n"
        "$CONFIG = array (\n"
        "  'mail_smtpmode' => 'smtp',\n"
        f"  'mail_smtphost' => '{server.host}',\n"
        f"  'mail_smtpport' => {server.port},\n"
        f"  'mail_smtpsecure' => '{'ssl' if server.mode is TlsMode.IMPLICIT else ''}',\n"
        "  'mail_smtpauth' => true,\n"
        f"  'mail_smtpname' => '{server.username}',\n"
        f"  'mail_smtppassword' => getenv('{server.password_variable}'),\n"
        f"  'mail_from_address' => '{local}',\n"
        f"  'mail_domain' => '{domain}',\n"
        ");\n"
    )


_NOTATION: Final = Notation(
    line=lambda key, literal: f"'{key}' => {literal},",
    literal=_literal,
    is_before=True,
    removes=False,
)
_ENV_NOTATION: Final = Notation(
    line=lambda key, literal: f"{key}={literal}", literal=env_literal, spell=lambda name: _SPELLS.get(name, name)
)
_KNOWN: Final = frozenset({
    "mail_smtpmode", "mail_sendmailmode", "mail_smtphost", "mail_smtpport", "mail_smtpsecure",
    "mail_smtpauth", "mail_smtpauthtype", "mail_smtpname", "mail_smtppassword", "mail_smtptimeout",
    "mail_smtpdebug", "mail_from_address", "mail_domain", "mail_template_class", "mail_send_plaintext_only",
    "mail_smtpstreamoptions",
})  # fmt: skip
NEXTCLOUD: Final = Program(
    name="nextcloud",
    title="Nextcloud",
    modes=frozenset({TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT}),
    forms=(
        Form(_is_php, _scan, _NOTATION),
        Form(_is_env, lambda source: _of_variables(source, scan_env(source)), _ENV_NOTATION, _of_variables),
    ),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
