"""Answers: values for what is ordinary (no such name, no such data), `LookupFailed` for what is temporary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from postreeve.mail.error import PostreeveError

Record = TypeVar("Record")


class Absence(Enum):
    """Why an answer has no records."""

    NO_SUCH_NAME = "NXDOMAIN"
    NO_DATA = "NODATA"


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record (RFC 5321, section 5); `host` without trailing dot, "" for the null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[Record]):
    """Records (empty with `absence` set), how long they hold, and whether DNSSEC vouches for them."""

    records: tuple[Record, ...]
    absence: Absence | None = None
    is_authentic: bool = False
    canonical_name: str = ""


class LookupFailed(PostreeveError):
    """SERVFAIL, time-out, refused, bogus: temporary by nature; mail waits, never bounces."""

    def __init__(self, name: str, record_type: str, reason: str) -> None:
        super().__init__(f"{record_type} lookup of {name} failed: {reason}")
        self.name = name
        self.record_type = record_type
        self.reason = reason


class Resolver(Protocol):
    """Asks the DNS. Names are given and returned without trailing dot, in A-labels.

    Every method raises LookupFailed for a temporary failure and returns an Answer otherwise; none takes longer than
    the implementation's configured total time.
    """

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, unsorted."""
        ...

    async def addresses(self, name: str) -> Answer[str]:
        """A and AAAA records as text. One family failing while the other has records is no failure."""
        ...

    async def host_addresses(self, name: str) -> Answer[str]:
        """The same for a host that the configuration names: the machine's own names (/etc/hosts) come first."""
        ...

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        ...

    async def ptr(self, address: str) -> Answer[str]:
        """Host names of an IP address."""
        ...
