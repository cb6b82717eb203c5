"""msmtp: accounts of msmtprc.

msmtp 1.8 (its manual page): `defaults` fills the accounts after it, and `account NAME : OTHER` takes over what the
others say. `tls` is off, `tls_starttls` and `tls_certcheck` are on unless set; with `tls on`, STARTTLS is insisted on.
The port is 25, or 465 for TLS without STARTTLS. A command without argument means `on`. `auth` is off unless set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.program import Form, Program, basename, fulfil, settings_of
from postreeve.clientconfig.program.words import scan_words
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_COMMANDS: Final = frozenset({
    "defaults", "account", "eval", "host", "port", "source_ip", "proxy_host", "proxy_port", "socket",
    "timeout", "protocol", "domain", "auth", "user", "password", "passwordeval", "ntlmdomain", "tls",
    "tls_starttls", "tls_trust_file", "tls_crl_file", "tls_fingerprint", "tls_key_file", "tls_cert_file",
    "tls_certcheck", "tls_priorities", "tls_host_override", "tls_min_dh_prime_bits", "from", "auto_from",
    "maildomain", "from_full_name", "allow_from_override", "dsn_notify", "dsn_return", "set_from_header",
    "set_date_header", "set_msgid_header", "remove_bcc_headers", "undisclosed_recipients", "logfile",
    "logfile_time_format", "syslog", "aliases", "add_missing_from_header", "keepbcc",
    "add_missing_date_header", "connect_timeout", "tls_force_sslv3",
})  # fmt: skip
_FILES: Final = (".msmtprc", "msmtprc", "msmtp.conf")


def _is_msmtprc(file: str, text: str) -> bool:
    name = basename(file)
    if name in _FILES or name.startswith("msmtprc") or name.endswith(".msmtprc"):
        return "host" in text
    return file.replace("\\", "/").endswith("msmtp/config") and "host" in text


def _scan(source: Source) -> Iterable[Group]:
    """One group for each account that has a command of its own."""
    accounts: dict[str, list[Entry]] = {}
    groups: list[Group] = []
    defaults: list[Entry] = []
    inherited: list[Entry] = []
    own: list[Entry] = defaults
    label: str | None = None

    def close() -> None:
        if label is not None:
            accounts[label] = [*inherited, *own]
            if own:
                groups.append(group_of(source, own, label, inherited))

    for entry in scan_words(source):
        match entry.key:
            case "defaults":
                close()
                label, inherited, defaults = None, [], []
                own = defaults
            case "account":
                close()
                label, _, others = (part.strip() for part in str(entry.scalar.value).partition(":"))
                parents = (one.strip() for one in others.split(",") if one.strip())
                inherited = [*defaults, *(one for parent in parents for one in accounts.get(parent, ()))]
                own = []
            case _:
                own.append(entry)
    close()
    if not groups and defaults:
        groups.append(group_of(source, defaults))
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    mode = _mode(group)
    auth = _word(group, "auth", "off")
    contradictions = []
    if group.has("user") and auth == "off":
        contradictions.append("there is a user, but auth is off, so msmtp does not log in")
    if auth not in ("off", "external") and not group.has("user"):
        contradictions.append(f"auth is {auth}, but there is no user")
    verifies = group.decides(_word(group, "tls_certcheck", "on") != "off", "tls_certcheck")
    return settings_of(
        group,
        host=group.text("host"),
        port=group.number("port", 465 if mode.value is TlsMode.IMPLICIT else 25),
        mode=mode,
        username=group.text("user") if auth != "off" else None,
        password=_password(group),
        mechanism=group.text("auth") if auth not in ("on", "off") else None,
        sender=group.text("from"),
        verifies_certificate=verifies,
        timeout_seconds=group.seconds("timeout"),
        hello_name=group.text("domain"),
        contradictions=tuple(contradictions),
    )


def _word(group: Group, name: str, default: str) -> str:
    return (group.says(name) or "on") if name in group.last else default


def _password(group: Group) -> Value[str] | None:
    evaluated = group.text("passwordeval")
    if evaluated is not None:
        return Value(None, evaluated.key, evaluated.span, is_reference=True)
    return group.text("password")


def _mode(group: Group) -> Value[TlsMode]:
    if _word(group, "tls", "off") != "on":
        return group.decides(TlsMode.PLAIN, "tls")
    if _word(group, "tls_starttls", "on") == "off":
        return group.decides(TlsMode.IMPLICIT, "tls_starttls")
    return group.decides(TlsMode.STARTTLS, "tls_starttls", "tls")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, host="host", port="port", username="user", sender="from", timeout_seconds="timeout")
    if changes is None or wanted.mode in (TlsMode.BOTH, TlsMode.OPPORTUNISTIC):
        return None
    if wanted.mode is not None:
        changes["tls"] = "off" if wanted.mode is TlsMode.PLAIN else "on"
        if wanted.mode is TlsMode.IMPLICIT:
            changes["tls_starttls"] = "off"
        elif group.has("tls_starttls"):
            changes["tls_starttls"] = "on"
    if wanted.verifies_certificate is not None:
        changes["tls_certcheck"] = "on" if wanted.verifies_certificate else "off"
    if wanted.username is not None or (group.has("user") and _word(group, "auth", "off") == "off"):
        changes["auth"] = "on"
    return changes


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    return quoted(plain_text(wish), scalar.quote if scalar is not None else "")


def _show(server: Server) -> str:
    tls = "off" if server.mode is TlsMode.PLAIN else "on"
    return (
        "defaults\n"
        "auth on\n"
        f"tls {tls}\n"
        f"tls_starttls {'off' if server.mode is TlsMode.IMPLICIT else 'on'}\n"
        "\n"
        "account default\n"
        f"host {server.host}\n"
        f"port {server.port}\n"
        f"from {server.sender}\n"
        f"user {server.username}\n"
        f"passwordeval printenv {server.password_variable}\n"
    )


MSMTP: Final = Program(
    name="msmtp",
    title="msmtp",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_msmtprc, _scan, Notation(line=lambda key, literal: f"{key} {literal}", literal=_literal)),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_COMMANDS,
)
