"""Ways out against rules: ours must be free, those of programs that were broken into must not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.command import APPLY, keep_out, let_pass
from postreeve.checks.firewall.groundwork import families
from postreeve.checks.firewall.reach import ANYBODY, Ask, Refusal, View
from postreeve.checks.firewall.world import GLOBAL, MOST, is_half_open
from postreeve.firewall.flow import Direction, Family, Network, Protocol, Verdict
from postreeve.firewall.interval import intersect, of_networks
from postreeve.firewall.ruleset import Hook

_ERRANDS: Final = (
    (Protocol.UDP, 53, "DNS", "no destination can be found"),
    (Protocol.TCP, 53, "DNS by TCP", "long answers are lost: DNSSEC, DKIM keys, MX hosts with many addresses"),
    (Protocol.TCP, 443, "HTTPS", "no certificate is renewed (ACME), no MTA-STS policy is read"),
    (Protocol.UDP, 123, "NTP", "the clock drifts, and certificates and signatures seem wrong"),
)


def _ask(family: Family, port: int, user: str, protocol: Protocol = Protocol.TCP) -> Ask:
    return Ask(Hook.OUT, family, protocol, port, user=user)


def spam_exit(view: View) -> Iterator[Seen]:
    """FW010."""
    exposure = view.scene.exposure
    if exposure is None or not view.scene.host.layers:
        return
    senders = []
    if exposure.user or not exposure.is_direct:
        senders.append((ANYBODY, "any program"))
    if exposure.user and not exposure.is_direct:
        senders.append((exposure.user, f"the server itself ({exposure.user})"))
    for user, who in senders:
        for family in families(view.scene):
            fate = view.all(_ask(family, 25, user))
            if not is_half_open(fate, family):
                continue
            meant = (
                f"the configuration lets only {exposure.user} send by port 25"
                if exposure.is_direct
                else "the configuration sends by smarthosts only"
            )
            lets = [f"let out by {flow.quote or flow.ident}" for flow in fate.accepting if not flow.peer_set]
            yield Seen(
                f"{who}, port 25, IPv{family.value}",
                (f"{meant}, and {who} may send mail to everybody", *some(lets or ["no rule refuses it"], 2)),
                # Without a rule that lets out just this, one must be put in that tells accounts apart.
                keep_out(view.scene, fate.accepting, Direction.OUT, family, 25) if user != ANYBODY else APPLY,
            )


def no_way_out(view: View) -> Iterator[Seen]:
    """FW011."""
    exposure = view.scene.exposure
    if exposure is None:
        return
    sender = exposure.user or ANYBODY
    for family in families(view.scene):
        if exposure.is_direct:
            fate = view.all(_ask(family, 25, sender))
            if not fate.unknown and fate.share(GLOBAL[family]) < MOST:
                yield _blocked(view, fate.worst(GLOBAL[family]), "MX hosts", family, 25, ())
        for host in exposure.smarthosts:
            addresses = [one for one in host.addresses if one.version == family.value]
            places = of_networks(addresses)
            fate = view.all(_ask(family, host.port, sender))
            if intersect(fate.refused, places):
                yield _blocked(view, fate.worst(places), host.resolved_from or host.name, family, host.port, addresses)


def _blocked(
    view: View, refusal: Refusal | None, whom: str, family: Family, port: int, addresses: Iterable[Network]
) -> Seen:
    because = [f"mail to {whom} cannot leave by IPv{family.value}"]
    if refusal is not None:
        because.append(refusal.words)
        where = "in the cloud's rules" if refusal.cloud is not None else "on this machine"
        shows = "a time-out" if refusal.verdict is Verdict.DROP else "`connection refused` or `unreachable` at once"
        because.append(f"it is {where}; senders see {shows}")
    because.append("a provider's own block, which no rule here shows, is found by: postreeve doctor")
    fix = let_pass(view.scene, refusal, Direction.OUT, family, port, addresses)
    return Seen(f"{whom} port {port}, IPv{family.value}", tuple(because), fix)


def errands(view: View) -> Iterator[Seen]:
    """FW012."""
    scene = view.scene
    exposure = scene.exposure
    if exposure is None:
        return
    for family in families(scene):
        for protocol, port, name, loss in _ERRANDS:
            servers = [one for one in exposure.resolvers if one.version == family.value] if port == 53 else []
            if port == 53 and exposure.resolvers and not servers:
                continue
            places = of_networks(servers) if servers else GLOBAL[family]
            fate = view.all(_ask(family, port, exposure.user or ANYBODY, protocol))
            if fate.share(places) >= MOST or intersect(fate.unknown, places):
                continue
            refusal = fate.worst(places)
            yield Seen(
                f"{name} ({protocol.value} {port}), IPv{family.value}",
                (f"it may not leave: {loss}", *([refusal.words] if refusal else [])),
                let_pass(scene, refusal, Direction.OUT, family, port, servers, protocol.value),
            )
        yield from _challenge(view, family)


def _challenge(view: View, family: Family) -> Iterator[Seen]:
    """ACME's http-01 comes to port 80 (RFC 8555, section 8.3)."""
    listens = any(
        one.port == 80 and not one.address.startswith("127.") and one.address != "::1" for one in view.scene.bound or ()
    )
    fate = view.all(Ask(Hook.IN, family, Protocol.TCP, 80))
    if listens and not fate.unknown and fate.share(GLOBAL[family]) < MOST:
        refusal = fate.worst(GLOBAL[family])
        yield Seen(
            f"HTTP (tcp 80), IPv{family.value}",
            (
                "a program listens there and cannot be reached: a certificate by http-01 is not renewed",
                *([refusal.words] if refusal else []),
            ),
            let_pass(view.scene, refusal, Direction.IN, family, 80),
        )


def moved(view: View) -> Iterator[Seen]:
    """FW025."""
    exposure = view.scene.exposure
    if exposure is None:
        return
    sender = exposure.user or ANYBODY
    for host in view.scene.smarthosts_now:
        for family in families(view.scene):
            addresses = [one for one in host.addresses if one.version == family.value]
            fate = view.host(_ask(family, host.port, sender))
            named = [flow for flow in fate.accepting if flow.ports and flow.state.value != "established"]
            lost = [one for one in addresses if intersect(fate.refused, of_networks([one]))]
            known = [one for flow in named for one in flow.peers if one.prefixlen > 8]
            if lost and known:
                yield Seen(
                    f"{host.resolved_from or host.name} port {host.port}, IPv{family.value}",
                    (
                        f"its addresses now: {', '.join(map(str, addresses))}",
                        f"no rule lets mail leave for {', '.join(map(str, lost))}",
                        *some([f"rule: {flow.quote or flow.ident}" for flow in named], 2),
                    ),
                    APPLY,
                )


CHECKS: Final = (
    Check(
        "FW010",
        Level.ERROR,
        "A way out for spam",
        "Port 25 to the world for accounts that do not send mail here, or for all where smarthosts are configured.",
        spam_exit,
    ),
    Check(
        "FW011",
        Level.ERROR,
        "Mail cannot leave by the rules",
        "Port 25 where mail goes to MX hosts, the smarthosts' addresses and ports, for the account that sends.",
        no_way_out,
    ),
    Check(
        "FW012",
        Level.WARNING,
        "What a mail server asks others for is refused",
        "DNS by UDP and TCP, HTTPS, NTP; port 80 where a program listens for it.",
        errands,
    ),
    Check(
        "FW025",
        Level.WARNING,
        "A smarthost has moved",
        "The addresses of its name now against the rules.",
        moved,
    ),
)
