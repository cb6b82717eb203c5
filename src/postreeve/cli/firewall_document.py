"""Policies and flows as JSON documents, and as words for people."""

from __future__ import annotations

from typing import Any

from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Policy, Protocol, State


def policy_document(policy: Policy) -> dict[str, Any]:
    """All of it."""
    return {
        "name": policy.name,
        "default": {"in": policy.default_in.value, "out": policy.default_out.value},
        "sets": list(policy.sets),
        "flows": [flow_document(flow) for flow in policy.flows],
    }


def flow_document(flow: Flow) -> dict[str, Any]:
    """One rule; what does not matter for it is null or empty."""
    container = flow.container
    return {
        "id": flow.ident,
        "direction": flow.direction.value,
        "family": f"ipv{flow.family.value}",
        "protocol": flow.protocol.value,
        "verdict": flow.verdict.value,
        "peers": [str(one) for one in flow.peers],
        "set": flow.peer_set or None,
        "ports": [[one.first, one.last] for one in flow.ports],
        "icmp_types": list(flow.icmp_types),
        "state": flow.state.value,
        "interface": flow.interface or None,
        "user": flow.user or None,
        "rate": None if flow.rate is None else {"connections": flow.rate.connections, "seconds": flow.rate.seconds},
        "container": None
        if container is None
        else {"address": container.address, "port": container.port, "published": container.published},
        "because": flow.because,
        "without": flow.without,
        "unknown": flow.unknown or None,
        "quote": flow.quote or None,
    }


def traffic(flow: Flow) -> str:
    """What it is about, in few words: `tcp 25`."""
    words = ["" if flow.protocol is Protocol.ANY else flow.protocol.value]
    words.append(", ".join(map(str, flow.ports)))
    if flow.protocol is Protocol.ICMP and flow.icmp_types:
        words.append(f"{len(flow.icmp_types)} types")
    if flow.state is State.ESTABLISHED:
        words.append("under way")
    if flow.interface:
        words.append(f"{'from' if flow.direction is Direction.IN else 'by'} {flow.interface}")
    if flow.user:
        words.append(f"of {flow.user}")
    if flow.rate is not None:
        words.append(f"up to {flow.rate.connections} in {flow.rate.seconds} s")
    if flow.container is not None:
        words.append(f"for {flow.container.address} port {flow.container.port}")
    return " ".join(word for word in words if word) or "everything"


def peers(flows: tuple[Flow, ...], most: int = 4) -> str:
    """Of the same rule in both families."""
    if all(flow.peers == (WORLD[flow.family],) for flow in flows):
        return "everybody" if len({flow.family for flow in flows}) == 2 else f"everybody, {_family(flows[0].family)}"
    words = [f"the set {flow.peer_set}" for flow in flows if flow.peer_set]
    words += [str(one) for flow in flows for one in flow.peers]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _family(family: Family) -> str:
    return f"IPv{family.value} only"
