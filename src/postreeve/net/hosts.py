"""/etc/hosts: names that an administrator wrote down himself, for hosts that the configuration names."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

HOSTS_FILE: Final = Path("/etc/hosts")
_MAX_OCTETS: Final = 4_194_304
_LOCALHOST: Final = ("127.0.0.1", "::1")


class HostsFile:
    """The file as it is now: looked at again whenever it changed."""

    __slots__ = ("_addresses", "_path", "_stamp")

    def __init__(self, path: Path = HOSTS_FILE) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._addresses: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> tuple[str, ...]:
        """The addresses of `name`, none if it is not there; localhost has its own always (RFC 6761, section 6.3)."""
        wanted = name.lower().rstrip(".")
        if wanted == "localhost" or wanted.endswith(".localhost"):
            return _LOCALHOST
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._addresses = parse_hosts(self._path.read_bytes()[:_MAX_OCTETS].decode("utf-8", "replace"))
                self._stamp = stamp
        except OSError:
            return ()
        return self._addresses.get(wanted, ())


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Names (lower case) and their addresses in the order of the lines; lines that make no sense are skipped."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            known = str(ipaddress.ip_address(address))
        except ValueError:
            continue
        for name in names:
            key = name.lower().rstrip(".")
            if known not in found.get(key, ()):
                found[key] = (*found.get(key, ()), known)
    return found
