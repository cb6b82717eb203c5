"""FW001 to FW006: who may come in, against who should and against who listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.audit import (
    APPLY,
    NOBODYS_PORT,
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
from postreeve.firewall.exposure import Entrance, Purpose
from postreeve.firewall.flow import Direction, Family, Protocol, Verdict
from postreeve.firewall.interval import ALL_ADDRESSES, subtract
from postreeve.firewall.ruleset import Hook


def _entrances(audited: Audited) -> Iterator[tuple[Entrance, Family]]:
    for entrance in audited.exposure.entrances:
        for family in families(audited):
            is_bound = entrance.is_bound_ipv4 if family is Family.IPV4 else entrance.is_bound_ipv6
            if is_bound and entrance.container is None and of(entrance.peers, family):
                yield entrance, family


def _subject(entrance: Entrance, family: Family) -> str:
    return f"{entrance.name} port {entrance.port}, IPv{family.value}"


def closed(audited: Audited) -> Iterator[Seen]:
    """Needed, and refused."""
    for entrance, family in _entrances(audited):
        where, reach = find_best(audited, corner(Hook.IN, family), entrance.port)
        lost = missing(of(entrance.peers, family), reach)
        is_partly_open = entrance.purpose is Purpose.RELAY and reach.accepted
        if lost and not is_partly_open:
            said = evidence(audited, where, entrance.port, lost)
            fix = opening(audited, where, entrance.port, lost)
            yield Seen(
                _subject(entrance, family), (f"{name(lost, family)} cannot connect", said, entrance.because), fix
            )


def _listening(audited: Audited) -> dict[tuple[Family, int], str]:
    """Beyond loopback, with the program."""
    found: dict[tuple[Family, int], str] = {}
    for one in audited.listeners:
        address = ipaddress.ip_address(one.address)
        if not address.is_loopback:
            found.setdefault((Family(address.version), one.port), one.program)
    return found


def undeclared(audited: Audited) -> Iterator[Seen]:
    """Listens, is not declared, and the world may connect."""
    declared = {entrance.port for entrance in audited.exposure.entrances} | {audited.exposure.ssh_port}
    for (family, port), program in _listening(audited).items():
        if port in declared or family not in families(audited):
            continue
        where, reach = find_best(audited, corner(Hook.IN, family), port)
        if is_wide(reach.accepted, family):
            said = evidence(audited, where, port, reach.accepted)
            fix = f"{APPLY}   # or declare it: [[firewall.extra]] with port = {port}"
            yield Seen(f"port {port}, IPv{family.value}", (f"{program or 'a program'} listens there", said), fix)


def stale(audited: Audited) -> Iterator[Seen]:
    """Open by a rule of its own, and nobody listens."""
    if not audited.listeners:
        return
    used = {port for _, port in _listening(audited)} | {entrance.port for entrance in audited.exposure.entrances}
    told: set[tuple[str, int]] = set()
    for layer in audited.live.of(Hook.IN):
        for flow in layer.policy.flows:
            if flow.direction is not Direction.IN or flow.protocol is not Protocol.TCP:
                continue
            if flow.verdict is not Verdict.ACCEPT or flow.unknown:
                continue
            for port in (one.first for one in flow.ports if one.first == one.last):
                if port not in used and (flow.quote, port) not in told:
                    told.add((flow.quote, port))
                    fix = f"remove that rule, or start what should listen on port {port}"
                    yield Seen(f"port {port}", (f"{layer.name}: {flow.quote or flow.ident}", "nobody listens"), fix)


def submission_open(audited: Audited) -> Iterator[Seen]:
    """Restricted to some, open to all."""
    for entrance, family in _entrances(audited):
        wanted = of(entrance.peers, family)
        if entrance.purpose is not Purpose.SUBMISSION or is_wide(wanted, family):
            continue
        where, reach = find_best(audited, corner(Hook.IN, family), entrance.port)
        more = subtract(reach.accepted, wanted)
        if is_wide(more, family):
            because = (f"meant for {name(wanted, family)}", evidence(audited, where, entrance.port, more))
            yield Seen(_subject(entrance, family), because, APPLY)


def relay_narrowed(audited: Audited) -> Iterator[Seen]:
    """Port 25 of an MX is for everybody."""
    for entrance, family in _entrances(audited):
        if entrance.purpose is not Purpose.RELAY or not is_wide(of(entrance.peers, family), family):
            continue
        where, reach = find_best(audited, corner(Hook.IN, family), entrance.port)
        if reach.accepted and reach.refused and not is_wide(reach.accepted, family):
            because = (
                f"only {name(reach.accepted, family)} may connect",
                evidence(audited, where, entrance.port, reach.refused),
            )
            yield Seen(_subject(entrance, family), because, opening(audited, where, entrance.port, reach.refused))


def uneven(audited: Audited) -> Iterator[Seen]:
    """Open by one family and closed by the other."""
    if len(families(audited)) < 2:
        return
    for entrance in audited.exposure.entrances:
        if entrance.container is not None or not entrance.is_bound_ipv4 or not entrance.is_bound_ipv6:
            continue
        wide = {}
        for family in Family:
            if not is_wide(of(entrance.peers, family), family):
                break
            wide[family] = find_best(audited, corner(Hook.IN, family), entrance.port)
        if len(wide) < 2:
            continue
        for family, other in ((Family.IPV4, Family.IPV6), (Family.IPV6, Family.IPV4)):
            where, reach = wide[family]
            if is_wide(wide[other][1].accepted, other) and reach.refused == ALL_ADDRESSES[family]:
                said = evidence(audited, where, entrance.port, reach.refused)
                because = (f"IPv{other.value} is open, IPv{family.value} is not", said)
                fix = opening(audited, where, entrance.port, reach.refused)
                yield Seen(_subject(entrance, family), because, fix)
    yield from _unfiltered(audited)


def _unfiltered(audited: Audited) -> Iterator[Seen]:
    """A port that nobody would open, to see whether a family is filtered at all."""
    open_ = {}
    for family in Family:
        _, reach = find_best(audited, corner(Hook.IN, family), NOBODYS_PORT)
        open_[family] = is_wide(reach.accepted, family)
    if open_[Family.IPV6] != open_[Family.IPV4]:
        bare = Family.IPV6 if open_[Family.IPV6] else Family.IPV4
        because = (f"IPv{bare.value} lets everything in, the other family does not",)
        yield Seen(f"IPv{bare.value}", because, APPLY)


RULES: Final = (
    AuditRule("FW001", Level.ERROR, "A port that is needed is closed", "entrances against the rules", closed),
    AuditRule("FW002", Level.ERROR, "A port that nobody declared is open to the world", "listeners", undeclared),
    AuditRule("FW003", Level.NOTE, "A rule opens a port where nobody listens", "rules against listeners", stale),
    AuditRule("FW004", Level.WARNING, "Submission is open to more than it is meant for", "465, 587", submission_open),
    AuditRule("FW005", Level.ERROR, "Port 25 of an MX is limited by source", "relay listeners", relay_narrowed),
    AuditRule("FW006", Level.WARNING, "IPv4 and IPv6 are treated differently", "both families", uneven),
)
