"""Ruby on Rails: `config.action_mailer.smtp_settings` of an environment, or `ActionMailer::Base.smtp_settings`.

The mail gem, `lib/mail/network/delivery_methods/smtp.rb`: `tls` and `ssl` are implicit TLS; `enable_starttls` (2.8)
insists on STARTTLS, `enable_starttls_auto`, which is on unless it is switched off, takes it where it is offered. The
address is localhost and the port 25 unless set; `openssl_verify_mode` none accepts any certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import env_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.outline import ModeChanges, amend, named, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed

_NAMES: Final = {
    "address": "host", "port": "port", "user_name": "user", "password": "password", "domain": "hello",
    "authentication": "mechanism", "enable_starttls": "starttls", "enable_starttls_auto": "auto", "tls": "tls",
    "ssl": "ssl", "openssl_verify_mode": "verify_mode", "open_timeout": "timeout", "read_timeout": "read_timeout",
    "return_response": "response",
}  # fmt: skip
_SPELLS: Final = {
    "starttls": "enable_starttls",
    "user": "user_name",
    "timeout": "open_timeout",
    "auto": "enable_starttls_auto",
}


def _is_mine(file: str, text: str) -> bool:
    return file.endswith((".rb", ".rb.example")) and "smtp_settings" in text


def _scan(source: Source) -> Iterable[Group]:
    code = scan_code(source, Language.RUBY)
    senders: list[Entry] = []
    for one in code.assignments:
        if one.target.endswith(("default_options", "default")):
            senders += [renamed(entry, "default.from") for entry in flatten(one.value) if entry.key == "from"]
    groups = []
    for one in code.assignments:
        if one.target.endswith("smtp_settings"):
            entries = named(flatten(one.value), _NAMES, ("user", "enable", "openssl", "address", "authent", "passw"))
            if any(entry.key in ("host", "user", "port", "password") for entry in entries):
                groups.append(group_of(source, [*entries, *senders[:1]]))
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    verify = group.text("verify_mode")
    verifies = None
    if (verify is not None and not verify.is_reference) or group.says("verify_mode"):
        said = group.says("verify_mode").rpartition("::")[2]
        verifies = group.decides(said not in ("none", "verify_none", "0"), "verify_mode")
    elif verify is not None and verify.span is not None:
        written = group.source.written(verify.span)
        verifies = group.decides(not written.upper().endswith("VERIFY_NONE"), "verify_mode")
        verifies = Value(verifies.value, verifies.key, verifies.span)
    contradictions: tuple[str, ...] = ()
    mode = _mode(group)
    if mode.value is TlsMode.BOTH:
        contradictions = ("tls (or ssl) and enable_starttls are both true",)
    host = group.text("host") or Value("localhost")
    sender = group.text("default.from")
    return outline(
        group,
        mode,
        default_port=25,
        host=host,
        sender=sender,
        verifies_certificate=verifies,
        contradictions=contradictions,
    )


def _mode(group: Group) -> Value[TlsMode]:
    starttls = group.is_yes("starttls")
    for name in ("tls", "ssl"):
        if group.is_yes(name):
            return group.mode(TlsMode.BOTH if starttls else TlsMode.IMPLICIT, name)
        if name in group.last and group.last[name].scalar.is_reference:
            return group.mode(TlsMode.IMPLICIT, name)
    if starttls:
        return group.mode(TlsMode.STARTTLS, "starttls")
    if group.says("starttls") == "auto":
        return group.mode(TlsMode.OPPORTUNISTIC, "starttls")
    if starttls is False or group.is_yes("auto") is False:
        return group.mode(TlsMode.PLAIN, "starttls", "auto")
    return group.mode(TlsMode.OPPORTUNISTIC, "auto")


_MODES: Final[ModeChanges] = {
    TlsMode.IMPLICIT: {"tls": True, "~ssl": True, "~starttls": False, "~auto": False},
    TlsMode.STARTTLS: {"starttls": True, "~tls": False, "~ssl": False},
    TlsMode.OPPORTUNISTIC: {"auto": True, "~starttls": "auto", "~tls": False, "~ssl": False},
    TlsMode.PLAIN: {"starttls": False, "~auto": False, "~tls": False, "~ssl": False},
}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    is_verifying, verify = wanted.verifies_certificate, group.last.get("verify_mode")
    plain = Wanted(wanted.host, wanted.port, wanted.mode, wanted.username, None, None, wanted.timeout_seconds)
    if wanted.sender is not None:
        return None
    changes = amend(group, plain, _MODES)
    if is_verifying is None or changes is None:
        return changes
    return None if verify is None else {**changes, "verify_mode": "peer" if is_verifying else "none"}


def ruby_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A literal of Ruby in the quotes that stand there now; a symbol stays one."""
    if isinstance(wish, bool):
        return plain_text(wish)
    if isinstance(wish, int):
        return quoted(str(wish), scalar.quote) if scalar is not None and scalar.quote in ("'", '"') else str(wish)
    if scalar is not None and scalar.quote == ":" and env_literal(wish, None) == wish:
        return f":{wish}"
    quote = scalar.quote if scalar is not None and scalar.quote in ("'", '"') else '"'
    return quoted(plain_text(wish), quote)


_NOTATION: Final = Notation(
    line=lambda key, literal: f"{key}: {literal}",
    literal=ruby_literal,
    spell=lambda name: _SPELLS.get(name, name),
    joint=",",
    removes=False,
)


def _show(server: Server) -> str:
    mode = {TlsMode.IMPLICIT: "tls: true", TlsMode.STARTTLS: "enable_starttls: true"}
    return (
        "Rails.application.configure do\n"
        "  config.action_mailer.delivery_method = :smtp\n"
        f'  config.action_mailer.default_options = {{ from: "{server.sender}" }}\n'
        "  config.action_mailer.smtp_settings = {\n"
        f'    address: "{server.host}",\n'
        f"    port: {server.port},\n"
        f'    user_name: "{server.username}",\n'
        f'    password: ENV["{server.password_variable}"],\n'
        "    authentication: :plain,\n"
        f"    {mode.get(server.mode, 'enable_starttls: false')},\n"
        "    open_timeout: 10,\n"
        "    read_timeout: 30\n"
        "  }\n"
        "end\n"
    )


RAILS: Final = Program(
    name="rails",
    title="Ruby on Rails",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)
