"""nodemailer in JavaScript, TypeScript and JSON: `createTransport({…})`, a URL, or an object with host and auth.

nodemailer 6 and 7, `lib/smtp-connection/index.js`: `secure` is implicit TLS and follows from port 465 when it is not
set; `requireTLS` insists on STARTTLS, `ignoreTLS` never uses it, neither takes what is offered. The port is 587, or
465 with `secure`. `service` names a known provider and overrides host, port and `secure`
(`lib/smtp-transport/index.js`); a name that it does not know leaves what is set, or localhost. Times are milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.kind.address import URL_NOTATION, read_url, with_port
from postreeve.clientconfig.kind.nodemailer_services import service_of
from postreeve.clientconfig.program.form import json_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import ModeChanges, amend, named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import Code, scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Call, Mapping, Node, flatten, mappings
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed

_SUFFIXES: Final = (".js", ".ts", ".mjs", ".cjs", ".mts", ".cts", ".jsx", ".tsx")
_NAMES: Final = {
    "host": "host", "hostname": "host", "port": "port", "secure": "secure", "requiretls": "require",
    "ignoretls": "ignore", "auth.user": "auth.user", "auth.username": "auth.wrong_user", "auth.pass": "auth.pass",
    "auth.password": "auth.wrong_password", "auth.type": "auth.type", "authmethod": "mechanism", "name": "hello",
    "tls.rejectunauthorized": "tls.verify", "connectiontimeout": "timeout", "sockettimeout": "socket",
    "greetingtimeout": "greeting", "service": "service", "opportunistictls": "opportunistic", "pool": "pool",
    "auth.clientid": "auth.oauth", "auth.refreshtoken": "auth.oauth", "auth.accesstoken": "auth.oauth", "from": "from",
    "maxconnections": "connections", "maxmessages": "messages", "ratelimit": "rate", "ratedelta": "delta",
    "logger": "logger", "debug": "debug", "proxy": "proxy", "tls.ciphers": "tls.ciphers", "localaddress": "local",
}  # fmt: skip
_PREFIXES: Final = ("require", "secur", "ignore", "auth.", "hos", "por", "tls.rej")
_SPELLS: Final = {"require": "requireTLS", "ignore": "ignoreTLS", "timeout": "connectionTimeout"}
_WORD: Final = re.compile(r"createTransport|smtpTransport|nodemailer|MailerModule", re.IGNORECASE)


_URL: Final = re.compile(r"createTransport\(\s*(?:\{\s*url:\s*)?[\"'`]smtps?://")


def _is_code(file: str, text: str) -> bool:
    return file.endswith(_SUFFIXES) and _WORD.search(text) is not None


def _is_url(file: str, text: str) -> bool:
    return file.endswith(_SUFFIXES) and _URL.search(text) is not None


def _is_json(file: str, text: str) -> bool:
    return file.endswith(".json") and '"auth"' in text and '"host"' in text and '"pass"' in text


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.JAVASCRIPT)
    groups: list[Group] = []
    taken: set[int] = set()
    senders = _senders(code)
    for node in _nodes(code):
        for _path, found in mappings(node):
            if found.span.start not in taken and _is_transport(found):
                taken.add(found.span.start)
                entries = named(_own_entries(found), _NAMES, _PREFIXES)
                groups.append(group_of(source, [*entries, *senders], "object"))
    return sorted(groups, key=lambda group: group.line)


def _nodes(code: Code) -> Iterator[Node]:
    if code.root is not None:
        yield code.root
    for call in code.calls:
        yield from call.arguments
    for one in code.assignments:
        yield one.value


def _is_transport(found: Mapping) -> bool:
    if found.find("host") is None and found.find("service") is None:
        return False
    auth = found.find("auth")
    has_auth = auth is not None and isinstance(auth.value, Mapping)
    return has_auth or found.find("secure") is not None or found.find("requireTLS") is not None


def _own_entries(found: Mapping) -> list[Entry]:
    """Those of the object itself and of `auth` and `tls` in it."""
    return [entry for entry in flatten(found) if "." not in entry.key or entry.key.startswith(("auth.", "tls."))]


def _senders(code: Code) -> list[Entry]:
    for call in code.calls:
        if call.name.endswith("sendMail") and call.arguments:
            given = call.arguments[0]
        elif call.name.endswith("createTransport") and len(call.arguments) > 1:
            given = call.arguments[1]
        else:
            continue
        for entry in flatten(given):
            if entry.key == "from":
                return [renamed(entry, "message.from")]
    return []


def _from_url(source: Source, call: Call, senders: list[Entry]) -> list[Group]:
    first = call.arguments[0]
    if isinstance(first, Mapping) and (given := first.find("url")) is not None:
        first = given.value
    if not isinstance(first, Scalar) or source.text[first.span.start] not in "\"'`":
        return []
    url = read_url(source, "url", first.span, call.name_span)
    if url is None or url.scheme not in ("smtp", "smtps"):
        return []
    return [group_of(source, [*url.entries, *senders], "url")]


def _scan_urls(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.JAVASCRIPT)
    groups: list[Group] = []
    for call in code.calls:
        if call.name.endswith("createTransport") and call.arguments:
            groups += _from_url(source, call, _senders(code))
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    sender = group.text("from") or group.text("message.from")
    if group.label == "url":
        mode = TlsMode.IMPLICIT if group.written("scheme") == "smtps" else TlsMode.OPPORTUNISTIC
        port = 465 if mode is TlsMode.IMPLICIT else 587
        return outline(group, group.mode(mode, "scheme"), default_port=port, sender=sender)
    if not group.has("host", "service"):
        return None
    contradictions = _of_service(group)
    if group.is_yes("require") and group.is_yes("ignore"):
        contradictions.append("requireTLS and ignoreTLS are both true")
    wrong = [
        Value(right, group.source.written(group.last[name].key_span), group.last[name].key_span)
        for name, right in (("auth.wrong_user", "user"), ("auth.wrong_password", "pass"))
        if name in group.last
    ]
    verify = group.is_yes("tls.verify")
    settings = outline(
        group,
        _mode(group),
        default_port=465 if group.is_yes("secure") else 587,
        unit=0.001,
        sender=sender,
        username=group.text("auth.user"),
        password=group.text("auth.pass"),
        mechanism=group.text("mechanism") or group.text("auth.type"),
        verifies_certificate=None if verify is None else group.decides(verify, "tls.verify"),
        contradictions=tuple(contradictions),
    )
    settings = _served(group, settings)
    return replace(settings, unknown=(*settings.unknown, *wrong)) if wrong else settings


def _of_service(group: Group) -> list[str]:
    """What `service` makes of the settings beside it."""
    name = group.written("service")
    if not name:
        return []
    service = service_of(name)
    if service is None:
        place = "the host that is set" if group.has("host") else "localhost, port 587"
        return [f"service {name!r} is none that nodemailer knows, so it connects to {place}"]
    ignored = [
        f"{key} {said}"
        for key, said, meant in (
            ("host", group.says("host"), service.host),
            ("port", group.written("port"), str(service.port)),
            ("secure", group.says("secure"), str(service.mode is TlsMode.IMPLICIT).lower()),
        )
        if said and said != meant
    ]
    if not ignored:
        return []
    is_are = "are" if len(ignored) > 1 else "is"
    where = f"{service.host}, port {service.port}"
    return [f"service {name!r} decides: nodemailer connects to {where}, and {', '.join(ignored)} {is_are} ignored"]


def _served(group: Group, settings: SubmissionSettings) -> SubmissionSettings:
    """The settings with the place that `service` names in place of those beside it."""
    if not group.has("service"):
        return settings
    service = service_of(group.written("service"))
    if service is not None:
        mode = group.decides(service.mode, "service")
        if service.mode is TlsMode.OPPORTUNISTIC and group.is_yes("require"):
            mode = group.mode(TlsMode.STARTTLS, "require")
        host, port = group.decides(service.host, "service"), group.decides(service.port, "service")
        return replace(settings, host=host, port=port, mode=mode)
    if group.has("host") and not group.last["service"].scalar.is_reference:
        return settings
    return replace(settings, host=replace(group.decides("", "service"), value=None, is_reference=True), mode=None)


def _mode(group: Group) -> Value[TlsMode] | None:
    secure = group.is_yes("secure")
    if secure is None and "secure" in group.last:
        return None
    port = group.number("port", 465 if secure else 587)
    if secure or (secure is None and port is not None and port.value == 465):
        return group.mode(TlsMode.IMPLICIT, "secure", "port")
    if group.is_yes("ignore"):
        return group.mode(TlsMode.PLAIN, "ignore")
    if group.is_yes("require") or ("require" in group.last and group.is_yes("require") is None):
        return group.mode(TlsMode.STARTTLS, "require")
    return group.mode(TlsMode.OPPORTUNISTIC, "require", "secure")


_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"secure": True, "~require": False, "~ignore": False},
    TlsMode.STARTTLS: {"secure": False, "require": True, "~ignore": False},
    TlsMode.OPPORTUNISTIC: {"secure": False, "~require": False, "~ignore": False},
    TlsMode.PLAIN: {"secure": False, "ignore": True, "~require": False},
}
_URL_MODES: Final[ModeChanges] = {TlsMode.IMPLICIT: {"scheme": "smtps"}, TlsMode.OPPORTUNISTIC: {"scheme": "smtp"}}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or (group.label == "url" and wanted.timeout_seconds is not None):
        return None
    plain = Wanted(wanted.host, wanted.port, wanted.mode, wanted.username, None, None, wanted.timeout_seconds)
    if service_of(group.written("service")) is not None:
        if wanted.host is not None or wanted.port is not None or wanted.mode not in (None, TlsMode.STARTTLS):
            return None
        plain = replace(plain, mode=None)
    changes = amend(group, plain, _URL_MODES if group.label == "url" else _MODES, unit=0.001)
    if changes is not None and wanted.mode is TlsMode.STARTTLS and plain.mode is None:
        changes = {**changes, "require": True}
    if changes is not None and group.label == "url":
        return with_port(changes, group)
    if changes is not None and "user" in changes:
        changes = {**{name: wish for name, wish in changes.items() if name != "user"}, "auth.user": changes["user"]}
    if changes is None or wanted.verifies_certificate is None:
        return changes
    return {**changes, "tls.verify": wanted.verifies_certificate} if "tls.verify" in group.last else None


def javascript_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A literal of JavaScript in the quotes that stand there now."""
    if isinstance(wish, bool):
        return (
            quoted(plain_text(wish), scalar.quote) if scalar is not None and scalar.is_reference else plain_text(wish)
        )
    if isinstance(wish, int):
        return quoted(str(wish), scalar.quote) if scalar is not None else str(wish)
    return quoted(plain_text(wish), (scalar.quote if scalar is not None else "") or "'")


_CODE: Final = Notation(
    line=lambda key, literal: f"{key}: {literal}",
    literal=javascript_literal,
    spell=lambda name: _SPELLS.get(name, name),
    joint=",",
    removes=False,
)
_JSON: Final = Notation(
    line=lambda key, literal: f'"{key}": {literal}',
    literal=json_literal,
    spell=lambda name: _SPELLS.get(name, name),
    joint=",",
    removes=False,
)


def _show(server: Server) -> str:
    require = "  requireTLS: true,\n" if server.mode is TlsMode.STARTTLS else ""
    require = "  ignoreTLS: true,\n" if server.mode is TlsMode.PLAIN else require
    return (
        "const nodemailer = require('nodemailer');\n\n"
        "const transporter = nodemailer.createTransport({\n"
        f"  host: '{server.host}',\n"
        f"  port: {server.port},\n"
        f"  secure: {str(server.mode is TlsMode.IMPLICIT).lower()},\n"
        f"{require}"
        "  auth: {\n"
        f"    user: '{server.username}',\n"
        f"    pass: process.env.{server.password_variable},\n"
        "  },\n"
        "}, {\n"
        f"  from: '{server.sender}',\n"
        "});\n"
    )


NODEMAILER: Final = Program(
    name="nodemailer",
    title="nodemailer (JavaScript, TypeScript, JSON)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_url, _scan_urls, URL_NOTATION), Form(_is_code, _scan, _CODE), Form(_is_json, _scan, _JSON)),
    settle=_settle,
    change=_change,
    show=_show,
)
