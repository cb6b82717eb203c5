"""One match of nftables' JSON against a box: what of the box fits it.

Packets are honest ones: of the protocols that the model knows, with a source that their route leads back to, sent to
an address of this machine, without flags that no program sets, and tracked. What only strange packets meet never fits;
what cannot be told raises Doubt.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from postreeve.firewall.box import (
    ALL_PROTOCOLS,
    BOTH_STATES,
    Box,
    with_interface,
    with_ports,
    with_protocols,
    with_types,
    without_interface,
)
from postreeve.firewall.flow import Container, Family, Protocol, State
from postreeve.firewall.interval import ALL_ADDRESSES, ALL_PORTS, ALL_TYPES, Intervals, intersect, subtract
from postreeve.firewall.read.icmp import TYPES
from postreeve.firewall.read.nft_value import Doubt, Surroundings, address_number, is_negated, items_of, numbers_of
from postreeve.firewall.ruleset import Hook

_PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "tcp": Protocol.TCP,
    "6": Protocol.TCP,
    "udp": Protocol.UDP,
    "17": Protocol.UDP,
}
_ICMP: Final = {
    Family.IPV4: frozenset({"icmp", "1"}),
    Family.IPV6: frozenset({"ipv6-icmp", "icmpv6", "58"}),
}
_HONEST_FLAGS: Final = {State.NEW: ({"syn"},), State.ESTABLISHED: ({"ack"}, {"ack", "psh"})}
_NEIGHBOURS: Final[Intervals] = ((133, 137),)
_LOOPBACK: Final = {Family.IPV4: ((0x7F000000, 0x7FFFFFFF),), Family.IPV6: ((1, 1),)}
_MULTICAST: Final = {Family.IPV4: ((0xE0000000, 2**32 - 1),), Family.IPV6: ((0xFF << 120, 2**128 - 1),)}


Narrow = Callable[[Box, Any, str, Surroundings], Iterable[Box]]


def narrow(box: Box, match: Mapping[str, Any], around: Surroundings) -> list[Box]:
    """The parts of `box` that fit a match statement. Raises Doubt, or KeyError and the like for what is no match."""
    left, right, op = match["left"], match["right"], match["op"]
    if "concat" in left:
        return _concatenation(box, left["concat"], right, op, around)
    return list(_narrower(left)(box, right, op, around))


def narrow_to(box: Box, key: Mapping[str, Any], value: object, around: Surroundings) -> list[Box]:
    """The parts of `box` whose `key` is an element of a map."""
    if "concat" in key:
        return _concatenation(box, key["concat"], {"set": [value]}, "==", around)
    return list(_narrower(key)(box, value, "==", around))


def _concatenation(box: Box, keys: list[Any], right: object, op: str, around: Surroundings) -> list[Box]:
    if op not in ("==", "in"):
        raise Doubt("exceptions from combined values")
    found: list[Box] = []
    for item in items_of(right, around.sets):
        parts = [box]
        for key, value in zip(keys, item["concat"], strict=True):
            parts = [part for one in parts for part in _narrower(key)(one, value, "==", around)]
        found += parts
    return found


def _narrower(left: Mapping[str, Any]) -> Narrow:
    """By what is looked at."""
    match left:
        case {"payload": {"protocol": "ip" | "ip6" as protocol, "field": "saddr" | "daddr" as side}}:
            return lambda box, right, op, around: _address(box, protocol, side, right, op, around)
        case {"payload": {"protocol": "ip", "field": "protocol"}}:
            return lambda box, right, op, around: _protocol(_of(box, Family.IPV4), right, op, around)
        case {"payload": {"protocol": "ip6", "field": "nexthdr"}}:
            return lambda box, right, op, around: _protocol(_of(box, Family.IPV6), right, op, around)
        case {"payload": {"protocol": "ip", "field": "version"}}:
            return lambda box, _right, _op, _around: _of(box, Family.IPV4)
        case {"payload": {"protocol": "ip6", "field": "version"}}:
            return lambda box, _right, _op, _around: _of(box, Family.IPV6)
        case {"payload": {"protocol": "ip6", "field": "hoplimit"}}:
            return _hop_limit
        case {"payload": {"protocol": "tcp" | "udp" | "th" as protocol, "field": "dport"}}:
            return lambda box, right, op, around: _port(box, protocol, right, op, around)
        case {"payload": {"protocol": "icmp" | "icmpv6" as protocol, "field": "type"}}:
            family = Family.IPV4 if protocol == "icmp" else Family.IPV6
            return lambda box, right, op, around: _type(_of(box, family), right, op, around)
        case {"payload": {"protocol": "tcp", "field": "flags"}}:
            return lambda box, right, op, around: _flags(box, None, right, op, around)
        case {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, mask]}:
            return lambda box, right, op, around: _flags(box, mask, right, op, around)
        case {"meta": {"key": "l4proto"}}:
            return lambda box, right, op, around: _protocol([box], right, op, around)
        case {"meta": {"key": "nfproto" | "protocol"}} | {"payload": {"protocol": "ether", "field": "type"}}:
            return _family
        case {"meta": {"key": "iifname" | "iif" | "oifname" | "oif" as key}}:
            return lambda box, right, op, around: _interface(box, key, right, op, around)
        case {"meta": {"key": "skuid"}}:
            return _account
        case {"meta": {"key": "pkttype"}}:
            return lambda box, right, op, around: _constant(box, {"host", "unicast"}, right, op, around)
        case {"ct": {"key": "state"}}:
            return _state
        case {"ct": {"key": "status"}}:
            return _status
        case {"ct": {"key": "direction"}}:
            return _ct_direction
        case {"ct": {"key": "proto-dst", "dir": "original"}}:
            return _published
        case {"fib": {"result": "type", "flags": ["daddr"]}}:
            return _local
        case {"fib": {"result": "oif", "flags": flags}} if "saddr" in flags:
            return lambda box, right, op, around: _constant(box, {True}, right not in (False, "0", 0), op, around)
        case {"exthdr": _}:
            return lambda box, _right, op, _around: [box] if op == "!=" else []
    raise Doubt(f"a match on {_name(left)}")


def _name(left: Mapping[str, Any]) -> str:
    kind, inner = next(iter(left.items()), ("nothing", None))
    if isinstance(inner, dict):
        words = [inner.get("protocol"), inner.get("field"), inner.get("key"), inner.get("result")]
        return " ".join([kind, *(str(word) for word in words if word)])
    return str(kind)


def _of(box: Box, family: Family) -> list[Box]:
    return [box] if box.family is family else []


def _address(box: Box, word: str, side: str, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    family = Family.IPV4 if word == "ip" else Family.IPV6
    if box.family is not family:
        return []
    is_peer = side == ("daddr" if around.hook is Hook.OUT else "saddr")
    if is_peer and op in ("==", "in") and isinstance(right, str) and right.startswith("@"):
        known = around.sets.get(right[1:])
        is_plain = box.peers == ALL_ADDRESSES[family] and not box.peer_set
        if known is not None and known.is_volatile and is_plain:
            return [replace(box, peer_set=known.name)]
    every = ALL_ADDRESSES[family]
    addresses = numbers_of(right, op, every, address_number, around.sets)
    if is_peer:
        if box.peer_set:
            raise Doubt(f"addresses beside the set {box.peer_set}")
        return [replace(box, peers=intersect(box.peers, addresses))]
    return _own_address(box, addresses, every, around.hook)


def _own_address(box: Box, addresses: Intervals, every: Intervals, hook: Hook) -> Iterable[Box]:
    """The model does not know which addresses the machine has, only that 127.0.0.1 is reached by "lo"."""
    if addresses == every:
        return [box]
    if hook is Hook.FORWARD and box.container is not None and box.container.address:
        number = int(ipaddress.ip_address(box.container.address))
        return [box] if any(first <= number <= last for first, last in addresses) else []
    beyond = subtract(subtract(addresses, _MULTICAST[box.family]), _LOOPBACK[box.family])
    if not beyond:
        is_loopback = bool(intersect(addresses, _LOOPBACK[box.family]))
        return list(with_interface(box, frozenset({"lo"}))) if is_loopback else []
    if not intersect(subtract(every, addresses), subtract(every, _MULTICAST[box.family])):
        return [box]
    raise Doubt("an address of this machine")


def _protocol(boxes: list[Box], right: object, op: str, around: Surroundings) -> Iterable[Box]:
    negated = is_negated(op)
    for box in boxes:
        named: set[Protocol] = set()
        for item in items_of(right, around.sets):
            if isinstance(item, dict):
                raise Doubt("a range of protocols")
            word = str(item).lower()
            own = Protocol.ICMP if word in _ICMP[box.family] else Protocol.ANY
            named.add(_PROTOCOLS.get(word, own))
        if negated:
            # One nameless protocol excluded leaves the other nameless ones.
            named = set(ALL_PROTOCOLS - (named - {Protocol.ANY}))
        yield with_protocols(box, frozenset(named))


def _port(box: Box, word: str, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    protocols = {"tcp": frozenset({Protocol.TCP}), "udp": frozenset({Protocol.UDP})}.get(
        word, frozenset({Protocol.TCP, Protocol.UDP})
    )
    ports = numbers_of(right, op, ALL_PORTS, int, around.sets)
    if around.hook is Hook.FORWARD:
        if ports == ALL_PORTS:
            return [with_protocols(box, protocols)]
        if box.container is None or not box.container.port:
            raise Doubt("a port behind a published one")
        is_it = any(first <= box.container.port <= last for first, last in ports)
        return [with_protocols(box, protocols)] if is_it else []
    return [with_ports(box, protocols, ports)]


def _type(boxes: list[Box], right: object, op: str, around: Surroundings) -> Iterable[Box]:
    for box in boxes:
        names = TYPES[box.family]

        def parse(item: Any, names: Mapping[str, int] = names) -> int:
            if item in names:
                return names[item]
            return int(item)

        yield with_types(box, numbers_of(right, op, ALL_TYPES, parse, around.sets))


def _flags(box: Box, mask: object, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    """By the flags that programs send: SYN to begin, ACK with or without PSH afterwards."""
    looked_at = None if mask is None else _words(mask)
    states = set()
    for state, examples in _HONEST_FLAGS.items():
        answers = {_has_flags(one, looked_at, right, op, around) for one in examples}
        if len(answers) > 1:
            raise Doubt("a match on TCP flags")
        if True in answers:
            states.add(state)
    yield replace(box, protocols=box.protocols & frozenset({Protocol.TCP}), states=box.states & frozenset(states))


def _has_flags(sent: set[str], mask: set[str] | None, right: object, op: str, around: Surroundings) -> bool:
    seen = sent if mask is None else sent & mask
    if op == "in":
        return bool(seen & _words(right))
    chosen = [_words(item) for item in ([right] if isinstance(right, list) else items_of(right, around.sets))]
    return (seen in chosen) != is_negated(op)


def _words(flags: object) -> set[str]:
    match flags:
        case {"|": list() as inner}:
            return {word for one in inner for word in _words(one)}
        case list():
            return {word for one in flags for word in _words(one)}
        case 0:
            return set()
        case str():
            return {flags}
    raise Doubt("TCP flags by number")


def _hop_limit(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    """RFC 4861, section 7.1: neighbour discovery has 255, or it is forged."""
    if op == "==" and right == 255 and box.protocols == {Protocol.ICMP} and not subtract(box.types, _NEIGHBOURS):
        return [box]
    raise Doubt("a match on the hop limit")


def _family(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    names = {"ipv4": Family.IPV4, "ip": Family.IPV4, "ipv6": Family.IPV6, "ip6": Family.IPV6}
    named = {names.get(str(item)) for item in items_of(right, around.sets)}
    return [box] if (box.family in named) != is_negated(op) else []


def _interface(box: Box, key: str, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    own = "oif" if around.hook is Hook.OUT else "iif"
    names = [str(item) for item in items_of(right, around.sets)]
    if not key.startswith(own):
        raise Doubt(f"a match on {key}")
    if any("*" in name for name in names):
        raise Doubt("interfaces by pattern")
    chosen = frozenset(names)
    return list(without_interface(box, chosen) if is_negated(op) else with_interface(box, chosen))


def _account(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    if is_negated(op):
        raise Doubt("every account but one")
    for item in items_of(right, around.sets):
        if isinstance(item, dict):
            raise Doubt("a range of accounts")
        name = around.accounts.get(item, str(item)) if isinstance(item, int) else str(item)
        if box.user in ("", name):
            yield replace(box, user=name)


def _constant(box: Box, truth: set[Any], right: object, op: str, around: Surroundings) -> Iterable[Box]:
    """What is the same for all honest packets."""
    items = items_of(right, around.sets)
    return [box] if (not truth.isdisjoint(items)) != is_negated(op) else []


def _local(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    if around.hook is not Hook.IN:
        raise Doubt("a match on the kind of the destination")
    return _constant(box, {"local"}, right, op, around)


def _state(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    """`related` alone is about ICMP errors and helpers, no packet of the model; `invalid` and `untracked` neither."""
    items = right if isinstance(right, list) else items_of(right, around.sets)
    known = {"new": State.NEW, "established": State.ESTABLISHED}
    named = {known[word] for word in (str(item) for item in items) if word in known}
    states = frozenset(BOTH_STATES - named if is_negated(op) else named)
    return [replace(box, states=box.states & states)]


def _status(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    if right != "dnat":
        raise Doubt("a match on the status of a connection")
    return [box] if (around.hook is Hook.FORWARD) != is_negated(op) else []


def _ct_direction(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    if around.hook is Hook.FORWARD or box.states == {State.NEW}:
        return [box] if (right == "original") != is_negated(op) else []
    raise Doubt("a match on the direction of a connection")


def _published(box: Box, right: object, op: str, around: Surroundings) -> Iterable[Box]:
    """The port that was dialled, before DNAT."""
    if around.hook is not Hook.FORWARD:
        raise Doubt("a match on the port before DNAT")
    ports = numbers_of(right, op, ALL_PORTS, int, around.sets)
    if box.container is not None:
        return [box] if any(first <= box.container.published <= last for first, last in ports) else []
    if len(ports) != 1 or ports[0][0] != ports[0][1]:
        raise Doubt("several published ports at once")
    return [replace(box, container=Container("", 0, ports[0][0]))]
