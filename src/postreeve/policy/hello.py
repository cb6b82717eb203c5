"""EHLO and HELO: what we answer to a name. RFC 5321, section 4.1.1.1."""

from __future__ import annotations

from functools import lru_cache

from postreeve.policy.verdict import Verdict, accept


@lru_cache(maxsize=16)
def answer_hello(hostname: str) -> Verdict:
    """250 with our name, to any name: a server must not refuse mail because of it (RFC 5321, section 4.1.4)."""
    return accept(250, "", hostname)
