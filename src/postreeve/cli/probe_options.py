"""The options of `postreeve probe`, and what they come to."""

from __future__ import annotations

import ipaddress
import os
import sys
import time
import uuid
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from postreeve.checks.facts import Intent
from postreeve.checks.stage import Stage
from postreeve.cli import password as passwords
from postreeve.cli.refusal import Refused
from postreeve.mail.address import parse_mailbox
from postreeve.mail.date import format_date
from postreeve.ports.known_good import KNOWN_GOOD, VARIABLE, BadKnownGood, KnownGood, parse_known_good
from postreeve.probes.request import Request
from postreeve.probes.script import Login
from postreeve.probes.target import Target

_TOKEN_MECHANISMS: Final = ("XOAUTH2", "OAUTHBEARER")


class Role(Enum):
    """Whose eyes to look with."""

    APPLICATION = "application"
    SERVER = "server"


class Until(Enum):
    """The last stage to walk."""

    TCP = "tcp"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"


def _parse_path(text: str) -> str:
    """A mailbox, or "<>"."""
    bare = text.removeprefix("<").removesuffix(">")
    if bare and parse_mailbox(bare) is None:
        raise typer.BadParameter(f"{text!r} is no address")
    return bare


def _parse_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no IP address") from None


def _parse_server(text: str) -> tuple[str, int]:
    """A name server: ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT."""
    address, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "53")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise typer.BadParameter(f"{text!r} is no ADDRESS or ADDRESS:PORT")
    return _parse_ip(address), int(port)


def _parse_good(text: str) -> tuple[KnownGood, ...]:
    try:
        return parse_known_good(text)
    except BadKnownGood as problem:
        raise typer.BadParameter(str(problem)) from None


TargetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="A host, host:port, [v6]:port, a mail domain (its MX), submission:DOMAIN, or a settings file.",
    ),
]
User = Annotated[str, typer.Option("--user", metavar="NAME", help="Log in as. The password is asked for.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", metavar="FILE", help="Its first line.")]
PasswordEnv = Annotated[
    str, typer.Option("--password-env", metavar="VARIABLE", help="The environment variable that holds the password.")
]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Mechanism = Annotated[
    list[str],
    typer.Option(
        "--mechanism",
        metavar="NAME",
        help="Use this SASL mechanism; may be repeated. With XOAUTH2 or OAUTHBEARER the password is the token.",
    ),
]
MailFrom = Annotated[
    str | None,
    typer.Option("--mail-from", metavar="ADDRESS", parser=_parse_path, help='Reverse-path; "<>" is the null one.'),
]
To = Annotated[str, typer.Option("--to", metavar="ADDRESS", parser=_parse_path, help="Recipient for RCPT.")]
Send = Annotated[bool, typer.Option("--send", help="Really send a small test message to --to.")]
Size = Annotated[
    int, typer.Option("--size", metavar="OCTETS", min=0, help="Size of the message that shall go through.")
]
Source = Annotated[
    list[str],
    typer.Option("--source", metavar="ADDRESS", parser=_parse_ip, help="Connect from here; one for each family."),
]
Four = Annotated[bool, typer.Option("-4", "--ipv4", help="IPv4 only.")]
Six = Annotated[bool, typer.Option("-6", "--ipv6", help="IPv6 only.")]
Tls = Annotated[
    str, typer.Option("--tls", metavar="MODE", help="The mode that the client means: auto, starttls, implicit, none.")
]
Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65_535, help="Default: as the target says, or the best.")
]
All = Annotated[bool, typer.Option("--all-addresses", help="Every address, not one of each family.")]
As = Annotated[
    Role | None, typer.Option("--as", help="Judge for an application that submits, or a server that relays.")
]
Stop = Annotated[Until, typer.Option("--stop-after", help="The last stage to walk.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.2, max=300, help="For each step.")]
Hello = Annotated[str, typer.Option("--hello", metavar="NAME", help="The name in EHLO. Default: this machine's own.")]
Good = Annotated[
    list[str],
    typer.Option(
        "--known-good",
        metavar="HOST:PORT",
        help=f'A server that is known to answer; may be repeated; "none" for none. Default: ${VARIABLE}, or ours.',
    ),
]
Resolver = Annotated[
    list[str],
    typer.Option("--resolver", metavar="ADDRESS", help="Ask this name server too, to see whether it differs."),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Trust these authorities (PEM) instead of the system's."),
]
Offline = Annotated[
    bool,
    typer.Option("--quiet-network", help="Contact the target only: no controls elsewhere, no OCSP, no autoconfig."),
]
Transcript = Annotated[bool, typer.Option("--transcript", help="Print the conversations too; secrets are masked.")]
Save = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write what was seen as JSON.")]
FactsFile = Annotated[
    Path | None, typer.Option("--facts", metavar="FILE", help="Judge what --save wrote; no network is used.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_INTENTS: Final = {**{one.value: one for one in Intent}, "none": Intent.PLAIN}


@dataclass(frozen=True, slots=True)
class Given:
    """The options as typed."""

    user: str
    password_file: Path | None
    password_env: str
    password_stdin: bool
    mechanisms: tuple[str, ...]
    mail_from: str | None
    recipient: str
    send: bool
    size: int
    sources: tuple[str, ...]
    family: int | None
    tls: str
    port: int | None
    all_addresses: bool
    role: Role | None
    until: Until
    timeout: float
    hello: str
    known_good: tuple[str, ...]
    resolvers: tuple[str, ...]
    ca_file: Path | None
    is_quiet: bool


def make_request(given: Given, target: Target, stored: Login | None) -> Request:
    """The request for a target; `stored` are the credentials of a settings file. Raises Refused, BadParameter."""
    if given.tls not in _INTENTS:
        raise typer.BadParameter(f"--tls is auto, starttls, implicit or none, not {given.tls!r}")
    if given.send and not given.recipient:
        raise typer.BadParameter("--send needs --to: a mailbox of your own")
    if given.ca_file is not None and not given.ca_file.is_file():
        raise typer.BadParameter(f"--ca-file {given.ca_file} is no file")
    login = _login(given, target) or stored
    mail_from = given.mail_from
    if mail_from is None and given.recipient:
        candidates = (target.sender, login.username if login else "")
        mail_from = next((one for one in candidates if parse_mailbox(one) is not None), "")
    good, is_own = _known_good(given)
    sources = {":" in one: one for one in given.sources}
    message = _message(mail_from or "", given.recipient, given.size) if given.send else None
    return Request(
        intent=_INTENTS[given.tls],
        port=given.port,
        family=given.family or ((6 if True in sources else 4) if len(sources) == 1 else None),
        source_ipv4=sources.get(False, ""),
        source_ipv6=sources.get(True, ""),
        login=login,
        mail_from=mail_from,
        recipient=given.recipient,
        message=message,
        message_octets=given.size or len(message or b""),
        stop_after=Stage.DATA if given.send else Stage(given.until.value),
        hello_name=given.hello or target.hello_name,
        is_application=None if given.role is None else given.role is Role.APPLICATION,
        timeout_seconds=given.timeout,
        all_addresses=given.all_addresses,
        known_good=good,
        has_own_known_good=is_own,
        nowhere=() if given.is_quiet else Request().nowhere,
        second_servers=tuple(_parse_server(one) for one in given.resolvers),
        ca_file=given.ca_file,
        may_ask_authority=not given.is_quiet,
        may_autoconfigure=not given.is_quiet,
    )


def _login(given: Given, target: Target) -> Login | None:
    username = given.user or target.username
    has_source = given.password_file is not None or given.password_env or given.password_stdin
    if target.has_password:
        sys.stderr.write(
            "postreeve: the password in the target was not used; arguments are seen by everybody on this machine "
            "and kept by the shell: give it with --password-env or --password-file\n"
        )
    if not username:
        if has_source or given.mechanisms:
            raise typer.BadParameter("a password needs --user")
        return None
    if not has_source and not given.user:
        return None
    secret = _read_secret(given, username)
    mechanisms = tuple(one.upper() for one in given.mechanisms)
    if mechanisms and all(one in _TOKEN_MECHANISMS for one in mechanisms):
        return Login(username, token=secret, mechanisms=mechanisms)
    return Login(username, secret, mechanisms=mechanisms)


def _read_secret(given: Given, username: str) -> str:
    if given.password_file is not None:
        return passwords.read_file(given.password_file)
    if given.password_env:
        secret = os.environ.get(given.password_env, "")
        if not secret:
            raise Refused(f"the environment variable {given.password_env} is not set or empty")
        return secret
    if given.password_stdin:
        return passwords.read_stdin()
    return passwords.ask(f"Password of {username}: ")


def _known_good(given: Given) -> tuple[tuple[KnownGood, ...], bool]:
    if given.is_quiet:
        return (), False
    if given.known_good:
        return tuple(one for text in given.known_good for one in _parse_good(text)), True
    variable = os.environ.get(VARIABLE, "").strip()
    return (_parse_good(variable), True) if variable else (KNOWN_GOOD, False)


def _message(mail_from: str, recipient: str, size: int) -> bytes:
    """A message that says what it is; filled up to `size`."""
    now = time.time()
    sender = mail_from or recipient
    head = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: Test by postreeve probe\r\nDate: {format_date(now)}\r\n"
        f"Message-ID: <{uuid.uuid4().hex}@{sender.rpartition('@')[2]}>\r\nAuto-Submitted: auto-generated\r\n\r\n"
        "This message was sent to test the way here. Nothing need be done.\r\n"
    ).encode()
    line = b"." * 76 + b"\r\n"
    return head + line.replace(b".", b"-") * max(0, (size - len(head)) // len(line))
