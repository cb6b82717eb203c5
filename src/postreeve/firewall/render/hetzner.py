"""Hetzner Cloud: the rules of a firewall, for `hcloud firewall replace-rules`, which replaces them as a whole.

It only allows. What comes in is dropped unless a rule allows it; what leaves passes as long as no rule is about what
leaves, and is dropped otherwise unless one allows it. Implied and in no rule: loopback and packets of connections
under way. Every protocol is TCP, UDP and ICMP. Hetzner itself blocks what leaves for TCP ports 25 and 465 of new
accounts until it is asked, whatever these rules say; 587 is open.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import CannotExpress, Direction, Flow, Policy, Protocol, Verdict
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import PRINTABLE, Bundle, dump, match, quota
from postreeve.firewall.row import describe

MEANS: Final = Means("hetzner", Order.ALLOWS, (Icmp.WHOLE, Icmp.WHOLE), has_any=False, is_open_when_silent=True)
MAX_RULES: Final = 50
MAX_ADDRESSES: Final = 100
"""Of one rule; a flow with more takes several."""
_MAX_DESCRIPTION: Final = 255


def render(policy: Policy, name: str = "") -> Bundle:
    """The rules of the firewall `name`, by default that of the policy. Raises PolicyError and CannotExpress."""
    name = match("name of a firewall", name or policy.name, r"[A-Za-z0-9][A-Za-z0-9._ -]{0,127}", "letters, digits")
    reduced, flows = require(policy, MEANS)
    rules = [rule for flow in flows for rule in _rules(flow)]
    if reduced.default_out is not Verdict.ACCEPT and not any(flow.direction is Direction.OUT for flow in flows):
        what = "that nothing may leave: without a rule everything may"
        raise CannotExpress(MEANS.target, policy.name, what, "allow one way out, which closes all others")
    quota(MEANS.target, name, len(rules), MAX_RULES, "a second firewall, or ranges of ports")
    command = shlex.join(["hcloud", "firewall", "replace-rules", "--rules-file", "rules.json", name])
    return Bundle({"rules.json": dump(rules)}, (command,))


def _rules(flow: Flow) -> Iterator[dict[str, object]]:
    for ports in flow.ports or (None,):
        for begin in range(0, len(flow.peers), MAX_ADDRESSES):
            peers = [str(one) for one in flow.peers[begin : begin + MAX_ADDRESSES]]
            rule: dict[str, object] = {"direction": flow.direction.value, "protocol": flow.protocol.value}
            if flow.protocol is not Protocol.ICMP:
                rule["port"] = str(ports) if ports else "any"
            rule["source_ips"] = peers if flow.direction is Direction.IN else []
            rule["destination_ips"] = peers if flow.direction is Direction.OUT else []
            rule["description"] = describe(flow, _MAX_DESCRIPTION, PRINTABLE)
            yield rule
