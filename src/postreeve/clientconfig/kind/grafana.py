"""Grafana: section `[smtp]` of grafana.ini, or variables `GF_SMTP_…`.

Grafana 11, `pkg/setting/setting_smtp.go` and `pkg/services/notifications/smtp.go`: host and port are one setting;
`enabled` is false unless set; port 465 is implicit TLS by itself (its mail library decides so), any other port follows
`startTLS_policy`, whose unknown values mean OpportunisticStartTLS.
"""

from __future__ import annotations

from typing import Final

from postreeve.clientconfig.program.form import env_form, ini_form, prefixed
from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import ABSENT, Changes
from postreeve.clientconfig.program.place import host_and_port, host_of, joined, port_of
from postreeve.clientconfig.program.program import Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted

_POLICIES: Final = {
    "": TlsMode.OPPORTUNISTIC,
    "OpportunisticStartTLS": TlsMode.OPPORTUNISTIC,
    "MandatoryStartTLS": TlsMode.STARTTLS,
    "NoStartTLS": TlsMode.PLAIN,
}
_POLICY_OF: Final = {mode: policy for policy, mode in _POLICIES.items() if policy}
_FILES: Final = frozenset({"grafana.ini", "custom.ini"})


def _is_ini(file: str, text: str) -> bool:
    if "[smtp]" not in text:
        return False
    return basename(file) in _FILES or "startTLS_policy" in text or "ehlo_identity" in text or "from_address" in text


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host") or group.is_yes("enabled") is False:
        return None
    port = port_of(group.text("host"))
    policy = group.written("starttls_policy")
    contradictions = []
    if group.text("enabled") is None:
        contradictions.append("enabled is not set, so Grafana sends nothing")
    if policy not in _POLICIES:
        contradictions.append(f"startTLS_policy {policy!r} is none of those that Grafana knows, so it is as if not set")
    host = group.written("host")
    if host and host_and_port(host)[1] is None:
        contradictions.append("host has no port, which Grafana requires (host:port)")
    if port is not None and port.value == 465:
        mode = group.mode(TlsMode.IMPLICIT, "host")
    else:
        mode = group.mode(_POLICIES.get(policy, TlsMode.OPPORTUNISTIC), "starttls_policy")
    return settings_of(
        group,
        host=host_of(group.text("host")),
        port=port,
        mode=mode,
        username=group.text("user"),
        password=group.text("password"),
        sender=group.text("from_address") or Value("admin@grafana.localhost"),
        verifies_certificate=_verifies(group),
        hello_name=group.text("ehlo_identity"),
        contradictions=tuple(contradictions),
    )


def _verifies(group: Group) -> Value[bool]:
    return group.decides(group.is_yes("skip_verify") is not True, "skip_verify")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, username="user", sender="from_address", host="host", port="port")
    if changes is None:
        return None
    changes.pop("port", None)
    port = wanted.port
    if wanted.host is not None or port is not None:
        changes["host"] = joined(group.written("host"), wanted.host, port)
    final = port or host_and_port(group.written("host"))[1]
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT:
            if final != 465:
                return None
            changes["starttls_policy"] = ABSENT
        case mode if mode in _POLICY_OF and final != 465:
            changes["starttls_policy"] = _POLICY_OF[mode]
        case _:
            return None
    if wanted.verifies_certificate is not None:
        changes["skip_verify"] = not wanted.verifies_certificate
    if not group.has("enabled"):
        changes["enabled"] = True
    return changes


def _show(server: Server) -> str:
    lines = [
        "[smtp]",
        "enabled = true",
        f"host = {joined('', server.host, server.port)}",
        f"user = {server.username}",
        f"password = $__env{{{server.password_variable}}}",
        f"from_address = {server.sender}",
    ]
    if server.port != 465:
        lines.append(f"startTLS_policy = {_POLICY_OF.get(server.mode, 'MandatoryStartTLS')}")
    return "\n".join(lines) + "\n"


_NAME_OF, _SPELL = prefixed("GF_SMTP_")
_KNOWN: Final = frozenset({
    "enabled", "host", "user", "password", "cert_file", "key_file", "skip_verify", "from_address",
    "from_name", "ehlo_identity", "starttls_policy", "enable_tracing", "password__file",
})  # fmt: skip
GRAFANA: Final = Program(
    name="grafana",
    title="Grafana",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(
        ini_form(_is_ini, "smtp", lambda name: "startTLS_policy" if name == "starttls_policy" else name),
        env_form("GF_SMTP_", _NAME_OF, _SPELL),
    ),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
