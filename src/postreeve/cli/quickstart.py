"""`postreeve quickstart`: begin a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from postreeve.app.configuration import SYSTEM_FILE
from postreeve.app.quickstart import DEFAULT_DATA, Made, carry_out, make_plan, option, remaining
from postreeve.cli.place import JsonOption

Hostname = Annotated[str, typer.Argument(metavar="HOSTNAME", help="The server's own name, such as mail.example.org.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="The first account, such as jane@example.org.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file to write.")]
DataDir = Annotated[Path, typer.Option("--data", metavar="DIR", help="The data directory to make.")]
User = Annotated[str, typer.Option("--user", metavar="NAME", help="The account the server runs under.")]


def quickstart(
    hostname: Hostname,
    address: Address,
    config: ConfigFile = SYSTEM_FILE,
    data: DataDir = DEFAULT_DATA,
    user: User = "postreeve",
    as_json: JsonOption = False,
) -> None:
    """Write a commented production configuration, make keys and an account, and say what remains to be done.

    Nothing that is there is overwritten.
    """
    made = carry_out(make_plan(hostname, address, config, data, user))
    if as_json:
        print(json.dumps(_report(made), indent=2))
    else:
        print("\n".join(_lines(made)))


def _report(made: Made) -> dict[str, object]:
    plan = made.plan
    steps = [{"what": one.what, "because": one.because, "lines": list(one.lines)} for one in remaining(plan)]
    return {
        "config": str(plan.config_file),
        "data_dir": str(plan.data_dir),
        "account": str(plan.address),
        "password": made.password,
        "remaining": steps,
    }


def _lines(made: Made) -> list[str]:
    plan = made.plan
    lines = [
        f"written   {plan.config_file}",
        f"made      {plan.data_dir}, with a key and a first certificate in {plan.certificate.parent}",
        f"account   {plan.address}",
        f"password  {made.password}",
        f"          kept nowhere else; change it with: postreeve user passwd {plan.address}{option(plan)}",
        "",
        "What remains to be done:",
    ]
    for number, step in enumerate(remaining(plan), 1):
        lines += ["", f"{number}. {step.what}", f"   because {step.because}"]
        lines += [f"     {line}" for line in step.lines]
    return lines
