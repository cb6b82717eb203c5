"""Questions to the DNS as facts: what was asked of whom, what came, how long it took; nothing is remembered."""

from __future__ import annotations

from postreeve.checks.facts import Lookup
from postreeve.dns.reverse import reverse_name


class Asker:
    """Asks the system's name servers, or `servers`. Every question ends within `seconds`."""

    def __init__(self, servers: tuple[tuple[str, int], ...] = (), seconds: float = 5.0) -> None:
        self._servers = servers
        self._seconds = seconds

    async def ask(self, name: str, kind: str, *, is_checking_disabled: bool = False) -> Lookup:
        """One question; never raises. `kind` is a record type; MX and SRV records come as in a zone file."""
        # Imported when it is first wanted: it takes longer than a whole probe of an address.
        from postreeve.probes.question import ask

        return await ask(name, kind, self._servers, self._seconds, is_checking_disabled=is_checking_disabled)

    async def ask_reverse(self, address: str) -> Lookup:
        """The names of an address."""
        return await self.ask(reverse_name(address), "PTR")
