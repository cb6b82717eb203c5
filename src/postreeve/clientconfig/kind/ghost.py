"""Ghost: `mail` of config.production.json, or variables `mail__options__host`.

Ghost 5 with nodemailer (`lib/smtp-connection/index.js`): `secure` is implicit TLS and follows from port 465 when it is
not set; `requireTLS` insists on STARTTLS, `ignoreTLS` never uses it, neither takes what is offered. The port is 587,
or 465 with `secure`. `service` names a known provider and overrides host, port and `secure`.
"""

from __future__ import annotations

from typing import Final

from postreeve.clientconfig.program.form import env_form, json_form
from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes
from postreeve.clientconfig.program.program import Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted

_OLD: Final = ("options.secureConnection", "options.ssl", "options.requiresAuth")


def _is_json(file: str, text: str) -> bool:
    name = basename(file)
    return name.startswith("config.") and name.endswith(".json") and '"mail"' in text and '"options"' in text


def _settle(group: Group) -> SubmissionSettings | None:
    transport = group.says("transport")
    if not group.has("options.host", "options.service") or transport not in ("", "smtp"):
        return None
    contradictions = []
    if not transport:
        contradictions.append("mail.transport is not set, so Ghost sends directly and ignores mail.options")
    if group.has("options.service") and group.has("options.host"):
        contradictions.append("mail.options.service overrides host, port and secure")
    if group.is_yes("options.requireTLS") and group.is_yes("options.ignoreTLS"):
        contradictions.append("mail.options.requireTLS and ignoreTLS contradict each other")
    port, mode = _port_and_mode(group)
    unknown = [group.last[name] for name in _OLD if name in group.last]
    return settings_of(
        group,
        host=group.text("options.host"),
        port=port,
        mode=mode,
        username=group.text("options.auth.user"),
        password=group.text("options.auth.pass"),
        sender=group.text("from"),
        verifies_certificate=group.decides(
            group.is_yes("options.tls.rejectUnauthorized") is not False, "options.tls.rejectUnauthorized"
        ),
        hello_name=group.text("options.name"),
        extra=tuple(filter(None, (group.text("options.service"),))),
        unknown=tuple(group.value(entry, entry.key) for entry in unknown),
        contradictions=tuple(contradictions),
    )


def _port_and_mode(group: Group) -> tuple[Value[int] | None, Value[TlsMode] | None]:
    if group.has("options.service"):
        return None, None
    secure = group.is_yes("options.secure")
    port = group.number("options.port", 465 if secure else 587)
    if secure or (secure is None and port is not None and port.value == 465):
        return port, group.mode(TlsMode.IMPLICIT, "options.secure", "options.port")
    if group.is_yes("options.ignoreTLS"):
        return port, group.mode(TlsMode.PLAIN, "options.ignoreTLS")
    if group.is_yes("options.requireTLS"):
        return port, group.mode(TlsMode.STARTTLS, "options.requireTLS")
    return port, group.mode(TlsMode.OPPORTUNISTIC, "options.requireTLS", "options.secure")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, host="options.host", port="options.port", username="options.auth.user", sender="from")
    if changes is None:
        return None
    match wanted.mode:
        case None:
            pass
        case TlsMode.BOTH:
            return None
        case mode:
            changes["options.secure"] = mode is TlsMode.IMPLICIT
            if mode is TlsMode.STARTTLS or "options.requireTLS" in group.last:
                changes["options.requireTLS"] = mode is TlsMode.STARTTLS
            if mode is TlsMode.PLAIN or "options.ignoreTLS" in group.last:
                changes["options.ignoreTLS"] = mode is TlsMode.PLAIN
    if wanted.verifies_certificate is not None:
        changes["options.tls.rejectUnauthorized"] = wanted.verifies_certificate
    if not group.has("transport"):
        changes["transport"] = "SMTP"
    return changes


def _show(server: Server) -> str:
    secure = f'      "secure": {str(server.mode is TlsMode.IMPLICIT).lower()},\n'
    if server.mode is TlsMode.STARTTLS:
        secure += '      "requireTLS": true,\n'
    elif server.mode is TlsMode.PLAIN:
        secure += '      "ignoreTLS": true,\n'
    return (
        "{\n"
        '  "mail": {\n'
        '    "transport": "SMTP",\n'
        f'    "from": "{server.sender}",\n'
        '    "options": {\n'
        f'      "host": "{server.host}",\n'
        f'      "port": {server.port},\n'
        f"{secure}"
        '      "auth": {\n'
        f'        "user": "{server.username}",\n'
        f'        "pass": "${{{server.password_variable}}}"\n'
        "      }\n"
        "    }\n"
        "  }\n"
        "}\n"
    )


def _name_of(variable: str) -> str:
    return variable.removeprefix("mail__").replace("__", ".") if variable.startswith("mail__") else ""


GHOST: Final = Program(
    name="ghost",
    title="Ghost",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(
        json_form(_is_json, ("mail",)),
        env_form("mail__options__", _name_of, lambda name: "mail__" + name.replace(".", "__")),
    ),
    settle=_settle,
    change=_change,
    show=_show,
)
