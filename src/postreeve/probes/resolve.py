"""The addresses of a name as programs get them (getaddrinfo), within a time that is kept.

The system's resolver cannot be interrupted, so it runs in a thread of its own that nobody waits for: a name server
that does not answer must hold up neither the other lookups nor the end of the program.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass
from typing import Any, Final

_FAMILIES: Final = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Addresses in the order in which a client would try them; without any, `failure` says why."""

    addresses: tuple[str, ...]
    failure: str = ""
    is_name_wrong: bool = False
    """There is no such name, or it has no address (of this family)."""


async def resolve(host: str, *, family: int | None = None, seconds: float = 5.0) -> Resolved:
    """Look up a host; `family` is 4 or 6 where only one is wanted. Never raises."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Resolved] = loop.create_future()

    def settle(found: Resolved) -> None:
        if not answer.done():
            answer.set_result(found)

    def ask() -> None:
        found = _ask(host, _FAMILIES[family])
        try:
            loop.call_soon_threadsafe(settle, found)
        except RuntimeError:
            pass  # the loop is closed: nobody wants to know any more

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        return Resolved((), f"the name server does not answer within {seconds:g} s")


def _ask(host: str, family: socket.AddressFamily) -> Resolved:
    try:
        found: list[Any] = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    except socket.gaierror as problem:
        is_wrong = problem.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5), socket.EAI_ADDRFAMILY)
        words = "no such name, or no address" if is_wrong else f"lookup failed: {problem.strerror}"
        return Resolved((), words, is_wrong)
    except (OSError, UnicodeError) as problem:
        return Resolved((), f"lookup failed: {problem}", isinstance(problem, UnicodeError))
    return Resolved(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))
