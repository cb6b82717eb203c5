"""`postreeve snippet`: correct settings of any kind for a given server, ready to paste."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final, NoReturn

import typer

from postreeve.cli.output import clean, say
from postreeve.clientconfig.kind import KINDS, kind_named
from postreeve.clientconfig.settings import Kind, Server, TlsMode
from postreeve.ports.provider import by_host
from postreeve.ports.service import convention

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}\Z|\[?[0-9A-Fa-f:.]{2,45}\]?\Z")
_WORD: Final = re.compile(r"[^\s\"'`\\$<>&{}|;#%\x00-\x1f\x7f]{1,254}\Z")
_MODES: Final = {"starttls": TlsMode.STARTTLS, "implicit": TlsMode.IMPLICIT, "none": TlsMode.PLAIN}


def snippet(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What to write settings for; --list has all.")] = "",
    host: Annotated[str, typer.Option("--host", help="The server's name.")] = "smtp.example.com",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Its port; 465 or 587 if not given.")
    ] = None,
    tls: Annotated[
        str, typer.Option("--tls", help="implicit, starttls or none; as the port has it if not given.")
    ] = "",
    user: Annotated[str, typer.Option("--user", help="The user name.")] = "user@example.com",
    sender: Annotated[str, typer.Option("--sender", help="The sender's address; the user if not given.")] = "",
    list_kinds: Annotated[bool, typer.Option("--list", help="List all kinds.")] = False,
) -> None:
    """Print correct mail settings for a program or library; the password comes from the variable SMTP_PASSWORD."""
    if list_kinds:
        width = max(len(one.name) for one in KINDS)
        for one in sorted(KINDS, key=lambda one: one.name):
            say(f"{one.name:<{width}}  {one.title}")
        return
    if not kind:
        _refuse("name a kind; --list has all")
    found = kind_named(kind)
    if found is None:
        _refuse(f"no kind {kind!r}; --list has all")
    sender = sender or (user if "@" in user else f"{user}@example.com")
    for name, value, pattern in (("--host", host, _HOST), ("--user", user, _WORD), ("--sender", sender, _WORD)):
        if pattern.match(value) is None:
            _refuse(f"{name} {value!r} cannot stand in a settings file")
    mode = _mode(tls, found, host, port)
    if mode not in found.modes:
        able = ", ".join(sorted(one.value for one in found.modes))
        _refuse(f"{found.title} cannot do {mode.value} TLS; it can do: {able}")
    port = port or (465 if mode is TlsMode.IMPLICIT else 587)
    sys.stdout.write(found.snippet(Server(host, port, mode, user, sender)))


def _mode(tls: str, kind: Kind, host: str, port: int | None) -> TlsMode:
    """What was asked for, else what the provider or the port has, else the best that the kind can do."""
    if tls:
        if tls not in _MODES:
            _refuse(f"--tls {tls!r}: it is implicit, starttls or none")
        return _weaker(_MODES[tls], kind)
    provider = by_host(host)
    if port is not None:
        served = provider.serves(port) if provider is not None else None
        return _weaker(TlsMode((served.mode if served is not None else convention(port)).value), kind)
    return TlsMode.IMPLICIT if TlsMode.IMPLICIT in kind.modes else _weaker(TlsMode.STARTTLS, kind)


def _weaker(mode: TlsMode, kind: Kind) -> TlsMode:
    """STARTTLS where offered, for kinds that cannot insist on it."""
    is_lacking = mode is TlsMode.STARTTLS and mode not in kind.modes
    return TlsMode.OPPORTUNISTIC if is_lacking and TlsMode.OPPORTUNISTIC in kind.modes else mode


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"postreeve snippet: {clean(problem)}\n")
    raise typer.Exit(2)
