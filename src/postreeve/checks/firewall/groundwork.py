"""Without these nothing works: loopback, errors and neighbours of ICMP, packets of connections under way."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check
from postreeve.checks.firewall.command import let_pass
from postreeve.checks.firewall.reach import Ask, Fate, View
from postreeve.checks.firewall.scene import Cloud, Manager, Scene
from postreeve.checks.firewall.world import GLOBAL, is_open
from postreeve.firewall.flow import Direction, Family, Network, Protocol, State
from postreeve.firewall.interval import Intervals, intersect, of_networks
from postreeve.firewall.ruleset import Hook, of_policy

_LOOPBACK: Final[dict[Family, Network]] = {
    Family.IPV4: ipaddress.ip_network("127.0.0.0/8"),
    Family.IPV6: ipaddress.ip_network("::1/128"),
}
_LINK_LOCAL: Final = ipaddress.ip_network("fe80::/10")
_SOLICITED: Final = ipaddress.ip_network("ff02::/16")
_NEIGHBOURS: Final = {135: "neighbour solicitation", 136: "neighbour advertisement"}
_NOBODYS: Final = 4
"""A port that no rule names."""
_EPHEMERAL: Final = 50_000
_RANGE: Final = (1_024, 32_768, 49_152, 60_999, 65_535)
"""Ports that replies come back to: who asks chooses, from 1024 on."""


def families(scene: Scene) -> tuple[Family, ...]:
    """In use here, as far as known."""
    exposure = scene.exposure
    has_ipv4, has_ipv6 = (True, True) if exposure is None else (exposure.has_ipv4, exposure.has_ipv6)
    pairs = ((Family.IPV4, has_ipv4), (Family.IPV6, has_ipv6))
    return tuple(one for one, there in pairs if there and one not in scene.blind)


def _is_shut(view: View, family: Family) -> bool:
    """Refused altogether, as on a machine that has no use for the family."""
    if view.scene.exposure is not None:
        return False
    ask = Ask(Hook.IN, family, Protocol.TCP, _EPHEMERAL, State.ESTABLISHED)
    ports = {one.first for layer in view.scene.host.of(Hook.IN) for flow in layer.policy.flows for one in flow.ports}
    is_dead = not view.host(ask).accepted and not view.host(ask).unknown
    return is_dead and not any(
        view.host(Ask(Hook.IN, family, Protocol.TCP, port)).share(GLOBAL[family]) > 0.05 for port in (*ports,)[:64]
    )


def loopback(view: View) -> Iterator[Seen]:
    """FW007."""
    for family in families(view.scene):
        for hook in (Hook.IN, Hook.OUT):
            ask = Ask(hook, family, Protocol.TCP, _NOBODYS, interface="lo")
            fate = view.host(ask)
            lost = intersect(fate.refused, of_networks([_LOOPBACK[family]]))
            if not lost:
                continue
            refusal = fate.worst(lost)
            side, chain = ("iif", "INPUT -i") if hook is Hook.IN else ("oif", "OUTPUT -o")
            layer = refusal.layer if refusal else ""
            tool = "iptables" if family is Family.IPV4 else "ip6tables"
            fix = (
                f"{tool} -I {chain} lo -j ACCEPT && netfilter-persistent save"
                if layer.startswith("iptables ")
                else f"nft insert rule {layer} {side} lo accept"
            )
            yield Seen(
                f"IPv{family.value}, {hook.value}",
                (
                    "programs of this machine cannot talk to each other: its resolver, its database, its health checks",
                    *([refusal.words] if refusal else []),
                ),
                fix,
            )


def icmp(view: View) -> Iterator[Seen]:
    """FW008."""
    for family in families(view.scene):
        if _is_shut(view, family):
            continue
        too_big = 3 if family is Family.IPV4 else 2
        name = "fragmentation needed (type 3)" if family is Family.IPV4 else "packet too big (type 2)"
        fates = [
            view.host(Ask(Hook.IN, family, Protocol.ICMP, 0, state, too_big))
            for state in (State.NEW, State.ESTABLISHED)
        ]
        if all(_is_lost(fate, GLOBAL[family]) for fate in fates):
            yield _icmp_seen(view.scene, fates[0], family, name, too_big, "large mails hang where a link is narrow")
        if family is Family.IPV6:
            yield from _neighbours(view)


def _neighbours(view: View) -> Iterator[Seen]:
    for hook in (Hook.IN, Hook.OUT):
        near = of_networks([_LINK_LOCAL] if hook is Hook.IN else [_SOLICITED, _LINK_LOCAL])
        for kind, name in _NEIGHBOURS.items():
            fate = view.host(Ask(hook, Family.IPV6, Protocol.ICMP, 0, icmp_type=kind))
            if _is_lost(fate, near):
                yield _icmp_seen(
                    view.scene, fate, Family.IPV6, f"{name} ({hook.value})", kind, "IPv6 stops within minutes"
                )


def _is_lost(fate: Fate, among: Intervals) -> bool:
    return bool(intersect(fate.refused, among)) and not intersect(fate.accepted, among) and not fate.unknown


def _icmp_seen(scene: Scene, fate: Fate, family: Family, name: str, kind: int, loss: str) -> Seen:
    refusal = fate.worst(fate.refused)
    layer = refusal.layer if refusal else "inet filter input"
    if scene.manager is Manager.UFW:
        fix = "ufw reload   # /etc/ufw/before*.rules as shipped let it pass; see what was changed there"
    elif layer.startswith("iptables "):
        tool, word = (
            ("iptables", "icmp --icmp-type") if family is Family.IPV4 else ("ip6tables", "icmpv6 --icmpv6-type")
        )
        fix = f"{tool} -I {layer.split()[2]} -p {word} {kind} -j ACCEPT && netfilter-persistent save"
    elif family is Family.IPV4:
        fix = f"nft insert rule {layer} icmp type {kind} accept"
    else:
        fix = f"nft insert rule {layer} icmpv6 type {{ 1, 2, 3, 4, 133, 134, 135, 136 }} accept"
    because = (f"{name} is refused: {loss} (RFC 4890)", *([refusal.words] if refusal else []))
    return Seen(f"ICMP of IPv{family.value}, {name}", because, fix)


def under_way(view: View) -> Iterator[Seen]:
    """FW009."""
    for family in families(view.scene):
        yield from _stateful(view, family)
        for cloud in view.scene.clouds:
            if cloud.is_stateless:
                yield from _stateless(view, cloud, family)


def _stateful(view: View, family: Family) -> Iterator[Seen]:
    for hook in (Hook.IN, Hook.OUT):
        fate = view.host(Ask(hook, family, Protocol.TCP, _EPHEMERAL, State.ESTABLISHED))
        new = view.host(Ask(hook, family, Protocol.TCP, 25 if hook is Hook.IN else 443))
        # A family that is refused altogether has no connections either.
        if not _is_lost(fate, GLOBAL[family]) or (hook is Hook.IN and _is_shut(view, family) and not new.accepted):
            continue
        refusal = fate.worst(GLOBAL[family])
        layer = refusal.layer if refusal else "inet filter input"
        tool = "iptables" if family is Family.IPV4 else "ip6tables"
        fix = (
            f"{tool} -I {layer.split()[2]} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
            " && netfilter-persistent save"
            if layer.startswith("iptables ")
            else f"nft insert rule {layer} ct state established,related accept"
        )
        what = (
            "replies to what this machine asks are lost" if hook is Hook.IN else "replies of this machine never leave"
        )
        yield Seen(f"IPv{family.value}, {hook.value}", (what, *([refusal.words] if refusal else [])), fix)


def _stateless(view: View, cloud: Cloud, family: Family) -> Iterator[Seen]:
    """Replies are packets like others there: both directions need the range of ports that they come back to."""
    for hook, why in (
        (Hook.IN, "replies to what this machine sends (SMTP, DNS, HTTPS) come in on these ports"),
        (Hook.OUT, "replies to those who deliver mail here leave for these ports"),
    ):
        service = view.cloud(Ask(Hook.OUT if hook is Hook.IN else Hook.IN, family, Protocol.TCP, 25), cloud)
        if not is_open(service, family):
            continue
        shut = [
            port
            for port in _RANGE
            if not is_open(view.cloud(Ask(hook, family, Protocol.TCP, port, State.ESTABLISHED), cloud), family)
        ]
        if not shut:
            continue
        way = "--ingress" if hook is Hook.IN else "--egress"
        cidr = "--cidr-block 0.0.0.0/0" if family is Family.IPV4 else "--ipv6-cidr-block ::/0"
        yield Seen(
            f"{cloud.name}, IPv{family.value}, {hook.value}",
            (
                f"it keeps no connections in mind, and TCP to port {', '.join(map(str, shut))} is refused",
                why,
            ),
            f"aws ec2 create-network-acl-entry --network-acl-id {cloud.name} {way} --rule-number 140 --protocol tcp "
            f"--port-range From=1024,To=65535 {cidr} --rule-action allow",
        )


def lockout(view: View) -> Iterator[Seen]:
    """FW026."""
    scene = view.scene
    for one in scene.administrators:
        family = Family(one.address.version)
        place = ((int(one.address), int(one.address)),)
        ask = Ask(Hook.IN, family, Protocol.TCP, one.port)
        now = view.all(ask)
        if intersect(now.refused, place):
            refusal = now.worst(place)
            yield Seen(
                f"{one.address} port {one.port}",
                (
                    "logged in by SSH now, and could not log in again",
                    *([refusal.words] if refusal else []),
                ),
                let_pass(scene, refusal, Direction.IN, family, one.port, [ipaddress.ip_network(one.address)]),
            )
        if scene.policy is None:
            continue
        for state in (State.NEW, State.ESTABLISHED):
            planned = View(replace(scene, host=of_policy(scene.policy), clouds=())).host(replace(ask, state=state))
            if intersect(planned.refused, place):
                yield Seen(
                    f"{one.address} port {one.port}",
                    ("logged in by SSH now, and the planned rules would cut this connection",),
                    f'in the configuration, [firewall]: ssh_from = ["{one.address}"], ssh_port = {one.port}',
                )
                break


CHECKS: Final = (
    Check(
        "FW007",
        Level.ERROR,
        "Loopback is filtered",
        "Packets from this machine to itself, both directions and families.",
        loopback,
    ),
    Check(
        "FW008",
        Level.ERROR,
        "ICMP that mail needs is dropped",
        "Fragmentation needed, packet too big, neighbour discovery (RFC 4890).",
        icmp,
    ),
    Check(
        "FW009",
        Level.ERROR,
        "Packets of connections under way are refused",
        "Established packets both ways; for a network ACL the ports that replies come back to.",
        under_way,
    ),
    Check(
        "FW026",
        Level.ERROR,
        "Who administrates this machine is locked out",
        "Peers of SSH now, against the rules in force and the planned ones.",
        lockout,
    ),
)
