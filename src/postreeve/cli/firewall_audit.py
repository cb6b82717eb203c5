"""`postreeve firewall audit`: what is wrong with the rules in force, or with those in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall.audit import Audited
from postreeve.checks.firewall.catalogue import audit
from postreeve.cli.firewall_source import NoSource, read_file, read_live, wrong
from postreeve.cli.firewall_state import look_around
from postreeve.cli.output import clean, plural, print_json, say
from postreeve.cli.place import ConfigOption, JsonOption, installation
from postreeve.config.firewall import make_exposure
from postreeve.probes.machine.sockets import listening

RulesArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Rules of this machine; default: those in force.", show_default=False),
]


def audit_rules(rules: RulesArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Hold the rules in force, or those in FILE, against what the server needs and against who listens.

    FILE is what `firewall diff` takes. Nothing is changed. JSON: `findings`, each with `check` (FW001 …), `level`
    (`error`, `warning`, `note`), `title`, `subject`, `because` (the rule quoted) and `fix` (the command).

    Exit status: 0 nothing worse than a note, 1 errors or warnings, 2 wrong usage or rules that cannot be read.
    """
    found = installation(config).config
    exposure = make_exposure(found, look_around(found))
    try:
        live = read_live() if rules is None else read_file(rules)
    except NoSource as problem:
        raise wrong(str(problem)) from None
    findings = audit(Audited(exposure, live, listening(frozenset())))
    if as_json:
        print_json({"findings": [_document(one) for one in findings]})
    else:
        _print(findings)
    raise typer.Exit(1 if any(one.level is not Level.NOTE for one in findings) else 0)


def _print(findings: tuple[Finding, ...]) -> None:
    for one in findings:
        say(clean(f"{one.check} {one.level.value}: {one.title}: {one.subject}"))
        for line in one.because:
            say(clean(f"    {line}"))
        say(clean(f"    fix: {one.fix}"))
    say(plural(len(findings), "finding") if findings else "nothing is wrong")


def _document(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "title": finding.title,
        "subject": finding.subject,
        "because": list(finding.because),
        "fix": finding.fix,
    }
