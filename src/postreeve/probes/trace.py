"""A TCP traceroute without privileges: connects that may go only so far, and who said that they went no further.

A packet filter that drops says nothing, but those before it do: the last hop that answers names the place. Since the
packets are the connects of an ordinary client they take the way, and meet the filters, that its own would.
"""

from __future__ import annotations

import asyncio
from typing import Final

from postreeve.checks.path import DialOutcome, Hop, Trace
from postreeve.probes.dial import dial
from postreeve.probes.errors import is_exceeded

_WIDTH: Final = 8
"""Hops tried at a time, and how many silent ones in a row end it."""
_TCP_ANSWERS: Final = (DialOutcome.OPEN, DialOutcome.REFUSED, DialOutcome.RESET)


async def trace(address: str, port: int, *, max_hops: int = 24, hop_seconds: float = 1.3, source: str = "") -> Trace:
    """The machines on the way to `address`, as far as they answer; takes at most max_hops / 8 * hop_seconds.

    Meant for ports that do not open: where the target accepts, up to eight connections are made and dropped.
    """
    hops: list[Hop] = []
    for first in range(1, max_hops + 1, _WIDTH):
        tried = range(first, min(first + _WIDTH, max_hops + 1))
        found = await asyncio.gather(*(_try(address, port, ttl, hop_seconds, source) for ttl in tried))
        for hop, is_end, is_reached in found:
            hops.append(hop)
            if is_end:
                return Trace(address, port, tuple(hops), is_reached)
        if not any(hop.sender for hop, _, _ in found):
            break
    return Trace(address, port, tuple(hops))


async def _try(address: str, port: int, ttl: int, seconds: float, source: str) -> tuple[Hop, bool, bool]:
    """The hop, whether the way ends there, and whether that was the target's own word."""
    dialled = await dial(address, port, timeout_seconds=seconds, source=source, hop_limit=ttl)
    if dialled.socket is not None:
        dialled.socket.close()
    made = dialled.dial
    if made.icmp is not None:
        hop = Hop(ttl, made.icmp.sender, made.seconds, made.icmp)
        return hop, not is_exceeded(made.icmp), made.icmp.sender == address
    if made.outcome in _TCP_ANSWERS:
        return Hop(ttl, address, made.seconds), True, True
    return Hop(ttl, "", made.seconds), made.outcome is not DialOutcome.TIMED_OUT, False
