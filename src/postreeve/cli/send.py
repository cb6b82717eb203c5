"""`postreeve send`: submit a message, from a file, from standard input, or a small one for a test."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from postreeve.cli import password as passwords
from postreeve.cli.output import clean, print_json, say
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.refusal import Refused
from postreeve.cli.selection import parse_span
from postreeve.cli.submission import Server, Submitted, queue_id, submit
from postreeve.cli.submission_server import TlsChoice, find_server
from postreeve.cli.trouble import explain, hint_for
from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.date import format_date
from postreeve.mail.domain import parse_domain
from postreeve.mail.envelope import (
    DeliverBy,
    EnvelopeRecipient,
    MailParameters,
    Notify,
    RecipientParameters,
    Return,
)
from postreeve.outbound.outgoing import Outgoing
from postreeve.queue.disposition import text_of
from postreeve.queue.outcome import Delivered, Outcome

_MAX_OCTETS: Final = 1 << 30
_LONE_LF: Final = re.compile(rb"(?<!\r)\n")
_DELIVER_BY: Final = re.compile(r"([^;]+)(?:;([NR])(T?))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReversePath:
    """Who it is from; None is the null reverse-path."""

    mailbox: Mailbox | None


def _parse_from(text: str) -> ReversePath:
    bare = text.removeprefix("<").removesuffix(">")
    return ReversePath(None if text == "<>" else _parse_address(bare))


def _parse_address(text: str) -> Mailbox:
    mailbox = parse_mailbox(text)
    if mailbox is None:
        raise typer.BadParameter(f"{text!r} is no address")
    return mailbox


def _parse_notify(text: str) -> frozenset[Notify]:
    try:
        chosen = frozenset(Notify(word.strip().upper()) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter(f'{text!r} is not "never" nor some of success,failure,delay') from None
    if Notify.NEVER in chosen and len(chosen) > 1:
        raise typer.BadParameter('"never" stands alone')
    return chosen


def _parse_ret(text: str) -> Return:
    try:
        return Return(text.upper())
    except ValueError:
        raise typer.BadParameter(f'{text!r} is neither "full" nor "hdrs"') from None


def _parse_by(text: str) -> DeliverBy:
    matched = _DELIVER_BY.fullmatch(text)
    if matched is None:
        raise typer.BadParameter(f'{text!r} is no time such as "2h", "2h;N" or "2h;R"')
    return DeliverBy(time.time() + parse_span(matched[1]), (matched[2] or "N").upper() == "R", bool(matched[3]))


File = Annotated[
    str | None, typer.Argument(metavar="FILE", help='The message; "-" is standard input; default: a small one.')
]
From = Annotated[
    ReversePath, typer.Option("--from", metavar="ADDRESS", parser=_parse_from, help='Reverse-path; "<>" is null.')
]
To = Annotated[list[Mailbox], typer.Option("--to", metavar="ADDRESS", parser=_parse_address, help="May be repeated.")]
Host = Annotated[str | None, typer.Option("--server", metavar="HOST", help="Default: the server of the configuration.")]
PortNumber = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Default: 465 with TLS implicit, 587 otherwise.")
]
Tls = Annotated[TlsChoice | None, typer.Option("--tls", help="Default: implicit on port 465, starttls otherwise.")]
User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Log in as.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="Read the password from a file.")
]
Ca = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Trust these certificates (PEM) too.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Take any certificate. The password may go to anybody.")]
NotifyOption = Annotated[
    frozenset[Notify] | None,
    typer.Option(
        "--notify", metavar="WHEN", parser=_parse_notify, help="DSN: never, or some of success,failure,delay."
    ),
]
Ret = Annotated[
    Return | None, typer.Option("--ret", metavar="WHAT", parser=_parse_ret, help="DSN returns full or hdrs.")
]
Envid = Annotated[str | None, typer.Option("--envid", metavar="ID", help="DSN: the envelope's identifier.")]
HoldFor = Annotated[
    float | None, typer.Option("--hold-for", metavar="TIME", parser=parse_span, help="FUTURERELEASE: hold it so long.")
]
Priority = Annotated[int | None, typer.Option("--priority", min=-9, max=9, help="MT-PRIORITY.")]
By = Annotated[
    DeliverBy | None,
    typer.Option(
        "--by",
        metavar="TIME[;N|R]",
        parser=_parse_by,
        help="DELIVERBY: within this time, else notify (N) or return (R).",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the conversation too.")]


def send(
    sender: From,
    to: To,
    file: File = None,
    host: Host = None,
    port: PortNumber = None,
    tls: Tls = None,
    user: User = None,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    ca: Ca = None,
    insecure: Insecure = False,
    notify: NotifyOption = None,
    ret: Ret = None,
    envid: Envid = None,
    hold_for: HoldFor = None,
    priority: Priority = None,
    by: By = None,
    verbose: Verbose = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Submit a message, through the server of the configuration or any other; prints its reply and the queue ID.

    Exit status 0 when the server took it for all recipients.
    """
    if envid is not None and (not envid or len(envid) > 100 or not all(" " < one <= "~" for one in envid)):
        raise typer.BadParameter("1 to 100 printable US-ASCII characters without spaces", param_hint="--envid")
    if password_stdin and (file == "-" or password_file is not None):
        other = "the message" if file == "-" else "--password-file"
        raise typer.BadParameter(f"cannot be together with {other}", param_hint="--password-stdin")
    password = (
        passwords.read_stdin() if password_stdin else passwords.read_file(password_file) if password_file else None
    )
    server = find_server(config, host, port, tls, user, password, ca, insecure, _own_name())
    path = sender.mailbox
    content = _test_message(path, to) if file is None else _read(file)
    given = MailParameters(ret=ret, envid=envid, deliver_by=by, priority=priority, smtputf8=not _is_ascii(path, to))
    hold = None if hold_for is None else max(1, int(hold_for))
    outgoing = Outgoing(path, _recipients(to, notify), content, len(content), given, time.time(), hold_for_seconds=hold)
    result = asyncio.run(submit(server, outgoing, _needs(outgoing)))
    raise typer.Exit(_report(server, to, result, as_json=as_json, verbose=verbose))


def _recipients(to: list[Mailbox], notify: frozenset[Notify] | None) -> tuple[EnvelopeRecipient, ...]:
    if notify is None:
        return tuple(EnvelopeRecipient(mailbox) for mailbox in to)
    return tuple(EnvelopeRecipient(mailbox, RecipientParameters(notify)) for mailbox in to)


def _needs(outgoing: Outgoing) -> frozenset[str]:
    """The fields of Capabilities without which an option would silently do nothing."""
    given = outgoing.parameters
    is_notified = any(one.parameters.notify is not None for one in outgoing.recipients)
    needs = {
        "dsn": is_notified or given.ret is not None or given.envid is not None,
        "future_release": outgoing.hold_for_seconds is not None,
        "mt_priority": given.priority is not None,
        "deliver_by": given.deliver_by is not None,
    }
    return frozenset(field for field, is_needed in needs.items() if is_needed)


def _report(server: Server, to: list[Mailbox], result: Submitted | Outcome, *, as_json: bool, verbose: bool) -> int:
    if not isinstance(result, Submitted):
        if as_json:
            print_json(
                {"server": str(server), "accepted": False, "problem": text_of(result), "hint": hint_for(result, server)}
            )
            return 1
        raise Refused(f"{server}: {clean(explain(result, server))}")
    taken = [outcome for outcome in result.outcomes if isinstance(outcome, Delivered)]
    ident = next((found for outcome in taken if (found := queue_id(text_of(outcome)))), "")
    is_taken_by_all = len(taken) == len(result.outcomes)
    if as_json:
        print_json(
            {
                "server": str(server),
                "tls": result.tls,
                "accepted": is_taken_by_all,
                "queue_id": ident or None,
                "recipients": [
                    {"address": str(mailbox), "accepted": isinstance(outcome, Delivered), "reply": text_of(outcome)}
                    for mailbox, outcome in zip(to, result.outcomes, strict=True)
                ],
            }
        )
        return 0 if is_taken_by_all else 1
    if verbose:
        for line in result.transcript.splitlines():
            say(f"  {clean(line)}")
    if taken:
        say(f"{server}: {clean(text_of(taken[0]))}")
        if ident:
            say(f"queue ID: {ident}")
    for mailbox, outcome in zip(to, result.outcomes, strict=True):
        if not isinstance(outcome, Delivered):
            sys.stderr.write(
                f"postreeve: {clean(str(mailbox))} refused by {server}: {clean(explain(outcome, server))}\n"
            )
    return 0 if is_taken_by_all else 1


def _read(file: str) -> bytes:
    """The message with the line ends of the wire."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MAX_OCTETS + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(_MAX_OCTETS + 1)
    except OSError as problem:
        raise Refused(f"{file} cannot be read: {problem.strerror}") from None
    if len(content) > _MAX_OCTETS:
        raise Refused(f"{file} is larger than 1 GiB")
    if not content:
        raise Refused(f"{'standard input' if file == '-' else file} is empty: there is no message in it")
    content = _LONE_LF.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _test_message(sender: Mailbox | None, to: list[Mailbox]) -> bytes:
    now = time.time()
    name = sender if sender is not None else f"postmaster@{_own_name()}"
    text = (
        f"From: <{name}>\r\nTo: {', '.join(f'<{mailbox}>' for mailbox in to)}\r\nSubject: test message\r\n"
        f"Date: {format_date(now)}\r\nMessage-ID: <{int(now * 1e6):x}.test@{_own_name()}>\r\n\r\n"
        "A test message, made by `postreeve send`.\r\n"
    )
    return text.encode()


def _is_ascii(sender: Mailbox | None, to: list[Mailbox]) -> bool:
    return all(mailbox.is_ascii for mailbox in (*to, *([sender] if sender is not None else [])))


def _own_name() -> str:
    domain = parse_domain(socket.gethostname())
    return domain.ascii if domain is not None else "localhost"
