"""Thunderbird: `mail.smtpserver.*` in prefs.js or user.js.

Thunderbird 128, `SmtpServer.sys.mjs`: `try_ssl` is 0 (never), 1 (STARTTLS when offered), 2 (STARTTLS) or 3 (implicit
TLS) and 0 unless set; a port of 0 or none means 465 with implicit TLS, else 587. `authMethod` is 3 (password) unless
set; 1 is none, 4 encrypted password, 5 GSSAPI, 6 NTLM, 10 OAuth2. Passwords are kept elsewhere, in logins.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import json_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation
from postreeve.clientconfig.program.program import Form, Program, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source, plain, renamed, scalar_from

_PREFERENCE: Final = re.compile(
    r"""^[ \t]*(?:user_pref|pref|defaultPref|lockPref)\([ \t]*"""
    r""""(mail\.(?:smtpserver|identity)\.([\w-]+)\.([\w.]+))"[ \t]*,[ \t]*"""
    r"""("(?:[^"\\\n]|\\.)*"|-?\d+|true|false)[ \t]*\)""",
    re.MULTILINE,
)
_MODES: Final = (TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT)
_METHODS: Final = {4: "CRAM-MD5", 5: "GSSAPI", 6: "NTLM", 7: "EXTERNAL", 10: "XOAUTH2"}
_NO_METHOD: Final = 1


def _is_prefs(file: str, text: str) -> bool:
    return file.lower().endswith((".js", ".cfg")) and "mail.smtpserver." in text


def _scan(source: Source) -> Iterable[Group]:
    servers: dict[str, list[Entry]] = {}
    senders: dict[str, Entry] = {}
    identities: dict[str, str] = {}
    for match in _PREFERENCE.finditer(source.text):
        scalar = scalar_from(source, match.start(4), match.end(4), expands=False, typed=True)
        entry = Entry(match[3], scalar, source.span(match.start(1), match.end(1)))
        if match[1].startswith("mail.smtpserver."):
            servers.setdefault(match[2], []).append(entry)
        elif match[3] == "useremail":
            senders[match[2]] = renamed(entry, "identity.useremail")
        elif match[3] == "smtpServer":
            identities[match[2]] = str(plain(match[4].strip('"')))
    for identity, entry in senders.items():
        server = identities.get(identity)
        if server in servers:
            servers[server].append(entry)
    return [group_of(source, entries, name) for name, entries in servers.items() if name != "default"]


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("hostname"):
        return None
    number = group.number("try_ssl", 0)
    code = number.value if number is not None else 0
    contradictions = []
    if code is None or code >= len(_MODES):
        contradictions.append(f"try_ssl is {group.written('try_ssl')}; it is 0, 1, 2 or 3")
        code = 0
    mode = group.decides(_MODES[code], "try_ssl")
    port = group.number("port")
    if port is None or port.value == 0:
        port = Value(465 if mode.value is TlsMode.IMPLICIT else 587)
    method = group.number("authMethod", 3)
    method_number = method.value if method is not None else None
    mechanism = _METHODS.get(method_number or 0)
    return settings_of(
        group,
        host=group.text("hostname"),
        port=port,
        mode=mode,
        username=None if method_number == _NO_METHOD else group.text("username"),
        mechanism=None if mechanism is None else group.decides(mechanism, "authMethod"),
        sender=group.text("identity.useremail"),
        hello_name=group.text("hello_argument"),
        contradictions=tuple(contradictions),
    )


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.verifies_certificate is not None or wanted.timeout_seconds is not None:
        return None
    changes = fulfil(wanted, host="hostname", port="port", username="username", sender="identity.useremail")
    if (
        changes is None
        or wanted.mode is TlsMode.BOTH
        or (wanted.sender is not None and not group.has("identity.useremail"))
    ):
        return None
    if wanted.mode is not None:
        changes["try_ssl"] = _MODES.index(wanted.mode)
    if group.number("authMethod") is not None and wanted.username is not None and group.written("authMethod") == "1":
        changes["authMethod"] = 3
    return changes


def _show(server: Server) -> str:
    prefix = 'user_pref("mail.smtpserver.smtp1.'
    number = _MODES.index(server.mode) if server.mode in _MODES else 3
    return (
        f'{prefix}hostname", "{server.host}");\n'
        f'{prefix}port", {server.port});\n'
        f'{prefix}try_ssl", {number});\n'
        f'{prefix}authMethod", 3);\n'
        f'{prefix}username", "{server.username}");\n'
        'user_pref("mail.smtpservers", "smtp1");\n'
        'user_pref("mail.smtp.defaultserver", "smtp1");\n'
        f'user_pref("mail.identity.id1.useremail", "{server.sender}");\n'
        'user_pref("mail.identity.id1.smtpServer", "smtp1");\n'
    )


_NOTATION: Final = Notation(
    line=lambda key, literal: f'user_pref("{key}", {literal});',
    literal=json_literal,
    beside=lambda name, near: f"{near.rpartition('.')[0]}.{name}",
)
THUNDERBIRD: Final = Program(
    name="thunderbird",
    title="Thunderbird",
    modes=frozenset(_MODES),
    forms=(Form(_is_prefs, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)
