"""Kubernetes: a NetworkPolicy or a CiliumNetworkPolicy for the pods of the mail server, for `kubectl apply`.

Both only allow; what no rule is about is dropped, and so is everything that leaves once a policy speaks of it.
Implied and in no rule: loopback and packets of connections under way. Rules have no room for a name: a flow is known
by its protocol and port, which is that of the pod. A NetworkPolicy has no ICMP, and whether it passes is up to the
network plugin; Cilium has. DNS is asked of the cluster, whose pods some plugins do not count among any network: a
rule of its own lets them be asked, wherever the policy lets names be looked up. The sender's address is that of a
node unless the Service keeps it (externalTrafficPolicy: Local).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from postreeve.firewall.flow import (
    CannotExpress,
    Direction,
    Family,
    Flow,
    Policy,
    PolicyError,
    Ports,
    Protocol,
    Verdict,
)
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import dump, match

MEANS: Final = Means("kubernetes", Order.ALLOWS, (Icmp.NONE, Icmp.NONE), has_names=False, is_open_when_silent=True)
CILIUM: Final = Means("cilium", Order.ALLOWS, has_names=False, is_open_when_silent=True)
DNS_SPACE: Final = {"kubernetes.io/metadata.name": "kube-system"}
DNS_PODS: Final = {"k8s-app": "kube-dns"}
DNS_PORT: Final = 53
CILIUM_DNS: Final = {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns"}
REASONS: Final = "postreeve/reasons"

_NAME: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_SPACE: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_KEY: Final = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_VALUE: Final = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]")


def render(policy: Policy, selector: Mapping[str, str], namespace: str = "default") -> str:
    """A NetworkPolicy for the pods with these labels. Raises PolicyError and CannotExpress."""
    reduced, flows = require(policy, MEANS)
    spec: dict[str, object] = {"podSelector": {"matchLabels": dict(selector)}}
    has_out = reduced.default_out is not Verdict.ACCEPT
    spec["policyTypes"] = ["Ingress", *(["Egress"] if has_out else [])]
    spec["ingress"] = [_rule(flow, "from") for flow in flows if flow.direction is Direction.IN]
    if has_out:
        egress = [_rule(flow, "to") for flow in flows if flow.direction is Direction.OUT]
        spec["egress"] = [*(_ask_cluster(protocol) for protocol in _lookups(flows)), *egress]
    return _document("networking.k8s.io/v1", "NetworkPolicy", policy, flows, selector, namespace, spec)


def render_cilium(policy: Policy, selector: Mapping[str, str], namespace: str = "default") -> str:
    """A CiliumNetworkPolicy for the pods with these labels. Raises PolicyError and CannotExpress."""
    reduced, flows = require(policy, CILIUM)
    has_out = reduced.default_out is not Verdict.ACCEPT
    spec: dict[str, object] = {
        "endpointSelector": {"matchLabels": dict(selector)},
        # A rule of nobody still closes its direction.
        "ingress": [_cilium(flow, "fromCIDR") for flow in flows if flow.direction is Direction.IN] or [{}],
    }
    if has_out:
        egress = [_cilium(flow, "toCIDR") for flow in flows if flow.direction is Direction.OUT]
        spec["egress"] = [*(_ask_cilium(protocol) for protocol in _lookups(flows)), *egress] or [{}]
    return _document("cilium.io/v2", "CiliumNetworkPolicy", policy, flows, selector, namespace, spec)


def _document(
    version: str,
    kind: str,
    policy: Policy,
    flows: tuple[Flow, ...],
    selector: Mapping[str, str],
    namespace: str,
    spec: Mapping[str, object],
) -> str:
    match("name of a policy", policy.name, _NAME, "small letters, digits, . and -")
    match("namespace", namespace, _SPACE, "small letters, digits and -")
    if not selector:
        raise PolicyError("a policy without labels would be about every pod of its namespace: name the mail server's")
    for key, value in selector.items():
        match("label", key, _KEY, "letters, digits, - _ .")
        match("value of a label", value, _VALUE, "letters, digits, - _ ., at most 63")
    reasons = "; ".join(dict.fromkeys(f"{flow.ident}: {flow.because}" for flow in flows if flow.because))
    metadata: dict[str, object] = {
        "name": policy.name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "postreeve"},
        "annotations": {REASONS: _UNSAFE.sub(" ", reasons)},
    }
    return dump({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


def _lookups(flows: tuple[Flow, ...]) -> Iterator[Protocol]:
    """The protocols that the policy lets names be looked up by."""
    for protocol in (Protocol.UDP, Protocol.TCP):
        if any(
            flow.direction is Direction.OUT
            and flow.protocol in (protocol, Protocol.ANY)
            and (not flow.ports or any(DNS_PORT in ports for ports in flow.ports))
            for flow in flows
        ):
            yield protocol


def _ask_cluster(protocol: Protocol) -> dict[str, object]:
    peer = {"namespaceSelector": {"matchLabels": DNS_SPACE}, "podSelector": {"matchLabels": DNS_PODS}}
    return {"to": [peer], "ports": [{"protocol": protocol.value.upper(), "port": DNS_PORT}]}


def _ask_cilium(protocol: Protocol) -> dict[str, object]:
    ports = [{"port": str(DNS_PORT), "protocol": protocol.value.upper()}]
    return {"toEndpoints": [{"matchLabels": CILIUM_DNS}], "toPorts": [{"ports": ports}]}


def _rule(flow: Flow, side: str) -> dict[str, object]:
    found: dict[str, object] = {side: [{"ipBlock": {"cidr": str(one)}} for one in flow.peers]}
    if flow.protocol is not Protocol.ANY:
        port: dict[str, object] = {"protocol": flow.protocol.value.upper()}
        for one in flow.ports:
            port["port"] = _first(flow, one, "kubernetes")
            if one.last > one.first:
                port["endPort"] = one.last
        found["ports"] = [port]
    return found


def _cilium(flow: Flow, side: str) -> dict[str, object]:
    found: dict[str, object] = {side: [str(one) for one in flow.peers]}
    match flow.protocol:
        case Protocol.ICMP:
            family = "IPv4" if flow.family is Family.IPV4 else "IPv6"
            if not flow.icmp_types:
                raise CannotExpress("cilium", flow.ident, "every type of ICMP", "name the types")
            found["icmps"] = [{"fields": [{"family": family, "type": kind} for kind in flow.icmp_types]}]
        case Protocol.TCP | Protocol.UDP:
            port: dict[str, object] = {"port": "0", "protocol": flow.protocol.value.upper()}
            for one in flow.ports:
                port["port"] = str(_first(flow, one, "cilium"))
                if one.last > one.first:
                    port["endPort"] = one.last
            found["toPorts"] = [{"ports": [port]}]
        case Protocol.ANY:
            pass
    return found


def _first(flow: Flow, ports: Ports, target: str) -> int:
    if ports.first == 0:
        raise CannotExpress(target, flow.ident, "port 0", "begin with port 1")
    return ports.first
