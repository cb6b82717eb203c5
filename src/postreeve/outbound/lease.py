"""Leases of the claims in hand: renewed while work on them lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from postreeve.outbound.lane import Holding, Holdings
from postreeve.store.face import LeaseTerms, Store, StoreError

MARGIN_SECONDS: Final = 10.0
_AT_ONCE: Final = 100


class Leases:
    """Asks the store; `fall` is told when it cannot answer."""

    __slots__ = ("_fall", "_holdings", "_store", "_wall", "seconds")

    def __init__(
        self, store: Store, holdings: Holdings, wall: Callable[[], float], seconds: float, fall: Callable[[str], None]
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._wall = wall
        self._fall = fall
        self.seconds = seconds

    def terms(self, *, with_content: bool = True) -> LeaseTerms:
        """For a claim made now."""
        return LeaseTerms(self._wall() + self.seconds, with_content)

    async def still_holds(self, holding: Holding) -> bool:
        """True when work on the claim may begin: its lease holds for a while yet."""
        if not holding.is_lost and holding.lease.until - self._wall() < MARGIN_SECONDS:
            return await self._renew([holding]) and not holding.is_lost
        return not holding.is_lost

    async def renew_all(self) -> None:
        """Extend all leases of which half is over."""
        ending = self._holdings.ending_before(self._wall() + self.seconds / 2)
        for start in range(0, len(ending), _AT_ONCE):
            await self._renew(ending[start : start + _AT_ONCE])

    async def _renew(self, holdings: list[Holding]) -> bool:
        asked = [holding.lease for holding in holdings]
        try:
            renewed = await self._store.renew(asked, self.terms())
        except StoreError as error:
            self._fall(str(error))
            return False
        held = {(lease.ident, lease.number, lease.recipients): lease for lease in renewed}
        for holding, lease in zip(holdings, asked, strict=True):
            if holding.lease is lease:
                found = held.get((lease.ident, lease.number, lease.recipients))
                holding.lease, holding.is_lost = found or lease, found is None
        return True
