"""Who refused a connection: the far side, or this machine's own firewall with a RST in the far side's name.

A packet filter that rejects with a RST on the way out looks to a client just like a closed port. But then no SYN
leaves: the kernel's counters of octets (per network namespace, readable by everybody) show one RST that went out and
came in again by loopback, and nothing else. Other traffic at that moment blurs the picture; then nothing is claimed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from postreeve.checks.path import Dial, DialOutcome
from postreeve.probes.dial import dial

_NETSTAT: Final = Path("/proc/thread-self/net/netstat")
_SNMP6: Final = Path("/proc/thread-self/net/snmp6")
_RST_OCTETS: Final = {4: 40, 6: 60}
"""An IP header and a TCP header, both without options; a SYN has options and is longer."""
_TRIES: Final = 2


async def is_refused_here(made: Dial, source: str = "") -> bool:
    """Whether it was our own firewall that refused; costs a connect or two more, refused like the first."""
    version = 6 if ":" in made.address else 4
    is_ours = made.address == made.local_address or made.local_address in ("127.0.0.1", "::1")
    if made.outcome is not DialOutcome.REFUSED or made.icmp is not None or is_ours:
        return False
    for _ in range(_TRIES):
        before = _read_octets(version)
        again = await dial(made.address, made.port, timeout_seconds=1.0, source=source)
        after = _read_octets(version)
        if again.socket is not None:
            again.socket.close()
        if again.dial.outcome is not DialOutcome.REFUSED or before is None or after is None:
            return False
        came, went = after[0] - before[0], after[1] - before[1]
        if came == went == _RST_OCTETS[version]:
            return True
        if came == _RST_OCTETS[version]:
            return False  # nothing else was going on, and a SYN left
    return False


def _read_octets(version: int) -> tuple[int, int] | None:
    """Octets that came and went by IP so far, loopback included; None where the kernel does not say."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if version == 6:
            rows = dict(line.split() for line in _SNMP6.read_text().splitlines())
            return int(rows["Ip6InOctets"]), int(rows["Ip6OutOctets"])
        names, values = (line.split() for line in _NETSTAT.read_text().splitlines() if line.startswith("IpExt:"))
        counters = dict(zip(names, values, strict=True))
        return int(counters["InOctets"]), int(counters["OutOctets"])
    return None
