"""Java and Kotlin programs: the `mail.smtp.…` properties of JavaMail, JavaMailSenderImpl, Commons Email.

Jakarta Mail, `com.sun.mail.smtp`: as in `spring`, whose rules these are. Commons Email takes port 465 with
`setSSLOnConnect(true)` unless `setSslSmtpPort` says another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.kind.spring import JAVAMAIL_MODES, javamail_mode
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, bare, plain_text, quoted
from postreeve.clientconfig.program.outline import amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import Code, scan_code
from postreeve.clientconfig.scan.constant import Constants, constants, value_of
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Call, Node
from postreeve.clientconfig.settings import Server, Span, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed, scalar_from, unnamed

_PROPERTIES: Final = {
    "host": "host", "port": "port", "user": "user", "password": "password", "auth": "p.auth", "from": "p.from",
    "starttls.enable": "p.tls.enable", "starttls.required": "p.tls.required", "ssl.enable": "p.ssl.enable",
    "ssl.trust": "p.ssl.trust", "ssl.checkserveridentity": "p.ssl.identity", "socketfactory.class": "p.factory",
    "socketfactory.port": "factory_port", "timeout": "p.timeout", "connectiontimeout": "p.connectiontimeout",
    "auth.mechanisms": "p.mechanisms", "localhost": "p.localhost",
}  # fmt: skip
_SETTERS: Final = {
    "setHost": "host", "setPort": "port", "setUsername": "user", "setPassword": "password", "setHostName": "host",
    "setSmtpPort": "port", "setSslSmtpPort": "ssl_port", "setSSLOnConnect": "p.ssl.enable", "setSSL": "p.ssl.enable",
    "setStartTLSEnabled": "p.tls.enable", "setTLS": "p.tls.enable", "setStartTLSRequired": "p.tls.required",
    "setSSLCheckServerIdentity": "p.ssl.identity", "setProtocol": "protocol",
}  # fmt: skip
_LOGINS: Final = ("PasswordAuthentication", "DefaultAuthenticator")
_SENDERS: Final = re.compile(r"JavaMailSenderImpl|SimpleEmail|HtmlEmail|MultiPartEmail|ImageHtmlEmail")
_PROPERTY: Final = re.compile(r"mail\.(smtps?)\.(.+)")
_SUBSCRIPT: Final = re.compile(r"\w+\[\"(mail\.[\w.]+)\"\]")
_ELSEWHERE: Final[Value[str]] = Value(None, is_reference=True)
"""The user where `mail.smtp.auth` says that there is one, and the text does not show it."""
_FULL: Final = {name: f"mail.smtp.{key}" for key, name in _PROPERTIES.items()}
_SUFFIXES: Final = (".java", ".kt", ".kts", ".groovy", ".scala")


def _is_code(file: str, text: str) -> bool:
    return file.endswith(_SUFFIXES) and ("mail.smtp" in text or _SENDERS.search(text) is not None)


def _is_properties(file: str, text: str) -> bool:
    return (
        file.endswith(".properties")
        and "spring.mail." not in text
        and re.search("^mail.smtps?.", text, re.MULTILINE) is not None
    )


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.JAVA)
    known = constants(code)
    found = sorted(_settings(source, code, known), key=lambda pair: pair[0])
    shared = [entry for _, entry in found if entry.key in ("user", "password")]
    groups: list[list[Entry]] = [[]]
    for _, entry in found:
        if entry.key in ("host", "port") and any(one.key == entry.key for one in groups[-1]):
            groups.append([])
        groups[-1].append(entry)
    for entries in groups:
        own = entries if any(one.key == "user" for one in entries) else [*entries, *shared]
        yield group_of(source, [*own, *_anchors(own)])


def _anchors(entries: Iterable[Entry]) -> list[Entry]:
    """The host once more, as a neighbour for properties of which the file has no sibling yet."""
    host = next((entry for entry in entries if entry.key == "host"), None)
    if host is None:
        return []
    # The host itself may be a constant that stands where the properties do not exist yet.
    end = host.key_span.end
    place = replace(host, scalar=Scalar(None, Span(end, end, host.key_span.line), None, is_reference=True))
    return [renamed(place, "p.tls.~"), renamed(place, "p.ssl.~")]


def _settings(source: Source, code: Code, known: Constants) -> Iterator[tuple[int, Entry]]:
    """What the text sets, with the place where it does."""
    setters = _SETTERS if _SENDERS.search(source.text) else {}
    for call in code.calls:
        method = call.name.rpartition(".")[2]
        place = call.span.start
        if method in ("put", "setProperty", "set", "setAdditionalProperties") and len(call.arguments) == 2:
            entry = _property(source, call.arguments[0], call.arguments[1], known, call.span.start)
            if entry is not None:
                yield place, entry
        elif method in setters and len(call.arguments) == 1:
            yield from ((place, one) for one in _positions(source, call.arguments, (setters[method],), known))
        elif method in _LOGINS or (method == "setAuthentication" and setters):
            yield from ((place, one) for one in _positions(source, call.arguments, ("user", "password"), known))
        elif method == "connect" and len(call.arguments) in (3, 4):
            names = ("host", "user", "password") if len(call.arguments) == 3 else ("host", "port", "user", "password")
            if "Transport" in source.text:
                yield from ((place, one) for one in _positions(source, call.arguments, names, known))
    for one in code.assignments:
        subscript = _SUBSCRIPT.fullmatch(one.target)
        scalar = value_of(source, one.value, known)
        if subscript is not None and scalar is not None and (name := _name_of(subscript[1])):
            yield one.target_span.start, Entry(name, scalar, one.target_span)


def _property(source: Source, key: Node, value: Node, known: Constants, start: int) -> Entry | None:
    if not isinstance(key, Scalar) or not isinstance(key.value, str):
        return None
    name, scalar = _name_of(key.value), value_of(source, value, known)
    if not name or scalar is None:
        return None
    return Entry(name, scalar, source.span(start, key.span.end))


def _name_of(key: str) -> str:
    if key == "mail.transport.protocol":
        return "p.protocol"
    found = _PROPERTY.fullmatch(key)
    return _PROPERTIES.get(found[2].lower(), "") if found is not None else ""


def _positions(
    source: Source, arguments: tuple[Node, ...], names: tuple[str, ...], known: Constants
) -> Iterator[Entry]:
    for name, argument in zip(names, arguments, strict=False):
        if isinstance(argument, Call) and argument.name.rpartition(".")[2] in ("toString", "toCharArray"):
            continue
        scalar = value_of(source, argument, known)
        if scalar is not None:
            yield unnamed(name, scalar)


def _scan_properties(source: Source) -> Iterable[Group]:
    entries = []
    for match in re.finditer(r"^[ \t]*(mail\.[\w.]+)[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", source.text, re.MULTILINE):
        name = _name_of(match[1])
        if name:
            span = source.span(match.start(1), match.end(1))
            entries.append(Entry(name, scalar_from(source, match.start(2), match.end(2)), span))
    yield group_of(source, [*entries, *_anchors(entries)])


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    verifies = None
    if group.says("p.ssl.trust") == "*":
        verifies = group.decides(False, "p.ssl.trust")
    elif group.is_yes("p.ssl.identity") is False:
        verifies = group.decides(False, "p.ssl.identity")
    mode = javamail_mode(group)
    contradictions = ("ssl.enable and starttls.required are both true",) if mode.value is TlsMode.BOTH else ()
    port = group.number("port", 465 if mode.value is TlsMode.IMPLICIT and group.says("p.protocol") == "smtps" else 25)
    if "setSSLOnConnect" in group.source.text and mode.value is TlsMode.IMPLICIT:
        port = group.number("ssl_port", 465)
    elif "port" not in group.last and "factory_port" in group.last:
        port = group.number("factory_port")
    return outline(
        group,
        mode,
        port=port,
        username=group.text("user") or (_ELSEWHERE if group.is_yes("p.auth") else None),
        sender=group.text("p.from"),
        verifies_certificate=verifies,
        timeout_seconds=group.seconds("p.timeout", 0.001) or group.seconds("p.connectiontimeout", 0.001),
        hello_name=group.text("p.localhost"),
        contradictions=contradictions,
    )


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes = amend(group, Wanted(wanted.host, wanted.port, wanted.mode, wanted.username), JAVAMAIL_MODES)
    if changes is None or any(name in changes and name not in group.last for name in ("host", "port", "user")):
        return None
    if wanted.mode not in (None, TlsMode.IMPLICIT) and {"p.factory", "p.protocol"} & group.last.keys():
        return None
    if wanted.verifies_certificate and group.says("p.ssl.trust") == "*":
        changes = {**changes, "p.ssl.trust": group.written("host")}
    if wanted.verifies_certificate and group.is_yes("p.ssl.identity") is False:
        changes = {**changes, "p.ssl.identity": True}
    return changes


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    if scalar is None:
        return quoted(plain_text(wish), '"')
    return quoted(plain_text(wish), scalar.quote or ('"' if isinstance(wish, str) else ""))


def _beside(name: str, neighbour: str) -> str:
    """`props.put("mail.smtp.port"` for a new property in the manner of its neighbour; "" where there is none."""
    method, bracket, _ = neighbour.partition('("')
    return f'{method}("{_FULL[name]}"' if bracket and name in _FULL else ""


_CODE: Final = Notation(
    line=lambda key, literal: f"{key}, {literal});", literal=_literal, beside=_beside, removes=False
)
_FLAT: Final = Notation(
    line=lambda key, literal: f"{key}={literal}", literal=bare, spell=lambda name: _FULL.get(name, name)
)


def _show(server: Server) -> str:
    smtp = '        properties.put("mail.smtp'
    mode = {
        TlsMode.IMPLICIT: f'{smtp}.ssl.enable", "true");\n',
        TlsMode.STARTTLS: f'{smtp}.starttls.enable", "true");\n{smtp}.starttls.required", "true");\n',
        TlsMode.OPPORTUNISTIC: f'{smtp}.starttls.enable", "true");\n',
    }
    return (
        "import java.util.Properties;\n\n"
        "import jakarta.mail.Authenticator;\n"
        "import jakarta.mail.PasswordAuthentication;\n"
        "import jakarta.mail.Session;\n\n"
        "class Mail {\n"
        "    static Session session() {\n"
        "        Properties properties = new Properties();\n"
        f'{smtp}.host", "{server.host}");\n'
        f'{smtp}.port", "{server.port}");\n'
        f'{smtp}.auth", "true");\n'
        f"{mode.get(server.mode, '')}"
        f'{smtp}.ssl.checkserveridentity", "true");\n'
        f'{smtp}.from", "{server.sender}");\n'
        f'{smtp}.connectiontimeout", "10000");\n'
        f'{smtp}.timeout", "30000");\n'
        f'{smtp}.writetimeout", "30000");\n'
        "        return Session.getInstance(properties, new Authenticator() {\n"
        "            @Override\n"
        "            protected PasswordAuthentication getPasswordAuthentication() {\n"
        f'                return new PasswordAuthentication("{server.username}", '
        f'System.getenv("{server.password_variable}"));\n'
        "            }\n"
        "        });\n"
        "    }\n"
        "}\n"
    )


JAVAMAIL: Final = Program(
    name="javamail",
    title="Java (JavaMail, Jakarta Mail, Commons Email)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_code, _scan, _CODE), Form(_is_properties, _scan_properties, _FLAT)),
    settle=_settle,
    change=_change,
    show=_show,
)
