"""Rules that are one flow: a target that takes one peer, or so many ports, in a rule needs several for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from postreeve.firewall.flow import Flow, tidy_peers, tidy_ports


def join(group: Sequence[Flow], ident: str) -> Iterator[Flow]:
    """One flow when the rules are every combination of some peers, ports and types; else each for itself.

    A rule that somebody has changed or taken away never makes a flow that is wider than the rules.
    """
    rests = {replace(flow, ident="", peers=(), ports=(), icmp_types=(), quote="") for flow in group}
    peers = {flow.peers for flow in group}
    ports = {flow.ports for flow in group}
    types = {flow.icmp_types for flow in group}
    # Without ports or types a rule is about all of them: nothing can be added to that.
    is_open = any(() in values and len(values) > 1 for values in (ports, types))
    combinations = {(flow.peers, flow.ports, flow.icmp_types) for flow in group}
    is_product = len(combinations) == len(peers) * len(ports) * len(types)
    if len(rests) != 1 or is_open or not is_product:
        for number, flow in enumerate(group, 1):
            yield replace(flow, ident=ident if number == 1 else f"{ident}.{number}")
        return
    yield replace(
        group[0],
        ident=ident,
        peers=tidy_peers(peer for one in peers for peer in one),
        ports=tidy_ports(found for one in ports for found in one),
        icmp_types=tuple(sorted({number for one in types for number in one})),
    )
