"""C# programs: System.Net.Mail.SmtpClient, and MailKit's `Connect`.

SmtpClient (.NET 8, `SmtpClient.cs`): EnableSsl is STARTTLS or nothing, without it there is no TLS, implicit TLS it does
not know; the port is 25. Setting UseDefaultCredentials, to whatever value, throws away the Credentials that were set
before. MailKit (`MailService.cs`, `SmtpClient.cs`): a third argument true is SslOnConnect, false StartTlsWhenAvailable,
none is Auto, which is SslOnConnect on port 465 and StartTlsWhenAvailable elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import ModeChanges, amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import Code, scan_code
from postreeve.clientconfig.scan.constant import Constants, constants, value_of
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Node
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, unnamed

_MEMBERS: Final = {
    "Host": "host", "Port": "port", "EnableSsl": "enable", "Timeout": "timeout",
    "UseDefaultCredentials": "default_credentials", "Credentials": "credentials",
}  # fmt: skip
_OPTIONS: Final = {
    "starttls": TlsMode.STARTTLS, "sslonconnect": TlsMode.IMPLICIT, "none": TlsMode.PLAIN, "true": TlsMode.IMPLICIT,
    "starttlswhenavailable": TlsMode.OPPORTUNISTIC, "false": TlsMode.OPPORTUNISTIC,
}  # fmt: skip
_READING: Final = ("143", "993", "110", "995")
_NEW_CLIENT: Final = re.compile(r"\s*=\s*new\s+(?:System\.Net\.Mail\.)?SmtpClient\b")
_CALLBACK: Final = re.compile(r"\b(\w*ServerCertificateValidationCallback)\s*\+?=(?!=)([^;]{0,300};)")
_ACCEPTS_ALL: Final = re.compile(r"=>\s*true\b|return\s+true\s*;|DangerousAcceptAny")


def _is_mailkit(file: str, text: str) -> bool:
    return file.endswith((".cs", ".razor", ".cshtml")) and "MailKit" in text and "Connect" in text


def _is_client(file: str, text: str) -> bool:
    return file.endswith((".cs", ".razor", ".cshtml")) and "SmtpClient" in text and "MailKit" not in text


def _positions(source: Source, arguments: Iterable[Node], names: tuple[str, ...], known: Constants) -> Iterator[Entry]:
    for name, argument in zip(names, arguments, strict=False):
        scalar = value_of(source, argument, known)
        if scalar is not None:
            yield unnamed(name, scalar)


def _split(found: list[tuple[int, Entry]]) -> list[list[Entry]]:
    """In the order of the text; a second host begins another client."""
    groups: list[list[Entry]] = [[]]
    for _, entry in sorted(found, key=lambda pair: pair[0]):
        if entry.key == "host" and any(one.key == "host" for one in groups[-1]):
            groups.append([])
        groups[-1].append(entry)
    return groups


def _unverified(source: Source) -> Iterator[tuple[int, Entry]]:
    for found in _CALLBACK.finditer(source.text):
        if _ACCEPTS_ALL.search(found[2]):
            span = source.span(found.start(1), found.end(1))
            yield found.start(), Entry("unverified", Scalar(True, span, None), span)


# System.Net.Mail.SmtpClient


def _scan_client(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.CSHARP)
    known = constants(code)
    found: list[tuple[int, Entry]] = list(_unverified(source))
    for call in code.calls:
        name, place = call.name.rpartition(".")[2], call.span.start
        if name == "SmtpClient" and call.arguments:
            found += ((place, one) for one in _positions(source, call.arguments, ("host", "port"), known))
        elif name == "NetworkCredential":
            found += ((place, one) for one in _positions(source, call.arguments, ("user", "password"), known))
    owners = _clients(source, code)
    for one in code.assignments:
        owner, _, member = one.target.rpartition(".")
        name = _MEMBERS.get(member, "")
        place = one.target_span.start
        is_within = not owners or any(start <= place < end for start, end in owners.values())
        is_ours = is_within if not owner else owner in owners
        if not name or not is_ours:
            continue
        scalar = value_of(source, one.value, known) or Scalar(None, one.value.span, None, is_reference=True)
        found.append((one.target_span.start, Entry(name, scalar, one.target_span)))
    for entries in _split(found):
        yield group_of(source, entries)


def _clients(source: Source, code: Code) -> dict[str, tuple[int, int]]:
    """The variables that are clients, and where their initialisers begin and end."""
    found: dict[str, tuple[int, int]] = {}
    for one in code.assignments:
        start, end = one.target_span.end, one.value.span.end
        if _NEW_CLIENT.match(source.text, start):
            if source.text[end : end + 200].lstrip().startswith("{"):
                end = max(source.text.find("};", end), end)
            found[one.target] = (start, end)
    return found


def _settle_client(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    enables = group.is_yes("enable")
    is_unknown = enables is None and "enable" in group.last
    mode = None if is_unknown else group.mode(TlsMode.STARTTLS if enables else TlsMode.PLAIN, "enable")
    order = [entry.key for entry in group.entries if entry.key in ("credentials", "default_credentials")]
    contradictions = []
    if order[-2:] == ["credentials", "default_credentials"]:
        contradictions.append("UseDefaultCredentials is set after Credentials, which throws those away: set it before")
    elif group.is_yes("default_credentials") and "credentials" in order and order[-1] == "default_credentials":
        contradictions.append("UseDefaultCredentials is true, so the Credentials are not used")
    return outline(
        group, mode, default_port=25, unit=0.001, mechanism=None, hello_name=None, contradictions=tuple(contradictions)
    )


_CLIENT_MODES: Final[ModeChanges] = {TlsMode.STARTTLS: {"enable": True}, TlsMode.PLAIN: {"enable": False}}


def _change_client(group: Group, wanted: Wanted) -> Changes | None:
    changes = amend(group, replace(wanted, verifies_certificate=None), _CLIENT_MODES, unit=0.001)
    is_written = changes is not None and all(name in group.last for name in changes)
    return changes if is_written and wanted.verifies_certificate is None else None


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    if isinstance(wish, bool | int):
        return plain_text(wish)
    if wish in _WORDS.values():
        return f"SecureSocketOptions.{wish}"
    return quoted(plain_text(wish), '"')


_CLIENT: Final = Notation(line=lambda key, literal: f"{key} = {literal};", literal=_literal, removes=False)


def _show_client(server: Server) -> str:
    return (
        "using System;\nusing System.Net;\nusing System.Net.Mail;\n\n"
        f'using var client = new SmtpClient("{server.host}", {server.port})\n'
        "{\n"
        f"    EnableSsl = {str(server.mode is not TlsMode.PLAIN).lower()},\n"
        "    UseDefaultCredentials = false,\n"
        f'    Credentials = new NetworkCredential("{server.username}", '
        f'Environment.GetEnvironmentVariable("{server.password_variable}")),\n'
        "    Timeout = 30000,\n"
        "};\n"
        f'var message = new MailMessage {{ From = new MailAddress("{server.sender}") }};\n'
    )


SMTPCLIENT: Final = Program(
    name="smtpclient",
    title="C# (System.Net.Mail.SmtpClient)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS}),
    forms=(Form(_is_client, _scan_client, _CLIENT),),
    settle=_settle_client,
    change=_change_client,
    show=_show_client,
)


# MailKit


def _scan_mailkit(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.CSHARP)
    known = constants(code)
    found: list[tuple[int, Entry]] = list(_unverified(source))
    readers = {
        one.target for one in code.assignments if re.search(r"new (?:Imap|Pop3)Client", _said(source, one.value))
    }
    for call in code.calls:
        owner, _, name = call.name.rpartition(".")
        place = call.span.start
        if owner in readers or not owner:
            continue
        if name in ("Connect", "ConnectAsync") and len(call.arguments) >= 2:
            own = list(_positions(source, call.arguments, ("host", "port"), known))
            if any(one.key == "port" and str(one.scalar.value) in _READING for one in own):
                continue
            found += ((place, one) for one in [*own, *_option(source, call.arguments[2:3], known)])
        elif name in ("Authenticate", "AuthenticateAsync") and len(call.arguments) >= 2:
            found += ((place, one) for one in _positions(source, call.arguments, ("auth.user", "auth.password"), known))
    for entries in _split(found):
        yield group_of(source, entries)


def _said(source: Source, node: Node) -> str:
    return source.text[source.line_start(node.span.start) : node.span.end]


def _option(source: Source, arguments: tuple[Node, ...], known: Constants) -> Iterator[Entry]:
    for argument in arguments:
        written = source.written(argument.span)
        word = written.removeprefix("MailKit.Security.").removeprefix("SecureSocketOptions.")
        if word != written:
            yield unnamed("option", Scalar(word, argument.span, argument.span))
        elif "ancel" not in written:
            yield from _positions(source, (argument,), ("option",), known)


def _settle_mailkit(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    return outline(
        group,
        _mailkit_mode(group),
        username=group.text("auth.user"),
        password=group.text("auth.password"),
        mechanism=None,
        timeout_seconds=None,
    )


def _mailkit_mode(group: Group) -> Value[TlsMode] | None:
    said = group.says("option")
    if said in _OPTIONS:
        return group.mode(_OPTIONS[said], "option")
    if said != "auto" and "option" in group.last:
        return None
    port = group.number("port")
    if port is None or port.value is None:
        return None
    return group.mode(TlsMode.IMPLICIT if port.value == 465 else TlsMode.OPPORTUNISTIC, "option", "port")


_WORDS: Final = {
    TlsMode.STARTTLS: "StartTls", TlsMode.IMPLICIT: "SslOnConnect", TlsMode.OPPORTUNISTIC: "StartTlsWhenAvailable",
    TlsMode.PLAIN: "None",
}  # fmt: skip
_MAILKIT_MODES: Final[ModeChanges] = {mode: {"option": word} for mode, word in _WORDS.items()}


def _change_mailkit(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None or wanted.verifies_certificate is not None:
        return None
    changes = amend(group, wanted, _MAILKIT_MODES)
    if changes is not None and "user" in changes:
        changes = {**{name: wish for name, wish in changes.items() if name != "user"}, "auth.user": changes["user"]}
    return changes


_CONNECT: Final = Notation(line=lambda key, literal: literal, literal=_literal, joint=",", removes=False)


def _show_mailkit(server: Server) -> str:
    return (
        "using System;\nusing MailKit.Net.Smtp;\nusing MailKit.Security;\nusing MimeKit;\n\n"
        "using var client = new SmtpClient();\n"
        f'client.Connect("{server.host}", {server.port}, SecureSocketOptions.{_WORDS.get(server.mode, "StartTls")});\n'
        f'client.Authenticate("{server.username}", Environment.GetEnvironmentVariable("{server.password_variable}"));\n'
        "var message = new MimeMessage();\n"
        f'message.From.Add(MailboxAddress.Parse("{server.sender}"));\n'
    )


MAILKIT: Final = Program(
    name="mailkit",
    title="C# (MailKit)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mailkit, _scan_mailkit, _CONNECT),),
    settle=_settle_mailkit,
    change=_change_mailkit,
    show=_show_mailkit,
)
