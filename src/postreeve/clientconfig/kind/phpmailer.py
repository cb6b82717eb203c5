"""PHPMailer code: what is assigned to `$mail->Host` and its like.

PHPMailer 6, `src/SMTP.php` and `src/PHPMailer.php`: SMTPSecure ssl is implicit TLS, tls STARTTLS; with neither,
SMTPAutoTLS, which is on unless it is switched off, takes STARTTLS where it is offered. Host may be a list joined by
semicolons, each with a `ssl://` or `tls://` before and a port behind. The port is 25 and Timeout 300 s unless set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.kind.laravel import php_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation
from postreeve.clientconfig.program.outline import ModeChanges, amend, named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import as_scalar, flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_NAMES: Final = {
    "host": "host", "port": "port", "smtpsecure": "secure", "smtpautotls": "auto", "smtpauth": "auth",
    "username": "user", "password": "password", "from": "from", "timeout": "timeout", "helo": "hello",
    "authtype": "mechanism", "smtpdebug": "debug", "smtpkeepalive": "alive", "smtpoptions": "options",
    "hostname": "hostname", "mailer": "mailer", "fromname": "from_name", "charset": "charset",
    "smtpoptions.ssl.verify_peer": "options.verify", "smtpoptions.ssl.verify_peer_name": "options.name",
    "smtpoptions.ssl.allow_self_signed": "options.selfsigned", "sender": "return_path",
}  # fmt: skip
_CONSTANTS: Final = {"ENCRYPTION_STARTTLS": "tls", "ENCRYPTION_SMTPS": "ssl"}
_SPELLS: Final = {
    "host": "Host", "port": "Port", "secure": "SMTPSecure", "auto": "SMTPAutoTLS", "user": "Username",
    "timeout": "Timeout", "from": "From",
}  # fmt: skip


def _is_mine(file: str, text: str) -> bool:
    return (
        file.endswith((".php", ".phtml", ".inc")) and "->Host" in text and ("PHPMailer" in text or "->isSMTP" in text)
    )


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.PHP)
    owners: dict[str, list[Entry]] = {}
    for one in code.assignments:
        owner, arrow, member = one.target.rpartition("->")
        if arrow:
            found = flatten(one.value, member, one.target_span)
            owners.setdefault(owner, []).extend(_with_constants(source, entry) for entry in found)
    for call in code.calls:
        owner, _, method = call.name.rpartition("->")
        first = as_scalar(call.arguments[0]) if call.arguments else None
        if method == "setFrom" and first is not None:
            owners.setdefault(owner, []).append(Entry("From", first, call.name_span))
    groups = []
    for owner, entries in owners.items():
        ordered = sorted(entries, key=lambda entry: entry.key_span.start)
        group = group_of(source, named(ordered, _NAMES, ("smtp", "user", "passw")), owner)
        if group.has("host"):
            groups.append(group)
    return groups


def _with_constants(source: Source, entry: Entry) -> Entry:
    """`PHPMailer::ENCRYPTION_STARTTLS` is the string tls."""
    word = _CONSTANTS.get(source.written(entry.scalar.span).rpartition("::")[2])
    if word is None:
        return entry
    return Entry(entry.key, Scalar(word, entry.scalar.span, entry.scalar.span, "'"), entry.key_span)


def _settle(group: Group) -> SubmissionSettings | None:
    verify = group.is_yes("options.verify")
    name = group.is_yes("options.name")
    verifies = None
    if verify is not None:
        verifies = group.decides(verify, "options.verify")
    if name is False and verify is not False:
        verifies = group.decides(False, "options.name")
    host, scheme, port = _first_host(group)
    uses_login = group.is_yes("auth") is not False
    return outline(
        group,
        _mode(group, scheme),
        host=host,
        port=port or group.number("port", 25),
        verifies_certificate=verifies,
        username=group.text("user") if uses_login else None,
        contradictions=()
        if group.is_yes("auth") is not None or "auth" in group.last or not group.has("user")
        else ("Username is set, but SMTPAuth is not true, so PHPMailer does not log in",),
    )


def _first_host(group: Group) -> tuple[Value[str] | None, str, Value[int] | None]:
    """The first of the hosts with its scheme and port: `tls://smtp.example.com:587;…`."""
    found = group.text("host")
    if found is None or found.value is None:
        return found, "", None
    first = found.value.split(";")[0].strip()
    scheme, sign, rest = first.rpartition("://")
    if sign and scheme not in ("ssl", "tls"):
        return found, "", None
    name, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit() or len(port) > 5 or not name:
        return Value(rest, found.key, found.span, found.is_reference), scheme, None
    return (
        Value(name, found.key, found.span, found.is_reference),
        scheme,
        Value(int(port), found.key, found.span, found.is_reference),
    )


def _mode(group: Group, scheme: str) -> Value[TlsMode] | None:
    word = scheme or group.says("secure")
    if word == "ssl":
        return group.mode(TlsMode.IMPLICIT, "host" if scheme else "secure")
    if word in ("tls", "starttls"):
        return group.mode(TlsMode.STARTTLS, "host" if scheme else "secure")
    if "secure" in group.last and group.last["secure"].scalar.is_reference:
        return None
    if group.is_yes("auto") is False:
        return group.mode(TlsMode.PLAIN, "auto")
    return group.mode(TlsMode.OPPORTUNISTIC, "secure")


_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"secure": "ssl"},
    TlsMode.STARTTLS: {"secure": "tls"},
    TlsMode.OPPORTUNISTIC: {"~secure": "", "~auto": True},
    TlsMode.PLAIN: {"~secure": "", "auto": False},
}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    _host, scheme, port = _first_host(group)
    if wanted.sender is not None or (wanted.mode is not None and scheme) or (wanted.port is not None and port):
        return None
    changes = amend(
        group,
        Wanted(wanted.host, wanted.port, wanted.mode, wanted.username, None, None, wanted.timeout_seconds),
        _MODES,
    )
    if changes is None or wanted.verifies_certificate is None:
        return changes
    there = [name for name in ("options.verify", "options.name") if name in group.last]
    if not there:
        return None
    selfsigned = {"options.selfsigned": False} if "options.selfsigned" in group.last else {}
    return {**changes, **dict.fromkeys(there, wanted.verifies_certificate), **selfsigned}


_NOTATION: Final = Notation(
    line=lambda key, literal: f"{key} = {literal};",
    literal=php_literal,
    beside=lambda name, neighbour: f"{neighbour.rpartition('->')[0]}->{_SPELLS.get(name, name)}",
)


def _show(server: Server) -> str:
    mode = {
        TlsMode.IMPLICIT: "$mail->SMTPSecure = PHPMailer::ENCRYPTION_SMTPS;\n",
        TlsMode.STARTTLS: "$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;\n",
        TlsMode.PLAIN: "$mail->SMTPAutoTLS = false;\n",
    }
    return (
        "<?php\n"
        "use PHPMailer\\PHPMailer\\PHPMailer;\n\n"
        "$mail = new PHPMailer(true);\n"
        "$mail->isSMTP();\n"
        f"$mail->Host = '{server.host}';\n"
        f"$mail->Port = {server.port};\n"
        f"{mode.get(server.mode, '')}"
        "$mail->SMTPAuth = true;\n"
        f"$mail->Username = '{server.username}';\n"
        f"$mail->Password = getenv('{server.password_variable}');\n"
        "$mail->Timeout = 30;\n"
        f"$mail->setFrom('{server.sender}');\n"
    )


PHPMAILER: Final = Program(
    name="phpmailer",
    title="PHPMailer",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)
