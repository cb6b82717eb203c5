"""Config → Exposure: what the server needs of the network, with everything resolved by the caller."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from postreeve.config.model import Config, ListenerTable
from postreeve.config.next_hop import FallbackTable, RouteTable, Via
from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Smarthost
from postreeve.firewall.flow import WORLD, Address, Container, Network, PolicyError, Rate
from postreeve.policy.settings import Role
from postreeve.queue.settings import TlsMode

_WORLD: Final = tuple(WORLD.values())
_LONGEST_NAME: Final = 36
_PURPOSES: Final = {
    Role.RELAY: (Purpose.RELAY, "mail for our domains comes from everywhere", "no mail comes in"),
    Role.SUBMISSION: (Purpose.SUBMISSION, "our users submit mail", "our users cannot send mail"),
}


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop that mail leaves by, as the configuration names it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the caller found out about names and this machine."""

    addresses: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    """Of every host that `hops` names."""
    bound: frozenset[tuple[int, int]] | None = None
    """Version and port of every socket that listens beyond loopback; None when that is not known."""
    administrators: tuple[Address, ...] = ()
    """Who is logged in by SSH."""
    ssh_ports: frozenset[int] = frozenset()
    """Where they came in."""
    resolvers: tuple[Address, ...] = ()
    """The name servers of the system."""


def hops(config: Config) -> tuple[Hop, ...]:
    """Every host that has to be resolved, once each."""
    found: list[Hop] = []
    for route in config.route:
        for hop in (route, route.fallback):
            if (
                hop is not None
                and hop.host
                and (isinstance(hop, FallbackTable) or hop.via in (Via.SMARTHOST, Via.LMTP))
            ):
                found.append(Hop(hop.host, _port(hop)))
    return tuple(dict.fromkeys(found))


def _port(hop: RouteTable | FallbackTable) -> int:
    if isinstance(hop, FallbackTable) or hop.port:
        return hop.port
    if hop.via is Via.LMTP:
        return 24
    return 465 if hop.tls is TlsMode.IMPLICIT else 587


def make_exposure(config: Config, found: Found) -> Exposure:
    """What the server needs. Raises PolicyError for a hop without address, or a port that nobody can know."""
    firewall = config.firewall
    own = tuple(one.address for one in config.dns.servers) or found.resolvers
    # A resolver of our own asks name servers all over the world.
    resolvers = () if any(one.is_loopback for one in own) else tuple(_host(one) for one in own)
    return Exposure(
        hostname=config.hostname.ascii,
        entrances=tuple(_entrances(config, found)),
        is_direct=any(route.via is Via.MX for route in config.route),
        smarthosts=tuple(_smarthosts(config, found)),
        user=config.user,
        reach=firewall.reach,
        resolvers=resolvers,
        administrators=tuple(_host(one) for one in found.administrators if not one.is_loopback),
        ssh_port=_ssh_port(config, found),
        has_bans=firewall.bans,
    )


def _host(address: Address) -> Network:
    return ipaddress.ip_network(address)


def _ssh_port(config: Config, found: Found) -> int:
    port = config.firewall.ssh_port
    others = found.ssh_ports - {port}
    if found.administrators and others and port not in found.ssh_ports:
        ports = ", ".join(map(str, sorted(others)))
        raise PolicyError(f"firewall.ssh_port is {port}, but who is logged in came by port {ports}: set it right first")
    return port


def _entrances(config: Config, found: Found) -> Iterator[Entrance]:
    for listener in config.listener:
        yield from _listener(config, listener, found)
    firewall = config.firewall
    peers = _peers(firewall.ssh_from)
    if peers:
        ssh, lost = "this machine is administrated by SSH", "you are locked out"
        yield Entrance("ssh", firewall.ssh_port, Purpose.ADMINISTRATION, peers, ssh, lost)
    for door in firewall.extra:
        lost = "what waits there cannot be reached"
        yield Entrance("extra", door.port, Purpose.OTHER, _peers(door.allow_from), door.because, lost)
    versions = {(one.published, one.address.version) for one in firewall.container}
    for one in firewall.container:
        container = Container(str(one.address), one.port, one.published)
        peers = _peers(one.allow_from)
        if (one.published, 10 - one.address.version) in versions:
            peers = tuple(peer for peer in peers if peer.version == one.address.version)
        yield Entrance(
            "container",
            one.published,
            Purpose.OTHER,
            peers,
            one.because,
            "the container cannot be reached",
            container=container,
        )


def _listener(config: Config, listener: ListenerTable, found: Found) -> Iterator[Entrance]:
    versions = {address.version for address in listener.addresses if not address.is_loopback}
    if not versions:
        return
    if listener.port == 0:
        raise PolicyError(f"listener {listener.label}: port 0 is another one at every start; give it a number")
    bound = {version for version, port in found.bound or () if port == listener.port}
    purpose, because, without = _PURPOSES[listener.role]
    peers = _WORLD
    if listener.role is Role.SUBMISSION:
        peers = _peers(config.firewall.submission_from)
    elif not config.domain:
        peers = config.relay.networks
        because, without = "machines that may relay without login", "these machines cannot send mail"
    if not peers:
        return
    limit = config.firewall.connections_per_minute
    is_submission = listener.role is Role.SUBMISSION
    yield Entrance(
        listener.label,
        listener.port,
        purpose,
        peers,
        because,
        without,
        # A server that is not running now will be bound as it is configured.
        is_bound_ipv4=4 in (bound & versions or versions),
        is_bound_ipv6=6 in (bound & versions or versions),
        rate=Rate(limit, 60) if is_submission and limit else None,
    )


def _peers(networks: tuple[Network, ...] | None) -> tuple[Network, ...]:
    return _WORLD if networks is None else networks


def _smarthosts(config: Config, found: Found) -> Iterator[Smarthost]:
    names: set[str] = set()
    for hop in hops(config):
        addresses = found.addresses.get(hop.host, ())
        if not addresses:
            raise PolicyError(f"{hop.host} has no address: a way out by a name that cannot be resolved is no rule")
        beyond = tuple(_host(one) for one in addresses if not one.is_loopback)
        if not beyond:
            continue
        name = re.sub(r"[^a-z0-9.]+", "-", hop.host.lower())[:_LONGEST_NAME].strip("-.") or "hop"
        while (unique := f"{name}-{hop.port}") in names:
            name += "-2"
        names.add(unique)
        yield Smarthost(name, hop.port, _sorted(beyond), hop.host)


def _sorted(networks: Iterable[Network]) -> tuple[Network, ...]:
    return tuple(sorted(set(networks), key=lambda one: (one.version, int(one.network_address))))
