"""Redmine: `email_delivery` of configuration.yml.

Redmine 5 (`config/configuration.yml.example`) hands `smtp_settings` to Action Mailer: `tls` or `ssl` is TLS from the
first octet and excludes STARTTLS; `enable_starttls` insists on it, `enable_starttls_auto` (true unless set) takes it
when offered. The sender is set in the program. Truth values in quotes are text, and any text counts as true.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import yaml_notation
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import ABSENT, Changes
from postreeve.clientconfig.program.program import Form, Program, basename, fulfil, settings_of
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source, renamed

_PARENTS: Final = ("smtp_settings", "async_smtp_settings")


def _is_yaml(file: str, text: str) -> bool:
    return basename(file).endswith((".yml", ".yaml")) and "email_delivery:" in text and "smtp_settings:" in text


def _scan(source: Source) -> Iterable[Group]:
    found: dict[str, list[Entry]] = {}
    for root in scan_yaml(source):
        for entry in flatten(root):
            path, _, name = entry.key.rpartition(".")
            if path.rpartition(".")[2] in _PARENTS and "email_delivery" in path:
                found.setdefault(path, []).append(renamed(entry, name))
    return [group_of(source, entries, path) for path, entries in found.items()]


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("address"):
        return None
    mechanism = group.text("authentication")
    if mechanism is not None and mechanism.value is not None:
        mechanism = Value(mechanism.value.lstrip(":"), mechanism.key, mechanism.span)
    is_verifying = group.says("openssl_verify_mode").lstrip(":") not in ("none", "0")
    return settings_of(
        group,
        host=group.text("address"),
        port=group.number("port", 25),
        mode=_mode(group),
        username=group.text("user_name"),
        password=group.text("password"),
        mechanism=mechanism,
        verifies_certificate=group.decides(is_verifying, "openssl_verify_mode"),
        timeout_seconds=group.seconds("open_timeout"),
        hello_name=group.text("domain"),
    )


def _mode(group: Group) -> Value[TlsMode]:
    is_starttls = group.is_yes("enable_starttls") is True
    for name in ("tls", "ssl"):
        if group.is_yes(name):
            is_both = is_starttls or group.is_yes("enable_starttls_auto") is True
            return group.mode(TlsMode.BOTH if is_both else TlsMode.IMPLICIT, name)
    if is_starttls:
        return group.mode(TlsMode.STARTTLS, "enable_starttls")
    for name in ("enable_starttls_auto", "enable_starttls"):
        if group.is_yes(name) is not None:
            return group.mode(TlsMode.OPPORTUNISTIC if group.is_yes(name) else TlsMode.PLAIN, name)
    return Value(TlsMode.OPPORTUNISTIC)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None:
        return None
    changes = fulfil(wanted, host="address", port="port", username="user_name", timeout_seconds="open_timeout")
    if changes is None or wanted.mode is TlsMode.BOTH:
        return None
    if wanted.mode is not None:
        is_implicit = wanted.mode is TlsMode.IMPLICIT
        name = "ssl" if group.has("ssl") and not group.has("tls") else "tls"
        changes |= {"tls": ABSENT, "ssl": ABSENT, "enable_starttls": ABSENT, "enable_starttls_auto": ABSENT}
        if is_implicit:
            changes[name] = True
        elif wanted.mode is TlsMode.STARTTLS:
            changes["enable_starttls"] = True
        else:
            changes["enable_starttls_auto"] = wanted.mode is TlsMode.OPPORTUNISTIC
    if wanted.verifies_certificate is not None:
        changes["openssl_verify_mode"] = "peer" if wanted.verifies_certificate else "none"
    return changes


def _show(server: Server) -> str:
    tls = {
        TlsMode.IMPLICIT: "tls: true",
        TlsMode.STARTTLS: "enable_starttls: true",
        TlsMode.OPPORTUNISTIC: "enable_starttls_auto: true",
    }.get(server.mode, "enable_starttls_auto: false")
    return (
        "default:\n"
        "  email_delivery:\n"
        "    delivery_method: :smtp\n"
        "    smtp_settings:\n"
        f'      address: "{server.host}"\n'
        f"      port: {server.port}\n"
        f"      {tls}\n"
        "      authentication: :plain\n"
        f'      user_name: "{server.username}"\n'
        f"      password: \"<%= ENV['{server.password_variable}'] %>\"\n"
    )


_KNOWN: Final = frozenset({
    "address", "port", "domain", "user_name", "password", "authentication", "tls", "ssl", "enable_starttls",
    "enable_starttls_auto", "openssl_verify_mode", "open_timeout", "read_timeout", "ca_file", "ca_path",
})  # fmt: skip
REDMINE: Final = Program(
    name="redmine",
    title="Redmine",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_yaml, _scan, yaml_notation(str)),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)
