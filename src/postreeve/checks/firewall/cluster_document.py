"""What `kubectl get networkpolicy,service,pod -o json` prints, as far as mail is concerned with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from postreeve.checks.firewall.kubernetes_scene import Cluster, NetworkPolicy, Pod, Service
from postreeve.firewall.intent import MAIL_PORTS
from postreeve.firewall.read.document import Node, load

_KINDS: Final = ("NetworkPolicy", "Service", "Pod")


def read_cluster(text: str) -> Cluster | None:
    """None when it is nothing of Kubernetes. Raises NotUnderstood for what is damaged."""
    node = load(text, "JSON")
    if not isinstance(node.value, dict) or "apiVersion" not in node.value or "kind" not in node.value:
        return None
    items = list(node.items("items")) if node.has("items") else [node]
    by_kind: dict[str, list[Node]] = {}
    for one in items:
        by_kind.setdefault(one.get("kind").text(), []).append(one)
    if not by_kind.keys() & set(_KINDS):
        return None
    return Cluster(
        tuple(pod for one in by_kind.get("Pod", ()) for pod in _pods(one)),
        tuple(_policy(one) for one in by_kind.get("NetworkPolicy", ())),
        tuple(service for one in by_kind.get("Service", ()) for service in _services(one)),
    )


def _names(node: Node) -> tuple[str, str]:
    meta = node.get("metadata")
    return meta.find("namespace", "default").text(), meta.get("name").text()


def _labels(node: Node) -> Mapping[str, str]:
    return {key: str(value) for key, value in node.members().items()}


def _pods(node: Node) -> Iterator[Pod]:
    """Those that listen on a mail port."""
    spec = node.get("spec")
    ports = {
        port.get("containerPort").number(1, 65_535) for one in spec.items("containers") for port in one.items("ports")
    }
    if ports & set(MAIL_PORTS):
        namespace, name = _names(node)
        yield Pod(namespace, name, _labels(node.get("metadata").find("labels", {})))


def _services(node: Node) -> Iterator[Service]:
    spec = node.get("spec")
    ports = tuple(one.get("port").number(1, 65_535) for one in spec.items("ports"))
    if set(ports) & set(MAIL_PORTS):
        namespace, name = _names(node)
        yield Service(
            namespace,
            name,
            spec.find("type", "ClusterIP").text(),
            spec.find("externalTrafficPolicy", "Cluster").text(),
            ports,
            _labels(spec.find("selector", {})),
        )


def _policy(node: Node) -> NetworkPolicy:
    namespace, name = _names(node)
    spec = node.get("spec")
    selector = spec.find("podSelector", {})
    kinds = {one.text() for one in spec.items("policyTypes")} or {"Ingress", *(["Egress"] * spec.has("egress"))}
    ports: list[tuple[str, int]] = []
    is_open = False
    for rule in spec.items("egress"):
        found = list(rule.items("ports"))
        is_open = is_open or not found
        for one in found:
            number = one.find("port", 0)
            if isinstance(number.value, int):
                ports.append((one.find("protocol", "TCP").text(), number.number(0, 65_535)))
    return NetworkPolicy(
        namespace,
        name,
        _labels(selector.find("matchLabels", {})),
        bool(list(selector.items("matchExpressions"))),
        "Ingress" in kinds,
        "Egress" in kinds,
        tuple(ports),
        is_open,
        any(
            peer.has("ipBlock")
            for way, side in (("ingress", "from"), ("egress", "to"))
            for rule in spec.items(way)
            for peer in rule.items(side)
        ),
    )
