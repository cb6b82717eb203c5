"""What `postreeve firewall` has to find out before it can plan: addresses of names, sockets, who is logged in."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from pathlib import Path
from typing import Final

from postreeve.config.firewall import Found, Hop, hops
from postreeve.config.model import Config
from postreeve.enforce.administrator import find_administrators
from postreeve.firewall.flow import Address, PolicyError
from postreeve.probes.machine.sockets import listening
from postreeve.probes.resolve import resolve

_RESOLV_CONF: Final = Path("/etc/resolv.conf")


def look_around(config: Config) -> Found:
    """All of it. Raises PolicyError when a next hop has no address."""
    administrators = find_administrators(os.environ)
    return Found(
        addresses=asyncio.run(_resolve_all(hops(config))),
        bound=_bound(),
        administrators=tuple(one.address for one in administrators),
        ssh_ports=frozenset(one.port for one in administrators),
        resolvers=_resolvers(),
    )


async def _resolve_all(wanted: tuple[Hop, ...]) -> dict[str, tuple[Address, ...]]:
    names = list(dict.fromkeys(hop.host for hop in wanted))
    answers = await asyncio.gather(*(_resolve(name) for name in names))
    return dict(zip(names, answers, strict=True))


async def _resolve(name: str) -> tuple[Address, ...]:
    try:
        return (ipaddress.ip_address(name.strip("[]").removeprefix("IPv6:")),)
    except ValueError:
        pass
    found = await resolve(name)
    if not found.addresses:
        raise PolicyError(f"{name}: {found.failure or 'no address'}; no rule can be made of it")
    return tuple(ipaddress.ip_address(one.partition("%")[0]) for one in found.addresses)


def _bound() -> frozenset[tuple[int, int]]:
    """By version; a socket at `::` counts for IPv4 too where its owner left that on."""
    found: set[tuple[int, int]] = set()
    for one in listening(frozenset()):
        address = ipaddress.ip_address(one.address)
        if not address.is_loopback:
            found.update((version, one.port) for version in one.versions)
    return frozenset(found)


def _resolvers() -> tuple[Address, ...]:
    try:
        lines = _RESOLV_CONF.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(ipaddress.ip_address(words[1].partition("%")[0]))
            except ValueError:
                continue
    return tuple(found)
