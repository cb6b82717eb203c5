"""Rules as clouds keep them: one peer, one range of ports or one type of ICMP each; a flow is several of them.

Where a rule has room for a description, it begins with the name of its flow: `in-relay-25-ipv4: mail for example.org`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from postreeve.firewall.carve import implied
from postreeve.firewall.flow import (
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
    tidy_peers,
    tidy_ports,
)

_NAMED: Final = re.compile(r"([a-z0-9][a-z0-9.-]{0,62})(?::(?: (.*))?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One rule. `peer` is None when who it is about was not understood, which `unknown` then says."""

    ident: str
    direction: Direction
    family: Family
    protocol: Protocol
    verdict: Verdict
    peer: Network
    ports: Ports | None = None
    icmp_type: int | None = None
    state: State = State.NEW
    because: str = field(default="", compare=False)
    unknown: str = ""
    quote: str = field(default="", compare=False)


def to_rows(flow: Flow) -> Iterator[Row]:
    """All rows of a flow without sets, users and the like."""
    for peer in flow.peers:
        for ports in flow.ports or (None,):
            for kind in flow.icmp_types or (None,):
                yield Row(
                    flow.ident,
                    flow.direction,
                    flow.family,
                    flow.protocol,
                    flow.verdict,
                    peer,
                    ports,
                    kind,
                    flow.state,
                    flow.because,
                )


def to_flows(rows: Iterable[Row]) -> tuple[Flow, ...]:
    """Rows that follow each other and differ in peer, ports or type only become one flow, where that says the same."""
    found: list[Flow] = []
    names: dict[str, int] = {}

    def key(row: Row) -> tuple[object, ...]:
        return (row.ident, row.direction.value, row.family.value, row.protocol, row.verdict, row.state, row.unknown)

    for _, group in groupby(rows, key):
        members = list(group)
        by_traffic: dict[frozenset[tuple[Ports | None, int | None]], list[Network]] = {}
        for peer in dict.fromkeys(row.peer for row in members):
            traffic = frozenset((row.ports, row.icmp_type) for row in members if row.peer == peer)
            by_traffic.setdefault(traffic, []).append(peer)
        for traffic, peers in by_traffic.items():
            flow = _flow(members, traffic, peers)
            names[flow.ident] = count = names.get(flow.ident, 0) + 1
            found.append(replace(flow, ident=f"{flow.ident}.{count}") if count > 1 else flow)
    return tuple(found)


def _flow(members: list[Row], traffic: frozenset[tuple[Ports | None, int | None]], peers: list[Network]) -> Flow:
    first = next(row for row in members if row.peer in peers)
    ports = [one for one, _ in traffic]
    types = [kind for _, kind in traffic]
    return Flow(
        first.ident,
        first.direction,
        first.family,
        first.protocol,
        first.verdict,
        tidy_peers(peers),
        () if None in ports else tidy_ports(one for one in ports if one is not None),
        () if None in types else tuple(sorted(kind for kind in types if kind is not None)),
        first.state,
        because=first.because,
        unknown=first.unknown,
        quote=first.quote,
    )


def to_policy(
    name: str,
    flows: Iterable[Flow],
    *,
    is_stateful: bool = True,
    default_in: Verdict = Verdict.DROP,
    default_out: Verdict = Verdict.DROP,
) -> Policy:
    """What was read, with what the layer gives anyway, each flow by a name of its own."""
    found: dict[str, Flow] = {flow.ident: flow for flow in implied(is_stateful=is_stateful)}
    for flow in flows:
        ident, count = flow.ident, 1
        while ident in found:
            count += 1
            ident = f"{flow.ident}.{count}"
        found[ident] = replace(flow, ident=ident)
    return Policy(name, tuple(found.values()), default_in, default_out)


def describe(flow: Flow | Row, longest: int, forbidden: re.Pattern[str]) -> str:
    """The name of the flow and its reason, cut to what the target takes."""
    text = f"{flow.ident}: {flow.because}" if flow.because else flow.ident
    return forbidden.sub(" ", text)[:longest].rstrip(" ")


def read_description(text: str) -> tuple[str, str]:
    """The name and the reason; no name where somebody else wrote it."""
    found = _NAMED.fullmatch(text)
    if found is None or len(found[1]) > 63:
        return "", text
    return found[1], found[2] or ""
