"""What is known of a client when something is to be decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from postreeve.mail.address import Mailbox
from postreeve.policy.settings import Role

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who has proved who they are.

    `send_as` are the addresses that may stand in the reverse-path, From and Sender: "*" for any, "@example.org" or
    "*@example.org" for a whole domain (not its sub-domains), or one address.
    """

    name: str
    send_as: tuple[str, ...] = ()

    @property
    def may_send_as_anybody(self) -> bool:
        """True when no address needs to be looked at."""
        return "*" in self.send_as

    def may_send_as(self, mailbox: Mailbox) -> bool:
        """True when `mailbox` is one that this account may use; compared without case."""
        domain = mailbox.domain.ascii
        address = f"{mailbox.local}@{domain}".lower()
        for pattern in self.send_as:
            if pattern == "*":
                return True
            wanted = pattern.lower()
            if wanted == address or wanted.removeprefix("*") == f"@{domain}":
                return True
        return False


@dataclass(frozen=True, slots=True)
class Facts:
    """The session so far: made anew when the client connects, starts TLS or logs in, not per command."""

    role: Role
    client: IpAddress
    is_listed: bool
    """The client's address lies in a network that we relay for, and the listener's role is relay."""
    account: Account | None = None

    @property
    def is_trusted(self) -> bool:
        """True when the client may send to anywhere: the first half of the open-relay invariant."""
        return self.account is not None or self.is_listed


@lru_cache(maxsize=4096)
def parse_client(text: str) -> IpAddress:
    """The client's address, an IPv4-mapped IPv6 address taken for the IPv4 address that it is.

    `text` comes from the kernel or from a PROXY header that was parsed; a scope ("%eth0") is dropped. Otherwise
    `::ffff:192.0.2.1` would escape a list that names 192.0.2.1, or become another client for the limits.
    """
    address = ip_address(text.partition("%")[0])
    return normalise_client(address)


def normalise_client(address: IpAddress) -> IpAddress:
    """See `parse_client`."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def is_within(address: IpAddress, networks: Sequence[IpNetwork]) -> bool:
    """True when one of `networks` holds the (normalised) address."""
    return any(address in network for network in networks)


def client_key(address: IpAddress) -> bytes:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 customer is given at least."""
    return address.packed if isinstance(address, IPv4Address) else address.packed[:8]
