"""Gitea and Forgejo: section `[mailer]` of app.ini, or variables `GITEA__mailer__…`.

Gitea 1.25, `modules/setting/mailer.go` and `services/mailer/sender/smtp.go`: PROTOCOL and SMTP_PORT follow from each
other; `smtp+starttls` goes on without TLS when the server does not offer it, so that only `smtps` is sure. HOST,
IS_TLS_ENABLED and SKIP_VERIFY are those of Gitea before 1.19 and read only where the newer ones are absent.
"""

from __future__ import annotations

from typing import Final

from postreeve.clientconfig.program.form import env_form, ini_form
from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import ABSENT, Changes
from postreeve.clientconfig.program.place import host_and_port, host_of, port_of
from postreeve.clientconfig.program.program import Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted

_MODES: Final = {
    "smtp": TlsMode.PLAIN,
    "smtps": TlsMode.IMPLICIT,
    "smtp+starttls": TlsMode.OPPORTUNISTIC,
    "smtp+startls": TlsMode.OPPORTUNISTIC,
}
_PROTOCOL_OF: Final = {
    TlsMode.PLAIN: "smtp",
    TlsMode.IMPLICIT: "smtps",
    TlsMode.OPPORTUNISTIC: "smtp+starttls",
    TlsMode.STARTTLS: "smtp+starttls",
}
_PORT_OF: Final = {TlsMode.PLAIN: 25, TlsMode.IMPLICIT: 465, TlsMode.OPPORTUNISTIC: 587}
_MODE_OF_PORT: Final = {port: mode for mode, port in _PORT_OF.items()}
_OLD: Final = ("host", "is_tls_enabled", "skip_verify", "mailer_type")
_NEW: Final = ("smtp_addr", "protocol", "smtp_port")


def _is_ini(file: str, text: str) -> bool:
    return "[mailer]" in text and (basename(file) == "app.ini" or "SMTP_ADDR" in text or "IS_TLS_ENABLED" in text)


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("smtp_addr", "host") or group.is_yes("enabled") is False:
        return None
    protocol = group.says("protocol")
    if protocol in ("sendmail", "dummy", "smtp+unix") or group.says("mailer_type") in ("sendmail", "dummy"):
        return None
    contradictions = []
    if group.text("enabled") is None:
        contradictions.append("ENABLED is not set, so Gitea sends nothing")
    if protocol and protocol not in _MODES:
        contradictions.append(f"PROTOCOL {protocol!r} is none that Gitea knows")
    mixed = [name.upper() for name in _OLD if group.has(name)]
    if mixed and group.has(*_NEW):
        contradictions.append(f"{' and '.join(mixed)} are of Gitea before 1.19 and ignored beside the newer settings")
    is_old = not group.has("smtp_addr")
    port = port_of(group.text("host")) if is_old else group.number("smtp_port")
    mode = _mode(group, None if port is None else port.value, is_old)
    if port is None and mode.value in _PORT_OF:
        port = Value(_PORT_OF[mode.value])
    return settings_of(
        group,
        host=host_of(group.text("host")) if is_old else group.text("smtp_addr"),
        port=port,
        mode=mode,
        username=group.text("user"),
        password=group.text("passwd"),
        sender=group.text("from", "user"),
        verifies_certificate=_verifies(group),
        hello_name=group.text("helo_hostname"),
        contradictions=tuple(contradictions),
    )


def _mode(group: Group, port: int | None, is_old: bool) -> Value[TlsMode]:
    protocol = group.says("protocol")
    if group.has("protocol"):
        return group.mode(_MODES.get(protocol, TlsMode.IMPLICIT), "protocol")
    if is_old and group.has("is_tls_enabled"):
        is_implicit = group.is_yes("is_tls_enabled") is True
        return group.mode(TlsMode.IMPLICIT if is_implicit else TlsMode.OPPORTUNISTIC, "is_tls_enabled")
    if is_old:
        return group.mode(TlsMode.IMPLICIT if port == 465 else TlsMode.OPPORTUNISTIC, "host")
    return group.mode(_MODE_OF_PORT.get(port or 0, TlsMode.IMPLICIT), "smtp_port")


def _verifies(group: Group) -> Value[bool]:
    name = "force_trust_server_cert" if group.has("force_trust_server_cert") else "skip_verify"
    return group.decides(group.is_yes(name) is not True, name)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    is_old = not group.has("smtp_addr")
    changes = fulfil(wanted, host="smtp_addr", port="smtp_port", username="user", sender="from")
    if changes is None:
        return None
    if is_old and (wanted.host is not None or wanted.port is not None or wanted.mode is not None):
        host, port = host_and_port(group.written("host"))
        changes["smtp_addr"] = wanted.host or host
        number = wanted.port or port
        if number is not None:
            changes["smtp_port"] = number
        changes["protocol"] = _protocol_of(group, number)
        changes |= {"host": ABSENT, "is_tls_enabled": ABSENT}
    if wanted.mode is not None:
        if wanted.mode not in _PROTOCOL_OF:
            return None
        changes["protocol"] = _PROTOCOL_OF[wanted.mode]
    if wanted.verifies_certificate is not None:
        name = "skip_verify" if is_old and group.has("skip_verify") else "force_trust_server_cert"
        changes[name] = not wanted.verifies_certificate
    if not group.has("enabled"):
        changes["enabled"] = True
    if group.has(*_NEW):
        changes |= {name: ABSENT for name in _OLD if group.has(name)}
    return changes


def _protocol_of(group: Group, port: int | None) -> str:
    return _PROTOCOL_OF[_mode(group, port, is_old=True).value or TlsMode.IMPLICIT]


def _show(server: Server) -> str:
    return (
        "[mailer]\n"
        "ENABLED = true\n"
        f"PROTOCOL = {_PROTOCOL_OF.get(server.mode, 'smtps')}\n"
        f"SMTP_ADDR = {server.host}\n"
        f"SMTP_PORT = {server.port}\n"
        f"USER = {server.username}\n"
        f"FROM = {server.sender}\n"
        f"; The password comes from the environment: GITEA__mailer__PASSWD=${server.password_variable}\n"
    )


def _name_of(variable: str) -> str:
    program, _, rest = variable.partition("__")
    section, _, key = rest.partition("__")
    return key.lower() if program in ("GITEA", "FORGEJO") and section.lower() == "mailer" else ""


def _spell(name: str) -> str:
    return f"GITEA__mailer__{name.upper()}"


_KNOWN: Final = frozenset({
    "enabled", "protocol", "smtp_addr", "smtp_port", "use_client_cert", "client_cert_file", "client_key_file",
    "force_trust_server_cert", "user", "passwd", "enable_helo", "helo_hostname", "from", "envelope_from",
    "subject_prefix", "send_as_plain_text", "sendmail_path", "sendmail_args", "sendmail_timeout",
    "sendmail_convert_crlf", "name", "from_display_name_format", "override_header", "embed_attachment_images",
    "send_buffer_len", "host", "is_tls_enabled", "skip_verify", "mailer_type", "disable_helo",
    "use_certificate", "cert_file", "key_file", "enable_html_alternative", "passwd__file",
})  # fmt: skip
GITEA: Final = Program(
    name="gitea",
    title="Gitea and Forgejo",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT}),
    forms=(ini_form(_is_ini, "mailer", str.upper), env_form("__mailer__", _name_of, _spell)),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
