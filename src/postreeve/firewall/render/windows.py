"""Windows Defender Firewall: a PowerShell script of New-NetFirewallRule, all rules in a group of their own.

A rule that blocks wins over every rule that allows, whatever came first: so what was allowed before is cut out of
what is blocked after it, by its complement. What no rule is about is blocked or allowed by the profiles' default
actions, which the script sets for all three profiles, and the only thing outside its group that it touches. Implied
and in no rule: loopback, which is not filtered, and packets of connections under way. Addresses of IPv4 and IPv6 are
apart; the account that sends, sets, rates and interfaces cannot be expressed by address and port. Not run by the
tests: their judge is the grammar of PowerShell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Network, Policy, Protocol, Verdict
from postreeve.firewall.interval import of_networks
from postreeve.firewall.reduce import Means, Order, require
from postreeve.firewall.render.value import PRINTABLE, match, quota
from postreeve.firewall.row import describe

MEANS: Final = Means("windows", Order.DENY_WINS)
GROUP: Final = "postreeve"
MAX_ADDRESSES: Final = 1_000
"""Of one rule, by measure of what the console still shows."""
_MAX_DESCRIPTION: Final = 1_024
_WORDS: Final = {Protocol.ANY: "Any", Protocol.TCP: "TCP", Protocol.UDP: "UDP"}
_QUOTES: Final = re.compile(r"['\u2018\u2019\u201a\u201b]")


def render(policy: Policy) -> str:
    """A script for an administrator; running it again replaces its own rules. Raises PolicyError and CannotExpress."""
    match("name of a policy", policy.name, r"[\x20-\x7e]{1,255}", "printable ASCII")
    reduced, flows = require(policy, MEANS)
    inward, outward = (
        "Allow" if verdict is Verdict.ACCEPT else "Block" for verdict in (reduced.default_in, reduced.default_out)
    )
    lines = [
        f"# {policy.name}: which packets may pass, and why. Run as administrator.",
        "#Requires -RunAsAdministrator",
        "$ErrorActionPreference = 'Stop'",
        f"$group = {_quote(GROUP)}",
        "$old = @(Get-NetFirewallRule -Group $group -ErrorAction SilentlyContinue)",
        "$new = @(",
        *(line for flow in flows for line in _rule(flow)),
        ")",
        "# The old rules go when the new ones count.",
        "$new = @($new | ForEach-Object { New-NetFirewallRule @_ })",
        "$new | Set-NetFirewallRule -Enabled True",
        "$old | Remove-NetFirewallRule",
        f"Set-NetFirewallProfile -All -Enabled True -DefaultInboundAction {inward} -DefaultOutboundAction {outward}",
    ]
    return "\r\n".join(lines) + "\r\n"


def render_removal() -> str:
    """A script that takes our rules away; the default actions become those of a new installation."""
    lines = [
        "#Requires -RunAsAdministrator",
        f"Get-NetFirewallRule -Group {_quote(GROUP)} -ErrorAction SilentlyContinue | Remove-NetFirewallRule",
        "Set-NetFirewallProfile -All -DefaultInboundAction NotConfigured -DefaultOutboundAction NotConfigured",
    ]
    return "\r\n".join(lines) + "\r\n"


def _rule(flow: Flow) -> Iterator[str]:
    """The parameters of one rule, for splatting."""
    is_in = flow.direction is Direction.IN
    addresses = [_address(one) for one in flow.peers]
    quota(MEANS.target, flow.ident, len(addresses), MAX_ADDRESSES, "wider networks")
    fields = {
        "DisplayName": _quote(flow.ident),
        "Description": _quote(describe(flow, _MAX_DESCRIPTION, PRINTABLE)),
        "Group": "$group",
        "Enabled": "'False'",
        "Profile": "'Any'",
        "Direction": "'Inbound'" if is_in else "'Outbound'",
        "Action": "'Allow'" if flow.verdict is Verdict.ACCEPT else "'Block'",
        "RemoteAddress": f"@({', '.join(map(_quote, addresses))})",
    }
    if flow.protocol is Protocol.ICMP:
        fields["Protocol"] = "'ICMPv4'" if flow.family is Family.IPV4 else "'ICMPv6'"
        if flow.icmp_types:
            fields["IcmpType"] = f"@({', '.join(_quote(str(one)) for one in flow.icmp_types)})"
    else:
        fields["Protocol"] = _quote(_WORDS[flow.protocol])
    if flow.ports:
        name = "LocalPort" if is_in else "RemotePort"
        fields[name] = f"@({', '.join(_quote(str(one)) for one in flow.ports)})"
    yield f"    @{{ {'; '.join(f'{name} = {value}' for name, value in fields.items())} }}"


def _address(network: Network) -> str:
    """The world of one family as a range: `Any` would be both, and a prefix of length zero is refused."""
    family = Family(network.version)
    if network == WORLD[family]:
        first, last = of_networks([network])[0]
        kind = type(network.network_address)
        return f"{kind(first)}-{kind(last)}"
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _quote(text: str) -> str:
    """In single quotes, within which only they themselves mean anything; PowerShell takes curly ones for the same."""
    return "'" + _QUOTES.sub(lambda found: found[0] * 2, text) + "'"
