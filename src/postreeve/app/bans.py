"""Who guesses passwords is kept out by the firewall: failed logins are counted, and the warden is asked.

The counts are those of all workers together. Whoever must never be kept out is left alone here, by the configuration in
force, and by the warden, by that of the server's start.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from postreeve.app.process import own_addresses
from postreeve.config.model import Config
from postreeve.enforce import nft, warden
from postreeve.enforce.bans import BanLine, may_be_banned
from postreeve.enforce.capability import give_up_net_admin, has_net_admin
from postreeve.enforce.command import CommandFailed
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Network
from postreeve.inbound.counter import SharedCounters
from postreeve.policy.facts import client_key, parse_client
from postreeve.telemetry.event import AddressBanned, AuthenticationFailed, CredentialsMisplaced, TelemetryEvent, Tell

_GUESSES: Final = frozenset({"unknown", "password", "disabled", "throttled"})
"""Why a login failed, where that is the client's doing."""
_DESTINATIONS: Final = re.compile(r"\bdaddr (\{[^}]*\}|\S+)")


def protected(config: Config) -> tuple[Network, ...]:
    """Ourselves, the networks that we relay for, proxies, next hops and resolvers that are named by address."""
    found: list[Network] = [ip_network(one) for one in own_addresses()]
    found += config.relay.networks
    for listener in config.listener:
        found += listener.proxy_from
    found += [ip_network(one.address) for one in config.dns.servers]
    for route in config.route:
        for hop in (route, route.fallback):
            if hop is not None and hop.host:
                with contextlib.suppress(ValueError):
                    found.append(ip_network(hop.host.strip("[]")))
    return tuple(dict.fromkeys(found))


def open_line(config: Config) -> BanLine | None:
    """Before the rights of root are given up: a line to a warden, where bans are wanted and there are sets for them."""
    firewall = config.firewall
    if not (firewall.bans and firewall.ban_after and has_net_admin()):
        return None
    try:
        table = nft.list_own(Place()) or ""
    except (CommandFailed, OSError):
        # Mail does not wait for bans.
        table = ""
    try:
        if "set bans4 {" not in table and "set bans6 {" not in table:
            return None
        return warden.start([*protected(config), *next_hops_in(table)], [firewall.ssh_port])
    finally:
        # Given to us for the warden only; as root we have it anyway until we change to the server's account.
        with contextlib.suppress(OSError):
            _give_up()


def next_hops_in(table: str) -> tuple[Network, ...]:
    """The addresses that the rules in force let mail leave for: next hops by name, as they were resolved then."""
    found = []
    for words in _DESTINATIONS.findall(table):
        for word in re.split(r"[\s,{}]+", words):
            with contextlib.suppress(ValueError):
                network = ip_network(word)
                if network.num_addresses == 1:
                    found.append(network)
    return tuple(dict.fromkeys(found))


def _give_up() -> None:
    if os.geteuid() != 0:
        give_up_net_admin()


class Bans:
    """One worker's share. `tell` it every event; it tells `report` of every ban."""

    __slots__ = ("_clock", "_config", "_counters", "_line", "_protected", "_report")

    def __init__(
        self,
        line: BanLine | None,
        config: Config,
        counters: SharedCounters,
        report: Tell,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._line = line
        self._counters = counters
        self._report = report
        self._clock = clock
        self.change(config)

    def change(self, config: Config) -> None:
        """Another configuration is in force."""
        self._config = config.firewall
        self._protected = protected(config) if self._line is not None else ()

    def tell(self, event: TelemetryEvent) -> None:
        """Never raises; most events cost one comparison."""
        kind = event.__class__
        if kind is not AuthenticationFailed and kind is not CredentialsMisplaced:
            return
        assert isinstance(event, AuthenticationFailed | CredentialsMisplaced)
        if self._line is None or not self._config.ban_after:
            return
        if isinstance(event, AuthenticationFailed) and event.reason not in _GUESSES:
            return
        self._count(self._line, event.client)

    def _count(self, line: BanLine, client: str) -> None:
        address = parse_client(client)
        place = self._counters.find(b"ban " + client_key(address))
        window = int(self._clock() // max(1, self._config.ban_within))
        self._counters.note(place, window)
        failures = self._counters.rate(place, window)
        if failures < self._config.ban_after or not may_be_banned(address, self._protected):
            return
        seconds = int(self._config.ban_for)
        problem = "" if line.ban(address, seconds) else "nobody takes bans: restart the server"
        self._report(AddressBanned(str(ip_address(address)), seconds, failures, problem))
