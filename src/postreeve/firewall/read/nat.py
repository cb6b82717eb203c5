"""The table nat of iptables-save: which ports are sent on to other addresses, and which bridges lead to those."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from postreeve.firewall.flow import Container, Family, Network, NotUnderstood
from postreeve.firewall.read.saved import Rule, Table
from postreeve.firewall.read.xtmatch import read_match, split_options

MAX_RANGE: Final = 256
"""Ports of one rule that are followed one by one."""


@dataclass(frozen=True, slots=True)
class Redirections:
    """`behind` gives the bridge that leads to an address."""

    containers: tuple[Container, ...] = ()
    bridges: frozenset[str] = frozenset()
    behind: dict[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def read_redirections(table: Table | None, family: Family) -> Redirections:
    """Of DNAT and of what a container engine writes to hide its networks (MASQUERADE)."""
    if table is None:
        return Redirections()
    containers: dict[Container, None] = {}
    networks: list[tuple[Network, str]] = []
    unread = []
    for chain in table.chains.values():
        for rule in chain.rules:
            options, _, target = split_options(rule.words)
            match target:
                case "DNAT":
                    found = list(_destinations(rule, family))
                    containers.update(dict.fromkeys(found))
                    unread += [] if found else [rule.quote]
                case "REDIRECT" | "TPROXY" | "NETMAP":
                    unread.append(rule.quote)
                case "MASQUERADE" | "SNAT":
                    source = next(
                        (one.values[0] for one in options if one.name == "-s" and one.values and not one.is_not), ""
                    )
                    bridge = next(
                        (one.values[0] for one in options if one.name == "-o" and one.values and one.is_not), ""
                    )
                    if source and bridge:
                        networks.append((_network(source, rule), bridge))
                case _:
                    pass
    behind = {
        one.address: bridge
        for one in containers
        for network, bridge in networks
        if ipaddress.ip_address(one.address) in network
    }
    return Redirections(tuple(containers), frozenset(name for _, name in networks), behind, tuple(unread))


def _network(text: str, rule: Rule) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as problem:
        raise NotUnderstood(f"{rule.quote}: {problem}") from problem


def _destinations(rule: Rule, family: Family) -> Iterator[Container]:
    options, _, _ = split_options(rule.words)
    match = read_match(options, family, {})
    place = rule.words.index("--to-destination") if "--to-destination" in rule.words else -2
    target = rule.words[place + 1] if 0 <= place < len(rule.words) - 1 else ""
    address, port = _split(target)
    if not match.ports or not address:
        return
    if sum(last - first + 1 for first, last in match.ports) > MAX_RANGE:
        return
    try:
        ipaddress.ip_address(address)
        for first, last in match.ports:
            for number in range(first, last + 1):
                yield Container(address, int(port) if port else number, number)
    except ValueError as problem:
        raise NotUnderstood(f"{rule.quote}: {problem}") from problem


def _split(target: str) -> tuple[str, str]:
    if target.startswith("["):
        address, _, port = target[1:].partition("]")
        return address, port.removeprefix(":")
    if target.count(":") == 1:
        address, _, port = target.partition(":")
        return address, port
    return target, ""
