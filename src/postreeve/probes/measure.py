"""All ports of a host side by side: what each really is from here, for `ports.advise` to rank.

All pairs of address and port at once, but each of them one connection after the other and three at most: the clear or
the TLS opening by convention, the other one where the first was of no use, and once more in the clear with patience
for a server that greets slowly. Logs in nowhere and sends no mail.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from postreeve.checks.conversation import Conversation, Opening
from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.service import Mode, convention
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from postreeve.probes.reading import read
from postreeve.probes.resolve import resolve
from postreeve.probes.script import Patience, Script
from postreeve.probes.vantage import own_name

BANNER_SECONDS: Final = 2.0
"""How long a server may take to greet before we try TLS from the first octet."""
SLOW_BANNER_SECONDS: Final = 8.0
_AT_ONCE: Final = 32
MAX_CONNECTIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """How to measure. `per_family` is how many addresses of each family are tried, the first ones as a client would."""

    ports: tuple[int, ...]
    family: int | None = None
    timeout_seconds: float = 5.0
    hello_name: str = ""
    """What to call ourselves in EHLO; "" chooses honestly: see `vantage.own_name`."""
    ca_file: Path | None = None
    per_family: int = 1


@dataclass(frozen=True, slots=True)
class HostMeasured:
    """The host and its endpoints, by port as asked and by address; `failure` says why there are no addresses."""

    host: str
    addresses: tuple[str, ...]
    endpoints: tuple[Measured, ...] = ()
    failure: str = ""


Report = Callable[[int, int], None]
"""Called with how many endpoints are done, and how many there are."""


async def measure_host(host: str, survey: Survey, report: Report | None = None) -> HostMeasured:
    """Measure the ports of a host (a name or an IP address). Never raises for what a network or a server does."""
    found = await resolve(host, family=survey.family, seconds=survey.timeout_seconds)
    if not found.addresses:
        return HostMeasured(host, (), (), found.failure)
    addresses = _choose(found.addresses, survey.per_family)
    pairs = [(address, port) for port in survey.ports for address in addresses]
    gate, done = asyncio.Semaphore(_AT_ONCE), 0

    async def one(address: str, port: int) -> Measured:
        nonlocal done
        async with gate:
            measured = await measure_endpoint(host, address, port, survey)
        done += 1
        if report is not None:
            report(done, len(pairs))
        return measured

    if report is not None:
        report(0, len(pairs))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(address, port)) for address, port in pairs]
    return HostMeasured(host, addresses, tuple(task.result() for task in tasks))


def _choose(addresses: Sequence[str], per_family: int) -> tuple[str, ...]:
    chosen: list[str] = []
    for version in (6, 4):
        chosen += [one for one in addresses if (":" in one) == (version == 6)][:per_family]
    return tuple(sorted(chosen, key=addresses.index))


async def measure_endpoint(host: str, address: str, port: int, survey: Survey, mode: Mode | None = None) -> Measured:
    """Measure one address and port; `mode` is how TLS is expected to begin, by default as the port's convention has it.

    Within about 20 seconds whatever the server does; a connect that nobody answers costs `timeout_seconds`.
    """
    began = asyncio.get_running_loop().time()
    is_implicit = (mode or convention(port)) is Mode.IMPLICIT
    openings = [Opening.TLS, Opening.CLEAR] if is_implicit else [Opening.CLEAR, Opening.TLS]
    best: Measured | None = None
    connections = 0
    for attempt in range(MAX_CONNECTIONS):
        if attempt < len(openings):
            opening, banner_seconds = openings[attempt], BANNER_SECONDS
        elif best is not None and best.flaw is Flaw.SILENT and best.protocol == "smtp":
            opening, banner_seconds = Opening.CLEAR, SLOW_BANNER_SECONDS
        else:
            break
        connections += 1
        dialled = await dial(address, port, timeout_seconds=survey.timeout_seconds)
        name = survey.hello_name or own_name(dialled.dial.local_address)
        talked = await converse(dialled, _script(host, name, opening, banner_seconds, survey))
        best = _better(best, read(host, talked, opening))
        if not _wants_another(best, talked):
            break
    assert best is not None
    return replace(best, connections=connections, total_seconds=asyncio.get_running_loop().time() - began)


def _script(host: str, hello_name: str, opening: Opening, banner_seconds: float, survey: Survey) -> Script:
    seconds = survey.timeout_seconds
    return Script(
        opening=opening,
        hello_name=hello_name,
        server_name="" if _is_address(host) else host,
        reference_name=host,
        patience=Patience(
            greeting=banner_seconds if opening is Opening.CLEAR else seconds,
            reply=seconds,
            handshake=seconds,
            whole=banner_seconds + 2 * seconds,
        ),
        ca_file=survey.ca_file,
    )


def _better(before: Measured | None, now: Measured) -> Measured:
    """What is worth keeping of two looks at the same port: SMTP before anything else, words before silence."""
    if before is None:
        return now
    if now.reach is not Reach.OPEN:
        return before
    if now.flaw is Flaw.NONE:
        return now
    if before.flaw is Flaw.SILENT and now.flaw is not Flaw.SILENT:
        return now
    if now.flaw is Flaw.SILENT and now.protocol and not before.protocol:
        return now
    if before.flaw is Flaw.TLS_FAILED and before.protocol not in ("tls", "tls-alert") and now.protocol:
        return now
    return before


def _wants_another(best: Measured, talked: Conversation) -> bool:
    """The other opening may tell more: silence, or octets where a handshake was due."""
    if best.reach is not Reach.OPEN or best.flaw in (Flaw.NONE, Flaw.NOT_SMTP):
        return False
    if talked.opening is Opening.TLS:
        # A server that answered a ClientHello in TLS, be it with an alert, is a TLS server: the clear tells no more.
        return not (talked.tls is not None and (talked.tls.version or talked.tls.alert))
    return best.flaw in (Flaw.SILENT, Flaw.CLOSED)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
