"""DigitalOcean: a cloud firewall, for `PUT /v2/firewalls/ID` (which replaces it as a whole) and as a `doctl` command.

It only allows; what no rule is about is dropped in both directions. Implied and in no rule: loopback and packets of
connections under way. Rules have no room for a name: a flow is known by its protocol and port. Every protocol is TCP,
UDP and ICMP. DigitalOcean itself blocks what leaves for TCP ports 25, 465 and 587, whatever these rules say: mail
then needs a smarthost on another port, 2525 for example.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from postreeve.firewall.flow import Direction, Flow, Policy, PolicyError, Protocol
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import Bundle, dump, match, quota

MEANS: Final = Means("digitalocean", Order.ALLOWS, (Icmp.WHOLE, Icmp.WHOLE), has_any=False, has_names=False)
MAX_RULES: Final = 50
MAX_ADDRESSES: Final = 1_000
"""Of one rule."""


def render(policy: Policy, *, droplet_ids: tuple[int, ...] = (), tags: tuple[str, ...] = ()) -> Bundle:
    """The firewall for droplets, by number or tag. Raises PolicyError and CannotExpress."""
    name = match("name of a firewall", policy.name, r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}", "letters, digits, . -")
    for tag in tags:
        match("tag", tag, r"[A-Za-z0-9:_-]{1,255}", "letters, digits, : _ -")
    if any(one < 1 for one in droplet_ids):
        raise PolicyError("a droplet's number is greater than zero")
    _, flows = require(policy, MEANS)
    # One rule may be about both families.
    rules: dict[Direction, dict[tuple[str, str], list[str]]] = {direction: {} for direction in Direction}
    for flow in flows:
        rules[flow.direction].setdefault(_traffic(flow), []).extend(str(one) for one in flow.peers)
    quota(MEANS.target, name, sum(map(len, rules.values())), MAX_RULES, "a second firewall, or ranges of ports")
    for found in rules.values():
        for (protocol, ports), addresses in found.items():
            quota(MEANS.target, f"{protocol} {ports}", len(addresses), MAX_ADDRESSES, "wider networks")
    body: dict[str, object] = {
        "name": name,
        "inbound_rules": [_rule(key, "sources", peers) for key, peers in rules[Direction.IN].items()],
        "outbound_rules": [_rule(key, "destinations", peers) for key, peers in rules[Direction.OUT].items()],
        "droplet_ids": list(droplet_ids),
        "tags": list(tags),
    }
    return Bundle({"firewall.json": dump(body)}, (_command(name, rules, droplet_ids, tags),))


def _traffic(flow: Flow) -> tuple[str, str]:
    if flow.protocol is Protocol.ICMP:
        return "icmp", ""
    return flow.protocol.value, str(flow.ports[0]) if flow.ports else "all"


def _rule(key: tuple[str, str], side: str, addresses: list[str]) -> Mapping[str, object]:
    protocol, ports = key
    return {"protocol": protocol, **({"ports": ports} if ports else {}), side: {"addresses": addresses}}


def _command(
    name: str,
    rules: Mapping[Direction, Mapping[tuple[str, str], list[str]]],
    droplet_ids: tuple[int, ...],
    tags: tuple[str, ...],
) -> str:
    words = ["doctl", "compute", "firewall", "create", "--name", name]
    for direction, option in ((Direction.IN, "--inbound-rules"), (Direction.OUT, "--outbound-rules")):
        texts = [
            ",".join([f"protocol:{protocol}", *([f"ports:{ports}"] if ports else []), *(f"address:{a}" for a in peers)])
            for (protocol, ports), peers in rules[direction].items()
        ]
        words += [option, " ".join(texts)] if texts else []
    if droplet_ids:
        words += ["--droplet-ids", ",".join(map(str, droplet_ids))]
    if tags:
        words += ["--tag-names", ",".join(tags)]
    return shlex.join(words)
