"""Google Cloud: VPC firewall rules with priorities of their own, for the REST API and as `gcloud` commands.

At equal priority a rule that denies wins, whatever was written first: so every rule gets a priority of its own, in
the order of the policy. The last ones say what becomes of everything else, before the rules (65534) that a network
named default is born with. Implied and in no rule: loopback, packets of connections under way, and what Google lets
pass whatever the rules say (DHCP, the metadata server with its DNS and NTP, 169.254.169.254). Google itself blocks
what leaves for TCP port 25 of addresses outside, unless a project was exempted: mail then needs a smarthost on 465,
587 or 2525.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Policy, Protocol, Verdict
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import PRINTABLE, Bundle, dump, match, quota, within
from postreeve.firewall.row import describe

MEANS: Final = Means("gcp", Order.FIRST, (Icmp.WHOLE, Icmp.WHOLE))
FIRST_PRIORITY: Final = 1_000
STEP: Final = 10
LAST_PRIORITY: Final = 65_533
MAX_RANGES: Final = 5_000
"""Networks of one rule."""

_MAX_NAME: Final = 63
_MAX_DESCRIPTION: Final = 2_048
_NAME: Final = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_HINT: Final = "small letters, digits and hyphens, a letter first, at most 63"
_WORDS: Final = {Protocol.ANY: "all", Protocol.TCP: "tcp", Protocol.UDP: "udp"}


def render(
    policy: Policy, *, network: str = "default", tag: str = "postreeve", first_priority: int = FIRST_PRIORITY
) -> Bundle:
    """One file for each rule, about instances with the tag. Raises PolicyError and CannotExpress."""
    rules = list(make_rules(policy, network=network, tag=tag, first_priority=first_priority))
    files = {f"{rule['name']}.json": dump(rule) for rule in rules}
    return Bundle(files, tuple(_command(rule) for rule in rules))


def make_rules(
    policy: Policy, *, network: str = "default", tag: str = "postreeve", first_priority: int = FIRST_PRIORITY
) -> Iterator[dict[str, object]]:
    """The bodies of `firewalls.insert`."""
    match("name of a network", network, _NAME, _HINT)
    match("network tag", tag, _NAME, _HINT)
    within("the first priority", first_priority, 0, LAST_PRIORITY - 1)
    reduced, flows = require(policy, MEANS)
    most = (LAST_PRIORITY - 1 - first_priority) // STEP + 1
    quota(MEANS.target, policy.name, len(flows), most, "a lower first priority")
    defaults = ((Direction.IN, reduced.default_in), (Direction.OUT, reduced.default_out))
    rest = [_rest(direction, family, verdict) for direction, verdict in defaults for family in Family]
    for place, flow in enumerate((*flows, *rest)):
        priority = min(first_priority + place * STEP, LAST_PRIORITY) if place < len(flows) else LAST_PRIORITY
        quota(MEANS.target, flow.ident, len(flow.peers), MAX_RANGES, "wider networks")
        yield {
            "name": _name(tag, flow.ident),
            "description": describe(flow, _MAX_DESCRIPTION, PRINTABLE),
            "network": f"global/networks/{network}",
            "direction": "INGRESS" if flow.direction is Direction.IN else "EGRESS",
            "priority": priority,
            "allowed" if flow.verdict is Verdict.ACCEPT else "denied": [_traffic(flow)],
            "sourceRanges" if flow.direction is Direction.IN else "destinationRanges": [str(one) for one in flow.peers],
            "targetTags": [tag],
        }


def _rest(direction: Direction, family: Family, verdict: Verdict) -> Flow:
    ident = f"{direction.value}-rest-ipv{family.value}"
    because = "everything that no other rule is about"
    return Flow(ident, direction, family, Protocol.ANY, verdict, (WORLD[family],), because=because)


def _traffic(flow: Flow) -> dict[str, object]:
    if flow.protocol is Protocol.ICMP:
        return {"IPProtocol": "icmp" if flow.family is Family.IPV4 else "58"}
    found: dict[str, object] = {"IPProtocol": _WORDS[flow.protocol]}
    if flow.ports:
        found["ports"] = [str(one) for one in flow.ports]
    return found


def _name(tag: str, ident: str) -> str:
    """Of the project, and unique in it; what the alphabet cannot hold becomes a digest."""
    name = f"{tag}-{ident}"
    if "." in ident or ident.endswith("-") or len(name) > _MAX_NAME:
        digest = hashlib.sha256(ident.encode()).hexdigest()[:8]
        name = f"{name.replace('.', '-')[: _MAX_NAME - 9].rstrip('-')}-{digest}"
    return match("name of a rule", name, _NAME, _HINT)


def _command(rule: dict[str, object]) -> str:
    key, action = ("allowed", "ALLOW") if "allowed" in rule else ("denied", "DENY")
    traffic = rule[key]
    assert isinstance(traffic, list)
    rules = [
        f"{one['IPProtocol']}:{port}" if port else one["IPProtocol"]
        for one in traffic
        for port in one.get("ports", [""])
    ]
    side = "source" if "sourceRanges" in rule else "destination"
    ranges, tags = rule[f"{side}Ranges"], rule["targetTags"]
    assert isinstance(ranges, list)
    assert isinstance(tags, list)
    words = [
        "gcloud",
        "compute",
        "firewall-rules",
        "create",
        str(rule["name"]),
        f"--network={str(rule['network']).rpartition('/')[2]}",
        f"--direction={rule['direction']}",
        f"--priority={rule['priority']}",
        f"--action={action}",
        f"--rules={','.join(rules)}",
        f"--{side}-ranges={','.join(ranges)}",
        f"--target-tags={','.join(tags)}",
        f"--description={rule['description']}",
    ]
    return shlex.join(words)
