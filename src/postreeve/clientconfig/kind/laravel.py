"""Laravel: `config/mail.php`, in which most values are `env('MAIL_HOST', …)`.

Laravel, `Illuminate/Mail/MailManager.php`: up to 8, `encryption` ssl is implicit TLS and tls STARTTLS; from 9 on scheme
smtps or port 465 is implicit TLS, and anything else takes STARTTLS where it is offered. Up to 6 there is one mailer
only, whose settings stand at the top beside `driver`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from postreeve.clientconfig.kind.environment import laravel_change, laravel_contradictions, laravel_mode
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed

_NAMES: Final = {
    "host": "host", "port": "port", "username": "user", "password": "password", "encryption": "encryption",
    "scheme": "scheme", "timeout": "timeout", "local_domain": "hello", "verify_peer": "verify", "url": "url",
    "transport": "transport", "stream.ssl.verify_peer": "stream.verify", "auth_mode": "mechanism",
    "stream.ssl.allow_self_signed": "stream.self_signed", "stream.ssl.verify_peer_name": "stream.verify_name",
}  # fmt: skip
_SPELLS: Final = {"user": "username"}
_FLAT: Final = ("driver", "host", "port", "username", "password", "encryption")


_MARK: Final = re.compile(r"[\"']mailers[\"']\s*=>|[\"']driver[\"']\s*=>\s*env\([\"']MAIL_DRIVER")


def _is_mine(file: str, text: str) -> bool:
    return file.endswith(".php") and "=>" in text and _MARK.search(text) is not None


def _scan(source: Source) -> Iterable[Group]:
    root = scan_code(source, Language.PHP).root
    entries = flatten(root) if root is not None else ()
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        parts = entry.key.split(".", 2)
        if len(parts) == 3 and parts[0] == "mailers":
            found.setdefault(parts[1], []).append(renamed(entry, parts[2]))
        elif len(parts) == 1 and parts[0] in _FLAT:
            found.setdefault("", []).append(entry)
    senders = [renamed(entry, "sender.from") for entry in entries if entry.key == "from.address"]
    groups = []
    for name, own in found.items():
        kept = named(own, _NAMES, ("encr", "user", "passw", "host"))
        group = group_of(source, [*kept, *senders], name)
        if group.has("host") and group.says("transport") in ("", "smtp"):
            groups.append(group)
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    mode = laravel_mode(group)
    contradictions = laravel_contradictions(group)
    stream = group.is_yes("stream.verify")
    more: dict[str, Any] = {} if stream is None else {"verifies_certificate": group.decides(stream, "stream.verify")}
    return outline(group, mode, sender=group.text("sender.from"), contradictions=contradictions, **more)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None:
        return None
    if wanted.verifies_certificate is not None and "stream.verify" in group.last:
        rest = Wanted(wanted.host, wanted.port, wanted.mode, wanted.username)
        changes = laravel_change(group, rest)
        return None if changes is None else {**changes, "stream.verify": wanted.verifies_certificate}
    return laravel_change(group, wanted)


def php_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A literal of PHP in the quotes that stand there now."""
    if isinstance(wish, bool):
        return plain_text(wish)
    if isinstance(wish, int):
        return quoted(str(wish), scalar.quote) if scalar is not None else str(wish)
    if wish == "null":
        return "null"
    return quoted(plain_text(wish), (scalar.quote if scalar is not None else "") or "'")


_NOTATION: Final = Notation(
    line=lambda key, literal: f"'{key}' => {literal}",
    literal=php_literal,
    spell=lambda name: _SPELLS.get(name, name),
    joint=",",
    removes=False,
)


def _show(server: Server) -> str:
    encryption = {TlsMode.IMPLICIT: "'ssl'", TlsMode.STARTTLS: "'tls'"}.get(server.mode, "null")
    return (
        "<?php\n\n"
        "return [\n"
        "    'default' => 'smtp',\n"
        "    'mailers' => [\n"
        "        'smtp' => [\n"
        "            'transport' => 'smtp',\n"
        f"            'host' => '{server.host}',\n"
        f"            'port' => {server.port},\n"
        f"            'encryption' => {encryption},\n"
        f"            'username' => '{server.username}',\n"
        f"            'password' => env('{server.password_variable}'),\n"
        "            'timeout' => 30,\n"
        "        ],\n"
        "    ],\n"
        "    'from' => [\n"
        f"        'address' => '{server.sender}',\n"
        "    ],\n"
        "];\n"
    )


LARAVEL_CONFIG: Final = Program(
    name="laravel",
    title="Laravel (config/mail.php)",
    modes=frozenset({TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)
