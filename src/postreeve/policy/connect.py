"""Connecting: whom we talk to at all. RFC 5321, section 3.1."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.policy.settings import LimitSettings
from postreeve.policy.verdict import Verdict, accept

TOO_MANY_CONNECTIONS: Final = Reply(421, "4.3.2", "too many connections, try again later")
TOO_MANY_FROM_CLIENT: Final = Reply(421, "4.7.0", "too many connections from your address")
TOO_OFTEN_FROM_CLIENT: Final = Reply(421, "4.7.0", "too many connections from your address within a minute")
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "shutting down, try again later")


@lru_cache(maxsize=16)
def greet(hostname: str) -> Verdict:
    """220, with ESMTP so that clients know to say EHLO (RFC 5321, section 4.2)."""
    return accept(220, "", f"{hostname} ESMTP")


def admit(in_all: int, of_client: int, this_minute: int, limits: LimitSettings) -> Reply | None:
    """May one more client connect? The numbers count the others. None, or the one line it is turned away with."""
    if in_all >= limits.connections > 0:
        return TOO_MANY_CONNECTIONS
    if of_client >= limits.connections_per_client > 0:
        return TOO_MANY_FROM_CLIENT
    if this_minute >= limits.connections_per_minute_per_client > 0:
        return TOO_OFTEN_FROM_CLIENT
    return None


def is_stressed(in_all: int, limits: LimitSettings) -> bool:
    """True near the connection limit: short deadlines and one error from then on."""
    return in_all >= limits.connections * limits.stress_at > 0
