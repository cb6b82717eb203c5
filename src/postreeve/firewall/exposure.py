"""What the server needs of the network: who may come in where, and which ways lead out. Assembled by `config`.

Everything is resolved: no names are in it, only addresses, and an empty list of them never means everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postreeve.firewall.flow import Container, Network, Rate


class Reach(Enum):
    """Which packets that leave the host are judged."""

    STRICT = "strict"
    """All: what no flow names is refused."""
    MAIL = "mail"
    """The mail ports only: everything else may leave."""


class Purpose(Enum):
    """What comes in by a port."""

    RELAY = "relay"
    SUBMISSION = "submission"
    ADMINISTRATION = "administration"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entrance:
    """A TCP port that somebody may connect to. `peers` are networks of either family; the world is written out.

    `is_bound_ipv4` and `is_bound_ipv6`: whether somebody listens there; a port is opened for those families only.
    """

    name: str
    port: int
    purpose: Purpose
    peers: tuple[Network, ...]
    because: str
    without: str
    is_bound_ipv4: bool = True
    is_bound_ipv6: bool = True
    rate: Rate | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Smarthost:
    """A way out by another server: its addresses as they are now, `resolved_from` the name that gave them."""

    name: str
    port: int
    addresses: tuple[Network, ...]
    resolved_from: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """All of it. With `is_direct` mail goes to the MX hosts of the world by port 25."""

    hostname: str
    entrances: tuple[Entrance, ...]
    is_direct: bool
    smarthosts: tuple[Smarthost, ...]
    user: str
    """The account that sends; "" when everybody may."""
    reach: Reach = Reach.STRICT
    resolvers: tuple[Network, ...] = ()
    """Name servers outside this machine; () means any, as a resolver of our own needs."""
    administrators: tuple[Network, ...] = ()
    """Addresses that are logged in by SSH now: never cut, whatever else is configured."""
    ssh_port: int = 22
    has_ipv4: bool = True
    has_ipv6: bool = True
    has_bans: bool = True
