"""Go: gomail, go-mail and net/smtp, as their calls stand in the code.

net/smtp: SendMail takes STARTTLS where it is offered and PlainAuth refuses to log in without TLS; implicit TLS it does
not know. gomail.v2: TLS from the first octet on port 465 or with `SSL`, STARTTLS where offered otherwise, and the same
PlainAuth. wneessen/go-mail: STARTTLS or nothing unless WithTLSPolicy or WithSSL say otherwise; the port is 25.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from postreeve.clientconfig.program.group import Group, as_number, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import Code, scan_code
from postreeve.clientconfig.scan.constant import Constants, constants, value_of
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import Call, Node, as_scalar, flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, unnamed

_DIALERS: Final = ("NewDialer", "NewPlainDialer")
_OPTIONS: Final = {
    "WithPort": "port", "WithUsername": "user", "WithPassword": "password", "WithTimeout": "timeout",
    "WithHELO": "hello", "WithSMTPAuth": "mechanism",
}  # fmt: skip
_POLICIES: Final = {
    "TLSMandatory": TlsMode.STARTTLS, "TLSOpportunistic": TlsMode.OPPORTUNISTIC, "NoTLS": TlsMode.PLAIN,
}  # fmt: skip


_STANDARD: Final = {"smtp.SendMail": 0, "smtp.Dial": 0, "tls.Dial": 1}
"""The calls of the standard library that open a connection, and which argument has the address."""
_JOINED: Final = re.compile(
    r"([\w.]+)\s*\+\s*\":\"\s*\+\s*([\w.]+)"
    r"|([\w.]+)\s*\+\s*\":(\d+)\""
    r"|net\.JoinHostPort\(\s*([\w.]+)\s*,\s*([\w.]+)\s*\)"
    r"|fmt\.Sprintf\(\s*\"%s:%[sdv]\"\s*,\s*([\w.]+)\s*,\s*([\w.]+)\s*\)"
)


def _is_mine(file: str, text: str) -> bool:
    return file.endswith(".go") and (
        "NewDialer(" in text
        or "NewPlainDialer(" in text
        or "mail.NewClient(" in text
        or "smtp.SendMail(" in text
        or ("net/smtp" in text and ("smtp.Dial(" in text or "smtp.NewClient(" in text))
    )


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.GO)
    known = constants(code)
    groups = []
    for call in code.calls:
        entries = list(_entries(source, call, code, known))
        if entries:
            label = call.name.rpartition(".")[2]
            groups.append(group_of(source, [*entries, *_shared(code)], label))
    return groups


def _entries(source: Source, call: Call, code: Code, known: Constants) -> Iterator[Entry]:
    package, _, function = call.name.rpartition(".")
    if function in _DIALERS and len(call.arguments) >= 2 and "net" not in package:
        yield from _positions(source, call, ("host", "port", "user", "password"), known)
    elif call.name in _STANDARD and len(call.arguments) > _STANDARD[call.name]:
        if call.name == "tls.Dial" and "smtp.NewClient(" not in source.text:
            return
        yield from _address(source, call.arguments[_STANDARD[call.name]], known)
        yield from _login(source, code, known)
    elif call.name == "mail.NewClient" and call.arguments:
        yield from _positions(source, call, ("host",), known)
        yield from _options(source, call)


def _login(source: Source, code: Code, known: Constants) -> Iterator[Entry]:
    for one in code.calls:
        if one.name in ("smtp.PlainAuth", "smtp.CRAMMD5Auth"):
            names = ("identity", "user", "password", "auth_host")
            yield from _positions(source, one, names if one.name == "smtp.PlainAuth" else names[1:3], known)


def _positions(source: Source, call: Call, names: tuple[str, ...], known: Constants) -> Iterator[Entry]:
    for name, argument in zip(names, call.arguments, strict=False):
        scalar = value_of(source, argument, known)
        if scalar is not None:
            yield unnamed(name, scalar)


def _address(source: Source, node: Node, known: Constants) -> Iterator[Entry]:
    """`"smtp.example.com:587"`, which is one string, or two that are joined."""
    joined = _JOINED.fullmatch(source.text, node.span.start, node.span.end)
    if joined is None and (found := _address_of(source, node)) is not None:
        joined = found
    if joined is not None:
        yield from _parts(source, node, joined, known)
        return
    scalar = value_of(source, node, known)
    if scalar is None:
        return
    text = scalar.value if isinstance(scalar.value, str) else ""
    host, colon, port = text.rpartition(":")
    if scalar.is_reference or not colon or "\\" in source.written(scalar.span):
        yield unnamed("host", scalar)
        return
    start = scalar.span.start + 1
    first = source.span(start, start + len(host))
    last = source.span(start + len(host) + 1, scalar.span.end - 1)
    yield unnamed("host", Scalar(host, first, first))
    yield unnamed("port", Scalar(port, last, last))


def _parts(source: Source, node: Node, joined: re.Match[str], known: Constants) -> Iterator[Entry]:
    numbers = [number for number in range(1, 9) if joined[number]]
    for name, number in zip(("host", "port"), numbers, strict=True):
        part = joined[number]
        if part in known:
            yield unnamed(name, known[part])
        elif part.isdigit():
            span = source.span(joined.start(number), joined.end(number))
            yield unnamed(name, Scalar(part, span, span))
        else:
            yield Entry(name, Scalar(None, node.span, None, is_reference=True), node.span)


def _address_of(source: Source, node: Node) -> re.Match[str] | None:
    """The joined parts that the variable stands for: `addr := host + ":" + port`."""
    name = source.written(node.span)
    if not name.isidentifier():
        return None
    found = re.search(rf"\b{name}\s*:?=\s*", source.text)
    return _JOINED.match(source.text, found.end()) if found is not None else None


def _options(source: Source, call: Call) -> Iterator[Entry]:
    for option in call.arguments[1:]:
        if not isinstance(option, Call):
            continue
        word = option.name.rpartition(".")[2]
        first: Node | None = option.arguments[0] if option.arguments else None
        scalar = as_scalar(first) if first is not None else None
        if word in _OPTIONS and scalar is not None:
            yield Entry(_OPTIONS[word], scalar, option.name_span)
        elif word in ("WithTLSPolicy", "WithTLSPortPolicy") and first is not None:
            policy = source.written(first.span).rpartition(".")[2]
            yield Entry("policy", Scalar(policy, first.span, first.span), option.name_span)
        elif word in ("WithSSL", "WithSSLPort"):
            yield Entry("ssl", Scalar(True, option.span, None), option.name_span)


def _shared(code: Code) -> Iterator[Entry]:
    for one in code.assignments:
        owner, _, member = one.target.rpartition(".")
        scalar = as_scalar(one.value)
        if owner and member == "SSL" and scalar is not None:
            yield Entry("ssl", scalar, one.target_span)
        for entry in flatten(one.value):
            if entry.key == "InsecureSkipVerify":
                yield Entry("shared.unverified", entry.scalar, entry.key_span)
    for call in code.calls:
        if call.name.endswith(".SetHeader") and len(call.arguments) > 1:
            key, value = (as_scalar(argument) for argument in call.arguments[:2])
            if key is not None and key.value == "From" and value is not None:
                yield Entry("shared.from", value, call.name_span)
        elif call.name.endswith((".From", ".SetAddressHeader")) and call.arguments:
            value = as_scalar(call.arguments[0])
            if value is not None:
                yield Entry("shared.from", value, call.name_span)


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host", "port"):
        return None
    unverified = group.is_yes("shared.unverified")
    return outline(
        group,
        _mode(group),
        default_port=25 if group.label == "NewClient" else None,
        sender=group.text("shared.from"),
        verifies_certificate=None if unverified is None else group.decides(not unverified, "shared.unverified"),
        mechanism=None,
        timeout_seconds=None,
    )


def _mode(group: Group) -> Value[TlsMode] | None:
    if group.is_yes("ssl"):
        return group.mode(TlsMode.IMPLICIT, "ssl")
    if group.label == "Dial":
        return _dialled(group)
    if group.label == "NewClient":
        policy = group.written("policy")
        return group.mode(_POLICIES.get(policy, TlsMode.STARTTLS), "policy")
    if group.label != "SendMail" and as_number(group.written("port")) == 465:
        return group.mode(TlsMode.IMPLICIT, "port")
    # PlainAuth keeps the password to itself where TLS has not begun: without a login, there is nothing that insists.
    has_login = group.has("user") or "password" in group.last
    return group.mode(TlsMode.STARTTLS if has_login else TlsMode.OPPORTUNISTIC, "ssl")


def _dialled(group: Group) -> Value[TlsMode] | None:
    """net/smtp by hand: which of the two ways is gone, where both are there, is not for the text to say."""
    text = group.source.text
    is_implicit, is_plain = "tls.Dial(" in text, "smtp.Dial(" in text
    if is_implicit and is_plain:
        return None
    if is_implicit:
        return group.mode(TlsMode.IMPLICIT, "ssl")
    if ".StartTLS(" in text:
        return group.mode(TlsMode.STARTTLS, "ssl")
    return group.mode(TlsMode.PLAIN, "ssl")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes: dict[str, Wish] = {}
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT if group.label in _DIALERS and wanted.port == 465 and "ssl" not in group.last:
            pass
        case TlsMode.STARTTLS if "policy" in group.last and "ssl" not in group.last:
            changes["policy"] = "TLSMandatory"
        case TlsMode.STARTTLS if group.label in _DIALERS and (wanted.port or 587) != 465:
            if "ssl" in group.last:
                changes["ssl"] = False
        case _:
            return None
    if wanted.verifies_certificate is not None:
        if "shared.unverified" not in group.last:
            return None
        changes["shared.unverified"] = not wanted.verifies_certificate
    rest = amend(group, Wanted(wanted.host, wanted.port, None, wanted.username), {})
    return None if rest is None or ("port" in rest and "port" not in group.last) else {**rest, **changes}


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    text = plain_text(wish)
    if scalar is None:
        return text
    if text in _POLICIES:
        return f"mail.{text}"
    return quoted(text, scalar.quote)


_NOTATION: Final = Notation(line=lambda key, literal: f"{key}{literal}", literal=_literal, joint=",", removes=False)


def _show(server: Server) -> str:
    mode = {
        TlsMode.IMPLICIT: "mail.WithSSL()",
        TlsMode.STARTTLS: "mail.WithTLSPolicy(mail.TLSMandatory)",
        TlsMode.OPPORTUNISTIC: "mail.WithTLSPolicy(mail.TLSOpportunistic)",
    }.get(server.mode, "mail.WithTLSPolicy(mail.NoTLS)")
    return (
        "package main\n\n"
        'import (\n\t"os"\n\n\t"github.com/wneessen/go-mail"\n)\n\n'
        "func newClient() (*mail.Client, error) {\n"
        "\treturn mail.NewClient(\n"
        f'\t\t"{server.host}",\n'
        f"\t\tmail.WithPort({server.port}),\n"
        f"\t\t{mode},\n"
        "\t\tmail.WithSMTPAuth(mail.SMTPAuthPlain),\n"
        f'\t\tmail.WithUsername("{server.username}"),\n'
        f'\t\tmail.WithPassword(os.Getenv("{server.password_variable}")),\n'
        "\t)\n"
        "}\n\n"
        "func setSender(message *mail.Msg) error {\n"
        f'\treturn message.From("{server.sender}")\n'
        "}\n"
    )


GO: Final = Program(
    name="go",
    title="Go (go-mail, gomail, net/smtp)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)
