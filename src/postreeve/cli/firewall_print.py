"""`postreeve firewall` for people: the plan as a table, differences as sentences."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from postreeve.cli.firewall_document import peers, traffic
from postreeve.cli.output import clean, console, plural, say, table
from postreeve.firewall.compare import Change
from postreeve.firewall.flow import Flow, Policy, Verdict
from postreeve.firewall.ruleset import Hook

_WORDS = {Verdict.ACCEPT: "passes", Verdict.DROP: "is dropped", Verdict.REJECT: "is refused", None: "cannot be told"}


def print_plan(policy: Policy) -> None:
    """One row per rule; a rule of both families is one row."""
    rows = [
        (
            flows[0].direction.value,
            flows[0].verdict.value,
            traffic(flows[0]),
            peers(flows),
            flows[0].because,
            flows[0].without,
        )
        for flows in _pairs(policy)
    ]
    say(f"{clean(policy.name)}: {plural(len(policy.flows), 'rule')}")
    say()
    if sys.stdout.isatty():
        for row in rows:
            say(f"{row[0]:3}  {row[1]:6}  {row[2]}")
            say(f"             {row[3]}")
            say(f"             why: {row[4]}; without it: {row[5]}")
    else:
        console().print(table(("WAY", "VERDICT", "WHAT", "PEERS", "WHY", "WITHOUT IT"), rows))
    say()
    say(f"everything else that comes in {_WORDS[policy.default_in]}")
    say(f"everything else that leaves {_WORDS[policy.default_out]}")


def _pairs(policy: Policy) -> Iterator[tuple[Flow, ...]]:
    groups: dict[tuple[object, ...], list[Flow]] = {}
    for flow in policy.flows:
        key = (flow.direction, flow.verdict, traffic(flow), flow.because, flow.without)
        name = flow.ident.rpartition("-ipv")[0]
        groups.setdefault((name, *(key if "ICMP" not in flow.protocol.name else key[:2])), []).append(flow)
    for flows in groups.values():
        yield tuple(flows)


def print_changes(changes: tuple[Change, ...]) -> None:
    """One line per difference."""
    for change in changes:
        say(describe(change))
    say(plural(len(changes), "difference") if changes else "no difference")


def describe(change: Change) -> str:
    """In words."""
    corner = change.corner
    way = "to" if corner.hook is Hook.OUT else "from"
    some = [str(one) for one in change.peers[:4]] + ["..."] * (len(change.peers) > 4)
    values = ", ".join(map(str, change.ranges[:6])) + ", ..." * (len(change.ranges) > 6)
    words = [f"{change.kind.value}: {corner.protocol.value} {values} {way} {', '.join(some)}"]
    words += ["through a published port"] * (corner.hook is Hook.FORWARD)
    words += [f"by {corner.interface}"] * bool(corner.interface) + [f"of {corner.user}"] * bool(corner.user)
    words += [f"of the set {corner.peer_set}"] * bool(corner.peer_set)
    words += ["above the rate"] * (not corner.is_within_rate)
    words += ["under way"] * (corner.state.value == "established")
    was, now = _WORDS[change.before], _WORDS[change.after]
    return clean(f"{' '.join(words)}: was: {was}{_by(change.rule_before)}; now: {now}{_by(change.rule_after)}")


def _by(rule: Flow | None) -> str:
    return f" ({rule.quote or rule.ident})" if rule is not None else ""
