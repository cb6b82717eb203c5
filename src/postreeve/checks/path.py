"""The path of packets as a probe sees it: what came of a connect, who answered on the way, and controls elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DialOutcome(Enum):
    """What came of one TCP connect."""

    OPEN = "open"
    REFUSED = "refused"
    """A RST, or ICMP port unreachable (`Dial.icmp` says which)."""
    RESET = "reset"
    """Reset in the middle of connecting."""
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    """ICMP host or network unreachable came back."""
    PROHIBITED = "prohibited"
    """ICMP administratively prohibited came back: a firewall says no."""
    NO_ROUTE = "no route"
    """This machine has no way there (ENETUNREACH at once); nothing was sent."""
    NO_SOURCE = "no source address"
    """The wanted source address is not one of this machine's."""
    FORBIDDEN = "forbidden"
    """This machine's own firewall or sandbox said no (EPERM, EACCES); nothing left."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP or ICMPv6 error that came back (RFC 792, RFC 4443); `sender` is who sent it."""

    kind: int
    code: int
    sender: str


@dataclass(frozen=True, slots=True)
class Dial:
    """One attempt to connect. `error` is the name of the errno ("ETIMEDOUT") or ""."""

    address: str
    port: int
    outcome: DialOutcome
    seconds: float
    local_address: str = ""
    error: str = ""
    icmp: Icmp | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a TCP traceroute: `sender` is "" when nothing came back; `icmp` what did, None for a TCP answer."""

    ttl: int
    sender: str
    seconds: float
    icmp: Icmp | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A TCP traceroute without privileges (IP_RECVERR). `is_reached`: the target itself answered at the last hop."""

    address: str
    port: int
    hops: tuple[Hop, ...]
    is_reached: bool = False

    @property
    def last_sender(self) -> str:
        """The last machine on the way that answered, "" when none did."""
        return next((hop.sender for hop in reversed(self.hops) if hop.sender), "")


class ControlRole(Enum):
    """Why a control was dialled."""

    OTHER_PORT = "another port of the same host"
    KNOWN_GOOD = "a host that is known to answer"
    NOWHERE = "an address where nobody can answer"
    """A documentation address (RFC 5737): whoever answers there is a proxy on the way."""


@dataclass(frozen=True, slots=True)
class Control:
    """A dial that tells the target's fault from the path's. `banner` is the first line that came, "" when none did."""

    role: ControlRole
    dial: Dial
    banner: str = ""
