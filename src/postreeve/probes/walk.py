"""The whole walk: names, addresses, connections, and where something failed the controls that say whose fault it is."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from postreeve.checks.conversation import Conversation
from postreeve.checks.facts import Asked, Endpoint, Facts, Intent, TargetKind, Vantage
from postreeve.checks.path import Control, ControlRole, Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.ports.provider import by_host
from postreeve.probes.control import control
from postreeve.probes.converse import converse
from postreeve.probes.dial import Dialled, dial
from postreeve.probes.lookup import Asker
from postreeve.probes.names import Found, Place, find_places, with_hint
from postreeve.probes.refusal import is_refused_here
from postreeve.probes.request import Request
from postreeve.probes.schedule import (
    MAX_CONNECTIONS,
    PEEK_SECONDS,
    Step,
    has_connected,
    has_failed,
    is_limited,
    next_step,
)
from postreeve.probes.script import Patience, Script
from postreeve.probes.target import Target
from postreeve.probes.trace import trace
from postreeve.probes.vantage import look_around, own_name

_MAX_ENDPOINTS: Final = 16
_MAX_TRACES: Final = 2
_MAX_PLACES: Final = 3
_TRIAL_SECONDS: Final = 3.0
_RELAY_PORT: Final = 25
_TRIED_PORTS: Final = {
    Intent.AUTO: (465, 587, 25),
    Intent.IMPLICIT: (465, 2465),
    Intent.STARTTLS: (587, 25, 2525),
    Intent.PLAIN: (25, 587),
}
_NEVER_TRACED: Final = (DialOutcome.NO_ROUTE, DialOutcome.NO_SOURCE, DialOutcome.FORBIDDEN, DialOutcome.OTHER)

Progress = Callable[[str], None]


async def walk(target: Target, request: Request, *, now: float, progress: Progress = lambda words: None) -> Facts:
    """Everything that can be seen of the target from here. Never raises for anything that a network or peer does."""
    if request.intent is Intent.AUTO and target.intent is not Intent.AUTO:
        request = replace(request, intent=target.intent)
    request = replace(request, port=request.port or target.port)
    progress(f"looking up {target.name}")
    found = with_hint(await find_places(target, request), target.understood)
    walker = _Walker(target, request, found, progress)
    await walker.visit_all()
    return await walker.facts(now)


class _Walker:
    def __init__(self, target: Target, request: Request, found: Found, progress: Progress) -> None:
        self._target = target
        self._request = request
        self._found = found
        self._progress = progress
        self._endpoints: list[Endpoint] = []
        self._controls: list[Control] = []
        self._is_login_spent = False
        """An AUTH has failed: no other is made with these credentials."""
        self._is_sent = False
        self._hello_name = request.hello_name

    async def visit_all(self) -> None:
        """The endpoints in the order in which a client would try them, one at a time."""
        places = self._found.places
        if self._found.kind is TargetKind.MAIL_DOMAIN and not self._request.all_addresses:
            for place in places[:_MAX_PLACES]:
                await self._visit_place(place)
                if any(has_connected(one) for one in self._endpoints):
                    return
            return
        for place in places:
            await self._visit_place(place)

    async def _visit_place(self, place: Place) -> None:
        addresses = place.addresses if self._request.all_addresses else _one_of_each_family(place.addresses)
        limited: set[int] = set()
        decided, opened = self._port_of(place), None
        for address in addresses:
            family = 6 if ":" in address else 4
            if len(self._endpoints) >= _MAX_ENDPOINTS or family in limited:
                continue
            port = decided
            if port is None:
                port, opened = await self._choose_port(address)
                decided = port if opened.socket is not None else None
            endpoint = await self._visit(place, address, port, opened)
            opened = None
            self._endpoints.append(endpoint)
            if any(is_limited(talk) for talk in endpoint.conversations):
                limited.add(family)

    def _port_of(self, place: Place) -> int | None:
        """The port that is decided without asking the host."""
        if self._request.port is not None:
            return self._request.port
        if place.port is not None:
            return place.port
        if self._found.kind is TargetKind.MAIL_DOMAIN or self._request.is_application is False:
            return _RELAY_PORT
        provider = by_host(place.host)
        if provider is not None and self._request.intent is Intent.AUTO:
            return next((one.port for one in provider.ports if one.is_confirmed), None)
        return None

    async def _choose_port(self, address: str) -> tuple[int, Dialled]:
        """The best port that answers, with the connection; those that did not answer become controls."""
        failed: list[Dialled] = []
        for port in _TRIED_PORTS[self._request.intent]:
            self._progress(f"trying port {port} of {address}")
            seconds = min(_TRIAL_SECONDS, self._request.timeout_seconds)
            dialled = await dial(address, port, timeout_seconds=seconds, source=self._source(address))
            if dialled.socket is not None:
                self._controls += [Control(ControlRole.OTHER_PORT, one.dial) for one in failed]
                return port, dialled
            failed.append(dialled)
        chosen = next((one for one in failed if one.dial.port == 587), failed[0])
        self._controls += [Control(ControlRole.OTHER_PORT, one.dial) for one in failed if one is not chosen]
        return chosen.dial.port, chosen

    async def _visit(self, place: Place, address: str, port: int, opened: Dialled | None) -> Endpoint:
        """At most three connections, each decided by those before."""
        intent = self._request.intent if self._request.intent is not Intent.AUTO else place.intent
        endpoint = Endpoint(place.host, address, port, place.preference)
        for _ in range(MAX_CONNECTIONS):
            step = next_step(port, intent, endpoint)
            if step is None:
                break
            self._progress(f"connecting to {address} port {port}")
            dialled, opened = opened or await self._dial(address, port), None
            if dialled.socket is None:
                endpoint = replace(endpoint, dials=(*endpoint.dials, await self._look_closer(dialled.dial)))
                break
            endpoint = replace(endpoint, dials=(*endpoint.dials, dialled.dial))
            talk = await converse(dialled, self._script(step, place, dialled.dial))
            self._note(talk)
            talk = replace(talk, is_nameless=step.is_nameless)
            endpoint = replace(endpoint, conversations=(*endpoint.conversations, talk))
        return endpoint

    async def _dial(self, address: str, port: int) -> Dialled:
        return await dial(address, port, timeout_seconds=self._request.timeout_seconds, source=self._source(address))

    async def _look_closer(self, made: Dial) -> Dial:
        """The same, unless it was this machine's own firewall that refused."""
        is_here = await is_refused_here(made, self._source(made.address))
        return replace(made, outcome=DialOutcome.FORBIDDEN) if is_here else made

    def _note(self, talk: Conversation) -> None:
        login, data = talk.reply(Stage.AUTH), talk.reply(Stage.DATA)
        if talk.auth_tried and (login is None or login.code != 235):
            self._is_login_spent = True
        self._is_sent = self._is_sent or data is not None

    def _script(self, step: Step, place: Place, made: Dial) -> Script:
        asked, wait = self._request, self._request.timeout_seconds
        is_short = step.is_lenient or step.is_nameless or (self._is_login_spent and asked.login is not None)
        greeting = min(PEEK_SECONDS, wait) if step.is_peek else wait * 3 if step.is_patient else wait
        self._hello_name = asked.hello_name or own_name(made.local_address)
        return Script(
            opening=step.opening,
            starttls=step.starttls,
            hello_name=self._hello_name,
            server_name="" if step.is_nameless else place.host,
            reference_name=place.host,
            login=None if is_short else asked.login,
            mail_from=None if is_short else asked.mail_from,
            recipient="" if is_short else asked.recipient,
            message=None if self._is_sent or is_short else asked.message,
            size_octets=asked.message_octets,
            stop_after=Stage.CERT if is_short else asked.stop_after,
            is_lenient=step.is_lenient,
            patience=Patience(greeting, wait, wait, max(30.0, wait), wait * 6, min(3.0, wait)),
            ca_file=asked.ca_file,
            may_ask_authority=asked.may_ask_authority and not step.is_nameless,
        )

    def _source(self, address: str) -> str:
        return self._request.source_ipv6 if ":" in address else self._request.source_ipv4

    async def facts(self, now: float) -> Facts:
        """The controls and traces, where something failed, and all of it together."""
        vantage, _ = await asyncio.gather(self._look_around(), self._look_into_failures())
        request, kind = self._request, self._found.kind
        asked = Asked(
            target=self._target.text,
            kind=kind,
            port=request.port,
            intent=request.intent,
            has_credentials=request.login is not None,
            mail_from=request.mail_from or "",
            recipient=request.recipient,
            stop_after=_last_stage(request),
            hello_name=self._hello_name,
            source_ipv4=request.source_ipv4,
            source_ipv6=request.source_ipv6,
            family=request.family,
            is_application=self._is_application(),
            library=request.library or self._target.library,
            message_octets=request.message_octets or len(request.message or b""),
        )
        return Facts(asked, now, self._found.names, vantage, tuple(self._endpoints), tuple(self._controls))

    def _is_application(self) -> bool:
        if self._request.is_application is not None:
            return self._request.is_application
        if self._found.kind is TargetKind.MAIL_DOMAIN:
            return False
        ports = {one.port for one in self._endpoints} or {self._request.port or 0}
        return self._request.login is not None or ports != {_RELAY_PORT}

    async def _look_around(self) -> Vantage:
        local = [one.local_address for endpoint in self._endpoints for one in endpoint.dials if one.local_address]
        return await look_around(local, Asker(self._request.servers, min(2.0, self._request.timeout_seconds)))

    async def _look_into_failures(self) -> None:
        """Controls for one failed endpoint of each family; traces where no connection came about."""
        failed = [one for one in self._endpoints if has_failed(one, self._request.intent)]
        if not failed:
            return
        self._progress("something failed: trying other ways to find out whose fault it is")
        first_of = list({":" in one.address: one for one in reversed(failed)}.values())
        wanted = [self._control(one) for one in first_of]
        traced = [one for one in failed if _is_worth_a_trace(one)][:_MAX_TRACES]
        made, traces = await asyncio.gather(
            asyncio.gather(*wanted),
            asyncio.gather(*(trace(one.address, one.port, source=self._source(one.address)) for one in traced)),
        )
        self._controls += [one for controls in made for one in controls]
        for one, way in zip(traced, traces, strict=True):
            self._endpoints[self._endpoints.index(one)] = replace(one, trace=way)

    async def _control(self, endpoint: Endpoint) -> tuple[Control, ...]:
        tried = {one.port for one in self._endpoints if one.address == endpoint.address}
        tried |= {one.dial.port for one in self._controls if one.dial.address == endpoint.address}
        source = self._source(endpoint.address)
        return await control(endpoint.host, endpoint.address, endpoint.port, frozenset(tried), self._request, source)


def _is_worth_a_trace(endpoint: Endpoint) -> bool:
    """Nobody answered, or somebody on the way might have answered in the target's name."""
    if has_connected(endpoint) or not endpoint.dials or endpoint.dials[-1].outcome in _NEVER_TRACED:
        return False
    return not ipaddress.ip_address(endpoint.address.partition("%")[0]).is_loopback


def _last_stage(request: Request) -> Stage:
    """The last stage for which everything was given: no AUTH without credentials, no RCPT without a recipient."""
    order = list(Stage)
    can = Stage.TLS if request.login is None else Stage.AUTH
    if request.mail_from is not None:
        can = Stage.MAIL if not request.recipient else Stage.RCPT if request.message is None else Stage.DATA
    return min(can, request.stop_after, key=order.index)


def _one_of_each_family(addresses: Sequence[str]) -> tuple[str, ...]:
    first = {":" in address: address for address in reversed(addresses)}
    return tuple(address for address in addresses if first[":" in address] == address)
