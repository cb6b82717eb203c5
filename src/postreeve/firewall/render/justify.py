"""Why an MX has port 25 open, for scanners that call that a finding: exceptions for what is meant, for nothing else.

A scanner's check covers more ports than the one that is meant. An exception is made only where every port that the
check is about and the policy opens to the world is one of mail or of certificates; SSH for everybody is a finding and
stays one. Checkov reads the exceptions of a template in the template, Prowler a mutelist, Trivy an ignore file (both
are YAML, of which JSON is a part); others show the description that every rule has. Prowler's fixer for this check
revokes the rule that mail comes in by: the mutelist is what keeps it from doing so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.flow import WORLD, Direction, Flow, Policy, PolicyError, Protocol, State, Verdict
from postreeve.firewall.render.value import dump, match

CHECKOV: Final = "checkov"
MEANT: Final = frozenset((25, 80, 110, 143, 443, 465, 587, 993, 995))
"""Ports of mail, and of certificates and policies that mail needs, which are there for everybody."""
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]")
_EVERY_PORT: Final = frozenset(range(65_536))
_CHECKOV: Final = {"CKV_AWS_24": frozenset((22,)), "CKV_AWS_260": frozenset((80,))}
_PROWLER: Final = {
    "ec2_securitygroup_allow_ingress_from_internet_to_high_risk_tcp_ports": frozenset(
        (25, 110, 135, 143, 445, 3_000, 4_333, 5_000, 5_500, 8_080, 8_088)
    )
}
# Trivy has dropped the prefix of its names; either version ignores what it does not know.
_TRIVY: Final = {"AVD-AWS-0107": _EVERY_PORT, "AWS-0107": _EVERY_PORT}


@dataclass(frozen=True, slots=True)
class Exemption:
    """A check of a scanner that need not be heeded here, and why."""

    check: str
    because: str


def checkov_skips(policy: Policy) -> tuple[Exemption, ...]:
    """Entries of a resource's metadata."""
    return tuple(_excused(policy, _CHECKOV))


def render_prowler(policy: Policy, group_id: str, account: str = "*") -> str:
    """A mutelist for `prowler --mutelist-file`, about one security group only. Raises PolicyError."""
    match("id of a security group", group_id, r"sg-([0-9a-f]{8}|[0-9a-f]{17})", "sg- and hexadecimal digits")
    match("number of an account", account, r"\*|[0-9]{12}", "twelve digits, or * for every one")
    checks = {
        one.check: {"Regions": ["*"], "Resources": [group_id], "Description": one.because}
        for one in _excused(policy, _PROWLER)
    }
    return dump({"Mutelist": {"Accounts": {account: {"Checks": checks}}}}) if checks else ""


def render_trivy(policy: Policy, path: str) -> str:
    """An ignore file (`.trivyignore.yaml`) about one file only. Raises PolicyError."""
    if not path or _UNSAFE.search(path) or path.startswith("/") or ".." in path.split("/"):
        raise PolicyError(f"{path[:80]!r} is no path in a project: relative, without ..")
    found = [{"id": one.check, "paths": [path], "statement": one.because} for one in _excused(policy, _TRIVY)]
    return dump({"misconfigurations": found}) if found else ""


def _excused(policy: Policy, checks: dict[str, frozenset[int]]) -> Iterator[Exemption]:
    for check, about in checks.items():
        flows = [flow for flow in policy.flows if _is_open(flow) and about & _ports(flow)]
        opened = frozenset(port for flow in flows for port in about & _ports(flow))
        if opened and opened <= MEANT:
            reasons = dict.fromkeys(
                f"port {', '.join(map(str, flow.ports))}: {flow.because or flow.ident}" for flow in flows
            )
            yield Exemption(check, _UNSAFE.sub(" ", "; ".join(reasons)))


def _is_open(flow: Flow) -> bool:
    """To everybody, for connections that come in."""
    return (
        flow.direction is Direction.IN
        and flow.verdict is Verdict.ACCEPT
        and flow.state is not State.ESTABLISHED
        and flow.interface != "lo"
        and flow.protocol in (Protocol.TCP, Protocol.ANY)
        and flow.peers == (WORLD[flow.family],)
    )


def _ports(flow: Flow) -> frozenset[int]:
    if not flow.ports:
        return _EVERY_PORT
    return frozenset(port for one in flow.ports for port in range(one.first, one.last + 1))
