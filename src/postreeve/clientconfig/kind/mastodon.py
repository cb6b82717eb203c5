"""Mastodon: variables `SMTP_…` of .env.production.

Mastodon 4.3, `config/email.yml` and `lib/mastodon/email_configuration_helper.rb`: only the word `true` switches
SMTP_TLS and SMTP_SSL on; SMTP_ENABLE_STARTTLS is `auto`, `always` or `never` and decides over
SMTP_ENABLE_STARTTLS_AUTO. The mail library refuses TLS from the first octet together with STARTTLS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.program.form import env_form
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import ABSENT, Changes
from postreeve.clientconfig.program.program import Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source

_NAMES: Final = frozenset({
    "SMTP_SERVER", "SMTP_PORT", "SMTP_LOGIN", "SMTP_PASSWORD", "SMTP_FROM_ADDRESS", "SMTP_TLS", "SMTP_SSL",
    "SMTP_ENABLE_STARTTLS", "SMTP_ENABLE_STARTTLS_AUTO", "SMTP_OPENSSL_VERIFY_MODE", "SMTP_AUTH_METHOD",
    "SMTP_CA_FILE", "SMTP_DOMAIN", "SMTP_DELIVERY_METHOD", "SMTP_REPLY_TO", "SMTP_RETURN_PATH",
})  # fmt: skip
_STARTTLS_OF: Final = {TlsMode.PLAIN: "never", TlsMode.OPPORTUNISTIC: "auto", TlsMode.STARTTLS: "always"}
_MODE_OF: Final = {word: mode for mode, word in _STARTTLS_OF.items()}


def _is_env(file: str, text: str) -> bool:
    if "SMTP_SERVER" not in text or not basename(file).startswith((".env", "env", "mastodon")):
        return False
    if "LOCAL_DOMAIN" in text or "SMTP_LOGIN" in text:
        return True
    # Other programs have an .env.production too, and call the user SMTP_USER or SMTP_USERNAME.
    return ".env.production" in file and "SMTP_USER" not in text


def _name_of(variable: str) -> str:
    return variable if variable.startswith("SMTP_") else ""


_ENV: Final = env_form("SMTP_SERVER", _name_of, str, _is_env)


def _of_variables(source: Source, entries: Iterable[Entry]) -> Iterable[Group]:
    given = tuple(entries)
    if {"LOCAL_DOMAIN", "SMTP_LOGIN"} & {entry.key for entry in given}:
        yield group_of(source, (entry for entry in given if _name_of(entry.key)))


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("SMTP_SERVER") or group.says("SMTP_DELIVERY_METHOD") in ("sendmail", "none", "test", "file"):
        return None
    contradictions = [
        f"{name} is {group.written(name)!r}; only the word true switches it on"
        for name in ("SMTP_TLS", "SMTP_SSL")
        if group.has(name) and group.written(name) not in ("true", "false") and group.is_yes(name) is not False
    ]
    starttls = group.written("SMTP_ENABLE_STARTTLS")
    if starttls and starttls not in _MODE_OF:
        contradictions.append(f"SMTP_ENABLE_STARTTLS is {starttls!r}; it is auto, always or never")
    mechanism = group.text("SMTP_AUTH_METHOD")
    is_used = mechanism is None or mechanism.value != "none"
    return settings_of(
        group,
        host=group.text("SMTP_SERVER"),
        port=group.number("SMTP_PORT", 25),
        mode=_mode(group),
        username=group.text("SMTP_LOGIN") if is_used else None,
        password=group.text("SMTP_PASSWORD"),
        mechanism=mechanism if is_used else None,
        sender=group.text("SMTP_FROM_ADDRESS") or Value("notifications@localhost"),
        verifies_certificate=group.decides(
            group.says("SMTP_OPENSSL_VERIFY_MODE") != "none", "SMTP_OPENSSL_VERIFY_MODE"
        ),
        hello_name=group.text("SMTP_DOMAIN"),
        contradictions=tuple(contradictions),
    )


def _mode(group: Group) -> Value[TlsMode]:
    starttls = _MODE_OF.get(group.written("SMTP_ENABLE_STARTTLS"))
    is_auto = group.is_yes("SMTP_ENABLE_STARTTLS_AUTO")
    for name in ("SMTP_TLS", "SMTP_SSL"):
        if group.written(name) != "true":
            continue
        is_both = starttls in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC) or (starttls is None and is_auto is True)
        return group.mode(TlsMode.BOTH if is_both else TlsMode.IMPLICIT, name)
    if starttls is not None:
        return group.mode(starttls, "SMTP_ENABLE_STARTTLS")
    return group.mode(TlsMode.PLAIN if is_auto is False else TlsMode.OPPORTUNISTIC, "SMTP_ENABLE_STARTTLS_AUTO")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, host="SMTP_SERVER", port="SMTP_PORT", username="SMTP_LOGIN", sender="SMTP_FROM_ADDRESS")
    if changes is None:
        return None
    if wanted.mode is TlsMode.IMPLICIT:
        is_ssl = group.has("SMTP_SSL") and not group.has("SMTP_TLS")
        changes |= {
            "SMTP_SSL" if is_ssl else "SMTP_TLS": True,
            "SMTP_ENABLE_STARTTLS": "never",
            "SMTP_ENABLE_STARTTLS_AUTO": ABSENT,
        }
    elif wanted.mode in _STARTTLS_OF:
        changes |= {
            "SMTP_TLS": ABSENT,
            "SMTP_SSL": ABSENT,
            "SMTP_ENABLE_STARTTLS_AUTO": ABSENT,
            "SMTP_ENABLE_STARTTLS": _STARTTLS_OF[wanted.mode],
        }
    elif wanted.mode is not None:
        return None
    if wanted.verifies_certificate is not None:
        changes["SMTP_OPENSSL_VERIFY_MODE"] = "peer" if wanted.verifies_certificate else "none"
    return changes


def _show(server: Server) -> str:
    lines = [f"SMTP_SERVER={server.host}", f"SMTP_PORT={server.port}"]
    if server.mode is TlsMode.IMPLICIT:
        lines.append("SMTP_TLS=true")
    lines += [
        f"SMTP_ENABLE_STARTTLS={_STARTTLS_OF.get(server.mode, 'never')}",
        "SMTP_OPENSSL_VERIFY_MODE=peer",
        "SMTP_AUTH_METHOD=plain",
        f"SMTP_LOGIN={server.username}",
        f"SMTP_PASSWORD=${{{server.password_variable}}}",
        f"SMTP_FROM_ADDRESS={server.sender}",
    ]
    return "\n".join(lines) + "\n"


MASTODON: Final = Program(
    name="mastodon",
    title="Mastodon",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(replace(_ENV, of_variables=_of_variables),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_NAMES,
)
