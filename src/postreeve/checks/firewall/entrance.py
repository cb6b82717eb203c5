"""Doors against rules: what should be open is, what should not be is not, for IPv4 and IPv6 apart."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.command import keep_out, let_pass, remove
from postreeve.checks.firewall.reach import Ask, Fate, Refusal, View
from postreeve.checks.firewall.scene import Scene
from postreeve.checks.firewall.world import GLOBAL, is_half_open, is_open, is_world, missing, wanted, words
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Entrance, Purpose
from postreeve.firewall.flow import Direction, Family, Flow, Protocol, State, Verdict
from postreeve.firewall.interval import Intervals, subtract, tidy
from postreeve.firewall.ruleset import Hook

_MOST_PORTS: Final = 64
_PROXIES: Final = ("docker-proxy", "rootlessport", "slirp4netns", "conmon")


def families_of(scene: Scene, entrance: Entrance) -> Iterator[Family]:
    """Those that the machine has, somebody listens in, and somebody may come by."""
    for family, is_bound in ((Family.IPV4, entrance.is_bound_ipv4), (Family.IPV6, entrance.is_bound_ipv6)):
        if is_bound and _has(scene, family) and any(one.version == family.value for one in entrance.peers):
            yield family


def ask_for(entrance: Entrance, family: Family) -> Ask:
    """Its first packet: to the machine, or on to the container."""
    container = entrance.container
    is_forwarded = container is not None and ipaddress.ip_address(container.address).version == family.value
    return Ask(Hook.FORWARD if is_forwarded else Hook.IN, family, Protocol.TCP, entrance.port)


def entrances(scene: Scene) -> tuple[Entrance, ...]:
    """What should be open; nothing where that is not known."""
    return scene.exposure.entrances if scene.exposure is not None else ()


def _lost(fate: Fate, entrance: Entrance, family: Family) -> Intervals:
    """Who is refused though expected; who is banned is refused on purpose."""
    banned = tidy(pair for one in fate.refusals if one.flow is not None and one.flow.peer_set for pair in one.addresses)
    return subtract(missing(fate, entrance.peers, family), banned)


def _place(entrance: Entrance, family: Family) -> str:
    return f"{entrance.name} port {entrance.port}, IPv{family.value}"


def closed(view: View) -> Iterator[Seen]:
    """FW001."""
    for entrance in entrances(view.scene):
        for family in families_of(view.scene, entrance):
            fate = view.all(ask_for(entrance, family))
            lost = _lost(fate, entrance, family)
            is_for_world = is_world(entrance.peers, family)
            # Where only a part of the world is shut out, FW005 says so.
            if not lost or (is_for_world and (fate.accepted or fate.unknown)):
                continue
            refusal = fate.worst(lost)
            because = [f"{entrance.because}, but {_who(lost, is_for_world, family)}"]
            because += _told(refusal)
            yield Seen(
                _place(entrance, family),
                tuple(because),
                let_pass(view.scene, refusal, Direction.IN, family, entrance.port, entrance.peers),
            )


def _who(lost: Intervals, is_for_world: bool, family: Family) -> str:
    if is_for_world and lost == GLOBAL[family]:
        return "nobody can connect"
    return f"{words(lost, family)} cannot connect"


def _told(refusal: Refusal | None) -> Iterator[str]:
    if refusal is not None:
        yield refusal.words
        if refusal.verdict is Verdict.DROP:
            yield "dropped in silence: who connects sees a time-out"
        else:
            yield "refused with an answer: who connects sees `connection refused` or `unreachable` at once"


def undeclared(view: View) -> Iterator[Seen]:
    """FW002."""
    scene = view.scene
    if scene.exposure is None or scene.bound is None:
        return
    declared = {entrance.port for entrance in scene.exposure.entrances} | {scene.exposure.ssh_port}
    declared |= {one.port for one in scene.administrators}
    for bound in scene.bound:
        address = ipaddress.ip_address(bound.address)
        if address.is_loopback or bound.port in declared or bound.program in _PROXIES:
            continue
        # A socket at `::` takes IPv4 too unless its owner said otherwise, which its line in /proc does not show.
        for family in sorted(map(Family, bound.versions), key=lambda one: one.value):
            fate = view.all(Ask(Hook.IN, family, Protocol.TCP, bound.port))
            if is_half_open(fate, family):
                who = f"{bound.program or 'a program'} (pid {bound.pid or 'unknown'}, user {bound.user or 'unknown'})"
                lets = [f"let in by {flow.quote or flow.ident}" for flow in fate.accepting if not flow.peer_set]
                yield Seen(
                    f"port {bound.port}, IPv{family.value}",
                    (
                        f"{who} listens at {bound.address}, and everybody may connect",
                        "the configuration does not name this port",
                        *some(lets or ["no rule refuses it"], 2),
                    ),
                    keep_out(scene, fate.accepting, Direction.IN, family, bound.port),
                )


def stale(view: View) -> Iterator[Seen]:
    """FW003."""
    scene = view.scene
    if scene.bound is None:
        return
    listening = {one.port for one in scene.bound} | {one.published for one in scene.host.published}
    listening |= {entrance.port for entrance in entrances(scene)}
    for layer in scene.host.of(Hook.IN):
        for flow in layer.policy.flows:
            ports = sum(one.last - one.first + 1 for one in flow.ports)
            if not _opens(flow) or not 0 < ports <= _MOST_PORTS or flow.protocol is not Protocol.TCP:
                continue
            if any(port in one for one in flow.ports for port in listening):
                continue
            shown = ", ".join(map(str, flow.ports))
            yield Seen(
                f"port {shown}, IPv{flow.family.value}",
                (f"{layer.name}: rule: {flow.quote or flow.ident}", "no program listens there"),
                remove(scene, flow),
            )


def _opens(flow: Flow) -> bool:
    return (
        flow.direction is Direction.IN
        and flow.verdict is Verdict.ACCEPT
        and flow.state is not State.ESTABLISHED
        and flow.interface != "lo"
        and not flow.unknown
        and flow.container is None
    )


def submission_for_everybody(view: View) -> Iterator[Seen]:
    """FW004."""
    for entrance in entrances(view.scene):
        if entrance.purpose is not Purpose.SUBMISSION:
            continue
        for family in families_of(view.scene, entrance):
            if is_world(entrance.peers, family):
                continue
            fate = view.all(ask_for(entrance, family))
            if is_half_open(fate, family):
                allowed = ", ".join(str(one) for one in entrance.peers if one.version == family.value)
                lets = [f"rule: {flow.quote or flow.ident}" for flow in fate.accepting if not flow.peer_set]
                yield Seen(
                    _place(entrance, family),
                    (
                        f"meant for {allowed}, and open to everybody",
                        *some(lets or ["no rule refuses it"], 2),
                    ),
                    _narrow(view.scene, fate, entrance, family),
                )


def _narrow(scene: Scene, fate: Fate, entrance: Entrance, family: Family) -> str:
    allow = let_pass(scene, None, Direction.IN, family, entrance.port, entrance.peers)
    refuse = keep_out(scene, fate.accepting, Direction.IN, family, entrance.port)
    # What is put before the others last comes first.
    return f"{refuse}\n{allow}"


def mail_limited(view: View) -> Iterator[Seen]:
    """FW005."""
    for entrance in entrances(view.scene):
        if entrance.purpose is not Purpose.RELAY:
            continue
        for family in families_of(view.scene, entrance):
            if not is_world(entrance.peers, family):
                continue
            fate = view.all(ask_for(entrance, family))
            share = fate.share(GLOBAL[family])
            if fate.unknown or is_open(fate, family):
                continue
            if fate.accepted:
                lost = _lost(fate, entrance, family)
                refusal = fate.worst(lost)
                yield Seen(
                    _place(entrance, family),
                    (f"only {share:.1%} of the Internet can deliver mail here", *_told(refusal)),
                    let_pass(view.scene, refusal, Direction.IN, family, entrance.port),
                )
            elif _is_pointed_at(view.scene, family):
                refusal = fate.worst(_lost(fate, entrance, family))
                yield Seen(
                    _place(entrance, family),
                    ("the MX record of our domain points here, and mail of strangers is refused", *_told(refusal)),
                    let_pass(view.scene, refusal, Direction.IN, family, entrance.port),
                )


def _is_pointed_at(scene: Scene, family: Family) -> bool:
    names = scene.names
    return names is not None and names.is_mx and bool(names.ipv4 if family is Family.IPV4 else names.ipv6)


def families_differ(view: View) -> Iterator[Seen]:
    """FW006."""
    yield from _unreachable_by_ipv6(view)
    yield from _open_by_one_family(view)


def _unreachable_by_ipv6(view: View) -> Iterator[Seen]:
    """An AAAA record leads where nobody listens, or where nobody may connect while IPv4 may."""
    scene = view.scene
    if not _has(scene, Family.IPV6) or (scene.names is not None and not scene.names.ipv6):
        return
    shown = f"the AAAA record says {', '.join(map(str, scene.names.ipv6))}; " if scene.names is not None else ""
    for entrance in entrances(scene):
        if entrance.purpose not in (Purpose.RELAY, Purpose.SUBMISSION):
            continue
        by_four = Ask(Hook.IN, Family.IPV4, Protocol.TCP, entrance.port)
        six = view.all(Ask(Hook.IN, Family.IPV6, Protocol.TCP, entrance.port))
        if not entrance.is_bound_ipv6:
            if not shown:
                continue
            yield Seen(
                f"{entrance.name} port {entrance.port}, IPv6",
                (f"{shown}the listener is bound to IPv4 only",),
                f'in the configuration, [[listener]] {entrance.name}: addresses = ["0.0.0.0", "::"]',
            )
        elif is_open(view.all(by_four), Family.IPV4) and six.refused and six.share(GLOBAL[Family.IPV6]) <= 0.05:
            refusal = six.worst(GLOBAL[Family.IPV6])
            yield Seen(
                f"{entrance.name} port {entrance.port}, IPv6",
                (f"{shown}open by IPv4, shut by IPv6", *_told(refusal)),
                let_pass(scene, refusal, Direction.IN, Family.IPV6, entrance.port, entrance.peers),
            )


def _open_by_one_family(view: View) -> Iterator[Seen]:
    """Everything open by IPv6 on a machine that filters IPv4: the second family was forgotten, or the other way."""
    scene = view.scene
    probe = 60_999
    shares = {
        family: view.all(Ask(Hook.IN, family, Protocol.TCP, probe)).share(GLOBAL[family])
        for family in Family
        if _has(scene, family)
    }
    if len(shares) < 2:
        return
    for family, other in ((Family.IPV6, Family.IPV4), (Family.IPV4, Family.IPV6)):
        fate = view.all(Ask(Hook.IN, other, Protocol.TCP, probe))
        if shares[family] >= 0.9 and shares[other] <= 0.05 and not fate.unknown:
            exposed = [f"{one.port} ({one.program or 'unknown'})" for one in _exposed(scene, family)]
            ports = f"; listening: {', '.join(exposed[:6])}" if exposed else ""
            yield Seen(
                f"IPv{family.value}",
                (f"IPv{other.value} is filtered, and by IPv{family.value} every port is open{ports}",),
                "postreeve firewall apply   # rules for both families",
            )


def _exposed(scene: Scene, family: Family) -> Iterator[Bound]:
    for one in scene.bound or ():
        address = ipaddress.ip_address(one.address)
        if address.version == family.value and not address.is_loopback:
            yield one


def _has(scene: Scene, family: Family) -> bool:
    if family in scene.blind:
        return False
    if scene.exposure is None:
        return True
    return scene.exposure.has_ipv4 if family is Family.IPV4 else scene.exposure.has_ipv6


def dropped_elsewhere(view: View) -> Iterator[Seen]:
    """FW021."""
    scene = view.scene
    if not scene.clouds or not scene.host.layers:
        return
    for entrance in entrances(scene):
        for family in families_of(view.scene, entrance):
            ask = ask_for(entrance, family)
            whole = wanted(entrance.peers, family)
            shares = {f"cloud: {one.provider.value} {one.name}": view.cloud(ask, one) for one in scene.clouds}
            shares["the host"] = view.host(ask)
            if any(fate.unknown for fate in shares.values()):
                continue
            open_in = [name for name, fate in shares.items() if fate.share(whole) > 0.05]
            shut_in = [name for name, fate in shares.items() if fate.share(whole) <= 0.05]
            if open_in and shut_in:
                refusal = shares[shut_in[0]].worst(whole)
                yield Seen(
                    _place(entrance, family),
                    (f"open in {', '.join(open_in)}; dropped by {', '.join(shut_in)}", *_told(refusal)),
                    let_pass(scene, refusal, Direction.IN, family, entrance.port, entrance.peers),
                )


CHECKS: Final = (
    Check(
        "FW001",
        Level.ERROR,
        "A port that is needed is closed",
        "Configured listeners and other declared ports against the rules of every layer, for IPv4 and IPv6 apart.",
        closed,
    ),
    Check(
        "FW002",
        Level.ERROR,
        "Everybody can reach a port that nobody declared",
        "Listening sockets beyond loopback that the configuration does not name, against the rules.",
        undeclared,
    ),
    Check(
        "FW003",
        Level.WARNING,
        "A rule opens a port where nobody listens",
        "Rules that accept TCP connections against the listening sockets.",
        stale,
    ),
    Check(
        "FW004",
        Level.ERROR,
        "Submission is open to everybody, and meant for some",
        "Ports 465 and 587 against firewall.submission_from.",
        submission_for_everybody,
    ),
    Check(
        "FW005",
        Level.ERROR,
        "Mail of a part of the Internet is refused by the rules",
        "Port 25 of an MX host: which share of all addresses may connect, and what the MX record says.",
        mail_limited,
    ),
    Check(
        "FW006",
        Level.WARNING,
        "IPv4 and IPv6 fare differently",
        "AAAA records, listeners and rules of the two families against each other.",
        families_differ,
    ),
    Check(
        "FW021",
        Level.ERROR,
        "Cloud and host disagree",
        "Every declared port in every layer around the host and in the host's own rules: which one drops.",
        dropped_elsewhere,
    ),
)
