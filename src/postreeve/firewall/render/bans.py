"""Files by which fail2ban and crowdsec fill sets of bans, while the rules that ask those sets stay ours.

fail2ban puts addresses into the very sets that the server fills; who they are it reads in our log lines. crowdsec's
bouncer writes single addresses only, which the set of IPv6 prefixes must not get, and empties its sets when it stops,
which ours must not suffer: it has two tables of sets of its own (`set-only`), whose rules are here.

Both are asked in the hook that containers pass, too: rules for sets are in `forward` besides `input`. With nftables and
ipset every element has a time of its own, so that it goes although the program that put it has died. fail2ban bans IPv6
by /64.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.firewall.check import check
from postreeve.firewall.flow import CannotExpress, Direction, Family, Flow, Network, Policy, PolicyError
from postreeve.firewall.render.firewalld import PREFIX as FIREWALLD_PREFIX
from postreeve.firewall.render.iptables import SET_PREFIX as IPSET_PREFIX
from postreeve.firewall.render.nftables import TABLE

CROWDSEC_TABLES: Final = {Family.IPV4: "postreeve-crowdsec", Family.IPV6: "postreeve-crowdsec6"}
CROWDSEC_SETS: Final = {Family.IPV4: "crowdsec-blacklists", Family.IPV6: "crowdsec6-blacklists"}
MAX_DECISIONS: Final = 1_048_576
_EVENT: Final = "authentication_failed"
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
_UNIT: Final = re.compile(r"[A-Za-z0-9@_.-]+\.service")


class Keeper(Enum):
    """Whose sets they are."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"
    FIREWALLD = "firewalld"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where our log lines are (a unit of the journal, or a file), and when enough is enough.

    `spared` are never banned: our own smarthosts, monitoring, load balancers.
    """

    journal_unit: str = "postreeve.service"
    log_path: str = ""
    tries: int = 5
    within_seconds: int = 600
    ban_seconds: int = 3_600
    spared: tuple[Network, ...] = ()


Files = tuple[tuple[str, str], ...]
"""Absolute path and text."""


def render_fail2ban(policy: Policy, keeper: Keeper, settings: Settings = Settings()) -> Files:
    """Action, filter and jail. Raises CannotExpress when the policy has no sets of bans."""
    sets = _sets(policy, "fail2ban")
    _look(settings)
    return (
        ("/etc/fail2ban/action.d/postreeve.conf", _action(keeper, sets)),
        ("/etc/fail2ban/filter.d/postreeve.conf", _filter(settings)),
        ("/etc/fail2ban/jail.d/postreeve.conf", _jail(settings)),
    )


def render_crowdsec(policy: Policy) -> Files:
    """What the bouncer's own file is overlaid with, and the tables whose sets it fills.

    Raises CannotExpress when the policy has no sets of bans.
    """
    families = _sets(policy, "crowdsec")
    return (
        ("/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml.local", _bouncer(families)),
        ("/etc/nftables.d/postreeve-crowdsec.nft", "\n".join(_tables(families)) + "\n"),
    )


def _sets(policy: Policy, target: str) -> dict[Family, str]:
    check(policy)
    found = {flow.family: flow.peer_set for flow in policy.flows if _is_ban(flow)}
    if not found:
        alternative = "let the firewall keep bans, or let the program keep its own tables"
        raise CannotExpress(target, policy.name, "bans: no rule asks a named set", alternative)
    return found


def _is_ban(flow: Flow) -> bool:
    return flow.peer_set != "" and flow.direction is Direction.IN


def _look(settings: Settings) -> None:
    if settings.log_path and not re.fullmatch(r"/[^\x00-\x20%]+", settings.log_path):
        raise PolicyError(f"{settings.log_path!r} is no path of a log that fail2ban can read")
    if not settings.log_path and not _UNIT.fullmatch(settings.journal_unit):
        raise PolicyError(f"{settings.journal_unit!r} is no unit of systemd")
    if min(settings.tries, settings.within_seconds, settings.ban_seconds) < 1:
        raise PolicyError("a ban needs at least one try, one second to count in and one second to last")


def _action(keeper: Keeper, sets: dict[Family, str]) -> str:
    four, six = sets.get(Family.IPV4, ""), sets.get(Family.IPV6, "")
    there, add, delete = _COMMANDS[keeper]
    prefix = {Keeper.NFTABLES: "", Keeper.IPTABLES: IPSET_PREFIX, Keeper.FIREWALLD: FIREWALLD_PREFIX}[keeper]
    lines = [
        "# Puts addresses into the sets that the rules of postreeve ask, in input and in forward; makes no rule.",
        "[Definition]",
        "# Without the set nobody would be kept out: the jail does not start then.",
        f"actionstart = {there}",
        "actionstop =",
        f"actioncheck = {there}",
        f"actionban = {add}",
        "# Gone by its own time already is as good.",
        f"actionunban = {delete} || :",
        "",
        "[Init]",
        f"set = {prefix}{four}",
        "element = <ip>",
        "",
        "[Init?family=inet6]",
        f"set = {prefix}{six}",
        "element = <ip>/64",
    ]
    return "\n".join(lines) + "\n"


_TIME: Final = 't=<bantime>; if [ "$t" -gt 0 ]; then t="timeout {}"; else t=; fi; '
_COMMANDS: Final = {
    Keeper.NFTABLES: (
        f"nft -t list set {TABLE} <set> >/dev/null",
        _TIME.format("${t}s") + f'nft add element {TABLE} <set> "{{ <element> $t }}"',
        f'nft delete element {TABLE} <set> "{{ <element> }}"',
    ),
    Keeper.IPTABLES: (
        "ipset -n list <set> >/dev/null",
        _TIME.format("$t") + "ipset -exist add <set> <element> $t",
        "ipset -exist del <set> <element>",
    ),
    Keeper.FIREWALLD: (
        "firewall-cmd -q --info-ipset=<set>",
        "firewall-cmd -q --ipset=<set> --add-entry=<element>",
        "firewall-cmd -q --ipset=<set> --remove-entry=<element>",
    ),
}


def _filter(settings: Settings) -> str:
    """The client stands before everything that a peer has a say in. fail2ban cuts the time it found out of a line."""
    moment = r"%%Y-%%m-%%dT%%H:%%M:%%S(?:\.%%f)?%%z"
    before = r"^(?:\S+ \S+\[\d+\]: )?"
    logfmt = rf"(?:time=\S*)?\s*level=\w+ event={_EVENT} session=\S+ client=<ADDR> username="
    head = r'(?:\{"time":"[^"]*)?","level":"\w+"'
    json = rf'{head},"event":"{_EVENT}","session":"[^"]*","client":"<ADDR>","username":'
    lines = [
        "# Logins that failed, in log lines of postreeve: logfmt or JSON, from a file or the journal.",
        "[Definition]",
        f"failregex = {before}{logfmt}",
        f"            {before}{json}",
        "ignoreregex =",
        f"datepattern = ^time={moment}",
        rf'              ^\{{"time":"{moment}',
    ]
    if not settings.log_path:
        lines.append(f"journalmatch = _SYSTEMD_UNIT={settings.journal_unit}")
    return "\n".join(lines) + "\n"


def _jail(settings: Settings) -> str:
    source = ["backend = auto", f"logpath = {settings.log_path}"] if settings.log_path else ["backend = systemd"]
    lines = [
        "# The jail of postreeve. Its server bans by itself, too; this one sees what other programs ban by.",
        "[postreeve]",
        "enabled = true",
        "filter = postreeve",
        "action = postreeve",
        *source,
        f"maxretry = {settings.tries}",
        f"findtime = {settings.within_seconds}",
        f"bantime = {settings.ban_seconds}",
        f"ignoreip = {' '.join((*_LOOPBACK, *map(str, settings.spared)))}",
    ]
    return "\n".join(lines) + "\n"


def _bouncer(families: dict[Family, str]) -> str:
    lines = [
        "# crowdsec fills the sets of two tables; their rules are in postreeve-crowdsec.nft, loaded before it starts.",
        "mode: nftables",
        "deny_action: DROP",
        f"disable_ipv6: {'false' if Family.IPV6 in families else 'true'}",
        f"blacklists_ipv4: {CROWDSEC_SETS[Family.IPV4]}",
        f"blacklists_ipv6: {CROWDSEC_SETS[Family.IPV6]}",
        "nftables:",
    ]
    for family in Family:
        lines += [
            f"  ipv{family.value}:",
            f"    enabled: {'true' if family in families else 'false'}",
            "    set-only: true",
            f"    table: {CROWDSEC_TABLES[family]}",
            "    chain: input",
        ]
    return "\n".join(lines) + "\n"


def _tables(families: dict[Family, str]) -> Iterator[str]:
    """May be loaded again: what is in the sets stays."""
    yield "# Sets that crowdsec's bouncer fills, asked before anything else; containers are behind forward."
    for family in families:
        word, kind = ("ip", "ipv4_addr") if family is Family.IPV4 else ("ip6", "ipv6_addr")
        table, name = f"{word} {CROWDSEC_TABLES[family]}", CROWDSEC_SETS[family]
        yield f"add table {table}"
        yield f"add set {table} {name} {{ type {kind}; flags timeout; size {MAX_DECISIONS}; }}"
        for hook in ("input", "forward"):
            yield f"add chain {table} {hook} {{ type filter hook {hook} priority -20; policy accept; }}"
            yield f"flush chain {table} {hook}"
            yield f'add rule {table} {hook} {word} saddr @{name} counter drop comment "crowdsec"'
