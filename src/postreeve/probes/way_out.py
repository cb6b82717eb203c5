"""Which ports lead out of this network: dials to hosts that are known to answer, and to one where nobody can.

A connect alone proves nothing, since proxies answer for everybody: a way counts as open when SMTP was heard at its
end. Where nothing could be asked (no route, no name server) the network is untested, and nothing is blamed on it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from postreeve.checks.path import DialOutcome
from postreeve.ports.endpoint import Measured, Reach
from postreeve.ports.known_good import KnownGood
from postreeve.ports.network import Observed
from postreeve.probes.dial import dial
from postreeve.probes.measure import Report, Survey, measure_endpoint
from postreeve.probes.request import NOWHERE
from postreeve.probes.resolve import resolve

SLOW_SECONDS: Final = 2.0
"""A connect that takes longer lost packets on the way: SYN is sent again after one second, then after two more."""
_BLOCKED: Final = (Reach.TIMED_OUT, Reach.PROHIBITED, Reach.RESET, Reach.FORBIDDEN, Reach.UNREACHABLE)
_BEST_FIRST: Final = (
    Observed.OPEN, Observed.SLOW, Observed.INTERCEPTED, Observed.REFUSED, Observed.DROPPED, Observed.UNKNOWN,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """One host and port that should answer, and what was seen; `failure` says why nothing could be tried."""

    known: KnownGood
    observed: Observed
    measured: Measured | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class WaysOut:
    """What leads out. `observed` is the best that was seen of each port; `failure` says why the test means nothing."""

    observed: Mapping[int, Observed]
    tried: tuple[Tried, ...]
    failure: str = ""
    proxied: tuple[int, ...] = ()
    """Ports at which somebody answered for an address that nobody has."""

    @property
    def is_tested(self) -> bool:
        """Whether anything could be learned of this network."""
        return not self.failure


async def find_ways_out(
    known: Sequence[KnownGood],
    survey: Survey,
    *,
    nowhere: Sequence[str] = NOWHERE,
    report: Report | None = None,
) -> WaysOut:
    """Try all of them at once, one address of each host, within about three times the survey's time-out.

    An answer without a certificate of the host is believed only if nobody answers for `nowhere` as well.
    """
    if not known:
        return WaysOut({}, (), "no hosts that are known to answer were given")
    done = 0

    async def one(target: KnownGood) -> Tried:
        nonlocal done
        tried = await _try(target, survey)
        done += 1
        if report is not None:
            report(done, len(known))
        return tried

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(target)) for target in known]
    tried = tuple(task.result() for task in tasks)
    unproven = {each.known.port for each in tried if _is_unproven(each) and not _is_loopback(each.known.host)}
    return conclude(tried, await _find_proxies(unproven, nowhere, survey.timeout_seconds))


def conclude(tried: Iterable[Tried], proxied: tuple[int, ...] = ()) -> WaysOut:
    """The best that was seen of each port; an answer that a proxy may have given counts as intercepted."""
    every = tuple(_doubt(one, proxied) for one in tried)
    observed: dict[int, Observed] = {}
    for one in every:
        before = observed.get(one.known.port, Observed.UNKNOWN)
        observed[one.known.port] = min(before, one.observed, key=_BEST_FIRST.index)
    failure = ""
    if all(seen is Observed.UNKNOWN for seen in observed.values()):
        failure = _why_nothing(every)
    return WaysOut(observed, every, failure, proxied)


def _doubt(one: Tried, proxied: tuple[int, ...]) -> Tried:
    """A proxy that answers for everybody cannot show the certificate of the host behind."""
    if one.known.port in proxied and _is_unproven(one):
        return replace(one, observed=Observed.INTERCEPTED)
    return one


def _is_unproven(one: Tried) -> bool:
    """Something answered as the host would, and showed no certificate of the host."""
    is_open = one.observed in (Observed.OPEN, Observed.SLOW)
    return is_open and (one.measured is None or not one.measured.is_verified)


def _why_nothing(tried: Sequence[Tried]) -> str:
    """The reasons in one line, each with the first host that met it."""
    by_reason: dict[str, list[str]] = {}
    for one in tried:
        if one.known.host not in by_reason.setdefault(one.failure or "nothing was seen", []):
            by_reason[one.failure or "nothing was seen"].append(one.known.host)
    lines = []
    for reason, hosts in by_reason.items():
        others = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
        lines.append(f"{reason} ({hosts[0]}{others})")
    return "; ".join(lines)


async def _try(target: KnownGood, survey: Survey) -> Tried:
    found = await resolve(target.host, family=survey.family, seconds=survey.timeout_seconds)
    if not found.addresses:
        return Tried(target, Observed.UNKNOWN, None, found.failure)
    address = _first(found.addresses)
    measured = await measure_endpoint(target.host, address, target.port, survey, target.mode)
    observed = observe(measured)
    failure = "this machine has no route out" if measured.reach is Reach.NO_ROUTE else ""
    return Tried(target, observed, measured, failure)


def _first(addresses: Sequence[str]) -> str:
    """IPv4 where there is one: what networks block, they block there, and half of them have no IPv6."""
    return next((one for one in addresses if ":" not in one), addresses[0])


def observe(measured: Measured) -> Observed:
    """What one measurement says of the way to its port."""
    match measured.reach:
        case Reach.OPEN:
            if measured.protocol not in ("smtp", "tls", "tls-alert") and measured.mode is None:
                # Connected, and no mail server there: somebody else took the connection, or swallows what is said.
                return Observed.INTERCEPTED if measured.protocol or measured.greeting else Observed.DROPPED
            return Observed.SLOW if measured.connect_seconds >= SLOW_SECONDS else Observed.OPEN
        case Reach.REFUSED:
            return Observed.REFUSED
        case reach if reach in _BLOCKED:
            return Observed.DROPPED
        case _:
            return Observed.UNKNOWN


async def _find_proxies(ports: Iterable[int], nowhere: Sequence[str], seconds: float) -> tuple[int, ...]:
    """Those of the ports at which somebody answers for an address that nobody has."""
    pairs = [(address, port) for address in nowhere for port in ports]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(dial(address, port, timeout_seconds=min(seconds, 3.0))) for address, port in pairs]
    answered = set()
    for task in tasks:
        dialled = task.result()
        if dialled.socket is not None:
            dialled.socket.close()
        if dialled.dial.outcome is DialOutcome.OPEN:
            answered.add(dialled.dial.port)
    return tuple(sorted(answered))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
