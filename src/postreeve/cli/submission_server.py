"""Which server `postreeve send` talks to: the configured one where no other is named."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from postreeve.app.configuration import Installation
from postreeve.app.dev import ACCOUNT, PASSWORD
from postreeve.cli import password as passwords
from postreeve.cli.place import installation as read_installation
from postreeve.cli.refusal import Refused
from postreeve.cli.server import read_facts
from postreeve.cli.submission import Server
from postreeve.config.model import ListenerTable
from postreeve.mail.domain import parse_domain
from postreeve.policy.settings import Role
from postreeve.queue.settings import Credentials, TlsMode
from postreeve.smtp.settings import TlsOffer


class TlsChoice(Enum):
    """How TLS begins."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


_MODES = {
    TlsChoice.IMPLICIT: TlsMode.IMPLICIT,
    TlsChoice.STARTTLS: TlsMode.REQUIRED,
    TlsChoice.NONE: TlsMode.NONE,
}


def find_server(
    config: Path | None,
    host: str | None,
    port: int | None,
    tls: TlsChoice | None,
    user: str | None,
    password: str | None,
    ca: Path | None,
    insecure: bool,
    hello: str,
) -> Server:
    """The server that the options mean. Raises ConfigError, Refused; wrong usage where they contradict each other."""
    if user is None and password is not None:
        raise typer.BadParameter("whose password? Name the account with --user", param_hint="--user")
    if host is not None:
        return _named(host, port, tls, _credentials(user, password), ca, insecure, hello)
    place = read_installation(config)
    listener = _choose(place, port, tls)
    is_dev = place.text.startswith("# Written by `postreeve serve --dev`")
    if user is None and listener.role is Role.SUBMISSION:
        if not is_dev:
            raise typer.BadParameter("submission needs a login: name the account with --user", param_hint="--user")
        user, password = ACCOUNT, PASSWORD
    certificate = place.config.tls.certificate
    return Server(
        host=_reachable(listener),
        port=_real_port(place, listener),
        tls=_mode(listener, tls),
        verify=not insecure,
        name=place.config.hostname.ascii,
        ca_file=ca or (None if certificate is None else Path(certificate)),
        credentials=_credentials(user, password),
        hello=hello,
        is_ours=True,
    )


def _named(
    host: str,
    port: int | None,
    tls: TlsChoice | None,
    credentials: Credentials | None,
    ca: Path | None,
    insecure: bool,
    hello: str,
) -> Server:
    if port is None:
        port = 465 if tls in (None, TlsChoice.IMPLICIT) else 587
    choice = tls or (TlsChoice.IMPLICIT if port == 465 else TlsChoice.STARTTLS)
    if choice is TlsChoice.NONE and credentials is not None:
        raise typer.BadParameter("a password is never sent without TLS", param_hint="--tls")
    try:
        name = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        domain = parse_domain(host)
        if domain is None or domain.is_literal:
            raise typer.BadParameter(f"{host!r} is no host name and no address", param_hint="--server") from None
        name = domain.ascii
    return Server(name, port, _MODES[choice], not insecure, ca_file=ca, credentials=credentials, hello=hello)


def _credentials(user: str | None, password: str | None) -> Credentials | None:
    if user is None:
        return None
    return Credentials(user, passwords.ask(f"password of {user}: ") if password is None else password)


def _choose(place: Installation, port: int | None, tls: TlsChoice | None) -> ListenerTable:
    """The listener that a mail program would use: implicit TLS rather than STARTTLS (RFC 8314)."""
    listeners: Sequence[ListenerTable] = place.config.listener
    if port is not None:
        found = [one for one in listeners if port in (one.port, _real_port(place, one))]
    else:
        found = [one for one in listeners if one.role is Role.SUBMISSION]
        found.sort(key=lambda one: one.offer is not TlsOffer.IMPLICIT)
    if tls is not None:
        found = [one for one in found if (one.offer is TlsOffer.IMPLICIT) == (tls is TlsChoice.IMPLICIT)]
    if not found:
        what = f"port {port}" if port is not None else "submission"
        mode = f" with TLS {tls.value}" if tls is not None else ""
        raise Refused(f"{place.path} has no listener for {what}{mode}", "name another server with --server")
    return found[0]


def _mode(listener: ListenerTable, tls: TlsChoice | None) -> TlsMode:
    if tls is not None:
        return _MODES[tls]
    if listener.offer is TlsOffer.IMPLICIT:
        return TlsMode.IMPLICIT
    return TlsMode.NONE if listener.offer is TlsOffer.NONE else TlsMode.REQUIRED


def _real_port(place: Installation, listener: ListenerTable) -> int:
    """What the running server says, where the configuration lets the system choose."""
    if listener.port:
        return listener.port
    known: list[dict[str, Any]] = read_facts(place.data_dir).get("listeners", [])
    return next((int(one["port"]) for one in known if one.get("name") == listener.label), 0)


def _reachable(listener: ListenerTable) -> str:
    address = listener.addresses[0]
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)
