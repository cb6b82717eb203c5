"""Where mail for a domain goes: exact name, then `.suffix` (the longest), then `*`.

A *destination* is the key under which recipients wait together and are throttled together: the domain for MX routes
(`mx:example.org`), the route for all others (`lmtp:dovecot`, `smarthost:provider`, `maildir:local`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.mail.domain import Domain
from postreeve.queue.settings import (
    Discard,
    Fallback,
    Hold,
    Lmtp,
    Maildir,
    Mx,
    RouteSettings,
    Smarthost,
    Target,
)

_MAX_REMEMBERED: Final = 16_384
_RELEASED: Final = RouteSettings("released", ("*",), Mx())


@dataclass(frozen=True, slots=True)
class Route:
    """The way for one domain."""

    name: str
    destination: str
    domain: Domain
    target: Target
    fallback: Fallback | None = None

    @property
    def is_held(self) -> bool:
        """True when recipients begin as held."""
        return isinstance(self.target, Hold)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, so that mail is never sent to ourselves: our names and the (address, port) pairs we listen on.

    An endpoint at a wildcard address stands for all loopback addresses; the machine's other addresses are to be named.
    """

    names: frozenset[Domain] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()

    def is_named(self, host: str) -> bool:
        """True when `host` is one of our names."""
        return bool(self.names) and Domain(host.lower().rstrip(".")) in self.names

    def is_at(self, address: str, port: int) -> bool:
        """True when a connection to that address and port would reach ourselves."""
        if (address, port) in self.endpoints:
            return True
        wildcard = "::" if ":" in address else "0.0.0.0"
        return (wildcard, port) in self.endpoints and (address.startswith("127.") or address == "::1")


class Router:
    """Answers `route(domain)`; remembers answers, since a few domains get most of the mail."""

    __slots__ = ("_default", "_exact", "_remembered", "_suffixes")

    def __init__(self, routes: Iterable[RouteSettings]) -> None:
        """The first route to claim a domain pattern keeps it."""
        self._exact: dict[str, RouteSettings] = {}
        self._suffixes: dict[str, RouteSettings] = {}
        self._default: RouteSettings | None = None
        self._remembered: dict[Domain, Route | None] = {}
        for settings in routes:
            for pattern in settings.domains:
                self._add(pattern.lower(), settings)

    def _add(self, pattern: str, settings: RouteSettings) -> None:
        if pattern == "*":
            self._default = self._default or settings
        elif pattern.startswith("."):
            self._suffixes.setdefault(pattern, settings)
        else:
            self._exact.setdefault(pattern, settings)

    def route(self, domain: Domain) -> Route | None:
        """The route for `domain`, or None where no route speaks of it."""
        try:
            return self._remembered[domain]
        except KeyError:
            pass
        settings = self._find(domain)
        found = None if settings is None else _bind(settings, domain)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[domain] = found
        return found

    def route_past_hold(self, domain: Domain) -> Route:
        """Where mail for `domain` goes that an operator released from a route that holds it: the next way that speaks
        of it, from the exact name to "*", and the MX hosts where none does."""
        settings = next((one for one in self._claimants(domain) if not isinstance(one.target, Hold)), _RELEASED)
        return _bind(settings, domain)

    def _claimants(self, domain: Domain) -> Iterator[RouteSettings]:
        name = domain.ascii
        if (exact := self._exact.get(name)) is not None:
            yield exact
        rest = "" if domain.is_literal else name
        while rest:
            _, dot, rest = rest.partition(".")
            if dot and (settings := self._suffixes.get("." + rest)) is not None:
                yield settings
        if self._default is not None:
            yield self._default

    def _find(self, domain: Domain) -> RouteSettings | None:
        return next(self._claimants(domain), None)


def _bind(settings: RouteSettings, domain: Domain) -> Route:
    return Route(settings.name, destination_key(settings, domain), domain, settings.target, settings.fallback)


def destination_key(settings: RouteSettings, domain: Domain) -> str:
    """The key under which recipients of `domain` wait on this route."""
    match settings.target:
        case Mx():
            return f"mx:{domain.ascii}"
        case Smarthost():
            return f"smarthost:{settings.name}"
        case Lmtp():
            return f"lmtp:{settings.name}"
        case Maildir():
            return f"maildir:{settings.name}"
        case Hold():
            return f"hold:{settings.name}"
        case Discard():
            return f"discard:{settings.name}"


def fallback_key(route: Route) -> str:
    """The key under which connections to the route's fallback smarthost are kept."""
    return f"fallback:{route.name}"


def loops(settings: RouteSettings, identity: Identity) -> str:
    """Why this route would send our own mail back to us, or "" when it would not; for the configuration to refuse."""
    hosts = [settings.target] if isinstance(settings.target, (Smarthost, Lmtp)) else []
    extra = [settings.fallback.smarthost] if settings.fallback is not None else []
    for hop in (*hosts, *extra):
        if identity.is_at(hop.host, hop.port):
            return f"route {settings.name!r} leads to {hop.host} port {hop.port}, where this server itself listens"
        if isinstance(hop, Smarthost) and identity.is_named(hop.host) and hop.port in _ports(identity):
            return f"route {settings.name!r} leads to {hop.host}, which is a name of this server"
    return ""


def _ports(identity: Identity) -> frozenset[int]:
    return frozenset(port for _, port in identity.endpoints)
