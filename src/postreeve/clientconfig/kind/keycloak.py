"""Keycloak: `smtpServer` of an exported realm, in which every value is a string.

Keycloak 26, `DefaultEmailSenderProvider.java`: it sets Jakarta Mail's `ssl.enable` and `starttls.enable`, never
`starttls.required`, so that STARTTLS is always opportunistic; with both, TLS begins at once. The port is 25 unless set.
Verification is that of the server's trust store; a realm does not speak of it. Exports mask the password by asterisks.
"""

from __future__ import annotations

from typing import Final

from postreeve.clientconfig.program.form import json_form
from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes
from postreeve.clientconfig.program.program import Program, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted


def _is_json(file: str, text: str) -> bool:
    return file.lower().endswith(".json") and '"smtpServer"' in text


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    is_authenticating = group.is_yes("auth") is True
    contradictions = []
    if group.has("user") and not is_authenticating:
        contradictions.append("there is a user, but auth is not true, so Keycloak does not log in")
    if is_authenticating and not group.has("user"):
        contradictions.append("auth is true, but there is no user")
    password = group.text("password")
    if password is not None and set(password.value or "*") == {"*"}:
        password = Value(None, password.key, password.span, is_reference=True)
    return settings_of(
        group,
        host=group.text("host"),
        port=group.number("port", 25),
        mode=_mode(group),
        username=group.text("user") if is_authenticating else None,
        password=password,
        mechanism=Value("XOAUTH2") if group.says("authType") == "token" else None,
        sender=group.text("from"),
        timeout_seconds=group.seconds("timeout", 0.001),
        contradictions=tuple(contradictions),
    )


def _mode(group: Group) -> Value[TlsMode]:
    if group.is_yes("ssl"):
        return group.mode(TlsMode.IMPLICIT, "ssl")
    if group.is_yes("starttls"):
        return group.mode(TlsMode.OPPORTUNISTIC, "starttls")
    return group.mode(TlsMode.PLAIN, "starttls", "ssl")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.verifies_certificate is not None:
        return None
    changes = fulfil(wanted, host="host", port="port", username="user", sender="from", timeout_seconds="timeout")
    if changes is None:
        return None
    if wanted.port is not None and "port" not in group.last:
        changes["port"] = str(wanted.port)
    if wanted.timeout_seconds is not None:
        changes["timeout"] = str(int(wanted.timeout_seconds * 1000))
    match wanted.mode:
        case None:
            pass
        case TlsMode.BOTH:
            return None
        case mode:
            changes["ssl"] = "true" if mode is TlsMode.IMPLICIT else "false"
            changes["starttls"] = "true" if mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC) else "false"
    if wanted.username is not None or (group.has("user") and group.is_yes("auth") is not True):
        changes["auth"] = "true"
    return changes


def _show(server: Server) -> str:
    is_implicit = "true" if server.mode is TlsMode.IMPLICIT else "false"
    is_starttls = "true" if server.mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC) else "false"
    return (
        "{\n"
        '  "smtpServer": {\n'
        f'    "host": "{server.host}",\n'
        f'    "port": "{server.port}",\n'
        f'    "ssl": "{is_implicit}",\n'
        f'    "starttls": "{is_starttls}",\n'
        '    "auth": "true",\n'
        f'    "user": "{server.username}",\n'
        f'    "password": "${{{server.password_variable}}}",\n'
        f'    "from": "{server.sender}"\n'
        "  }\n"
        "}\n"
    )


_KNOWN: Final = frozenset({
    "host", "port", "from", "fromDisplayName", "replyTo", "replyToDisplayName", "envelopeFrom", "ssl",
    "starttls", "auth", "user", "password", "authType", "authTokenUrl", "authTokenScope", "authTokenClientId",
    "authTokenClientSecret", "debug", "allowutf8", "timeout", "connectionTimeout", "writeTimeout",
})  # fmt: skip
KEYCLOAK: Final = Program(
    name="keycloak",
    title="Keycloak",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT}),
    forms=(json_form(_is_json, ("smtpServer",)),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
