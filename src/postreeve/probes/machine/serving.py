"""Our own listeners as a client meets them, and the ways out as a delivery meets them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Final

from postreeve.checks.conversation import Conversation, Opening
from postreeve.checks.machine import Served, Wanted, WayOut
from postreeve.checks.path import Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.config.model import ListenerTable
from postreeve.dns.answer import LookupFailed, Resolver
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from postreeve.probes.machine.plan import Plan
from postreeve.probes.script import Patience, Script, StartTls
from postreeve.queue.settings import Mx, RouteSettings, Smarthost, TlsMode
from postreeve.smtp.settings import TlsOffer

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_MAX_ADDRESSES: Final = 4


def wanted_listeners(plan: Plan) -> tuple[Wanted, ...]:
    """The configured listeners, one entry for each address."""
    return tuple(
        Wanted(one.label, str(address), _port(plan, one, str(address)), one.role.value, one.offer.value)
        for one in plan.config.listener
        for address in one.addresses
    )


def _port(plan: Plan, listener: ListenerTable, address: str) -> int:
    """As configured; for port 0 the one that was taken, 0 when that is not known."""
    if listener.port:
        return listener.port
    return next((port for name, at, port in plan.running.ports if (name, at) == (listener.label, address)), 0)


async def visit_listeners(plan: Plan) -> tuple[tuple[Served, ...], tuple[str, ...]]:
    """A conversation with each of them, and which could not be had and why."""
    served, unseen = [], []
    for listener in plan.config.listener:
        for address in listener.addresses:
            target = _reach(str(address))
            port = _port(plan, listener, str(address))
            if not port:
                continue
            if any(ipaddress.ip_address(target) in network for network in listener.proxy_from):
                unseen.append(f"{listener.label}: it wants the PROXY protocol from {target}, so it was not tried")
                continue
            talk = await _visit(plan, listener, target, port)
            served.append(Served(listener.label, listener.role.value, listener.offer.value, target, port, talk))
    return tuple(served), tuple(unseen)


async def _visit(plan: Plan, listener: ListenerTable, target: str, port: int) -> Conversation:
    name = str(plan.config.hostname)
    script = Script(
        Opening.TLS if listener.offer is TlsOffer.IMPLICIT else Opening.CLEAR,
        StartTls.NEVER if listener.offer is TlsOffer.NONE else StartTls.IF_OFFERED,
        hello_name=name,
        server_name=name,
        reference_name=name,
        stop_after=Stage.AUTH,  # without a login: up to what EHLO offers inside TLS
        patience=_patience(plan),
        ca_file=plan.ca_file,
    )
    return await converse(await dial(target, port, timeout_seconds=plan.timeout_seconds), script)


def _reach(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return _LOOPBACK[parsed.version] if parsed.is_unspecified else address


def _patience(plan: Plan) -> Patience:
    wait = plan.timeout_seconds
    return Patience(greeting=wait, reply=wait, handshake=wait, whole=3 * wait, authority=wait)


async def visit_ways_out(
    plan: Plan, routes: Sequence[RouteSettings], resolver: Resolver
) -> tuple[tuple[WayOut, ...], tuple[Dial, ...]]:
    """Port 25 to the world, every smarthost, and dials to hosts that are known to answer on other ports."""
    if not plan.is_outward:
        return (), ()
    hops: dict[tuple[str, int], tuple[str, Smarthost]] = {}
    for route in routes:
        targets = [route.target, *([route.fallback.smarthost] if route.fallback else [])]
        for target in targets:
            if isinstance(target, Smarthost):
                hops.setdefault((target.host, target.port), (route.name, target))
    is_direct = any(isinstance(route.target, Mx) for route in routes) or not routes
    on_25 = [host for host, port in plan.known_good if port == 25]
    others = [(host, port) for host, port in plan.known_good if port != 25]
    smarthosts = asyncio.gather(*(_visit_smarthost(plan, name, hop, resolver) for name, hop in hops.values()))
    direct = asyncio.gather(*(_dial_host(plan, host, 25, resolver) for host in on_25))
    control = asyncio.gather(*(_dial_host(plan, host, port, resolver) for host, port in others))
    found = list(await smarthosts)
    dialled = [one for answers in await direct for one in answers]
    if dialled:
        found.insert(0, WayOut("port 25", on_25[0], 25, is_direct, tuple(dialled)))
    return tuple(found), tuple(one for answers in await control for one in answers)


async def _dial_host(plan: Plan, host: str, port: int, resolver: Resolver) -> list[Dial]:
    try:
        addresses = await _addresses(resolver, host)
    except LookupFailed:
        return []
    dials = []
    for address in _one_of_each(addresses):
        source = str((plan.config.delivery.source_ipv6 if ":" in address else plan.config.delivery.source_ipv4) or "")
        dialled = await dial(address, port, timeout_seconds=plan.timeout_seconds, source=source)
        if dialled.socket is not None:
            dialled.socket.close()
        dials.append(dialled.dial)
    return dials


async def _addresses(resolver: Resolver, host: str) -> tuple[str, ...]:
    """Of a name, or the IP address that it is itself."""
    try:
        return (str(ipaddress.ip_address(host.strip("[]").removeprefix("IPv6:"))),)
    except ValueError:
        return (await resolver.host_addresses(host)).records


def _one_of_each(addresses: Sequence[str]) -> list[str]:
    """The first address of either family."""
    four = [one for one in addresses if ":" not in one]
    six = [one for one in addresses if ":" in one]
    return [*four[:1], *six[:1]]


async def _visit_smarthost(plan: Plan, name: str, hop: Smarthost, resolver: Resolver) -> WayOut:
    label = f"{name or 'smarthost'} ({hop.host}:{hop.port})"
    try:
        addresses = await _addresses(resolver, hop.host)
    except LookupFailed as problem:
        return WayOut(label, hop.host, hop.port, True, lookup_failure=f"{hop.host}: {problem.reason}")
    if not addresses:
        return WayOut(label, hop.host, hop.port, True, lookup_failure=f"{hop.host}: no such name")
    dials: list[Dial] = []
    for address in addresses[:_MAX_ADDRESSES]:
        source = str((plan.config.delivery.source_ipv6 if ":" in address else plan.config.delivery.source_ipv4) or "")
        dialled = await dial(address, hop.port, timeout_seconds=plan.timeout_seconds, source=source)
        dials.append(dialled.dial)
        if dialled.dial.outcome is DialOutcome.OPEN:
            talk = await converse(dialled, _smarthost_script(plan, hop))
            banner = talk.reply(Stage.BANNER)
            return WayOut(
                label,
                hop.host,
                hop.port,
                True,
                tuple(dials),
                banner.text if banner else "",
                talk,
                verifies=_verifies(hop),
            )
    return WayOut(label, hop.host, hop.port, True, tuple(dials))


def _verifies(hop: Smarthost) -> bool:
    return hop.verify and hop.tls in (TlsMode.REQUIRED, TlsMode.IMPLICIT)


def _smarthost_script(plan: Plan, hop: Smarthost) -> Script:
    starttls = {TlsMode.NONE: StartTls.NEVER, TlsMode.REQUIRED: StartTls.REQUIRED}.get(hop.tls, StartTls.IF_OFFERED)
    return Script(
        Opening.TLS if hop.tls is TlsMode.IMPLICIT else Opening.CLEAR,
        starttls,
        hello_name=str(plan.config.hostname),
        server_name=hop.host,
        stop_after=Stage.AUTH,
        patience=_patience(plan),
        ca_file=plan.ca_file,
    )
