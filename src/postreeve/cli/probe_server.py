"""`postreeve probe-server`: test the ports of whoever asks, from here."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Annotated

import typer

from postreeve.app.outside import serve_outside
from postreeve.cli.refusal import Refused
from postreeve.config.kind import split_endpoint
from postreeve.mail.domain import parse_domain
from postreeve.web.outside import OutsideSettings


def probe_server(
    listen: Annotated[str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to answer.")],
    token_file: Annotated[
        Path, typer.Option("--token-file", metavar="FILE", help="File with one token per line; who has one may ask.")
    ],
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="PEM file: the certificate, then its chain.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="PEM file of the private key.")] = None,
    proxy_from: Annotated[
        list[str] | None,
        typer.Option("--proxy-from", metavar="NETWORK", help="Networks of proxies whose X-Forwarded-For is believed."),
    ] = None,
    hostname: Annotated[
        str,
        typer.Option("--hostname", metavar="NAME", help="What it calls itself in EHLO; default: this machine's name."),
    ] = "",
    per_hour: Annotated[int, typer.Option("--per-hour", min=1, max=3600, help="Questions by one address.")] = 30,
) -> None:
    """Answer `postreeve doctor --outside` of other machines: connect to the ports of whoever asks, and nobody else.

    Without a certificate it answers on loopback addresses only, for a web server in front of it.
    """
    endpoint = split_endpoint(listen)
    if endpoint is None:
        raise typer.BadParameter(f'--listen {listen!r} is no address and port such as "0.0.0.0:8443" or "[::1]:8080"')
    if (certificate is None) != (key is None):
        raise typer.BadParameter("a certificate and its key belong together: give --certificate and --key")
    if certificate is None and not endpoint.address.is_loopback:
        raise typer.BadParameter(
            "tokens must not travel in the clear: give --certificate and --key, or listen on 127.0.0.1"
        )
    name = hostname or socket.getfqdn()
    if parse_domain(name) is None:
        raise typer.BadParameter(f"{name!r} is no host name: give one with --hostname")
    settings = OutsideSettings(_read_tokens(token_file), per_hour, proxies=_networks(proxy_from or []))
    files = (certificate, key) if certificate is not None and key is not None else None
    serve_outside(str(endpoint.address), endpoint.port, settings, name, files)


def _read_tokens(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise Refused(f"{file} cannot be read: {problem}") from None
    tokens = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not tokens or any(len(one) < 16 for one in tokens):
        raise Refused(f"{file} must hold tokens of 16 characters or more", "make one: openssl rand -hex 24")
    return tokens


def _networks(texts: list[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as problem:
        raise typer.BadParameter(f"--proxy-from: {problem}") from None
