"""Ban sets and limits: they must meet whom they are meant for, and nobody else."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check
from postreeve.checks.firewall.command import APPLY, let_pass, remove
from postreeve.checks.firewall.groundwork import families
from postreeve.checks.firewall.reach import Ask, View
from postreeve.checks.firewall.scene import Manager, Scene
from postreeve.firewall.exposure import Purpose
from postreeve.firewall.flow import Direction, Family, Flow, Network, Protocol, State, Verdict
from postreeve.firewall.ruleset import Hook, Layer

_LEAST_PER_MINUTE: Final = 30
"""New connections of one address to port 25: large senders open dozens at a time."""
_KEEPERS: Final = ("f2b", "fail2ban", "crowdsec")
"""They take addresses out by themselves."""


def _refusing(layer: Layer, family: Family) -> list[tuple[int, Flow]]:
    """The rules that refuse who is in a set, and where they stand."""
    return [
        (place, flow)
        for place, flow in enumerate(layer.policy.flows)
        if flow.peer_set and flow.family is family and flow.verdict is not Verdict.ACCEPT and not flow.unknown
    ]


def sets_in_place(view: View) -> Iterator[Seen]:
    """FW017."""
    scene = view.scene
    if scene.exposure is not None and scene.exposure.has_bans and scene.host.layers:
        inward = scene.host.of(Hook.IN)
        found = {family: [(layer, one) for layer in inward for one in _refusing(layer, family)] for family in Family}
        for family in families(scene):
            if not found[family]:
                other = " for this family; for the other there is" if any(found.values()) else ""
                said = f"no rule refuses the addresses that the server bans{other}"
                yield Seen(f"IPv{family.value}", (said, "who guesses passwords goes on"), APPLY)
            yield from _behind_containers(scene, family)
    for layer in scene.host.of(Hook.IN):
        for family in Family:
            yield from _too_late(scene, layer, family)
    yield from _endless(scene)


def _behind_containers(scene: Scene, family: Family) -> Iterator[Seen]:
    """What is sent on to containers never meets the rules for what comes in."""
    published = [one for one in scene.host.published if (":" in one.address) == (family is Family.IPV6)]
    if not published or any(_refusing(layer, family) for layer in scene.host.of(Hook.FORWARD)):
        return
    ports = ", ".join(str(one.published) for one in published[:6])
    yield Seen(
        f"IPv{family.value}, published ports",
        (f"bans are asked for what comes in, not for what is sent on to containers (ports {ports})",),
        APPLY,
    )


def _too_late(scene: Scene, layer: Layer, family: Family) -> Iterator[Seen]:
    """An accept before the set: whoever is banned is let in there."""
    bans = _refusing(layer, family)
    if not bans:
        return
    first, ban = bans[0]
    for flow in layer.policy.flows[:first]:
        if (
            flow.family is family
            and flow.verdict is Verdict.ACCEPT
            and flow.ports
            and flow.protocol is Protocol.TCP
            and flow.state is not State.ESTABLISHED
            and not flow.interface
            and not flow.peer_set
            and any(one.prefixlen == 0 for one in flow.peers)
            and _is_about_the_same(ban, flow)
        ):
            yield Seen(
                f"{layer.name}, IPv{family.value}",
                (f"asked first: {flow.quote or flow.ident}", f"asked too late: {ban.quote or ban.ident}"),
                APPLY if scene.manager is Manager.NOBODY else "put the rule of the set before all that accept ports",
            )
            return


def _is_about_the_same(ban: Flow, flow: Flow) -> bool:
    return not ban.ports or any(one.first in mine for one in flow.ports for mine in ban.ports)


def _endless(scene: Scene) -> Iterator[Seen]:
    for one in scene.ban_sets:
        if one.has_timeout or one.has_size or any(word in f"{one.table} {one.name}" for word in _KEEPERS):
            continue
        yield Seen(
            f"set {one.table} {one.name}",
            ("it has neither a time-out nor a size: it grows for ever, and nobody is let in again",),
            f"nft delete set {one.table} {one.name}   # and made anew: flags timeout; timeout 1h; size 65536;",
        )


def friends(view: View) -> Iterator[Seen]:
    """FW018."""
    scene = view.scene
    used = {
        flow.peer_set
        for layer in (*scene.host.of(Hook.IN), *scene.host.of(Hook.FORWARD))
        for flow in layer.policy.flows
        if flow.peer_set and flow.verdict is not Verdict.ACCEPT
    }
    for name in sorted(used):
        banned = scene.host.sets.get(name, ())
        for friend, who in _friends(scene):
            for one in banned:
                if one.version == friend.version and one.overlaps(friend):
                    yield Seen(
                        f"{friend}, set {name}",
                        (f"{who} is banned ({one})",),
                        f"nft delete element {_place(scene, name)} {{ {one} }}",
                    )
    yield from _one_source(scene)


def _place(scene: Scene, name: str) -> str:
    known = next((f"{one.table} {one.name}" for one in scene.ban_sets if name.endswith(one.name)), "")
    return known or (name if " " in name else f"inet postreeve {name}")


def _friends(scene: Scene) -> Iterator[tuple[Network, str]]:
    exposure = scene.exposure
    for host in (*(exposure.smarthosts if exposure else ()), *scene.smarthosts_now):
        for address in host.addresses:
            yield address, f"the smarthost {host.resolved_from or host.name}"
    for server in exposure.resolvers if exposure else ():
        yield server, "our name server"
    for one in scene.administrators:
        yield ipaddress.ip_network(one.address), "who is logged in by SSH"
    for own in (*scene.names.ipv4, *scene.names.ipv6) if scene.names else ():
        yield ipaddress.ip_network(own), "this host itself"


def _one_source(scene: Scene) -> Iterator[Seen]:
    """Many sessions, one private address: somebody in between hides who connects."""
    others = [one for one in scene.peers if not one.is_loopback]
    if len(others) >= 10 and len(set(others)) == 1 and others[0].is_private:
        yield Seen(
            str(others[0]),
            (
                f"all {len(others)} mail connections under way come from this one private address",
                "a balancer or node hides who connects: a ban would shut out everybody",
            ),
            "externalTrafficPolicy: Local in Kubernetes, or the PROXY protocol at the balancer and in the listener",
        )


def limits(view: View) -> Iterator[Seen]:
    """FW019."""
    scene = view.scene
    relay = {one.port for one in scene.exposure.entrances if one.purpose is Purpose.RELAY} if scene.exposure else {25}
    rated = [
        flow
        for layer in scene.host.of(Hook.IN)
        for flow in layer.policy.flows
        if flow.rate is not None and flow.verdict is Verdict.ACCEPT
    ]
    for flow in (*rated, *scene.host.limits):
        if flow.rate is None or flow.protocol is not Protocol.TCP or flow.direction.value != "in" or not flow.ports:
            continue
        ports = [port for port in sorted(relay | {25, 465, 587}) if any(port in one for one in flow.ports)]
        if not ports:
            continue
        per_minute = flow.rate.connections * 60 / max(flow.rate.seconds, 1)
        shown = ", ".join(map(str, ports))
        subject = f"port {shown}, IPv{flow.family.value}"
        rule = f"rule: {flow.quote or flow.ident}"
        if flow.verdict is Verdict.ACCEPT and not _counts(view, flow, ports[0]):
            continue
        if set(ports) & relay and per_minute < _LEAST_PER_MINUTE:
            ufw = "ufw delete limit 25/tcp && ufw allow 25/tcp" if scene.manager is Manager.UFW else ""
            yield Seen(
                subject,
                (rule, f"{per_minute:.0f} connections a minute: large senders are refused, and mail comes late"),
                ufw or _without_limit(scene, flow, ports[0]),
            )
        elif flow.state is State.ANY:
            yield Seen(
                subject,
                (rule, "it counts every packet, not connections: one long message exceeds it"),
                "add `ct state new` (nft) or `-m conntrack --ctstate NEW` (iptables) to the rule",
            )


def _counts(view: View, flow: Flow, port: int) -> bool:
    """An earlier rule may let everybody in without a limit."""
    return flow in view.host(Ask(Hook.IN, flow.family, Protocol.TCP, port)).accepting


def _without_limit(scene: Scene, flow: Flow, port: int) -> str:
    """A rule that accepts up to a limit needs one before it without; one that refuses beyond it goes."""
    if flow.verdict is not Verdict.ACCEPT:
        return remove(scene, flow)
    return let_pass(scene, None, Direction.IN, flow.family, port, flow.peers)


CHECKS: Final = (
    Check(
        "FW017",
        Level.WARNING,
        "Bans do not meet whom they are meant for",
        "Sets that rules refuse: both families, before what accepts, for containers too, with an end.",
        sets_in_place,
    ),
    Check(
        "FW018",
        Level.WARNING,
        "A ban meets a friend",
        "Smarthosts, name servers, administrators and this host in ban sets; all sessions from one address.",
        friends,
    ),
    Check(
        "FW019",
        Level.WARNING,
        "A limit refuses mail",
        "Limits of rules about port 25 and submission.",
        limits,
    ),
)
