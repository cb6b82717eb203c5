"""A Resolver over a dict: for tests, and to replay what was once asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from postreeve.dns.answer import Absence, Answer, LookupFailed, Mx
from postreeve.dns.reverse import reverse_name

_MAX_ALIASES: Final = 8
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Records:
    """What one name has. An alias (CNAME) stands alone."""

    mx: Sequence[Mx] = ()
    a: Sequence[str] = ()
    aaaa: Sequence[str] = ()
    txt: Sequence[bytes] = ()
    ptr: Sequence[str] = ()
    cname: str = ""


@dataclass(slots=True)
class ZoneResolver:
    """Answers from `zone` (names in lower case, without trailing dot); a name that is not there does not exist.

    A lookup of a name in `failing` raises LookupFailed with that reason; the key may also be "TYPE name", such as
    "AAAA mx.example.org". `asked` lists the lookups made, as "TYPE name".
    """

    zone: Mapping[str, Records]
    failing: Mapping[str, str] = field(default_factory=dict)
    is_authentic: bool = False
    asked: list[str] = field(default_factory=list)

    async def mx(self, name: str) -> Answer[Mx]:
        """See Resolver."""
        found, canonical = self._find("MX", name)
        return self._answer(None if found is None else found.mx, canonical)

    async def addresses(self, name: str) -> Answer[str]:
        """See Resolver."""
        addresses: list[str] = []
        failures: list[LookupFailed] = []
        found, canonical = None, name
        for record_type in ("A", "AAAA"):
            try:
                found, canonical = self._find(record_type, name)
            except LookupFailed as failure:
                failures.append(failure)
                continue
            if found is not None:
                addresses += found.a if record_type == "A" else found.aaaa
        if failures and not addresses:
            raise failures[0]
        return self._answer(None if found is None and not failures else addresses, canonical)

    async def host_addresses(self, name: str) -> Answer[str]:
        """See Resolver; a zone knows no other names."""
        return await self.addresses(name)

    async def txt(self, name: str) -> Answer[bytes]:
        """See Resolver."""
        found, canonical = self._find("TXT", name)
        return self._answer(None if found is None else found.txt, canonical)

    async def ptr(self, address: str) -> Answer[str]:
        """See Resolver."""
        found, canonical = self._find("PTR", reverse_name(address))
        return self._answer(None if found is None else found.ptr, canonical)

    def _find(self, record_type: str, name: str) -> tuple[Records | None, str]:
        name = name.lower()
        self.asked.append(f"{record_type} {name}")
        for _ in range(_MAX_ALIASES):
            reason = self.failing.get(name) or self.failing.get(f"{record_type} {name}")
            if reason is not None:
                raise LookupFailed(name, record_type, reason)
            found = self.zone.get(name)
            if found is None or not found.cname:
                return found, name
            name = found.cname
        raise LookupFailed(name, record_type, "too many aliases")

    def _answer(self, records: Sequence[_Record] | None, canonical: str) -> Answer[_Record]:
        if records is None:
            return Answer((), Absence.NO_SUCH_NAME, self.is_authentic, canonical)
        return Answer(tuple(records), None if records else Absence.NO_DATA, self.is_authentic, canonical)
