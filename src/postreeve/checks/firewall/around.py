"""The machine around the rules: containers, managers, what the next start loads, the table of connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.entrance import entrances
from postreeve.checks.firewall.reach import Ask, View
from postreeve.checks.firewall.scene import Manager, Scene
from postreeve.checks.firewall.world import is_half_open, is_world
from postreeve.firewall.compare import compare
from postreeve.firewall.flow import Container, Family, Protocol
from postreeve.firewall.intent import MAIL_PORTS
from postreeve.firewall.ruleset import Hook, Layer, Ruleset

_MAIL: Final = frozenset((*MAIL_PORTS, 110, 143, 993, 995))
_PROXIES: Final = ("docker-proxy", "rootlessport", "slirp4netns", "conmon")
_FULL: Final = 0.8
_PATIENCE_SECONDS: Final = 600
"""RFC 5321, section 4.5.3.2: how long a client may wait for a reply; the longest of its minutes."""
_MOST_COMPARED: Final = 1_500
_UNITS: Final = {
    Manager.UFW: "ufw",
    Manager.FIREWALLD: "firewalld",
    Manager.NFTABLES: "nftables",
    Manager.IPTABLES: "netfilter-persistent",
}


def past_the_rules(view: View) -> Iterator[Seen]:
    """FW014."""
    scene = view.scene
    wide = {
        one.port
        for one in entrances(scene)
        if one.container is not None and any(is_world(one.peers, family) for family in Family)
    }
    for container in dict.fromkeys(scene.host.published):
        for family in _families(container):
            fate = view.all(Ask(Hook.FORWARD, family, Protocol.TCP, container.published))
            inward = view.all(Ask(Hook.IN, family, Protocol.TCP, container.published))
            if container.published in wide or not is_half_open(fate, family):
                continue
            if is_half_open(inward, family) and (scene.exposure is None or container.published not in _MAIL):
                continue
            target = container.address or "another address"
            shut = "" if is_half_open(inward, family) else ", though the rules for what comes in refuse the port"
            yield Seen(
                f"port {container.published}, IPv{family.value}",
                (
                    f"everybody can connect{shut}",
                    f"sent on to {target} port {container.port} before the rules for what comes in are asked",
                    *some(
                        [f"let through by {one.quote or one.ident}" for one in fate.accepting if not one.peer_set], 2
                    ),
                ),
                _guard(scene, container, family),
            )
    yield from _by_proxy(view)


def _families(container: Container) -> tuple[Family, ...]:
    if not container.address:
        return tuple(Family)
    return (Family.IPV6,) if ":" in container.address else (Family.IPV4,)


def _guard(scene: Scene, container: Container, family: Family) -> str:
    tool = "iptables" if family is Family.IPV4 else "ip6tables"
    peers = next((one.peers for one in entrances(scene) if one.port == container.published), ())
    source = next((str(one) for one in peers if one.version == family.value), "192.0.2.0/24")
    hint = "" if peers else "   # with your network; or publish it on 127.0.0.1 only"
    chain = next((one.name for one in scene.host.of(Hook.FORWARD) if not one.name.startswith("iptables")), "")
    if chain:
        family_word = "ip" if family is Family.IPV4 else "ip6"
        match = f"ct state new ct original proto-dst {container.published} {family_word} saddr != {source} drop"
        return f"nft insert rule {chain} {match}{hint}"
    match = f"-p tcp -m conntrack --ctstate NEW --ctorigdstport {container.published} ! -s {source}"
    return f"{tool} -I DOCKER-USER {match} -j DROP{hint}"


def _by_proxy(view: View) -> Iterator[Seen]:
    """A container engine's own listener answers where no DNAT does."""
    scene = view.scene
    if scene.exposure is None:
        return
    ours = {one.port for one in entrances(scene) if one.container is None}
    for bound in scene.bound or ():
        if bound.program in _PROXIES and bound.port in ours:
            yield Seen(
                f"port {bound.port}",
                (
                    f"{bound.program} (pid {bound.pid}) holds the port at {bound.address}",
                    "the configuration has it for the server itself, and knows of no container there",
                ),
                f"docker ps --filter publish={bound.port}   # stop it, or declare it: [[firewall.container]]",
            )


def two_managers(view: View) -> Iterator[Seen]:
    """FW015."""
    scene = view.scene
    if len(scene.managers) > 1:
        chosen = scene.manager if scene.manager in scene.managers else scene.managers[0]
        others = [one for one in scene.managers if one is not chosen]
        yield Seen(
            " and ".join(one.value for one in scene.managers),
            ("each loads rules of its own, and the last that does so wins",),
            " && ".join(f"systemctl disable --now {_UNITS[one]}" for one in others if one in _UNITS),
        )
    if {"legacy", "nft"} <= set(scene.variants):
        yield Seen(
            "iptables-legacy and iptables-nft",
            ("both have rules: packets must pass both, and each tool shows only its own",),
            "iptables-legacy-save   # move what is needed, then: iptables-legacy -F && iptables-legacy -P INPUT ACCEPT",
        )


def not_persistent(view: View) -> Iterator[Seen]:
    """FW016."""
    scene = view.scene
    kept = scene.persistence
    if kept is None:
        return
    has_rules = any(layer.policy.flows for layer in scene.host.layers)
    if kept.is_enabled is False and has_rules:
        unit = kept.unit or _UNITS.get(scene.manager, "nftables")
        yield Seen(kept.source, ("nothing loads the rules when the machine starts",), f"systemctl enable {unit}")
    if kept.ruleset is None:
        return
    if not kept.ruleset.layers and has_rules:
        yield Seen(kept.source, ("it has no rules, and there are some in force",), _save(scene))
        return
    lines = list(_drift(kept.ruleset, _of_file(scene.host, kept.ruleset)))
    if lines:
        yield Seen(kept.source, ("the rules in force differ from it", *some(lines)), _save(scene))


def _of_file(live: Ruleset, kept: Ruleset) -> Ruleset:
    """The layers that the file is about; other programs load their own."""
    names = {layer.name for layer in kept.layers}
    chosen = tuple(layer for layer in live.layers if layer.name in names)
    return Ruleset(chosen, live.sets, live.published)


def _drift(kept: Ruleset, live: Ruleset) -> Iterator[str]:
    there = {(layer.name, layer.hook) for layer in live.layers}
    for layer in kept.layers:
        if (layer.name, layer.hook) not in there:
            yield f"not loaded: {layer.name}"
    if _flows(kept) == _flows(live):
        return
    if sum(len(layer.policy.flows) for one in (kept, live) for layer in one.layers) > _MOST_COMPARED:
        yield "too many rules to say what they decide otherwise: the rules themselves differ"
        return
    for change in compare(kept, live):
        corner = change.corner
        ports = ", ".join(map(str, change.ranges[:4]))
        rule = change.rule_after or change.rule_before
        quote = f" ({rule.quote or rule.ident})" if rule else ""
        was = change.before.value if change.before else "unknown"
        now = change.after.value if change.after else "unknown"
        way = f"{corner.hook.value}, IPv{corner.family.value}"
        yield f"{way}: {corner.protocol.value} {ports}: in the file {was}, in force {now}{quote}"


def _flows(ruleset: Ruleset) -> list[object]:
    """Without their names, which come from where a rule stands."""
    return [
        (_shape(layer), replace(flow, ident="", because="", without=""))
        for layer in ruleset.layers
        for flow in layer.policy.flows
    ]


def _shape(layer: Layer) -> tuple[object, ...]:
    return (layer.name, layer.hook, layer.policy.default_in, layer.policy.default_out)


def _save(scene: Scene) -> str:
    if scene.persistence is not None and scene.persistence.unit:
        return "postreeve firewall apply"
    match scene.manager:
        case Manager.UFW:
            return "ufw reload"
        case Manager.FIREWALLD:
            return "firewall-cmd --runtime-to-permanent   # or, for the file: firewall-cmd --reload"
        case Manager.IPTABLES:
            return "netfilter-persistent save   # or, for the file: netfilter-persistent reload"
    return "systemctl reload nftables   # or take what is in force into the file, by hand"


def full(view: View) -> Iterator[Seen]:
    """FW020."""
    table = view.scene.conntrack
    if table is not None and table.most and table.count / table.most > _FULL:
        yield Seen(
            "nf_conntrack",
            (
                f"{table.count:,} of {table.most:,} connections are in the table ({table.count / table.most:.0%})",
                "when it is full, packets of new connections are dropped",
            ),
            f"sysctl -w net.netfilter.nf_conntrack_max={table.most * 2}",
        )
    if table is not None and table.established_seconds is not None and table.established_seconds < _PATIENCE_SECONDS:
        yield Seen(
            "nf_conntrack_tcp_timeout_established",
            (f"a quiet connection is forgotten after {table.established_seconds} s", _WAIT),
            "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400",
        )
    for cloud in view.scene.clouds:
        if cloud.idle_seconds is not None and cloud.idle_seconds < _PATIENCE_SECONDS:
            yield Seen(
                f"{cloud.provider.value} {cloud.name}",
                (f"a quiet connection is forgotten after {cloud.idle_seconds} s", _WAIT),
                "aws ec2 modify-network-interface-attribute --network-interface-id ENI "
                "--connection-tracking-specification TcpEstablishedTimeout=3600",
            )


_WAIT: Final = "a server may take ten minutes over the end of a message (RFC 5321, section 4.5.3.2.6)"

CHECKS: Final = (
    Check(
        "FW014",
        Level.ERROR,
        "A published port goes past the rules",
        "Ports that are sent on to containers (DNAT) or held by a container engine's proxy, against the declared ones.",
        past_the_rules,
    ),
    Check(
        "FW015",
        Level.WARNING,
        "Two look after the same firewall",
        "Active managers; rules in both variants of iptables.",
        two_managers,
    ),
    Check(
        "FW016",
        Level.WARNING,
        "The next start loads other rules",
        "Whether anything loads rules at the start, and the rules in force against the file they come from.",
        not_persistent,
    ),
    Check(
        "FW020",
        Level.WARNING,
        "Connections may be forgotten",
        "The kernel's table of connections and its time-outs, those of clouds where known.",
        full,
    ),
)
