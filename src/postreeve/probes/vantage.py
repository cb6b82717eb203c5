"""Where we look from: routes, our own addresses and their names, and what the machine says of its network."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from postreeve.checks.facts import Vantage
from postreeve.ports.network import DMI_FIELDS, Recognised, recognise
from postreeve.probes.lookup import Asker

_DMI: Final = Path("/sys/class/dmi/id")
_ROUTE_PROBES: Final = {socket.AF_INET: ("203.0.113.1", 53), socket.AF_INET6: ("2001:db8::1", 53)}
_CONTAINER_FILES: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_WORDS: Final = ("docker", "kubepods", "containerd", "libpod", "/lxc")
_CONTAINER_VARIABLES: Final = ("KUBERNETES_SERVICE_HOST", "container")
_MAX_OCTETS: Final = 4_096


async def look_around(local_addresses: Iterable[str], asker: Asker, *, root: Path = Path("/")) -> Vantage:
    """What is known of this place; `local_addresses` are those that connections were made from.

    Only public ones have their names looked up: a private one is not what the far side sees. Sends nothing but that.
    """
    known = recognise_place(root)
    public = [one for one in dict.fromkeys(local_addresses) if _is_public(one)]
    names = await asyncio.gather(*(asker.ask_reverse(one) for one in public[:4]))
    return Vantage(
        platform=known.network.id if known else "",
        platform_evidence=known.evidence if known else "",
        has_ipv4_route=has_route(socket.AF_INET),
        has_ipv6_route=has_route(socket.AF_INET6),
        is_container=is_container(os.environ, root),
        ptr=tuple(names),
    )


def recognise_place(root: Path = Path("/")) -> Recognised | None:
    """The network that this machine says it is in, by its environment or its firmware."""
    return recognise(read_dmi(root / _DMI.relative_to("/")), os.environ)


def read_dmi(directory: Path = _DMI) -> dict[str, str]:
    """What the firmware says of this machine, as far as we may read it."""
    found = {}
    for name in DMI_FIELDS:
        with contextlib.suppress(OSError):
            with (directory / name).open("rb") as file:
                text = file.read(_MAX_OCTETS).decode("utf-8", "replace").strip()
            if text:
                found[name] = text
    return found


def has_route(family: socket.AddressFamily) -> bool:
    """Whether there is a way out to the world in this family. Sends nothing: connecting a UDP socket only looks."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(_ROUTE_PROBES[family])
            source = ipaddress.ip_address(str(sock.getsockname()[0]).partition("%")[0])
    except OSError:
        return False
    return not (source.is_loopback or source.is_link_local)


def own_name(local_address: str) -> str:
    """An honest name: this machine's own if it is qualified, else the address literal (RFC 5321, section 4.1.4)."""
    name = socket.gethostname().rstrip(".").lower()
    if "." in name and name.isascii() and not name.endswith((".localdomain", ".local", ".internal")):
        return name
    plain = local_address.partition("%")[0]
    if not plain:
        return "localhost"
    return f"[IPv6:{plain}]" if ":" in plain else f"[{plain}]"


def is_container(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether this is a container rather than a machine."""
    if any(name in environment for name in _CONTAINER_VARIABLES):
        return True
    if any((root / one.relative_to("/")).exists() for one in _CONTAINER_FILES):
        return True
    with contextlib.suppress(OSError), (root / "proc/1/cgroup").open("rb") as file:
        groups = file.read(_MAX_OCTETS).decode("ascii", "replace")
        return any(word in groups for word in _CONTAINER_WORDS)
    return False


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False
