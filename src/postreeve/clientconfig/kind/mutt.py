"""Mutt and NeoMutt: `set smtp_url` and what belongs to it in a muttrc.

Mutt 2.2 (`smtp.c` and its manual): `smtps://` is implicit TLS, port 465; `smtp://` is port 25 and takes STARTTLS
always with `ssl_force_tls` (on since 2.0), when it is offered with `ssl_starttls` alone. The user stands in the URL,
before the last `@`; percent-encoding is undone. `ssl_verify_host` and `ssl_verify_dates` are on unless unset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.place import host_and_port, joined
from postreeve.clientconfig.program.program import Form, Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, lines

_COMMAND: Final = re.compile(r"[ \t]*(set|unset)[ \t]+")
_SETTING: Final = re.compile(
    r"""[ \t]*(?P<name>(?:no|inv)?[A-Za-z_]\w*)[ \t]*"""
    r"""(?:=[ \t]*(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|`[^`]*`|[^\s#;'"`]+))?"""
)
_URL: Final = re.compile(r"(?P<scheme>smtps?)://(?:(?P<login>.*)@)?(?P<place>[^/@]*)/?.*", re.DOTALL)
_FLAGS: Final = frozenset({"ssl_force_tls", "ssl_starttls", "ssl_verify_host", "ssl_verify_dates", "use_from"})


def _is_muttrc(file: str, text: str) -> bool:
    path = file.replace("\\", "/").lower()
    return "smtp_url" in text and ("mutt" in path or path.endswith("rc") or basename(file).startswith("."))


def _scan(source: Source) -> Iterable[Group]:
    found: list[Entry] = []
    for line in lines(source.text):
        command = _COMMAND.match(line.text)
        at = command.end() if command is not None else len(line.text)
        while command is not None and (match := _SETTING.match(line.text, at)) is not None:
            at = match.end()
            found.append(_entry(source, line.start, match, is_set=command[1] == "set"))
    return (group_of(source, found),) if found else ()


def _entry(source: Source, base: int, match: re.Match[str], *, is_set: bool) -> Entry:
    name, written = match["name"], match["value"]
    key = source.span(base + match.start("name"), base + match.end("name"))
    if name.startswith("no") and name[2:] in _FLAGS:
        name, is_set = name[2:], False
    if written is None:
        # A flag stands by its name alone: what would be replaced is the whole command.
        return Entry(name, Scalar("yes" if is_set else "no", key, None), key)
    span = source.span(base + match.start("value"), base + match.end("value"))
    quote_mark = written[0] if written[0] in "\"'" else ""
    if written[0] == "`" or "`" in written or written.lstrip('"').startswith("$"):
        return Entry(name, Scalar(None, span, None, is_reference=True), key)
    text = written[1:-1] if quote_mark else written
    return Entry(name, Scalar(text.replace('\\"', '"') if quote_mark == '"' else text, span, span, quote_mark), key)


def _settle(group: Group) -> SubmissionSettings | None:
    url = group.text("smtp_url")
    if url is None:
        return None
    parts = _URL.fullmatch(url.value or "")
    if parts is None:
        problem = "smtp_url is no URL of the form smtps://user@host:port" if url.value else ""
        host_elsewhere = None if problem else url
        return settings_of(group, host=host_elsewhere, contradictions=tuple(filter(None, (problem,))))
    host, port = host_and_port(parts["place"])
    login, _, secret = (parts["login"] or "").partition(":")
    is_implicit = parts["scheme"] == "smtps"

    def at(value: str | None) -> Value[str] | None:
        return Value(value, url.key, url.span) if value else None

    return settings_of(
        group,
        host=at(host),
        port=Value(port or (465 if is_implicit else 25), url.key, url.span),
        mode=Value(TlsMode.IMPLICIT, url.key, url.span) if is_implicit else _starttls(group),
        username=at(unquote(login)),
        password=at(unquote(secret)) or group.text("smtp_pass"),
        mechanism=group.text("smtp_authenticators"),
        sender=group.text("envelope_from_address", "from"),
        verifies_certificate=group.decides(_is_verifying(group), "ssl_verify_host", "ssl_verify_dates"),
        timeout_seconds=group.seconds("connect_timeout"),
        hello_name=group.text("hostname"),
    )


def _is_verifying(group: Group) -> bool:
    return group.is_yes("ssl_verify_host") is not False and group.is_yes("ssl_verify_dates") is not False


def _starttls(group: Group) -> Value[TlsMode]:
    if group.is_yes("ssl_force_tls") is not False:
        return group.decides(TlsMode.STARTTLS, "ssl_force_tls")
    if group.is_yes("ssl_starttls") is not False:
        return group.decides(TlsMode.OPPORTUNISTIC, "ssl_force_tls", "ssl_starttls")
    return group.decides(TlsMode.PLAIN, "ssl_starttls", "ssl_force_tls")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(
        wanted, host="host", port="port", username="user", sender="from", timeout_seconds="connect_timeout"
    )
    parts = _URL.fullmatch(group.written("smtp_url"))
    if changes is None or parts is None or wanted.mode is TlsMode.BOTH:
        return None
    scheme = parts["scheme"]
    if wanted.mode is not None:
        scheme = "smtps" if wanted.mode is TlsMode.IMPLICIT else "smtp"
        if wanted.mode is not TlsMode.IMPLICIT and (group.has("ssl_force_tls") or wanted.mode is not TlsMode.STARTTLS):
            changes["ssl_force_tls"] = "yes" if wanted.mode is TlsMode.STARTTLS else "no"
            if wanted.mode is TlsMode.PLAIN or group.has("ssl_starttls"):
                changes["ssl_starttls"] = "no" if wanted.mode is TlsMode.PLAIN else "yes"
    old, _, secret = (parts["login"] or "").partition(":")
    login = quote(wanted.username, safe="@.+-_") if wanted.username is not None else old
    login += f":{secret}" if secret else ""
    place = joined(parts["place"], wanted.host, wanted.port)
    changes = {name: wish for name, wish in changes.items() if name not in ("host", "port", "user")}
    url = f"{scheme}://{login}@{place}/" if login else f"{scheme}://{place}/"
    if url.rstrip("/") != group.written("smtp_url").rstrip("/"):
        changes["smtp_url"] = url
    if wanted.verifies_certificate is not None:
        for name in ("ssl_verify_host", "ssl_verify_dates"):
            if name in group.last or not wanted.verifies_certificate:
                changes[name] = "yes" if wanted.verifies_certificate else "no"
    return changes


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    text = plain_text(wish)
    if scalar is not None:
        return quoted(text, scalar.quote)
    return text if text.isalnum() else quoted(text, '"')


def _show(server: Server) -> str:
    scheme = "smtps" if server.mode is TlsMode.IMPLICIT else "smtp"
    lines_ = [f'set smtp_url = "{scheme}://{quote(server.username, safe="@.+-_")}@{server.host}:{server.port}/"']
    if server.mode is not TlsMode.IMPLICIT:
        lines_ += [
            f"set ssl_force_tls = {'yes' if server.mode is TlsMode.STARTTLS else 'no'}",
            f"set ssl_starttls = {'no' if server.mode is TlsMode.PLAIN else 'yes'}",
        ]
    lines_ += [
        f"set smtp_pass = `printenv {server.password_variable}`",
        f'set from = "{server.sender}"',
        "set use_from = yes",
    ]
    return "\n".join(lines_) + "\n"


MUTT: Final = Program(
    name="mutt",
    title="Mutt and NeoMutt",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_muttrc, _scan, Notation(line=lambda key, literal: f"set {key} = {literal}", literal=_literal)),),
    settle=_settle,
    change=_change,
    show=_show,
)
