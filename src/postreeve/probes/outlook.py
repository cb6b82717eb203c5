"""A host's ports and the way out of this network in one look, within a time that is kept.

The hosts that are known to answer are asked only where the measurement leaves a doubt whose fault it is: something
did not answer at once. They are asked meanwhile, not afterwards.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from postreeve.ports.endpoint import Measured, Reach
from postreeve.ports.known_good import KnownGood
from postreeve.probes.measure import HostMeasured, Report, Survey, measure_host
from postreeve.probes.way_out import WaysOut, find_ways_out

DOUBT_SECONDS: Final = 1.5
"""What has not answered by then may be blocked."""
QUICK_SECONDS: Final = 2.5
_MOST_SECONDS: Final = 11.0
_NOT_ASKED: Final = WaysOut({}, (), "not asked: nothing pointed at this network")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What was measured, and what is known of the way out; `ways` says of itself when it was not tested."""

    host: HostMeasured
    ways: WaysOut


async def look(
    host: str,
    survey: Survey,
    known: Sequence[KnownGood],
    *,
    expected: frozenset[int] = frozenset({465, 587}),
    is_asked: bool = False,
    is_own: bool = False,
    report: Report | None = None,
) -> Outlook:
    """Measure the host. `is_asked`: test the way out in any case; `is_own`: somebody chose `known` himself.

    Otherwise it is tested only where one of the ports `expected` to be open swallows what is sent, or nothing at all is
    open; and a host of this machine or of a private network says nothing about the way out.
    """

    def leaves_doubt(found: HostMeasured) -> bool:
        return has_doubt([one for one in found.endpoints if is_own or _is_global(one.address)], expected)

    ends_at = asyncio.get_running_loop().time() + _MOST_SECONDS
    measuring = asyncio.create_task(measure_host(host, survey, report))
    try:
        if not is_asked:
            await asyncio.wait([measuring], timeout=DOUBT_SECONDS)
        if not is_asked and measuring.done() and not leaves_doubt(measuring.result()):
            return Outlook(measuring.result(), _NOT_ASKED)
        ways = await _ask(known, survey, ends_at)
        measured = await measuring
    finally:
        measuring.cancel()
    if not is_asked and not leaves_doubt(measured):
        return Outlook(measured, _NOT_ASKED)
    return Outlook(measured, ways)


async def _ask(known: Sequence[KnownGood], survey: Survey, ends_at: float) -> WaysOut:
    quick = replace(survey, timeout_seconds=min(survey.timeout_seconds, QUICK_SECONDS), ca_file=None)
    try:
        async with asyncio.timeout_at(ends_at):
            return await find_ways_out(known, quick)
    except TimeoutError:
        return WaysOut({}, (), "the hosts that are known to answer took too long")


def has_doubt(endpoints: Sequence[Measured], expected: frozenset[int]) -> bool:
    """Whether this network may be to blame for what was measured."""
    tried = [one for one in endpoints if one.reach is not Reach.NO_ROUTE]
    if tried and not any(_has_smtp(one) for one in tried):
        return True
    return any(one.port in expected and not _has_smtp(one) and one.reach is not Reach.REFUSED for one in tried)


def _has_smtp(one: Measured) -> bool:
    return one.reach is Reach.OPEN and (one.mode is not None or one.protocol == "smtp")


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False
