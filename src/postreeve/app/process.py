"""What /proc tells of this machine: other processes, who listens on a port, our own addresses."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
_MAX_COMMAND: Final = 200


def describe(pid: int) -> str:
    """The command line of a process, short enough for a message; "" when it is gone or hidden."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = " ".join(word.decode("utf-8", "replace") for word in words if word)
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= _MAX_COMMAND else printable[:_MAX_COMMAND] + "…"


def listener_on(port: int, address: IPv4Address | IPv6Address) -> int | None:
    """A process that listens on the port at this address or at all addresses, None when it cannot be told."""
    inodes = _listening_inodes(port, address)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, wanted):
            return int(process.name)
    return None


def _listening_inodes(port: int, address: IPv4Address | IPv6Address) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if fields[3] == _LISTEN and int(number, 16) == port and _covers(host, address):
                inodes.add(fields[9])
    return inodes


def _covers(host: str, address: IPv4Address | IPv6Address) -> bool:
    """/proc/net/tcp writes addresses as 32-bit words in the machine's order, in hexadecimal."""
    if not host.strip("0") or address.is_unspecified:
        return True
    words = [address.packed[at : at + 4] for at in range(0, len(address.packed), 4)]
    return host == "".join(f"{int.from_bytes(word, 'little'):08X}" for word in words)


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(entry) in wanted for entry in (process / "fd").iterdir())
    except OSError:
        return False


def own_addresses() -> frozenset[str]:
    """The addresses of this machine's interfaces, loopback included; what cannot be read is left out."""
    return frozenset({"127.0.0.1", "::1"} | _own_ipv4() | _own_ipv6())


def _own_ipv4() -> set[str]:
    """The routing table knows each own address as a host route of type LOCAL."""
    found, candidate = set(), ""
    for line in _lines_of("fib_trie"):
        if "|-- " in line:
            candidate = line.rpartition(" ")[2]
        elif "/32 host LOCAL" in line:
            found.add(candidate)
    return found


def _own_ipv6() -> set[str]:
    return {str(IPv6Address(bytes.fromhex(line.split()[0]))) for line in _lines_of("if_inet6")}


def _lines_of(table: str) -> list[str]:
    # /proc/net itself is hidden where systemd shows processes only; the process's own view of it is not.
    try:
        return Path(f"/proc/self/net/{table}").read_text().splitlines()
    except OSError:
        return []
