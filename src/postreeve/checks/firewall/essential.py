"""FW007 to FW009 and FW013: loopback, ICMP, packets under way; and rules that no packet ever reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.audit import (
    NOBODYS_PORT,
    Audited,
    AuditRule,
    corner,
    evidence,
    families,
    find_best,
    name,
    opening,
)
from postreeve.firewall.flow import WORLD, Family, Flow, Network, Ports, Protocol, State
from postreeve.firewall.interval import ALL_ADDRESSES, contains
from postreeve.firewall.reach import find_reach
from postreeve.firewall.ruleset import Hook, Layer

_LOOPBACK: Final = {Family.IPV4: 0x7F000001, Family.IPV6: 1}
_NEIGHBOURS: Final = {135: "solicitation", 136: "advertisement"}
_TOO_BIG: Final = {Family.IPV4: (3, "fragmentation needed"), Family.IPV6: (2, "packet too big")}
_EPHEMERAL: Final = 50_000


def loopback(audited: Audited) -> Iterator[Seen]:
    """Programs of the machine among themselves."""
    for family in families(audited):
        for hook in (Hook.IN, Hook.OUT):
            where = corner(hook, family, interface="lo")
            peer = _LOOPBACK[family]
            if contains(find_reach(audited.live, where, NOBODYS_PORT).refused, peer):
                said = evidence(audited, where, NOBODYS_PORT, ((peer, peer),))
                word = "iif" if hook is Hook.IN else "oif"
                layer = next(layer for layer in audited.live.of(hook))
                fix = f"nft insert rule {layer.name} {word} lo accept"
                yield Seen(f"loopback, IPv{family.value}, {hook.value}", (said,), fix)


def icmp(audited: Audited) -> Iterator[Seen]:
    """Errors that say how large packets may be; for IPv6 neighbour discovery too."""
    for family in families(audited):
        number, word = _TOO_BIG[family]
        # Such an error belongs to a connection under way, if only that is let in.
        reaches = [
            find_best(audited, corner(Hook.IN, family, Protocol.ICMP, state=state), number)
            for state in (State.NEW, State.ESTABLISHED)
        ]
        if all(reach.refused == ALL_ADDRESSES[family] for _, reach in reaches):
            where, reach = reaches[0]
            said = evidence(audited, where, number, reach.refused)
            fix = opening(audited, where, number, reach.refused)
            yield Seen(f"IPv{family.value}: {word}", (said, "large mails hang on the way"), fix)
        for number, word in _NEIGHBOURS.items() if family is Family.IPV6 else ():
            where, reach = find_best(audited, corner(Hook.IN, family, Protocol.ICMP), number)
            if reach.refused == ALL_ADDRESSES[family]:
                said = evidence(audited, where, number, reach.refused)
                fix = opening(audited, where, number, reach.refused)
                yield Seen(f"IPv6: neighbour {word}", (said, "IPv6 stops when neighbours are forgotten"), fix)


def established(audited: Audited) -> Iterator[Seen]:
    """Packets of connections that were allowed to begin."""
    for family in families(audited):
        for hook in (Hook.IN, Hook.OUT):
            where, reach = find_best(audited, corner(hook, family, state=State.ESTABLISHED), _EPHEMERAL)
            if reach.refused == ALL_ADDRESSES[family]:
                said = evidence(audited, where, _EPHEMERAL, reach.refused)
                layer = next(layer for layer in audited.live.of(hook))
                fix = f"nft insert rule {layer.name} ct state established,related accept"
                peers = name(reach.refused, family)
                yield Seen(f"IPv{family.value}, {hook.value}", (f"answers of or to {peers} are refused", said), fix)


def shadowed(audited: Audited) -> Iterator[Seen]:
    """An earlier rule takes every packet."""
    for layer in audited.live.layers:
        earlier: dict[tuple[object, ...], list[Flow]] = {}
        told: set[str] = set()
        for flow in layer.policy.flows:
            cover = next((one for key in _keys(flow) for one in earlier.get(key, ()) if _covers(one, flow)), None)
            if cover is not None and not flow.unknown and _name(cover) != _name(flow) and _name(flow) not in told:
                told.add(_name(flow))
                yield _never(layer, flow, cover)
            if not (flow.unknown or flow.rate):
                earlier.setdefault(_keys(flow)[0], []).append(flow)


def _name(flow: Flow) -> str:
    return flow.quote or flow.ident


def _keys(flow: Flow) -> list[tuple[object, ...]]:
    """Where rules are found that take as much or more: with the same peers or all, the same ports or all."""
    peers: list[tuple[Network, ...]] = list(dict.fromkeys((flow.peers, (WORLD[flow.family],))))
    nothing: tuple[Ports, ...] = ()
    ports = list(dict.fromkeys((flow.ports, nothing)))
    return [(flow.direction, flow.family, one, two) for one in peers for two in ports]


def _covers(one: Flow, other: Flow) -> bool:
    return (
        one.protocol in (Protocol.ANY, other.protocol)
        and one.state in (State.ANY, other.state)
        and one.interface in ("", other.interface)
        and one.user in ("", other.user)
        and one.peer_set in ("", other.peer_set)
        and one.container == other.container
        and (not one.icmp_types or set(one.icmp_types) >= set(other.icmp_types) != set())
        and not (one.peer_set and not other.peer_set)
    )


def _never(layer: Layer, flow: Flow, cover: Flow) -> Seen:
    because = (f"never reached: {_name(flow)}", f"decides before: {_name(cover)}")
    if flow.verdict is not cover.verdict:
        return Seen(
            layer.name, (*because, "the two contradict each other"), "move the narrower rule before the wider one"
        )
    return Seen(layer.name, because, "remove the rule that is never reached")


RULES: Final = (
    AuditRule("FW007", Level.ERROR, "Loopback is refused", "packets of the machine to itself", loopback),
    AuditRule("FW008", Level.ERROR, "ICMP that is needed is refused", "packet too big, neighbour discovery", icmp),
    AuditRule(
        "FW009", Level.ERROR, "Packets of connections under way are refused", "established, related", established
    ),
)
ORDER: Final = (
    AuditRule("FW013", Level.WARNING, "A rule is never reached", "rules that others take all of", shadowed),
)
