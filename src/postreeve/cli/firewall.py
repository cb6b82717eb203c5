"""`postreeve firewall`: which packets the server needs, as a plan, as rules for any firewall, and as differences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postreeve.cli.firewall_apply import apply, confirm, rollback
from postreeve.cli.firewall_audit import audit_rules
from postreeve.cli.firewall_document import flow_document, policy_document
from postreeve.cli.firewall_print import describe, print_changes, print_plan
from postreeve.cli.firewall_source import read_file, wrong
from postreeve.cli.firewall_state import look_around
from postreeve.cli.firewall_status import status
from postreeve.cli.firewall_target import TARGETS, load, target_named
from postreeve.cli.firewall_verify import verify
from postreeve.cli.output import clean, print_json
from postreeve.cli.place import ConfigOption, JsonOption, installation
from postreeve.config.firewall import make_exposure
from postreeve.firewall.compare import Change, compare
from postreeve.firewall.flow import NotUnderstood, Policy
from postreeve.firewall.intent import make_policy
from postreeve.firewall.ruleset import Ruleset, of_policy
from postreeve.probes.machine.firewall import Unseeable, read_live

app = typer.Typer(help="Plan, write, compare and apply firewall rules from the configuration.", no_args_is_help=True)

app.command("audit")(audit_rules)

_PLAN: Final = "plan"
_LIVE: Final = "live"


for _command in (apply, confirm, rollback, status, verify):
    app.command(_command.__name__)(_command)


@app.command("plan")
def plan(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which packets the server needs, in and out, why, and what would break without each rule.

    Names of next hops are resolved now, and who is logged in by SSH is found; nothing is changed. JSON: `name`,
    `default` (`in`, `out`), `sets` and `flows` (`id`, `direction`, `family`, `protocol`, `verdict`, `peers`, `set`,
    `ports` as [first, last], `icmp_types`, `state`, `interface`, `user`, `rate`, `container`, `because`, `without`,
    `unknown`, `quote`), in the order in which they are asked.
    """
    policy = planned(config)
    print_json(policy_document(policy)) if as_json else print_plan(policy)


TargetOption = Annotated[
    str, typer.Option("--target", "-t", help="One of: " + ", ".join(one.name for one in TARGETS) + ".")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File for the rules, or for the script that loads them."),
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--directory", "-d", metavar="DIR", help="Directory for all files of the target; made if need be."),
]
IdOption = Annotated[str, typer.Option("--id", help="What the rules go to, where a target asks: a group, a list.")]


NearestOption = Annotated[
    bool,
    typer.Option(
        "--nearest", help="Where the target cannot express a rule, write what comes nearest, and say what is left out."
    ),
]


@app.command("render")
def render(
    target: TargetOption = "nftables",
    output: OutputOption = None,
    directory: DirectoryOption = None,
    ident: IdOption = "",
    nearest: NearestOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the plan as rules for one firewall. Nothing is loaded, and only what is ours is replaced when it is.

    A firewall around the host (a cloud's) that holds less than the plan is fine with --nearest, as long as the host
    keeps its own: an accept never becomes narrower by it, only wider.

    Exit status: 0 written, 1 the target cannot express a rule (says which, and the nearest alternative), 2 wrong usage.
    """
    chosen = target_named(target)
    if chosen is None:
        raise wrong(f"--target {target!r} is none of: {', '.join(one.name for one in TARGETS)}")
    if chosen.wants and not ident:
        raise wrong(f"--target {target} needs --id, the id of {chosen.wants}")
    module, policy = load(chosen), planned(config)
    if nearest and chosen.fit is not None:
        fitted = chosen.fit(module, policy)
        policy = fitted.policy
        for lost in fitted.left_out:
            words = f"left to the host: {lost.flow.ident}: {lost.why}: {lost.alternative}"
            sys.stderr.write(f"postreeve: {clean(words)}\n")
    files = dict(chosen.write(module, policy, ident))
    if output is not None:
        output.write_text(next(iter(files.values())))
    if directory is not None:
        _write_all(files, directory)
    if output is None and directory is None:
        sys.stdout.write(next(iter(files.values())))


def _write_all(files: dict[str, str], directory: Path) -> None:
    for name, text in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


SideArgument = Annotated[str, typer.Argument(help="`plan`, `live`, or a file of rules.")]


@app.command("diff")
def diff(
    before: SideArgument = _LIVE, after: SideArgument = _PLAN, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show which packets fare differently by two rulesets, by meaning and not by text.

    A ruleset is `plan` (the configuration's), `live` (in force on this machine) or a FILE in any notation
    that `audit` takes (FILE.v4 with FILE.v6 beside it, user.rules with user6.rules). A difference
    is `added`, `widened`, `narrowed`, `removed`, `reworded` (silence in place of an answer, or the other way) or
    `unknown`. JSON: `changes`, each with `kind`, `hook`, `family`, `protocol`, `state`, `interface`, `user`, `set`,
    `within_rate`, `peers`, `ranges`, `before`, `after`, `rule_before`, `rule_after`, `text`; and `unread`.

    Exit status: 0 no difference, 1 differences, 2 wrong usage or input that cannot be read.
    """
    sides = [_side(one, config) for one in (before, after)]
    changes = compare(*sides)
    unread = [one for side in sides for one in side.unread]
    if as_json:
        print_json({"changes": [_document(change) for change in changes], "unread": unread})
    else:
        print_changes(changes)
        for one in unread:
            sys.stderr.write(f"postreeve: not read: {clean(one)}\n")
    raise typer.Exit(1 if changes else 0)


def planned(config: Path | None) -> Policy:
    """The configuration's policy on this machine now. Raises ConfigError and PolicyError."""
    found = installation(config).config
    return make_policy(make_exposure(found, look_around(found)))


def _side(name: str, config: Path | None) -> Ruleset:
    if name == _PLAN:
        return of_policy(planned(config))
    try:
        return read_live() if name == _LIVE else read_file(Path(name))
    except (NotUnderstood, Unseeable) as problem:
        raise wrong(str(problem)) from None


def _document(change: Change) -> dict[str, Any]:
    corner = change.corner
    rules = {"rule_before": change.rule_before, "rule_after": change.rule_after}
    return {
        "kind": change.kind.value,
        "hook": corner.hook.value,
        "family": f"ipv{corner.family.value}",
        "protocol": corner.protocol.value,
        "state": corner.state.value,
        "interface": corner.interface or None,
        "user": corner.user or None,
        "set": corner.peer_set or None,
        "within_rate": corner.is_within_rate,
        "peers": [str(one) for one in change.peers],
        "ranges": [[one.first, one.last] for one in change.ranges],
        "before": None if change.before is None else change.before.value,
        "after": None if change.after is None else change.after.value,
        **{name: None if rule is None else flow_document(rule) for name, rule in rules.items()},
        "text": describe(change),
    }
