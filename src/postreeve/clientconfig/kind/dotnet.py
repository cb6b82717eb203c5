""".NET: mail sections of appsettings.json, and `<smtp>` of web.config and App.config.

System.Net.Mail.SmtpClient: EnableSsl is STARTTLS or nothing, without it there is no TLS, and implicit TLS it does not
know. MailKit, whose settings programs name themselves: SecureSocketOptions (`StartTls`, `SslOnConnect` …).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import json_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text
from postreeve.clientconfig.program.outline import ModeChanges, amend, named, outline
from postreeve.clientconfig.program.program import Form, Program, basename
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Mapping, flatten, mappings
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_SECTION: Final = re.compile(r"(?:^|\.)(?:[\w]*(?:smtp|mail)[\w]*)\Z", re.IGNORECASE)


def _json_names() -> dict[str, str]:
    words = {
        "host": "host server smtphost smtpserver mailserver hostname smtpserveraddress",
        "port": "port smtpport mailport",
        "user": "username user smtpuser smtpusername login",
        "password": "password pass smtppass smtppassword",
        "from": "from fromemail senderemail fromaddress sender mailfrom defaultfrom",
        "enable": "enablessl",
        "options": "securesocketoptions securesocketoption secureoption socketoptions",
        "timeout": "timeout",
        "other": "fromname sendername displayname usessl usestarttls usedefaultcredentials requiresauthentication",
    }
    return {word: name for name, keys in words.items() for word in keys.split()}


_NAMES: Final = _json_names()
_OPTIONS: Final = {
    "starttls": TlsMode.STARTTLS, "sslonconnect": TlsMode.IMPLICIT, "none": TlsMode.PLAIN,
    "starttlswhenavailable": TlsMode.OPPORTUNISTIC, "3": TlsMode.STARTTLS, "2": TlsMode.IMPLICIT, "0": TlsMode.PLAIN,
}  # fmt: skip


def _is_json(file: str, text: str) -> bool:
    name = basename(file)
    return name.startswith("appsettings") and name.endswith(".json")


def _scan_json(source: Source) -> Iterable[Group]:
    root = scan_code(source, Language.JAVASCRIPT).root
    groups = []
    for path, section in mappings(root) if root is not None else ():
        if _SECTION.search(path):
            own = Mapping(tuple(pair for pair in section.pairs if isinstance(pair.value, Scalar)), section.span)
            entries = named(flatten(own), _NAMES, ("enabl", "secures", "hos", "usern", "passw"))
            group = group_of(source, entries, "json")
            if group.has("host"):
                groups.append(group)
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    # Here the file alone does not say which library: with EnableSsl it is SmtpClient, with SecureSocketOptions MailKit.
    return outline(group, _mode(group), unit=0.001 if group.label == "json" else 1.0)


def _mode(group: Group) -> Value[TlsMode] | None:
    if "options" in group.last:
        known = _OPTIONS.get(group.says("options").rpartition(".")[2])
        return None if known is None else group.mode(known, "options")
    enables = group.is_yes("enable")
    if enables is None:
        return group.mode(TlsMode.PLAIN) if group.label == "xml" and "enable" not in group.last else None
    return group.mode(TlsMode.STARTTLS if enables else TlsMode.PLAIN, "enable")


_CLIENT_MODES: Final[ModeChanges] = {TlsMode.STARTTLS: {"enable": True}, TlsMode.PLAIN: {"enable": False}}
_MAILKIT_MODES: Final[ModeChanges] = {
    TlsMode.STARTTLS: {"options": "StartTls"},
    TlsMode.IMPLICIT: {"options": "SslOnConnect"},
    TlsMode.OPPORTUNISTIC: {"options": "StartTlsWhenAvailable"},
    TlsMode.PLAIN: {"options": "None"},
}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    return amend(group, wanted, _MAILKIT_MODES if "options" in group.last else _CLIENT_MODES, unit=0.001)


def _written_like(name: str, neighbour: str) -> str:
    words = {"enable": "EnableSsl", "user": "Username", "from": "From", "port": "Port", "timeout": "Timeout"}
    key = words.get(name, name)
    return key if neighbour.strip("\"'")[:1].isupper() else key[:1].lower() + key[1:]


_JSON: Final = Notation(
    line=lambda key, literal: f'"{key}": {literal}',
    literal=json_literal,
    joint=",",
    removes=False,
    beside=_written_like,
)


def _show_json(server: Server) -> str:
    return (
        "{\n"
        '  "Smtp": {\n'
        f'    "Host": "{server.host}",\n'
        f'    "Port": {server.port},\n'
        f'    "SecureSocketOptions": "{_MAILKIT_MODES[server.mode]["options"]}",\n'
        f'    "Username": "{server.username}",\n'
        f'    "Password": "${{{server.password_variable}}}",\n'
        f'    "From": "{server.sender}"\n'
        "  }\n"
        "}\n"
    )


APPSETTINGS: Final = Program(
    name="appsettings",
    title=".NET (appsettings.json)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_json, _scan_json, _JSON),),
    settle=_settle,
    change=_change,
    show=_show_json,
)


# web.config

_SMTP: Final = re.compile(r"<smtp\b([^<>]{0,2000})>")
_NETWORK: Final = re.compile(r"<network\b([^<>]{0,2000})>")
_ATTRIBUTE: Final = re.compile(r"([A-Za-z]{1,40})\s*=\s*(\"[^\"<>]{0,1000}\"|'[^'<>]{0,1000}')")
_XML_NAMES: Final = {
    "host": "host", "port": "port", "username": "user", "password": "password", "enablessl": "enable",
    "defaultcredentials": "default", "clientdomain": "hello", "targetname": "target",
}  # fmt: skip


def _is_xml(file: str, text: str) -> bool:
    return file.lower().endswith((".config", ".config.xml")) and "<smtp" in text and "<network" in text


def _scan_xml(source: Source) -> Iterable[Group]:
    text = _without_comments(source.text)
    groups = []
    for outer in _SMTP.finditer(text):
        end = text.find("</smtp>", outer.end())
        inner = _NETWORK.search(text, outer.end(), end if end >= 0 else len(text))
        if inner is None:
            continue
        entries = list(named(_attributes(source, inner), _XML_NAMES, ("enable", "usern", "passw", "hos")))
        for entry in _attributes(source, outer):
            if entry.key.lower() == "from":
                entries.append(Entry("smtp.from", entry.scalar, entry.key_span))
        groups.append(group_of(source, entries, "xml"))
    return groups


def _without_comments(text: str) -> str:
    """The text with comments blanked out, every character in its place."""
    parts, at = [], 0
    while (start := text.find("<!--", at)) >= 0:
        end = text.find("-->", start)
        end = len(text) if end < 0 else end + 3
        parts += [text[at:start], " " * (end - start)]
        at = end
    return "".join([*parts, text[at:]])


def _attributes(source: Source, element: re.Match[str]) -> Iterable[Entry]:
    for found in _ATTRIBUTE.finditer(element[1]):
        base = element.start(1)
        span = source.span(base + found.start(2), base + found.end(2))
        key = source.span(base + found.start(1), base + found.end(1))
        raw = found[2][1:-1]
        is_token = raw.startswith(("#{", "${", "$(", "__")) and len(raw) > 3
        scalar = Scalar(None if is_token else _unescaped(raw), span, span, found[2][0], is_token)
        yield Entry(found[1], scalar, key)


def _unescaped(raw: str) -> str:
    for entity, character in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&apos;", "'"), ("&amp;", "&")):
        raw = raw.replace(entity, character)
    return raw


def _settle_xml(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    return outline(group, _mode(group), default_port=25, sender=group.text("smtp.from"))


def _change_xml(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    return amend(group, wanted, _CLIENT_MODES)


def _xml_literal(wish: Wish, scalar: Scalar | None) -> str:
    quote = scalar.quote if scalar is not None and scalar.quote else '"'
    text = (
        plain_text(wish)
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(quote, "&quot;" if quote == '"' else "&apos;")
    )
    return f"{quote}{text}{quote}"


_ATTRIBUTE_NAMES: Final = {"enable": "enableSsl", "user": "userName"}
_XML: Final = Notation(
    line=lambda key, literal: f"{key}={literal}",
    literal=_xml_literal,
    spell=lambda name: _ATTRIBUTE_NAMES.get(name, name),
    joint=" ",
    removes=False,
)


def _show_xml(server: Server) -> str:
    return (
        "<configuration>\n"
        "  <system.net>\n"
        "    <mailSettings>\n"
        f'      <smtp deliveryMethod="Network" from="{server.sender}">\n'
        f'        <network host="{server.host}" port="{server.port}" '
        f'enableSsl="{str(server.mode is TlsMode.STARTTLS).lower()}"\n'
        f'                 userName="{server.username}" password="#{{{server.password_variable}}}" />\n'
        "      </smtp>\n"
        "    </mailSettings>\n"
        "  </system.net>\n"
        "</configuration>\n"
    )


WEB_CONFIG: Final = Program(
    name="web-config",
    title=".NET Framework (web.config, App.config)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS}),
    forms=(Form(_is_xml, _scan_xml, _XML),),
    settle=_settle_xml,
    change=_change_xml,
    show=_show_xml,
)
