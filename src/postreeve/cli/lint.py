"""`postreeve lint`: are the mail settings in these files right, and what should they be?"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from postreeve import __version__
from postreeve.checks.finding import Level
from postreeve.checks.settings.lint import Linted, lint_text
from postreeve.checks.settings.report import json_document, masked, sarif_document, secrets_of, without_secrets
from postreeve.checks.settings.subject import Problem
from postreeve.cli import lint_files
from postreeve.cli.lint_files import NoFile, Skipped, Text
from postreeve.cli.output import clean, plural, print_json, say
from postreeve.clientconfig.kind import KINDS, kind_named
from postreeve.clientconfig.settings import Kind

_MOST_NAMED: Final = 5
_BAD: Final = (Level.ERROR, Level.WARNING)


def lint(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="Files, or directories to walk.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the corrections; FILE~ keeps what was there.")] = False,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Read files of this kind only.")] = "",
    probe: Annotated[bool, typer.Option("--probe", help="Connect to the servers that the files name.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="Authorities that --probe trusts as well (PEM).", dir_okay=False)
    ] = None,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code hosts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check the mail settings in programs' own files: ports, TLS, hosts, users, secrets. Nothing is executed.

    Each finding names file and line and says what to write instead; a diff shows the corrected lines. Exit status 1
    when there is an error or a warning that was not corrected, 2 for wrong usage.
    """
    if not files:
        _refuse("name at least one file or directory")
    if ca_file is not None and not ca_file.is_file():
        _refuse(f"--ca-file {ca_file} is no file")
    chosen = _kind(kind)
    done, skipped = _read_all(files, chosen)
    fixed, failed = _write_all(done) if fix else ({}, [])
    left = [_after(linted, chosen) if linted.file in fixed else linted for linted, _ in done]
    left = [without_secrets(linted, text.text) for linted, (_, text) in zip(left, done, strict=True)]
    probes = _probe(left, ca_file) if probe else None
    if sarif:
        print_json(sarif_document(left, __version__))
    elif as_json:
        document = json_document(left, frozenset(fixed), [(str(one.path), one.because) for one in skipped])
        print_json(document if probes is None else {**document, "probes": [one for one, _ in probes]})
    else:
        _print(done, left, fixed, probes)
        _print_skipped(skipped)
    for problem in failed:
        sys.stderr.write(f"postreeve lint: {clean(problem)}\n")
    if failed:
        raise typer.Exit(2)
    is_bad = any(one.finding.level in _BAD for linted in left for one in linted.problems)
    if is_bad or any(not is_well for _, is_well in probes or ()):
        raise typer.Exit(1)


def _kind(name: str) -> Kind | None:
    if not name:
        return None
    found = kind_named(name)
    if found is None:
        _refuse(f"no kind {name!r}; there are {', '.join(sorted(one.name for one in KINDS))}")
    return found


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"postreeve lint: {clean(problem)}\n")
    raise typer.Exit(2)


def _read_all(files: Sequence[Path], kind: Kind | None) -> tuple[list[tuple[Linted, Text]], list[Skipped]]:
    """Every file with settings, and those that were found and could not be read."""
    done: list[tuple[Linted, Text]] = []
    skipped: list[Skipped] = []
    try:
        for path, is_named in lint_files.find(files):
            text = lint_files.read(path, is_named=is_named)
            if isinstance(text, Skipped):
                skipped.append(text)
                continue
            linted = lint_text(str(path), text.text, kind)
            if linted.settings or (is_named and len(files) == 1):
                done.append((linted, text))
    except NoFile as problem:
        _refuse(str(problem))
    return done, skipped


def _write_all(done: Sequence[tuple[Linted, Text]]) -> tuple[dict[str, Path], list[str]]:
    """The files that were corrected, with their backups, and why others were not."""
    fixed: dict[str, Path] = {}
    failed: list[str] = []
    for linted, text in done:
        if linted.corrected != text.text:
            try:
                fixed[linted.file] = lint_files.write(text, linted.corrected)
            except NoFile as problem:
                failed.append(str(problem))
    return fixed, failed


def _after(linted: Linted, kind: Kind | None) -> Linted:
    return lint_text(linted.file, linted.corrected, kind)


def _probe(files: Sequence[Linted], ca_file: Path | None) -> list[tuple[dict[str, Any], bool]]:
    from postreeve.cli.lint_probe import probe_file

    return [one for linted in files if linted.settings for one in probe_file(linted.file, ca_file)]


def _print(
    done: Sequence[tuple[Linted, Text]],
    left: Sequence[Linted],
    fixed: Mapping[str, Path],
    probes: list[tuple[dict[str, Any], bool]] | None,
) -> None:
    for (linted, text), after in zip(done, left, strict=True):
        secrets = secrets_of(linted, text.text)
        if not linted.settings:
            say(f"{clean(linted.file)}: no mail settings of a known kind")
        for one in after.problems:
            _print_problem(one, secrets)
        if linted.corrected != text.text:
            if linted.file in fixed:
                say(f"{clean(linted.file)}: corrected; {clean(str(fixed[linted.file]))} has what was there")
            _print_diff(linted, text, secrets)
    for document, _ in probes or ():
        _print_probe(document)
    problems = [one for linted in left for one in linted.problems]
    counts = [(sum(one.finding.level is level for one in problems), level.value) for level in Level]
    found = ", ".join(plural(count, noun) for count, noun in counts if count) or "nothing to complain about"
    say(f"{plural(sum(bool(linted.settings) for linted in left), 'file')} with mail settings: {found}")


def _print_skipped(skipped: Sequence[Skipped]) -> None:
    for one in skipped[:_MOST_NAMED]:
        say(f"{clean(str(one.path))}: skipped: {one.because}")
    if len(skipped) > _MOST_NAMED:
        say(f"and {len(skipped) - _MOST_NAMED} more were skipped; --json names them")


def _print_problem(one: Problem, secrets: Sequence[str]) -> None:
    finding = one.finding
    say(f"{clean(finding.subject)}: {finding.level.value}: {finding.title} [{finding.check}]")
    for line in finding.because:
        say(f"    {clean(masked(line, secrets))}")
    if finding.fix:
        say(f"    fix: {clean(masked(finding.fix, secrets))}")


def _print_diff(linted: Linted, text: Text, secrets: Sequence[str]) -> None:
    old, new = (each.splitlines() for each in (text.text, linted.corrected))
    name = linted.file.lstrip("/")
    for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", n=1, lineterm=""):
        say(clean(masked(line, secrets).replace("\t", "    ")))


def _print_probe(document: dict[str, Any]) -> None:
    say(f"{clean(document['target'])}: {clean(document['cause'])} ({document['confidence']})")
    for line in document["evidence"]:
        say(f"    {clean(line)}")
    for number, line in enumerate(document["fix"].splitlines()):
        say(f"    {'     ' if number else 'fix: '}{clean(line)}")
