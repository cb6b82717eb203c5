"""Network policies and services of Kubernetes around a mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check
from postreeve.checks.firewall.kubernetes_scene import Cluster, NetworkPolicy
from postreeve.checks.firewall.reach import View

_DNS: Final = (("UDP", 53), ("TCP", 53))


def look(view: View) -> Iterator[Seen]:
    """FW029."""
    cluster = view.scene.cluster
    if cluster is None:
        return
    yield from _unselected(cluster)
    for policy in cluster.policies:
        yield from _about(policy)
    yield from _hidden_sources(cluster)


def _unselected(cluster: Cluster) -> Iterator[Seen]:
    for pod in cluster.pods:
        mine = [one for one in cluster.policies if one.namespace == pod.namespace]
        if not any(one.selects(pod) or one.has_expressions for one in mine):
            yield Seen(
                f"pod {pod.namespace}/{pod.name}",
                ("no network policy selects it: whatever it listens on is open to every pod",),
                "postreeve firewall render --target kubernetes",
            )


def _about(policy: NetworkPolicy) -> Iterator[Seen]:
    name = f"networkpolicy {policy.namespace}/{policy.name}"
    is_for_all = not policy.selector and not policy.has_expressions
    has_rules = bool(policy.egress_ports) or policy.egress_is_open or policy.has_ip_blocks
    if is_for_all and has_rules:
        yield Seen(
            name,
            ("podSelector is empty: it is about every pod of the namespace, not about the mail server's",),
            f"kubectl -n {policy.namespace} patch networkpolicy {policy.name} --type merge -p "
            '\'{"spec": {"podSelector": {"matchLabels": {"app": "postreeve"}}}}\'',
        )
    if policy.is_egress and not policy.egress_is_open and not is_for_all:
        lost = [f"{protocol} {port}" for protocol, port in _DNS if (protocol, port) not in policy.egress_ports]
        if lost:
            yield Seen(
                name,
                (f"what leaves is restricted, and {' and '.join(lost)} is not among it: no name can be looked up",),
                f"kubectl -n {policy.namespace} patch networkpolicy {policy.name} --type json -p "
                '\'[{"op": "add", "path": "/spec/egress/-", "value": {"ports": [{"protocol": "UDP", "port": 53}, '
                '{"protocol": "TCP", "port": 53}]}}]\'',
            )


def _hidden_sources(cluster: Cluster) -> Iterator[Seen]:
    """Rules about addresses, and a service behind which everybody has the node's address."""
    blocks = {one.namespace for one in cluster.policies if one.has_ip_blocks}
    for service in cluster.services:
        is_outside = service.kind in ("LoadBalancer", "NodePort")
        if is_outside and service.policy != "Local" and service.namespace in blocks:
            yield Seen(
                f"service {service.namespace}/{service.name}",
                (
                    f"externalTrafficPolicy is {service.policy}: connections come from a node's address",
                    "rules with ipBlock and bans meet the node",
                ),
                f"kubectl -n {service.namespace} patch service {service.name} -p "
                '\'{"spec": {"externalTrafficPolicy": "Local"}}\'',
            )


CHECKS: Final = (
    Check(
        "FW029",
        Level.WARNING,
        "Network policies of Kubernetes miss their aim",
        "Pods that no policy selects, policies for every pod, egress without DNS, services that hide who connects.",
        look,
    ),
)
