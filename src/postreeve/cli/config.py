"""`postreeve config`: check the configuration file, show what is in force, print a file to begin with."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated

import typer

from postreeve.app.configuration import find, inspect_files, read
from postreeve.app.privilege import drop, find_account
from postreeve.app.startup import StartupError
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.config.problem import ConfigError, Problem
from postreeve.config.reference import default_file, show

app = typer.Typer(help="Check, show or begin the configuration file.", no_args_is_help=True)


@app.command("check")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Name every mistake in the configuration file and in the files it names; exit status 1 if there is one."""
    path = find(config)
    warnings: tuple[Problem, ...] = ()
    try:
        installation = read(path)
        # What counts is what the server's account may read.
        account = find_account(installation.config.user)
        if account is not None:
            drop(account)
        report = inspect_files(installation)
        problems, warnings = report.problems, report.warnings
    except ConfigError as error:
        problems = error.problems
    except StartupError as error:
        problems = (Problem("user", 0, error.problem, error.hint),)
    if as_json:
        document = {
            "file": str(path),
            "problems": [dataclasses.asdict(problem) for problem in problems],
            "warnings": [dataclasses.asdict(warning) for warning in warnings],
        }
        print(json.dumps(document, indent=2))
    else:
        for problem in problems:
            print(f"{path}: {problem}")
        for warning in warnings:
            print(f"{path}: warning: {warning}")
        print(f"{path}: {len(problems)} problem{'s' * (len(problems) != 1)}" if problems else f"{path}: fine")
    raise typer.Exit(1 if problems else 0)


@app.command("show")
def show_(
    config: ConfigOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every setting in force and where it comes from: a line of the file, or the default."""
    installation = read(find(config))
    shown = [one for one in show(installation.text) if one.line or not changed]
    if as_json:
        settings = [
            {"path": one.path, "value": one.value, "source": "file" if one.line else "default", "line": one.line}
            for one in shown
        ]
        print(json.dumps({"file": str(installation.path), "settings": settings}, indent=2))
        return
    width = max((len(one.path) + len(one.value) for one in shown), default=0) + 3
    for one in shown:
        source = f"{installation.path.name}:{one.line}" if one.line else "default"
        print(f"{f'{one.path} = {one.value}':{min(width, 72)}}  # {source}")


@app.command("default")
def default() -> None:
    """Print a commented configuration file with every setting and its default."""
    sys.stdout.write(default_file())
