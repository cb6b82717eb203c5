"""FW010 to FW012: the ways out, for mail and for what a mail server asks others for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.audit import (
    APPLY,
    Audited,
    AuditRule,
    corner,
    evidence,
    families,
    find_best,
    is_wide,
    missing,
    name,
    of,
    opening,
)
from postreeve.firewall.flow import WORLD, Protocol
from postreeve.firewall.ruleset import Hook

_ERRANDS: Final = (
    (Protocol.UDP, 53, "names are looked up"),
    (Protocol.TCP, 53, "long answers of the DNS come by TCP"),
    (Protocol.TCP, 443, "certificates (ACME) and MTA-STS policies are fetched"),
    (Protocol.UDP, 123, "the clock is kept right"),
)


def leak(audited: Audited) -> Iterator[Seen]:
    """Who must not send mail to the world, and can."""
    exposure = audited.exposure
    accounts = [("", "any other program")] if exposure.user or not exposure.is_direct else []
    if not exposure.is_direct and exposure.user:
        accounts.append((exposure.user, "the server itself, which has a smarthost"))
    for family in families(audited):
        for user, who in accounts:
            where, reach = find_best(audited, corner(Hook.OUT, family, user=user), 25)
            if is_wide(reach.accepted, family):
                said = evidence(audited, where, 25, reach.accepted)
                yield Seen(f"port 25 out, IPv{family.value}", (f"{who} may send mail to the world", said), APPLY)


def no_way_out(audited: Audited) -> Iterator[Seen]:
    """Where mail has to go, and may not."""
    exposure = audited.exposure
    ways = [(25, tuple(WORLD.values()), "MX hosts")] if exposure.is_direct else []
    ways += [(host.port, host.addresses, host.resolved_from or host.name) for host in exposure.smarthosts]
    for port, addresses, whom in ways:
        for family in families(audited):
            where, reach = find_best(audited, corner(Hook.OUT, family, user=exposure.user), port)
            lost = missing(of(addresses, family), reach)
            if lost:
                said = evidence(audited, where, port, lost)
                because = (f"{name(lost, family)} cannot be reached", said)
                yield Seen(f"{whom} port {port}, IPv{family.value}", because, opening(audited, where, port, lost))


def no_errands(audited: Audited) -> Iterator[Seen]:
    """DNS by both protocols, HTTPS, the time."""
    exposure = audited.exposure
    for family in families(audited):
        resolvers = of(exposure.resolvers, family)
        if exposure.resolvers and not resolvers:
            continue
        for protocol, port, why in _ERRANDS:
            wanted = resolvers if port == 53 and resolvers else of(tuple(WORLD.values()), family)
            where, reach = find_best(audited, corner(Hook.OUT, family, protocol, user=exposure.user), port)
            if missing(wanted, reach) == wanted:
                said = evidence(audited, where, port, wanted)
                subject = f"{protocol.value} {port} out, IPv{family.value}"
                yield Seen(subject, (said, why), opening(audited, where, port, wanted))


RULES: Final = (
    AuditRule("FW010", Level.WARNING, "Programs may send mail past the server", "port 25 out by account", leak),
    AuditRule("FW011", Level.ERROR, "Mail cannot leave", "MX hosts and smarthosts", no_way_out),
    AuditRule("FW012", Level.WARNING, "The server cannot ask others", "DNS, HTTPS, NTP out", no_errands),
)
