"""Postfix as a client: `relayhost` and what main.cf says of TLS and SASL to it.

Postfix 3.7 to 3.10 (postconf(5)): `[host]:port` looks no MX up, `host:port` does; `smtp_tls_wrappermode` is implicit
TLS and needs a `smtp_tls_security_level` of at least encrypt; that level is none unless set (or `smtp_use_tls`,
`smtp_enforce_tls`, which are older). Certificates count from the level verify on. `smtp_sasl_security_options` keeps
PLAIN and LOGIN away unless it is set without noplaintext.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.logical import scan_main_cf
from postreeve.clientconfig.program.notation import Changes, Notation, bare
from postreeve.clientconfig.program.place import host_and_port
from postreeve.clientconfig.program.program import Form, Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Source

SERVICES: Final = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "urd": 465, "ssmtp": 465}
_LEVELS: Final = {
    "none": TlsMode.PLAIN,
    "may": TlsMode.OPPORTUNISTIC,
    "dane": TlsMode.OPPORTUNISTIC,
    "encrypt": TlsMode.STARTTLS,
    "dane-only": TlsMode.STARTTLS,
    "fingerprint": TlsMode.STARTTLS,
    "verify": TlsMode.STARTTLS,
    "secure": TlsMode.STARTTLS,
}
_VERIFYING: Final = frozenset({"dane-only", "fingerprint", "verify", "secure"})
_LEVEL_OF: Final = {TlsMode.PLAIN: "none", TlsMode.OPPORTUNISTIC: "may", TlsMode.STARTTLS: "encrypt"}
_PLAINTEXT_BAN: Final = "noplaintext"


def _is_main_cf(file: str, text: str) -> bool:
    return (basename(file).startswith("main.cf") or "smtp_tls_security_level" in text) and "relayhost" in text


def _scan(source: Source) -> Iterable[Group]:
    names = ("relayhost", "smtp_", "myhostname")
    found = group_of(source, (one for one in scan_main_cf(source) if one.key.startswith(names)))
    return (found,) if found.entries else ()


def _settle(group: Group) -> SubmissionSettings | None:
    relayhost = group.text("relayhost")
    if relayhost is None:
        return None
    host, port = _next_hop(relayhost)
    level = _level(group)
    mode = _mode(group, level)
    is_looked_up = relayhost.value is not None and relayhost.value[:1] != "[" and port.value not in (None, 25)
    verifies = group.decides(True, "smtp_tls_security_level") if level in _VERIFYING else None
    return settings_of(
        group,
        host=host,
        port=port,
        mode=mode,
        username=_static_user(group),
        password=_password(group),
        mechanism=group.text("smtp_sasl_mechanism_filter"),
        verifies_certificate=verifies,
        hello_name=group.text("smtp_helo_name"),
        extra=(Value(relayhost.value, "relayhost", relayhost.span),) if is_looked_up else (),
        contradictions=_contradictions(group, level, port.value),
    )


def _next_hop(relayhost: Value[str]) -> tuple[Value[str], Value[int]]:
    text = relayhost.value or ""
    inner = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    rest = text.partition("]")[2].removeprefix(":") if text.startswith("[") else ""
    if not text.startswith("["):
        inner, _, rest = text.partition(":")
    port = SERVICES.get(rest, host_and_port(f"[x]:{rest}")[1]) if rest else 25
    place = (relayhost.key, relayhost.span, relayhost.is_reference)
    return Value(inner.removeprefix("IPv6:") or None, *place), Value(None if relayhost.is_reference else port, *place)


def _level(group: Group) -> str:
    level = group.says("smtp_tls_security_level")
    if level:
        return level
    if group.is_yes("smtp_enforce_tls"):
        return "encrypt" if group.is_yes("smtp_tls_enforce_peername") is False else "verify"
    return "may" if group.is_yes("smtp_use_tls") else "none"


def _mode(group: Group, level: str) -> Value[TlsMode]:
    if group.is_yes("smtp_tls_wrappermode"):
        return group.mode(TlsMode.IMPLICIT, "smtp_tls_wrappermode")
    mode = _LEVELS.get(level, TlsMode.PLAIN)
    return group.mode(mode, "smtp_tls_security_level", "smtp_enforce_tls", "smtp_use_tls")


def _static_user(group: Group) -> Value[str] | None:
    maps = group.text("smtp_sasl_password_maps")
    if maps is None or not (maps.value or "").startswith("static:"):
        return None
    return Value((maps.value or "").split(":")[1] or None, maps.key, maps.span)


def _password(group: Group) -> Value[str] | None:
    maps = group.text("smtp_sasl_password_maps")
    if maps is None:
        return None
    kind, _, rest = (maps.value or "").partition(":")
    if kind != "static":
        return Value(None, maps.key, maps.span, is_reference=True)
    return Value(rest.partition(":")[2] or None, maps.key, maps.span)


def _contradictions(group: Group, level: str, port: int | None) -> tuple[str, ...]:
    found = []
    is_authenticating = group.is_yes("smtp_sasl_auth_enable") is True
    if level not in _LEVELS:
        found.append(f"smtp_tls_security_level {level!r} is none that Postfix knows")
    if group.is_yes("smtp_tls_wrappermode") and _LEVELS.get(level) in (TlsMode.PLAIN, TlsMode.OPPORTUNISTIC):
        found.append(f"smtp_tls_wrappermode needs smtp_tls_security_level encrypt or stronger; it is {level}")
    if group.has("smtp_sasl_password_maps") and not is_authenticating:
        found.append("there are smtp_sasl_password_maps, but smtp_sasl_auth_enable is no, so Postfix does not log in")
    if is_authenticating and not group.has("smtp_sasl_password_maps"):
        found.append("smtp_sasl_auth_enable is yes, but there are no smtp_sasl_password_maps")
    if is_authenticating and _bans_plaintext(group):
        found.append(
            "smtp_sasl_security_options bans plaintext mechanisms (so does its default): PLAIN and LOGIN are not used"
        )
    if port is None and group.written("relayhost"):
        found.append("the port of relayhost is neither a number nor a service that we know")
    return tuple(found)


def _bans_plaintext(group: Group) -> bool:
    is_plain = _LEVELS.get(_level(group)) is TlsMode.PLAIN
    tls = () if is_plain else ("smtp_sasl_tls_security_options",)
    for name in (*tls, "smtp_sasl_security_options"):
        if name in group.last:
            entry = group.last[name].scalar
            return not entry.is_reference and _PLAINTEXT_BAN in str(entry.value)
    return True


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.username is not None or wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes = fulfil(wanted, host="relayhost", port="relayhost")
    relayhost = group.text("relayhost")
    if changes is None or relayhost is None or relayhost.value is None or wanted.mode is TlsMode.BOTH:
        return None
    host, port = _next_hop(relayhost)
    number = wanted.port or port.value
    is_domain = not relayhost.value.startswith("[") and number in (None, 25) and wanted.host is None
    name = host.value if is_domain else f"[{wanted.host or host.value}]"
    changes["relayhost"] = f"{name}:{number}" if number not in (None, 25) else f"{name}"
    level = _level(group)
    if wanted.mode is not None:
        is_wrapped = wanted.mode is TlsMode.IMPLICIT
        if is_wrapped or "smtp_tls_wrappermode" in group.last:
            changes["smtp_tls_wrappermode"] = "yes" if is_wrapped else "no"
        level = _level_for(wanted.mode, level)
    if wanted.verifies_certificate is not None:
        level = "verify" if wanted.verifies_certificate else "encrypt"
    is_wrapped = changes.get("smtp_tls_wrappermode", "yes" if group.is_yes("smtp_tls_wrappermode") else "no") == "yes"
    if level not in _LEVELS or (is_wrapped and _LEVELS[level] in (TlsMode.PLAIN, TlsMode.OPPORTUNISTIC)):
        level = "encrypt"
    if level != _level(group):
        changes["smtp_tls_security_level"] = level
    if group.has("smtp_sasl_password_maps") and group.is_yes("smtp_sasl_auth_enable") is not True:
        changes["smtp_sasl_auth_enable"] = "yes"
    if group.has("smtp_sasl_password_maps") and _bans_plaintext(group):
        is_tls = "smtp_sasl_tls_security_options" in group.last and _LEVELS[level] is not TlsMode.PLAIN
        changes["smtp_sasl_tls_security_options" if is_tls else "smtp_sasl_security_options"] = "noanonymous"
    return changes


def _level_for(mode: TlsMode, level: str) -> str:
    if mode in (TlsMode.IMPLICIT, TlsMode.STARTTLS):
        return level if _LEVELS.get(level) is TlsMode.STARTTLS else "encrypt"
    return _LEVEL_OF[mode]


def _show(server: Server) -> str:
    is_wrapped = server.mode is TlsMode.IMPLICIT
    level = _LEVEL_OF.get(server.mode, "secure") if server.mode is not TlsMode.STARTTLS else "secure"
    return (
        f"relayhost = [{server.host}]:{server.port}\n"
        f"smtp_tls_security_level = {level}\n"
        f"smtp_tls_wrappermode = {'yes' if is_wrapped else 'no'}\n"
        "smtp_tls_CApath = /etc/ssl/certs\n"
        "smtp_sasl_auth_enable = yes\n"
        "smtp_sasl_security_options = noanonymous\n"
        f"# /etc/postfix/sasl_passwd: [{server.host}]:{server.port} {server.username}:${server.password_variable}\n"
        "smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\n"
    )


POSTFIX: Final = Program(
    name="postfix",
    title="Postfix (relayhost)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(
        Form(
            _is_main_cf,
            _scan,
            Notation(line=lambda key, literal: f"{key} = {literal}", literal=bare, removes=False),
        ),
    ),
    settle=_settle,
    change=_change,
    show=_show,
)
