"""Azure: a network security group as a template for `az deployment group create`, which replaces all of its rules.

Rules count by priority (100 to 4096), of which every one is taken once for each direction. The last one says what
becomes of everything else, before the default rules (65000 and later) that let the virtual network in and everything
out; with it, probes of a load balancer pass only if the policy lets 168.63.129.16 in. Implied and in no rule:
loopback and packets of connections under way. There is no protocol for ICMPv6 (`*` would be every protocol), so rules
about it cannot be expressed. Azure itself blocks what leaves for TCP port 25 in most subscriptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from postreeve.firewall.flow import Direction, Flow, Policy, Protocol, Verdict
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import PRINTABLE, dump, match, quota, within
from postreeve.firewall.row import describe

MEANS: Final = Means("azure nsg", Order.FIRST, (Icmp.WHOLE, Icmp.NONE))
FIRST_PRIORITY: Final = 100
LAST_PRIORITY: Final = 4_096
STEP: Final = 10
MAX_PREFIXES: Final = 4_000
"""Networks in all rules of a group."""

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_API: Final = "2023-09-01"
_MAX_DESCRIPTION: Final = 140
_RULE: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?"
_GROUP: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?"
_WORDS: Final = {Protocol.ANY: "*", Protocol.TCP: "Tcp", Protocol.UDP: "Udp", Protocol.ICMP: "Icmp"}


def render(policy: Policy, *, first_priority: int = FIRST_PRIORITY) -> str:
    """A template with one group. Raises PolicyError and CannotExpress."""
    name = match("name of a network security group", policy.name, _GROUP, "letters, digits, . _ -, at most 80")
    group = {
        "type": "Microsoft.Network/networkSecurityGroups",
        "apiVersion": _API,
        "name": name,
        "location": "[parameters('location')]",
        "properties": {"securityRules": list(_rules(policy, first_priority))},
    }
    location = {"type": "string", "defaultValue": "[resourceGroup().location]"}
    return dump(
        {
            "$schema": _SCHEMA,
            "contentVersion": "1.0.0.0",
            "parameters": {"location": location},
            "resources": [group],
        }
    )


def _rules(policy: Policy, first_priority: int) -> Iterator[Mapping[str, object]]:
    within("the first priority", first_priority, FIRST_PRIORITY, LAST_PRIORITY - 1)
    reduced, flows = require(policy, MEANS)
    prefixes = sum(len(flow.peers) for flow in flows)
    quota(MEANS.target, policy.name, prefixes, MAX_PREFIXES, "wider networks, or an application security group")
    for direction in Direction:
        chosen = [flow for flow in flows if flow.direction is direction]
        room = LAST_PRIORITY - first_priority
        quota(MEANS.target, direction.value, len(chosen), room, "fewer flows, or a lower first priority")
        step = STEP if len(chosen) * STEP <= room else 1
        for place, flow in enumerate(chosen):
            yield _rule(flow, first_priority + place * step)
        verdict = reduced.default_in if direction is Direction.IN else reduced.default_out
        yield _rest(direction, verdict)


def _rule(flow: Flow, priority: int) -> Mapping[str, object]:
    is_in = flow.direction is Direction.IN
    peers = [str(one) for one in flow.peers]
    mine, theirs = ("destination", "source") if is_in else ("source", "destination")
    ports = [str(one) for one in flow.ports]
    properties: dict[str, object] = {
        "description": describe(flow, _MAX_DESCRIPTION, PRINTABLE),
        "priority": priority,
        "direction": "Inbound" if is_in else "Outbound",
        "access": "Allow" if flow.verdict is Verdict.ACCEPT else "Deny",
        "protocol": _WORDS[flow.protocol],
        "sourcePortRange": "*",
        f"{mine}AddressPrefix": "*",
    }
    # One value and many are two members, of which the other has to be absent.
    properties |= {f"{theirs}AddressPrefix": peers[0]} if len(peers) == 1 else {f"{theirs}AddressPrefixes": peers}
    if len(ports) > 1:
        properties["destinationPortRanges"] = ports
    else:
        properties["destinationPortRange"] = ports[0] if ports else "*"
    name = match("name of a rule", flow.ident, _RULE, "letters, digits, . _ -, with a letter or digit at its end")
    return {"name": name, "properties": properties}


def _rest(direction: Direction, verdict: Verdict) -> Mapping[str, object]:
    return {
        "name": f"{direction.value}-rest",
        "properties": {
            "description": f"{direction.value}-rest: everything that no other rule is about",
            "priority": LAST_PRIORITY,
            "direction": "Inbound" if direction is Direction.IN else "Outbound",
            "access": "Allow" if verdict is Verdict.ACCEPT else "Deny",
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": "*",
            "destinationAddressPrefix": "*",
        },
    }
