"""Cross checks: what no single setting can know. Each returns every complaint it has."""

from __future__ import annotations

import difflib
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from postreeve.config.assemble import identity, route_label, route_settings
from postreeve.config.lines import Place
from postreeve.config.model import Config
from postreeve.config.next_hop import FallbackTable, RouteTable, Via
from postreeve.policy.settings import Role
from postreeve.queue.route import loops
from postreeve.queue.settings import TlsMode
from postreeve.smtp.settings import TlsOffer


@dataclass(frozen=True, slots=True)
class Complaint:
    """One mistake at `place`. It counts only if what stands at `depends_on` was understood as well."""

    place: Place
    problem: str
    hint: str = ""
    depends_on: tuple[Place, ...] = ()

    def moved(self, move: Callable[[Place], Place]) -> Complaint:
        """The same complaint with its places translated."""
        return replace(self, place=move(self.place), depends_on=tuple(move(one) for one in self.depends_on))


def check(config: Config) -> list[Complaint]:
    """Everything that does not go together."""
    checks = (
        _server,
        _tls,
        _listeners,
        _overlaps,
        _domains,
        _relay,
        _routes,
        _patterns,
        _limits,
        _queue,
        _delivery,
        _firewall,
    )
    return [complaint for one in checks for complaint in one(config)]


def _server(config: Config) -> Iterator[Complaint]:
    name = config.hostname
    if name.is_literal or ("." not in name.ascii and name.ascii != "localhost"):
        yield Complaint(
            ("hostname",), f"{name} is not fully qualified", "peers refuse it: give the whole name, as mail.example.org"
        )
    if not config.listener:
        hint = 'add at least one [[listener]] with port and role, such as port = 25 and role = "relay"'
        yield Complaint((), "no [[listener]]: nothing would be listened on", hint, (("listener",),))
    for place, listen in ((("metrics", "listen"), config.metrics.listen),):
        if listen is not None and any(one.port == listen.port for one in config.listener):
            yield Complaint(place, f"port {listen.port} belongs to a listener already", "choose another port")


def _tls(config: Config) -> Iterator[Complaint]:
    tls = config.tls
    if (tls.certificate is None) != (tls.key is None):
        missing = "key" if tls.key is None else "certificate"
        yield Complaint(("tls",), f"{missing} is missing", "certificate and key are needed together")
    if tls.extra and tls.certificate is None:
        yield Complaint(("tls", "extra"), "there is no default certificate", "set certificate and key in [tls] first")
    for index, listener in enumerate(config.listener):
        if listener.offer is not TlsOffer.NONE and tls.certificate is None:
            yield Complaint(
                ("listener", index, "tls"),
                f'"{listener.offer.value}" needs a certificate',
                "set certificate and key in [tls]",
                (("tls",),),
            )


def _listeners(config: Config) -> Iterator[Complaint]:
    names: dict[str, int] = {}
    for index, listener in enumerate(config.listener):
        place: Place = ("listener", index)
        first = names.setdefault(listener.label, index)
        if first != index:
            what = f"the name {listener.label!r} is taken by listener[{first + 1}]"
            yield Complaint((*place, "name"), what, "give each listener a name of its own")
        if listener.role is Role.SUBMISSION and listener.offer in (TlsOffer.NONE, TlsOffer.STARTTLS):
            yield Complaint(
                (*place, "tls"),
                f'submission with tls = "{listener.offer.value}" would take passwords in plain text',
                'use "required" (STARTTLS) or "implicit"',
            )
        if listener.role is Role.RELAY and listener.offer is TlsOffer.REQUIRED and listener.port == 25:
            hint = 'use "starttls": much of the world\'s mail comes without TLS (RFC 3207, section 4)'
            yield Complaint((*place, "tls"), '"required" on port 25 refuses other servers', hint)
        if listener.offer is TlsOffer.IMPLICIT and listener.port in (25, 587):
            what = f"port {listener.port} begins in plain text everywhere"
            yield Complaint((*place, "tls"), what, 'use "starttls" or "required", or port 465 for "implicit"')
        if listener.port == 465 and listener.offer is not TlsOffer.IMPLICIT:
            hint = 'use "implicit" (RFC 8314, section 3.3), or port 587'
            yield Complaint((*place, "tls"), "clients speak TLS from the first octet on port 465", hint)


def _overlaps(config: Config) -> Iterator[Complaint]:
    taken: dict[tuple[str, int], int] = {}
    wild: dict[tuple[int, int], int] = {}
    for index, listener in enumerate(config.listener):
        if listener.port == 0:
            continue
        for number, address in enumerate(listener.addresses):
            exact = (str(address), listener.port)
            any_of = (address.version, listener.port)
            others = [
                owner
                for (text, port), owner in taken.items()
                if port == listener.port and (":" in text) == (":" in exact[0])
            ]
            first = taken.get(exact, wild.get(any_of))
            if first is None and address.is_unspecified and others:
                first = others[0]
            if first is not None:
                where = "twice here" if first == index else f"by listener[{first + 1}] already"
                what = f"{address} port {listener.port} is taken {where}"
                yield Complaint(("listener", index, "addresses", number), what, "change the port or the addresses")
            taken.setdefault(exact, index)
            if address.is_unspecified:
                wild.setdefault(any_of, index)


def _domains(config: Config) -> Iterator[Complaint]:
    seen: set[str] = set()
    for index, domain in enumerate(config.domain):
        place: Place = ("domain", index, "name")
        if domain.name.ascii in seen:
            yield Complaint(place, f"{domain.name} is listed twice", "join the two [[domain]] tables")
        seen.add(domain.name.ascii)
        if domain.name.is_literal:
            yield Complaint(place, f"{domain.name} is an address literal", "give a domain name")
        if not _has_own_route(config, domain.name.ascii):
            yield Complaint(
                place,
                f"no route says where mail for {domain.name} is kept",
                f'add a [[route]] with domains = ["{domain.name}"] and via = "maildir" or "lmtp"',
                (("route",),),
            )


def _has_own_route(config: Config, name: str) -> bool:
    """A "*" route by MX does not count: the MX host of our own domain is ourselves."""
    for route in config.route:
        for pattern in route.domains:
            if pattern.domain is None:
                if route.via is not Via.MX:
                    return True
            elif pattern.below:
                if name.endswith("." + pattern.domain.ascii):
                    return True
            elif pattern.domain.ascii == name:
                return True
    return False


def _relay(config: Config) -> Iterator[Complaint]:
    for index, network in enumerate(config.relay.networks):
        if network.prefixlen <= 3:
            hint = "list only machines you answer for; everybody else logs in on a submission listener"
            yield Complaint(("relay", "networks", index), f"{network} would make this an open relay", hint)
    for number, listener in enumerate(config.listener):
        for index, network in enumerate(listener.proxy_from):
            if network.prefixlen == 0:
                what = f"{network} would let everybody claim to be anybody"
                yield Complaint(("listener", number, "proxy_from", index), what, "list the proxies' own addresses")


_FIELDS_BY_VIA: Final = {
    "path": {Via.MAILDIR},
    "host": {Via.LMTP, Via.SMARTHOST},
    "port": {Via.LMTP, Via.SMARTHOST},
    "socket": {Via.LMTP},
    "tls": {Via.SMARTHOST},
    "verify": {Via.SMARTHOST},
    "username": {Via.SMARTHOST},
    "password": {Via.SMARTHOST},
    "password_file": {Via.SMARTHOST},
    "fallback": {Via.MX, Via.SMARTHOST},
}


def _routes(config: Config) -> Iterator[Complaint]:
    names: dict[str, int] = {}
    me = identity(config)
    for index, route in enumerate(config.route):
        place: Place = ("route", index)
        first = names.setdefault(route_label(route), index)
        if first != index:
            what = f"the name {route_label(route)!r} is taken by route[{first + 1}]"
            yield Complaint((*place, "name"), what, "give each route a name of its own")
        for field in sorted(route.model_fields_set & _FIELDS_BY_VIA.keys()):
            if route.via not in _FIELDS_BY_VIA[field]:
                what = f'has no meaning with via = "{route.via.value}"'
                uses = " or ".join(sorted(via.value for via in _FIELDS_BY_VIA[field]))
                yield Complaint((*place, field), what, f"remove it, or set via to {uses}")
        if not route.domains:
            yield Complaint((*place, "domains"), "is empty", 'list domains, or "*" for all')
        yield from _route_needs(route, place)
        for hop, where in ((route, place), (route.fallback, (*place, "fallback"))):
            if hop is not None:
                yield from _login(hop, where)
        if loop := loops(route_settings(config, route, {}), me):
            yield Complaint((*place, "host"), loop, "mail would go round in circles", (("listener",), ("hostname",)))


def _route_needs(route: RouteTable, place: Place) -> Iterator[Complaint]:
    if route.via is Via.SMARTHOST and not route.host:
        yield Complaint((*place, "host"), 'is missing: via = "smarthost" needs the name of the next hop')
    if route.via is Via.LMTP and not route.host and route.socket is None:
        yield Complaint((*place, "host"), 'is missing: via = "lmtp" needs host and port, or socket')
    if route.via is Via.LMTP and route.host and route.socket is not None:
        yield Complaint((*place, "socket"), "both socket and host are given", "keep one of them")
    if route.fallback is not None and not route.fallback.host:
        yield Complaint((*place, "fallback", "host"), "is missing", "the name of the smarthost that takes over")
    if route.via is Via.MAILDIR and route.path:
        yield from _template(route.path, (*place, "path"))


def _template(path: str, place: Place) -> Iterator[Complaint]:
    known = ("data_dir", "domain", "local")
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]
    except ValueError as problem:
        yield Complaint(place, f"cannot be read: {problem}", "use {data_dir}, {domain} and {local}")
        return
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {{{near[0]}}}?" if near else "known: {data_dir}, {domain}, {local}"
            yield Complaint(place, f"{{{name}}} is unknown", hint)
    if not path.startswith(("/", "{data_dir}")):
        yield Complaint(place, f"{path!r} is relative", "begin with / or {data_dir}")


def _login(hop: RouteTable | FallbackTable, place: Place) -> Iterator[Complaint]:
    if hop.password and hop.password_file is not None:
        yield Complaint((*place, "password_file"), "both password and password_file are given", "keep the file")
    has_password = bool(hop.password) or hop.password_file is not None
    if hop.username and not has_password:
        yield Complaint((*place, "username"), "a username needs a password", "set password_file, or password")
    if has_password and not hop.username:
        yield Complaint((*place, "password"), "a password needs a username")
    if hop.username and hop.tls in (TlsMode.NONE, TlsMode.OPPORTUNISTIC):
        what = f'tls = "{hop.tls.value}" may send the password in plain text'
        yield Complaint((*place, "tls"), what, 'use "implicit" or "required"')
    if "verify" in hop.model_fields_set and not hop.verify and hop.tls in (TlsMode.NONE, TlsMode.OPPORTUNISTIC):
        yield Complaint((*place, "verify"), "has no meaning: nothing is verified with this tls mode anyway")


def _patterns(config: Config) -> Iterator[Complaint]:
    own = [domain.name.ascii for domain in config.domain]
    seen: dict[str, int] = {}
    for index, route in enumerate(config.route):
        for number, pattern in enumerate(route.domains):
            place: Place = ("route", index, "domains", number)
            first = seen.setdefault(str(pattern), index)
            if first != index:
                what = f"{str(pattern)!r} has its route in route[{first + 1}] already; this one would never be used"
                yield Complaint(place, what, "remove one of them")
            is_local = route.via in (Via.MAILDIR, Via.LMTP) and pattern.domain is not None and not pattern.below
            if is_local and str(pattern) not in own:
                near = difflib.get_close_matches(str(pattern), own, n=1, cutoff=0.75)
                hint = f'did you mean "{near[0]}"?' if near else f'add [[domain]] with name = "{pattern}"'
                what = f"{pattern} is none of our domains: its mail would be refused"
                yield Complaint(place, what, hint, (("domain",),))
    takes_all = any(pattern.domain is None for route in config.route for pattern in route.domains)
    submits = any(listener.role is Role.SUBMISSION for listener in config.listener) or config.relay.networks
    if submits and not takes_all:
        hint = 'add [[route]] with domains = ["*"] and via = "mx" or "smarthost"'
        yield Complaint((), "no route for other domains: our users could not send to the world", hint, (("route",),))


def _limits(config: Config) -> Iterator[Complaint]:
    limits = config.limits
    if "max_header" in limits.model_fields_set and limits.max_header > limits.max_message:
        yield Complaint(("limits", "max_header"), "is greater than max_message", "a header is part of a message")
    if limits.soft_errors > limits.max_errors:
        yield Complaint(("limits", "soft_errors"), "is greater than max_errors", "errors slow down first, then end")
    if limits.connections_per_client > limits.connections:
        yield Complaint(("limits", "connections_per_client"), "is greater than connections", "0 = no limit")
    for name in ("command_timeout", "content_timeout", "session_timeout", "tls_timeout", "stress_timeout"):
        if getattr(limits, name) == 0:
            yield Complaint(("limits", name), "is nothing: no client could keep it", "RFC 5321 asks for 5m")


def _queue(config: Config) -> Iterator[Complaint]:
    queue = config.queue
    for index, wait in enumerate(queue.retry):
        if wait == 0:
            yield Complaint(("queue", "retry", index), "is nothing", "peers count hasty retries as abuse")
        elif wait > queue.lifetime:
            yield Complaint(("queue", "retry", index), "is longer than lifetime", "such a retry would never happen")
    for index, age in enumerate(queue.warn_after):
        if age >= queue.lifetime:
            yield Complaint(("queue", "warn_after", index), "is not before lifetime", "the message is returned by then")


def _delivery(config: Config) -> Iterator[Complaint]:
    delivery = config.delivery
    if delivery.initial_per_destination > delivery.per_destination:
        yield Complaint(("delivery", "initial_per_destination"), "is greater than per_destination")
    if delivery.per_destination > delivery.concurrency:
        yield Complaint(("delivery", "per_destination"), "is greater than concurrency")
    for name, version in (("source_ipv4", 4), ("source_ipv6", 6)):
        address = getattr(delivery, name)
        if address is not None and address.version != version:
            yield Complaint(("delivery", name), f"{address} is no IPv{version} address")
    for name in type(delivery.timeouts).model_fields:
        if getattr(delivery.timeouts, name) == 0:
            yield Complaint(("delivery", "timeouts", name), "is nothing", "no peer could keep it")
    if config.dns.timeout > config.dns.total:
        yield Complaint(("dns", "timeout"), "is longer than total")


_ANOTHER_TABLE: Final = "another table of [firewall]"


def _firewall(config: Config) -> Iterator[Complaint]:
    firewall = config.firewall
    taken = {listener.port: f"the listener {listener.label}" for listener in config.listener if listener.port}
    taken.setdefault(firewall.ssh_port, "SSH (ssh_port)")
    doors = [(("firewall", "extra", index, "port"), one.port) for index, one in enumerate(firewall.extra)]
    for place, port in doors:
        if port in taken:
            yield Complaint(place, f"port {port} belongs to {taken[port]} already", "one table per port")
        taken.setdefault(port, _ANOTHER_TABLE)
    yield from _containers(config, taken)
    for index, door in enumerate(firewall.extra):
        if door.allow_from == ():
            yield Complaint(("firewall", "extra", index, "allow_from"), "nobody is listed", 'list networks, or "world"')
    if firewall.submission_from == ():
        hint = 'list networks, or "world"; or remove the submission listeners'
        yield Complaint(("firewall", "submission_from"), "nobody could submit mail", hint)


def _containers(config: Config, taken: dict[int, str]) -> Iterator[Complaint]:
    published: set[tuple[int, int]] = set()
    for index, one in enumerate(config.firewall.container):
        # A container of both families has two addresses, and a table for each.
        key = (one.published, one.address.version)
        owner = taken.get(one.published) or (_ANOTHER_TABLE if key in published else "")
        if owner:
            hint = "one table per port, and per family of the container's address"
            yield Complaint(
                ("firewall", "container", index, "published"), f"port {one.published} belongs to {owner} already", hint
            )
        published.add(key)
        peers = one.allow_from
        if peers is not None and not any(peer.version == one.address.version for peer in peers):
            what = f"no network of IPv{one.address.version}, as the container's address is"
            yield Complaint(("firewall", "container", index, "allow_from"), what, 'list networks, or "world"')
