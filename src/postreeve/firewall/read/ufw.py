"""ufw's files: user.rules and user6.rules with the rules, before.rules and after.rules with its own, its defaults.

`ufw status` is not enough: it hides what before.rules let pass, the order across families, and whether a name of a
profile still means the same ports. What ufw adds by itself: loopback, connections under way, ICMP and neighbours,
DHCP and multicast names before all rules; noise of Windows networks goes to the default behind them. Its chains are
those of iptables, so they are read as iptables; `read_own` gives back the policy that `render.ufw` wrote.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.flow import (
    Direction,
    Family,
    Flow,
    Network,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
)
from postreeve.firewall.read import iptables
from postreeve.firewall.read.sibling import join
from postreeve.firewall.render.ufw import ACTIONS, MARK, given
from postreeve.firewall.ruleset import Ruleset

_SETTING: Final = re.compile(r'^\s*([A-Z0-9_]+)\s*=\s*"?([^"#\n]*?)"?\s*$', re.MULTILINE)
_TUPLE: Final = re.compile(
    r"### tuple ### (?P<route>route:)?(?P<action>allow|deny|reject|limit)(?:_log(?:-all)?)? (?P<protocol>\S+) "
    r"(?P<port>\S+) (?P<to>\S+) (?P<from_port>\S+) (?P<source>\S+)(?: \S+ \S+)? (?P<side>in|out)"
    r"(?:_(?P<interface>[^ !]+))?(?:!\S+)?(?: comment=(?P<comment>[0-9a-f]*))?"
)
_VERDICTS: Final = {word: verdict for verdict, word in ACTIONS.items()}
_POLICIES: Final = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP, "REJECT": Verdict.REJECT}
_HOOKS: Final = ("input", "output", "forward")
_STAGES: Final = ("before-logging", "before", "after", "after-logging", "reject", "track")

BEFORE: Final = """*filter
:ufw-before-input - [0:0]
:ufw-before-output - [0:0]
:ufw-before-forward - [0:0]
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-output -o lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-output -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -p icmp --icmp-type 3 -j ACCEPT
-A ufw-before-input -p icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p icmp --icmp-type 11 -j ACCEPT
-A ufw-before-input -p icmp --icmp-type 12 -j ACCEPT
COMMIT
"""
"""What matters of it where the file itself is not given."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The files of /etc/ufw, and /etc/default/ufw as `defaults`; of before and after the gist is known."""

    user: str
    user6: str
    defaults: str
    before: str = BEFORE
    before6: str = ""
    after: str = ""
    after6: str = ""


def read(texts: Texts) -> Ruleset:
    """As it would be loaded: whether ufw is enabled is in ufw.conf. Raises NotUnderstood."""
    defaults = _settings(texts.defaults)
    before6 = texts.before6 or BEFORE.replace("ufw-", "ufw6-").replace("-p icmp --icmp", "-p icmpv6 --icmpv6")
    ipv4 = _assemble("ufw", defaults, texts.before, texts.user, texts.after)
    # Without IPV6=yes ufw refuses all of IPv6 but loopback.
    has_ipv6 = defaults.get("IPV6", "no").lower() == "yes"
    ipv6 = _assemble("ufw6", defaults, before6, texts.user6, texts.after6) if has_ipv6 else _NO_IPV6
    return iptables.read(ipv4, ipv6)


_NO_IPV6: Final = """*filter
:INPUT DROP
:OUTPUT DROP
:FORWARD DROP
-A INPUT -i lo -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
COMMIT
"""


def _assemble(prefix: str, defaults: dict[str, str], before: str, user: str, after: str) -> str:
    """One whole table, as ufw-init builds it."""
    chains: dict[str, None] = {}
    rules = []
    for text in (before, user, after):
        for line in _filter_lines(text):
            if line.startswith(":"):
                chains.setdefault(line[1:].partition(" ")[0])
            else:
                rules.append(line)
    heads, jumps, ends = [], [], []
    for hook in _HOOKS:
        policy = _policy(defaults, hook)
        heads.append(f":{hook.upper()} {'ACCEPT' if policy is Verdict.ACCEPT else 'DROP'}")
        skip = f"{prefix}-skip-to-policy-{hook}"
        for name in (*(f"{prefix}-{stage}-{hook}" for stage in _STAGES), f"{prefix}-user-{hook}", skip):
            chains.setdefault(name)
        jumps += [f"-A {hook.upper()} -j {prefix}-{stage}-{hook}" for stage in _STAGES]
        jumps.append(f"-A {prefix}-before-{hook} -j {prefix}-user-{hook}")
        ends.append(f"-A {skip} -j {policy.name}")
        if policy is Verdict.REJECT:
            ends.append(f"-A {prefix}-reject-{hook} -j REJECT")
    for name in ("logging-deny", "logging-allow", "not-local"):
        chains.setdefault(f"{prefix}-{name}")
    declared = [f":{name} -" for name in chains]
    return "\n".join(("*filter", *heads, *declared, *rules, *jumps, *ends, "COMMIT")) + "\n"


def _filter_lines(text: str) -> Iterator[str]:
    if text.strip() and "COMMIT" not in text:
        raise NotUnderstood("a file of ufw's rules is cut off: no COMMIT")
    table = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter" and line and not line.startswith("#") and line != "COMMIT":
            yield line


def _policy(defaults: dict[str, str], hook: str) -> Verdict:
    word = defaults.get(f"DEFAULT_{hook.upper()}_POLICY", "")
    if word not in _POLICIES:
        raise NotUnderstood(f"/etc/default/ufw: no DEFAULT_{hook.upper()}_POLICY")
    return _POLICIES[word]


def _settings(text: str) -> dict[str, str]:
    return dict(_SETTING.findall(text))


def read_own(user: str, user6: str, defaults: str) -> Policy:
    """The rules with our comment, siblings merged, and what ufw gives. Raises NotUnderstood."""
    settings = _settings(defaults)
    flows = [
        flow
        for family, text in ((Family.IPV4, user), (Family.IPV6, user6))
        for flow in _merge(list(_own(text, family)))
    ]
    taken = (*given(), *flows)
    return Policy("ufw", taken, _policy(settings, "input"), _policy(settings, "output"))


def _own(text: str, family: Family) -> Iterator[Flow]:
    if "### RULES ###" not in text or "### END RULES ###" not in text:
        raise NotUnderstood("not user.rules of ufw, or cut off")
    for line in text.splitlines():
        if not line.startswith("### tuple ###"):
            continue
        found = _TUPLE.fullmatch(line.strip())
        if found is None:
            raise NotUnderstood(f"user.rules: not a rule of ufw: {line[:80]}")
        try:
            comment = bytes.fromhex(found["comment"] or "").decode("utf-8", "replace")
        except ValueError as problem:
            raise NotUnderstood(f"user.rules: no comment of ufw: {line[:80]}") from problem
        mark, _, ident = comment.partition(" ")
        if mark == MARK and found["action"] != "limit" and not found["route"]:
            yield _flow(found, ident, family, line)


def _flow(found: re.Match[str], ident: str, family: Family, line: str) -> Flow:
    direction = Direction(found["side"])
    try:
        peer: Network = ipaddress.ip_network(found["source"] if direction is Direction.IN else found["to"])
        ports = () if found["port"] == "any" else tuple(_ports(found["port"]))
        protocol = Protocol(found["protocol"])
    except ValueError as problem:
        raise NotUnderstood(f"user.rules: {line[:80]}: {problem}") from problem
    if peer.version != family.value:
        raise NotUnderstood(f"user.rules: an address of another family: {line[:80]}")
    return Flow(
        ident,
        direction,
        family,
        protocol,
        _VERDICTS[found["action"]],
        (peer,),
        ports,
        state=State.NEW,
        interface=found["interface"] or "",
        quote=line,
    )


def _ports(text: str) -> Iterator[Ports]:
    for one in text.split(","):
        first, _, last = one.partition(":")
        yield Ports(int(first), int(last or first))


def _merge(flows: list[Flow]) -> Iterator[Flow]:
    """One flow of ours is a rule for each peer and each fifteen ports."""
    groups: dict[str, list[Flow]] = {}
    for flow in flows:
        groups.setdefault(flow.ident, []).append(flow)
    for ident, group in groups.items():
        yield from join(group, ident)
