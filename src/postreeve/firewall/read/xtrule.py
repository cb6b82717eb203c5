"""One rule of iptables as the walker of chains wants it: what it does with the packets of a box, in a certain hook.

Packets that somebody asks about are unicast and well formed: rules about multicast, invalid packets or odd TCP flags
never fit them. In FORWARD they are those to published ports, after DNAT, on their way in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from postreeve.firewall.box import Box, with_interface, with_ports, with_protocols, with_types, without_interface
from postreeve.firewall.flow import Container, Family, Protocol, Verdict
from postreeve.firewall.interval import ALL_ADDRESSES, Intervals, contains, intersect, tidy
from postreeve.firewall.read.chain import Case, Rule, Way
from postreeve.firewall.read.saved import Rule as SavedRule
from postreeve.firewall.read.xtmatch import Match, read_match, split_options
from postreeve.firewall.render.iptables import CHAINS, SET_PREFIX
from postreeve.firewall.ruleset import Hook

_VERDICTS: Final = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP, "REJECT": Verdict.REJECT}
# fmt: off
_PASSING: Final = frozenset({
    "LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "MARK", "CONNMARK", "CONNSECMARK", "SECMARK", "CLASSIFY",
    "DSCP", "TOS", "TTL", "HL", "TCPMSS", "SET", "CT", "NOTRACK", "RATEEST", "TCPOPTSTRIP", "CHECKSUM",
    "IDLETIMER", "LED", "TEE", "TPROXY",
})
# fmt: on
"""Targets after which the next rule is looked at."""
_IDENT: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_LOOPBACK: Final = {Family.IPV4: ((0x7F000000, 0x7FFFFFFF),), Family.IPV6: ((1, 1),)}
_UNICAST: Final = {Family.IPV4: ((0, 0xDFFFFFFF),), Family.IPV6: ((0, (0xFF << 120) - 1),)}
_PORTED: Final = frozenset({Protocol.TCP, Protocol.UDP})


@dataclass(frozen=True, slots=True)
class Place:
    """Where chains are walked. `bridges` lead to containers, `behind` says which by address."""

    hook: Hook
    is_before_redirection: bool = False
    bridges: frozenset[str] = frozenset()
    behind: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rule that was read, before it is known where it is met."""

    chain: str
    number: int
    quote: str
    match: Match
    action: Verdict | Way | None
    target: str = ""


def prepare(
    saved: Sequence[SavedRule], known: Iterable[str], family: Family, accounts: Mapping[str, str]
) -> list[Prepared]:
    """The rules of one chain; those that neither decide nor lead anywhere are left out."""
    names = frozenset(known)
    prepared = []
    for number, rule in enumerate(saved, 1):
        options, way, target = split_options(rule.words)
        if not target or (target in _PASSING and target not in names):
            continue
        match = read_match(options, family, dict(accounts))
        action: Verdict | Way | None
        if target in names:
            action = Way.GOTO if way == "-g" else Way.JUMP
        elif target == "RETURN":
            action = Way.RETURN
        else:
            action = _VERDICTS.get(target)
            if action is None:
                match.doubt(f"target {target}")
        prepared.append(Prepared(rule.chain, number, rule.quote, match, action, target if target in names else ""))
    return list(_merge(prepared))


def _merge(rules: list[Prepared]) -> Iterable[Prepared]:
    """A flow of ours is several rules where it has several peers or more ports than one rule takes."""
    group: list[Prepared] = []
    for rule in rules:
        if group and not _is_sibling(group[0], rule):
            yield from _join(group)
            group = []
        group.append(rule)
    yield from _join(group)


def _is_sibling(one: Prepared, other: Prepared) -> bool:
    if one.chain not in CHAINS or not one.match.comment or one.match.comment != other.match.comment:
        return False
    return (one.action, one.target, _rest(one.match)) == (other.action, other.target, _rest(other.match))


def _rest(match: Match) -> Match:
    return replace(match, source=None, destination=None, ports=None, types=None)


def _join(group: list[Prepared]) -> list[Prepared]:
    """One rule when they are every combination of some peers, ports and types."""
    if len(group) < 2:
        return group
    dimensions = [{getattr(one.match, name) for one in group} for name in ("source", "destination", "ports", "types")]
    product = 1
    for values in dimensions:
        product *= len(values)
    if product != len(group) or any(None in values and len(values) > 1 for values in dimensions):
        return group
    joined = [None if None in values else tidy(one for value in values for one in value) for values in dimensions]
    match = replace(group[0].match, source=joined[0], destination=joined[1], ports=joined[2], types=joined[3])
    return [replace(group[0], match=match)]


def to_rule(rule: Prepared, place: Place) -> Rule:
    """For the walker."""
    ident = rule.match.comment.partition(" ")[0]
    if rule.chain in CHAINS and _IDENT.fullmatch(ident):
        pass
    else:
        chain = re.sub(r"[^a-z0-9]+", "-", rule.chain.lower()).strip("-")[:40] or "chain"
        ident = f"{chain}-{rule.number}-ipv{rule.match.family.value}"
    return Rule(ident, rule.quote, partial(_split, rule, place))


def _split(rule: Prepared, place: Place, box: Box) -> Iterable[Case]:
    if rule.match.excess is not None or rule.match.is_never:
        return ()
    found, doubts = narrow(rule.match, place, box)
    if found is None:
        return ()
    return (Case(found, rule.action, rule.target, "; ".join(doubts)),)


def narrow(match: Match, place: Place, box: Box) -> tuple[Box | None, tuple[str, ...]]:
    """The part of `box` that the rule is about, None for nothing, and what is not known of that."""
    doubts = list(match.doubts)
    if match.protocols is not None:
        box = with_protocols(box, match.protocols)
    if match.types is not None:
        box = with_types(box, match.types)
    if match.states is not None:
        box = replace(box, states=box.states & match.states)
    if place.hook is Hook.FORWARD and box.container is not None:
        found = _forwarded(match, place, box, box.container, doubts)
    else:
        found = _local(match, place, box, doubts)
    if found is not None:
        found = _named(match, place, found, doubts)
    return found, tuple(doubts)


def _local(match: Match, place: Place, box: Box, doubts: list[str]) -> Box | None:
    """In INPUT and OUTPUT the other end is the peer, and this end is not asked for."""
    is_out = place.hook is Hook.OUT
    here, there = (match.source, match.destination) if is_out else (match.destination, match.source)
    if there is not None:
        box = replace(box, peers=intersect(box.peers, there))
    found: Box | None = box
    for ports in (match.ports, match.dialled):
        if ports is not None:
            found = box = with_ports(box, match.protocols or _PORTED, ports)
    if match.is_redirected:
        doubts.append("only what DNAT has redirected")
    if match.destination_type in ("MULTICAST", "BROADCAST", "ANYCAST"):
        return None
    if match.destination_type and is_out:
        doubts.append(f"destinations of the type {match.destination_type}")
    if here is not None:
        found = _this_end(here, box, doubts)
    name, is_wanted = match.goes_out if is_out else match.came_in
    if found is None or not name:
        return found
    boxes = with_interface if is_wanted else without_interface
    return next(iter(boxes(found, frozenset({name}))), None)


def _this_end(here: Intervals, box: Box, doubts: list[str]) -> Box | None:
    family = box.family
    if here == ALL_ADDRESSES[family]:
        return box
    if not intersect(here, _UNICAST[family]):
        return None
    if all(contains(_LOOPBACK[family], end) for one in here for end in one):
        return next(iter(with_interface(box, frozenset({"lo"}))), None)
    doubts.append("only some addresses of this machine")
    return box


def _forwarded(match: Match, place: Place, box: Box, container: Container, doubts: list[str]) -> Box | None:
    """Of a published port everything is known but who connects; what is not known of a container is a doubt."""
    if match.source is not None:
        box = replace(box, peers=intersect(box.peers, match.source))
    port = container.published if place.is_before_redirection else container.port
    for ports, number in ((match.ports, port), (match.dialled, container.published)):
        if ports is not None and number and not contains(ports, number):
            return None
        if ports is not None and not number:
            doubts.append("the port of the container")
    if match.destination is not None and not place.is_before_redirection:
        if not container.address:
            doubts.append("the address of the container")
        elif not contains(match.destination, _number(container.address)):
            return None
    if match.destination_type not in ("", "UNICAST") and not place.is_before_redirection:
        return None
    bridge = (place.behind or {}).get(container.address, "")
    name, is_wanted = match.goes_out
    if name and not bridge:
        doubts.append(f"what is behind {name}")
    elif name and (name == bridge) != is_wanted:
        return None
    name, is_wanted = match.came_in
    if not name or (name in place.bridges and not is_wanted):
        return box
    if name in place.bridges:
        # Packets from outside come by another interface than those of the containers.
        return None
    boxes = with_interface if is_wanted else without_interface
    return next(iter(boxes(box, frozenset({name}))), None)


def _named(match: Match, place: Place, box: Box, doubts: list[str]) -> Box | None:
    """Accounts, sets and rates, of which a flow has one each."""
    if match.user:
        if box.user not in ("", match.user):
            return None
        box = replace(box, user=match.user)
    name, side = match.peer_set
    if name:
        if side != ("dst" if place.hook is Hook.OUT else "src"):
            doubts.append(f"the set {name} of addresses of this machine")
        elif box.peer_set not in ("", name.removeprefix(SET_PREFIX)):
            doubts.append(f"the set {name}")
        else:
            box = replace(box, peer_set=name.removeprefix(SET_PREFIX))
    if box.peer_set and box.peers != ALL_ADDRESSES[box.family]:
        doubts.append(f"some addresses of the set {box.peer_set} only")
    if match.rate is not None:
        if box.rate not in (None, match.rate):
            doubts.append("two limits")
        box = replace(box, rate=match.rate)
    return box


def _number(address: str) -> int:
    return int(ipaddress.ip_address(address))
