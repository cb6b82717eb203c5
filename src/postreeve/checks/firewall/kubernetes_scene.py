"""Policies, services and pods of a Kubernetes namespace, as far as mail is concerned with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pod:
    """One that listens on a mail port."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """`selector` without labels means every pod of the namespace."""

    namespace: str
    name: str
    selector: Mapping[str, str] = field(default_factory=dict)
    has_expressions: bool = False
    """It selects by more than labels: who is meant cannot be told here."""
    is_ingress: bool = True
    is_egress: bool = False
    egress_ports: tuple[tuple[str, int], ...] = ()
    """Protocol and port of what may leave; () together with `is_egress` means that nothing may."""
    egress_is_open: bool = False
    """A rule for every port."""
    has_ip_blocks: bool = False

    def selects(self, pod: Pod) -> bool:
        """As far as labels decide."""
        return self.namespace == pod.namespace and self.selector.items() <= pod.labels.items()


@dataclass(frozen=True, slots=True)
class Service:
    """`policy` is externalTrafficPolicy."""

    namespace: str
    name: str
    kind: str
    policy: str = "Cluster"
    ports: tuple[int, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What `kubectl get networkpolicy,service,pod -o json` tells."""

    pods: tuple[Pod, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    services: tuple[Service, ...] = ()
