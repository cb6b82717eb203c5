"""Layers around the host: what is wider than it looks, what fills up, and what scanners will say of an MX host."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.command import let_pass
from postreeve.checks.firewall.entrance import entrances
from postreeve.checks.firewall.reach import Ask, View
from postreeve.checks.firewall.scene import Cloud, Provider
from postreeve.checks.firewall.world import is_open, is_world
from postreeve.firewall.exposure import Purpose, Reach
from postreeve.firewall.flow import Direction, Family, Flow, Protocol, State, Verdict
from postreeve.firewall.render.justify import MEANT
from postreeve.firewall.ruleset import Hook

_WIDE: Final = 100
"""Ports in one rule: more is nobody's intention for a mail host."""
_QUOTAS: Final = {Provider.AWS_GROUP: 60, Provider.AWS_ACL: 20, Provider.HETZNER: 50, Provider.DIGITALOCEAN: 50}
_LAST_PRIORITY: Final = {Provider.AZURE: 4_096}
_SCANNERS: Final = {
    Provider.AWS_GROUP: "Prowler ec2_securitygroup_allow_ingress_from_internet_to_high_risk_tcp_ports "
    "(its fixer revokes the rule), Trivy AWS-0107, rules about unrestricted SMTP access",
    Provider.AZURE: "Trivy's sensitive ports exposed to the network",
}


def _label(cloud: Cloud) -> str:
    return f"{cloud.provider.value} {cloud.name}"


def _is_for_world(flow: Flow) -> bool:
    return (
        flow.verdict is Verdict.ACCEPT
        and not flow.unknown
        and flow.interface != "lo"
        and flow.state is not State.ESTABLISHED
        and any(one.prefixlen == 0 for one in flow.peers)
    )


def wide(view: View) -> Iterator[Seen]:
    """FW022."""
    scene = view.scene
    for cloud in scene.clouds:
        for flow in cloud.policy.flows:
            ports = sum(one.last - one.first + 1 for one in flow.ports)
            if flow.direction is not Direction.IN or not _is_for_world(flow) or cloud.is_stateless:
                continue
            if flow.protocol is Protocol.ANY or (flow.protocol is not Protocol.ICMP and not ports):
                said = "every port is open to everybody"
            elif flow.protocol is Protocol.TCP and any(
                one.last - one.first >= _WIDE and (25 in one or 465 in one or 587 in one) for one in flow.ports
            ):
                said = "a range opens mail ports along with others"
            else:
                continue
            yield Seen(
                f"{_label(cloud)}, IPv{flow.family.value}",
                (f"rule: {flow.quote or flow.ident}", said),
                _revoke(cloud, flow),
            )
        yield from _egress(view, cloud)
        yield from _forgotten(view, cloud)
        if cloud.is_default_group:
            said = "the default group is in use: whatever else is started without a group shares its rules"
            fix = "aws ec2 create-security-group --group-name mail --description mail   # and use that"
            yield Seen(_label(cloud), (said,), fix)
        if cloud.untargeted:
            said = "without target tags these rules open ports of every machine in the network"
            yield Seen(
                _label(cloud),
                (said, *some(list(cloud.untargeted))),
                "gcloud compute firewall-rules update NAME --target-tags mail",
            )
        if cloud.disabled:
            said = "rules that are disabled have no effect"
            yield Seen(
                f"{_label(cloud)}, disabled",
                (said, *some(list(cloud.disabled))),
                "gcloud compute firewall-rules delete NAME",
            )


def _revoke(cloud: Cloud, flow: Flow) -> str:
    if cloud.provider is Provider.AWS_GROUP and flow.quote.startswith("{") and flow.quote.endswith("}"):
        group, rule = shlex.quote(cloud.name), shlex.quote(f"[{flow.quote}]")
        return f"aws ec2 revoke-security-group-ingress --group-name {group} --ip-permissions {rule}"
    return f"postreeve firewall render --target {_TARGETS.get(cloud.provider, 'nftables')}   # what is needed"


_TARGETS: Final = {
    Provider.AWS_GROUP: "aws",
    Provider.AWS_ACL: "aws-acl",
    Provider.GCP: "gcp",
    Provider.AZURE: "azure",
    Provider.DIGITALOCEAN: "digitalocean",
    Provider.HETZNER: "hetzner",
}


def _egress(view: View, cloud: Cloud) -> Iterator[Seen]:
    """Everything may leave, where the configuration wants only what it names to leave."""
    exposure = view.scene.exposure
    if exposure is None or exposure.reach is not Reach.STRICT or cloud.is_stateless:
        return
    every = [
        flow
        for flow in cloud.policy.flows
        if flow.direction is Direction.OUT and flow.protocol is Protocol.ANY and _is_for_world(flow)
    ]
    if every or cloud.policy.default_out is Verdict.ACCEPT:
        quotes = [f"rule: {one.quote or one.ident}" for one in every] or ["its default"]
        fix = (
            f"aws ec2 revoke-security-group-egress --group-name {cloud.name} --ip-permissions "
            '\'[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]\''
            if cloud.provider is Provider.AWS_GROUP
            else f"postreeve firewall render --target {_TARGETS.get(cloud.provider, 'nftables')}"
        )
        yield Seen(f"{_label(cloud)}, out", ("everything may leave", *some(quotes, 2)), fix)


def _forgotten(view: View, cloud: Cloud) -> Iterator[Seen]:
    """Open by IPv4, and nothing said about IPv6, where the host has it."""
    exposure = view.scene.exposure
    if exposure is None or not exposure.has_ipv6 or not exposure.has_ipv4:
        return
    for entrance in entrances(view.scene):
        if not entrance.is_bound_ipv6 or not all(is_world(entrance.peers, family) for family in Family):
            continue
        fates = {family: view.cloud(Ask(Hook.IN, family, Protocol.TCP, entrance.port), cloud) for family in Family}
        if (
            is_open(fates[Family.IPV4], Family.IPV4)
            and not fates[Family.IPV6].accepted
            and not fates[Family.IPV6].unknown
        ):
            refusal = fates[Family.IPV6].worst(fates[Family.IPV6].refused)
            yield Seen(
                f"{_label(cloud)}, port {entrance.port}",
                ("open by IPv4, and no rule lets IPv6 in", *([refusal.words] if refusal else [])),
                let_pass(view.scene, refusal, Direction.IN, Family.IPV6, entrance.port),
            )


def quotas(view: View) -> Iterator[Seen]:
    """FW023."""
    for cloud in view.scene.clouds:
        most = _QUOTAS.get(cloud.provider)
        for direction, count in (("in", cloud.rules_in), ("out", cloud.rules_out)):
            if most is not None and count > most:
                yield Seen(
                    f"{_label(cloud)}, {direction}",
                    (f"{count} rules, where {most} are taken unless the quota was raised; prefix lists count in full",),
                    "merge networks and ports, or move lists of addresses to the host's own sets",
                )
        last = _LAST_PRIORITY.get(cloud.provider)
        if last is not None and last in cloud.priorities:
            yield Seen(
                _label(cloud),
                (f"the last priority ({last}) is taken: no rule can come behind it",),
                "az network nsg rule update --priority N   # numbers from 100 on, ten apart",
            )


def scanners(view: View) -> Iterator[Seen]:
    """FW027."""
    meant = [
        one
        for one in entrances(view.scene)
        if one.purpose is Purpose.RELAY and one.port in MEANT and any(is_world(one.peers, family) for family in Family)
    ]
    for cloud in view.scene.clouds:
        for entrance in meant:
            opened = [
                family
                for family in Family
                if is_open(view.cloud(Ask(Hook.IN, family, Protocol.TCP, entrance.port), cloud), family)
            ]
            if opened and cloud.provider in _SCANNERS:
                yield Seen(
                    f"{_label(cloud)}, port {entrance.port}",
                    (
                        f"expect findings of {_SCANNERS[cloud.provider]}",
                        f"it is meant: {entrance.because}; without it {entrance.without}",
                    ),
                    f"postreeve firewall render --target {_TARGETS[cloud.provider]}   # says why it is open",
                )


CHECKS: Final = (
    Check(
        "FW022",
        Level.WARNING,
        "A cloud's rules are wider or narrower than meant",
        "All protocols, ranges that hold mail ports, egress for everything, the default group, rules without target, "
        "disabled rules, IPv6 forgotten.",
        wide,
    ),
    Check(
        "FW023",
        Level.WARNING,
        "A cloud's quota is used up",
        "Rules per direction and priorities against what the provider takes.",
        quotas,
    ),
    Check(
        "FW027",
        Level.NOTE,
        "Scanners will call the open port 25 a finding",
        "Port 25 of an MX host in groups that scanners read.",
        scanners,
    ),
)
