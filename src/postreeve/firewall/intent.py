"""From what the server needs to a policy: every flow with its reason and with what would break without it.

The order is part of the meaning: loopback first, then bans, then what is under way, then what may begin. Port 25 in is
never narrowed and never rate-limited for an MX: mail of strangers is what it is for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.check import check
from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Reach
from postreeve.firewall.flow import (
    WORLD,
    Container,
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    PolicyError,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
    tidy_peers,
    tidy_ports,
)

MAIL_PORTS: Final = (25, 465, 587, 2525)
"""What a program that was broken into would send spam by."""
_ICMP: Final = {
    Family.IPV4: (0, 3, 8, 11, 12),
    Family.IPV6: (1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 143),
}
"""RFC 4890, section 4.4: errors, echo, and for IPv6 neighbour and listener discovery, without which nothing works."""
_LINK_LOCAL: Final = ipaddress.IPv6Network("fe80::/10")
_MULTICAST: Final = ipaddress.IPv6Network("ff02::/16")


def make_policy(exposure: Exposure) -> Policy:
    """The policy of the host. Raises PolicyError for what must never become a wider rule: no peers, no family."""
    families = [
        family for family, there in ((Family.IPV4, exposure.has_ipv4), (Family.IPV6, exposure.has_ipv6)) if there
    ]
    if not families:
        raise PolicyError("a host without IPv4 and without IPv6 needs no firewall")
    _refuse_emptiness(exposure)
    flows = [flow for family in families for flow in _flows(exposure, family)]
    sets = tuple(_bans(family) for family in families) if exposure.has_bans else ()
    default_out = Verdict.REJECT if exposure.reach is Reach.STRICT else Verdict.ACCEPT
    policy = Policy(exposure.hostname, tuple(flows), Verdict.DROP, default_out, sets)
    check(policy)
    return policy


def _refuse_emptiness(exposure: Exposure) -> None:
    for entrance in exposure.entrances:
        if not entrance.peers:
            raise PolicyError(f"{entrance.name}: nobody may connect to port {entrance.port}: its peers are empty")
    for host in exposure.smarthosts:
        if not host.addresses:
            raise PolicyError(f"{host.name}: {host.resolved_from or 'the smarthost'} has no address")


def _bans(family: Family) -> str:
    return f"bans{family.value}"


def _of(networks: tuple[Network, ...], family: Family) -> tuple[Network, ...]:
    return tidy_peers(one for one in networks if one.version == family.value)


def _flows(exposure: Exposure, family: Family) -> Iterator[Flow]:
    make = _Maker(family)
    for direction in Direction:
        yield make(
            "loopback",
            direction,
            Protocol.ANY,
            state=State.ANY,
            interface="lo",
            because="programs of this machine talk to each other",
            without="the resolver, the database and every local delivery stop",
        )
    if exposure.has_bans:
        yield make(
            "bans",
            Direction.IN,
            Protocol.ANY,
            peers=(),
            peer_set=_bans(family),
            state=State.ANY,
            verdict=Verdict.DROP,
            because="addresses that the server has banned",
            without="who guesses passwords goes on",
        )
    for direction in Direction:
        yield make(
            "established",
            direction,
            Protocol.ANY,
            state=State.ESTABLISHED,
            because="packets of connections that were allowed to begin",
            without="no connection survives its first packet",
        )
        yield make(
            "icmp",
            direction,
            Protocol.ICMP,
            icmp_types=_ICMP[family],
            state=State.ANY,
            because="errors, path MTU and ping"
            if family is Family.IPV4
            else "errors, path MTU, ping and neighbour discovery (RFC 4890)",
            without="large mails hang" if family is Family.IPV4 else "IPv6 stops altogether",
        )
    yield from _in(exposure, make)
    yield from _out(exposure, make)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes flows of one family: accepted, from or to the world, unless said otherwise."""

    family: Family

    def __call__(
        self,
        name: str,
        direction: Direction,
        protocol: Protocol,
        *,
        because: str,
        without: str,
        verdict: Verdict = Verdict.ACCEPT,
        peers: tuple[Network, ...] | None = None,
        ports: tuple[int, ...] = (),
        icmp_types: tuple[int, ...] = (),
        state: State = State.NEW,
        interface: str = "",
        user: str = "",
        peer_set: str = "",
        rate: Rate | None = None,
        container: Container | None = None,
    ) -> Flow:
        return Flow(
            f"{direction.value}-{name}-ipv{self.family.value}",
            direction,
            self.family,
            protocol,
            verdict,
            (WORLD[self.family],) if peers is None else peers,
            tidy_ports(Ports(port, port) for port in ports),
            icmp_types,
            state,
            interface,
            user,
            peer_set,
            rate,
            container,
            because,
            without,
        )


def _in(exposure: Exposure, make: _Maker) -> Iterator[Flow]:
    family = make.family
    administrators = _of(exposure.administrators, family)
    if administrators:
        yield make(
            "ssh-now",
            Direction.IN,
            Protocol.TCP,
            peers=administrators,
            ports=(exposure.ssh_port,),
            because="who administrates this machine right now",
            without="you are locked out",
        )
    if family is Family.IPV6:
        yield make(
            "dhcp",
            Direction.IN,
            Protocol.UDP,
            peers=(_LINK_LOCAL,),
            ports=(546,),
            because="answers of the DHCPv6 server, which come from another address than was asked",
            without="the machine loses its IPv6 address when the lease ends",
        )
    for entrance in exposure.entrances:
        peers = _of(entrance.peers, family)
        is_bound = entrance.is_bound_ipv4 if family is Family.IPV4 else entrance.is_bound_ipv6
        if not peers or not is_bound:
            continue
        yield make(
            _slug(entrance),
            Direction.IN,
            Protocol.TCP,
            peers=peers,
            ports=(entrance.port,),
            rate=None if entrance.purpose is Purpose.RELAY else entrance.rate,
            container=_container(entrance, family),
            because=entrance.because,
            without=entrance.without,
        )


def _container(entrance: Entrance, family: Family) -> Container | None:
    """DNAT stays within a family; by the other one the engine's proxy takes the connection, as any listener does."""
    container = entrance.container
    if container is None or ipaddress.ip_address(container.address).version != family.value:
        return None
    return container


def _slug(entrance: Entrance) -> str:
    name = "".join(one if one.isalnum() and one.isascii() else "-" for one in entrance.name.lower()).strip("-")
    return name if name.endswith(f"-{entrance.port}") else f"{name}-{entrance.port}"


def _out(exposure: Exposure, make: _Maker) -> Iterator[Flow]:
    family = make.family
    sender = exposure.user
    for host in exposure.smarthosts:
        addresses = _of(host.addresses, family)
        if addresses:
            yield make(
                f"{host.name}-{host.port}",
                Direction.OUT,
                Protocol.TCP,
                peers=addresses,
                ports=(host.port,),
                user=sender,
                because=f"mail leaves by {host.resolved_from or host.name}",
                without="mail stays in the queue",
            )
    if exposure.is_direct:
        yield make(
            "mx-25",
            Direction.OUT,
            Protocol.TCP,
            ports=(25,),
            user=sender,
            because="mail leaves for the MX hosts of the world" + (f", sent by {sender} only" if sender else ""),
            without="mail stays in the queue",
        )
    if sender or not exposure.is_direct:
        yield make(
            "no-other-mail",
            Direction.OUT,
            Protocol.TCP,
            ports=MAIL_PORTS,
            verdict=Verdict.REJECT,
            because="no other program may send mail past the server",
            without="a program that was broken into sends spam in your name",
        )
    if exposure.reach is Reach.STRICT:
        yield from _errands(exposure, make)


def _errands(exposure: Exposure, make: _Maker) -> Iterator[Flow]:
    """What a mail server asks others for."""
    family = make.family
    resolvers = _of(exposure.resolvers, family)
    if resolvers or not exposure.resolvers:
        for protocol in (Protocol.UDP, Protocol.TCP):
            yield make(
                f"dns-{protocol.value}",
                Direction.OUT,
                protocol,
                ports=(53,),
                because="names are looked up" if protocol is Protocol.UDP else "long answers of the DNS come by TCP",
                without="no destination can be found",
                peers=resolvers or None,
            )
    yield make(
        "web",
        Direction.OUT,
        Protocol.TCP,
        ports=(80, 443),
        because="certificates (ACME, OCSP), MTA-STS policies, updates of this machine",
        without="certificates end, policies are not read, updates stop",
    )
    yield make(
        "ntp",
        Direction.OUT,
        Protocol.UDP,
        ports=(123,),
        because="the clock is kept right",
        without="certificates and signatures seem wrong",
    )
    yield make(
        "dhcp",
        Direction.OUT,
        Protocol.UDP,
        peers=(WORLD[family],) if family is Family.IPV4 else (_MULTICAST,),
        ports=(67,) if family is Family.IPV4 else (547,),
        because="the machine keeps its address",
        without="the address is lost when its lease ends",
    )
