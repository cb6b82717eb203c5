"""Asking a probe-server for commands that have `--outside`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from postreeve.app.configuration import Installation
from postreeve.app.outside import View, ask_outside
from postreeve.cli.refusal import Refused
from postreeve.net.resolver import NetResolver, ResolverSettings


async def ask_view(
    installation: Installation,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
    ports: Sequence[int],
    implicit: Sequence[int],
) -> View:
    """What it sees of these ports; its token is in the file, or in that of the configuration. Raises Refused."""
    config = installation.config
    file = token_file or (Path(config.doctor.outside_token_file) if config.doctor.outside_token_file else None)
    if file is None:
        raise Refused(
            "no token for the probe-server", "name one: --outside-token-file FILE, or doctor.outside_token_file"
        )
    try:
        token = file.read_text("utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise Refused(f"{file} cannot be read: {problem}") from None
    servers = tuple((str(one.address), one.port) for one in config.dns.servers)
    resolver = NetResolver(ResolverSettings(servers))
    try:
        return await ask_outside(url, token, ports, implicit, config.hostname.ascii, resolver, ca_file)
    finally:
        await resolver.close()
