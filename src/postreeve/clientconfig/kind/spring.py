"""Spring Boot: `spring.mail.…` in application.properties or application.yaml.

Jakarta Mail, `com.sun.mail.smtp`: `ssl.enable` or protocol smtps is implicit TLS; `starttls.enable` takes STARTTLS
where it is offered, `starttls.required` insists on it; without either all is plaintext. `ssl.trust=*` accepts any
certificate, `ssl.checkserveridentity` false any name. All times are milliseconds and endless unless set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import yaml_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, bare
from postreeve.clientconfig.program.outline import ModeChanges, amend, outline
from postreeve.clientconfig.program.program import Form, Program, basename
from postreeve.clientconfig.program.slip import slip_of
from postreeve.clientconfig.scan.ini import scan_properties
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source, renamed

_PREFIX: Final = "spring.mail."
_NAMES: Final = {
    "host": "host", "port": "port", "username": "user", "password": "password", "protocol": "protocol",
    "default-encoding": "encoding", "test-connection": "test", "jndi-name": "jndi",
}  # fmt: skip
_PROPERTY: Final = re.compile(r"properties\.mail\.(?:smtps?|transport)\.([\w.\-]+)\Z")
_PROPERTIES: Final = {
    "auth": "p.auth", "starttls.enable": "p.tls.enable", "starttls.required": "p.tls.required",
    "ssl.enable": "p.ssl.enable", "ssl.trust": "p.ssl.trust", "ssl.checkserveridentity": "p.ssl.identity",
    "timeout": "p.timeout", "connectiontimeout": "p.connectiontimeout", "writetimeout": "p.writetimeout",
    "from": "p.from", "protocol": "p.protocol", "localhost": "p.localhost", "auth.mechanisms": "p.mechanisms",
    "ssl.protocols": "p.ssl.protocols", "socketfactory.class": "p.factory", "socketfactory.port": "p.factory_port",
    "socketfactory.fallback": "p.fallback", "quitwait": "p.quitwait", "debug": "p.debug",
}  # fmt: skip
_FULL: Final = {name: f"spring.mail.properties.mail.smtp.{key}" for key, name in _PROPERTIES.items()} | {
    name: _PREFIX + key for key, name in _NAMES.items()
}


def _is_properties(file: str, text: str) -> bool:
    return file.endswith(".properties") and "spring.mail." in text


def _is_yaml(file: str, text: str) -> bool:
    name = basename(file)
    return name.endswith((".yml", ".yaml")) and "mail" in text and ("spring:" in text or "spring.mail" in text)


def _scan_properties(source: Source) -> Iterable[Group]:
    found = group_of(source, _anchored(_ours(scan_properties(source))))
    return (found,) if found.has("host") else ()


def _scan_yaml(source: Source) -> Iterable[Group]:
    groups = (group_of(source, _anchored(_ours(flatten(root)))) for root in scan_yaml(source))
    return [group for group in groups if group.has("host")]


def _anchored(entries: list[Entry]) -> list[Entry]:
    """With the host once more as a neighbour for properties of which the file has no sibling yet."""
    host = next((entry for entry in entries if entry.key == "host"), None)
    anchors = [] if host is None else [renamed(host, "p.tls.~"), renamed(host, "p.ssl.~")]
    return [*anchors, *entries]


def _ours(entries: Iterable[Entry]) -> list[Entry]:
    kept: list[Entry] = []
    for entry in entries:
        key = entry.key.replace(".[", ".").replace("[", ".").replace("]", "").replace('"', "")
        if not key.startswith(_PREFIX):
            continue
        rest = key[len(_PREFIX) :]
        inner = _PROPERTY.match(rest)
        name = _PROPERTIES.get(inner[1].lower()) if inner is not None else _NAMES.get(rest.lower())
        if name is None:
            meant = slip_of(inner[1].lower(), _PROPERTIES) if inner is not None else slip_of(rest.lower(), _NAMES)
            if not meant:
                continue
            name = "?" + (rest[: -len(inner[1])] + meant if inner is not None else meant)
        kept.append(renamed(entry, name))
    return kept


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    verifies = None
    if group.says("p.ssl.trust") == "*":
        verifies = group.decides(False, "p.ssl.trust")
    elif group.is_yes("p.ssl.identity") is False:
        verifies = group.decides(False, "p.ssl.identity")
    contradictions: tuple[str, ...] = ()
    mode = javamail_mode(group)
    if mode.value is TlsMode.BOTH:
        contradictions = ("ssl.enable and starttls.required are both true",)
    if group.is_yes("p.auth") is False and group.has("user") and group.has("password"):
        contradictions = (*contradictions, "there is a user, but mail.smtp.auth is false, so nobody logs in")
    return outline(
        group,
        mode,
        default_port=465 if group.says("protocol") == "smtps" else 25,
        sender=group.text("p.from"),
        verifies_certificate=verifies,
        timeout_seconds=group.seconds("p.timeout", 0.001) or group.seconds("p.connectiontimeout", 0.001),
        hello_name=group.text("p.localhost"),
        mechanism=group.text("p.mechanisms"),
        contradictions=contradictions,
    )


def javamail_mode(group: Group) -> Value[TlsMode]:
    """JavaMail's rule, for settings under the names of this module."""
    if group.is_yes("p.ssl.enable"):
        is_both = group.is_yes("p.tls.required")
        return group.mode(TlsMode.BOTH if is_both else TlsMode.IMPLICIT, "p.ssl.enable")
    for name in ("protocol", "p.protocol"):
        if group.says(name) == "smtps":
            return group.mode(TlsMode.IMPLICIT, name)
    if "SSLSocketFactory".lower() in group.says("p.factory"):
        return group.mode(TlsMode.IMPLICIT, "p.factory")
    if group.is_yes("p.tls.required"):
        return group.mode(TlsMode.STARTTLS, "p.tls.required")
    if group.is_yes("p.tls.enable"):
        return group.mode(TlsMode.OPPORTUNISTIC, "p.tls.enable")
    return group.mode(TlsMode.PLAIN, "p.tls.enable", "p.ssl.enable")


JAVAMAIL_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"p.ssl.enable": True, "~p.tls.enable": False, "~p.tls.required": False},
    TlsMode.STARTTLS: {"p.tls.enable": True, "p.tls.required": True, "~p.ssl.enable": False},
    TlsMode.OPPORTUNISTIC: {"p.tls.enable": True, "~p.tls.required": False, "~p.ssl.enable": False},
    TlsMode.PLAIN: {"~p.tls.enable": False, "~p.tls.required": False, "~p.ssl.enable": False},
}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes = amend(group, Wanted(wanted.host, wanted.port, wanted.mode, wanted.username), JAVAMAIL_MODES)
    if changes is None:
        return None
    if wanted.mode not in (None, TlsMode.IMPLICIT) and "protocol" in group.last:
        changes = {**changes, "protocol": "smtp"}
    if wanted.mode is TlsMode.IMPLICIT and "p.ssl.enable" not in group.last and group.says("protocol") == "smtps":
        changes = {name: wish for name, wish in changes.items() if name != "p.ssl.enable"}
    if wanted.verifies_certificate:
        if group.says("p.ssl.trust") == "*":
            changes = {**changes, "p.ssl.trust": group.written("host")}
        if group.is_yes("p.ssl.identity") is False:
            changes = {**changes, "p.ssl.identity": True}
    return changes


def _beside(name: str, neighbour: str) -> str:
    """The key of a new property in YAML: nested like its sibling, else as a path below `spring.mail`."""
    neighbour = neighbour.strip("\"'[]")
    parent, dot, last = neighbour.rpartition(".")
    if last not in ("enable", "required", "trust", "checkserveridentity"):
        return _FULL[name].removeprefix(_PREFIX) if name in _FULL else name
    return f"{parent}{dot}{_FULL[name].rpartition('.')[2]}"


_FLAT: Final = Notation(
    line=lambda key, literal: f"{key}={literal}", literal=bare, spell=lambda name: _FULL.get(name, name)
)
_NESTED: Final = Notation(line=lambda key, literal: f"{key}: {literal}", literal=yaml_literal, beside=_beside)


def _show(server: Server) -> str:
    smtp = "spring.mail.properties.mail.smtp"
    mode = {
        TlsMode.IMPLICIT: f"{smtp}.ssl.enable=true\n",
        TlsMode.STARTTLS: f"{smtp}.starttls.enable=true\n{smtp}.starttls.required=true\n",
        TlsMode.OPPORTUNISTIC: f"{smtp}.starttls.enable=true\n",
    }
    return (
        f"spring.mail.host={server.host}\n"
        f"spring.mail.port={server.port}\n"
        f"spring.mail.username={server.username}\n"
        f"spring.mail.password=${{{server.password_variable}}}\n"
        f"{smtp}.auth=true\n"
        f"{mode.get(server.mode, '')}"
        f"{smtp}.ssl.checkserveridentity=true\n"
        f"{smtp}.from={server.sender}\n"
        f"{smtp}.connectiontimeout=10000\n"
        f"{smtp}.timeout=30000\n"
        f"{smtp}.writetimeout=30000\n"
    )


SPRING: Final = Program(
    name="spring",
    title="Spring Boot",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_properties, _scan_properties, _FLAT), Form(_is_yaml, _scan_yaml, _NESTED)),
    settle=_settle,
    change=_change,
    show=_show,
)
