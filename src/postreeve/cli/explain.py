"""`postreeve explain`: what an error text means, what else it could mean, and what would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from postreeve.cli.explain_answer import answer


def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="The error text; `-`, or none in a pipe: standard input."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Read the text from this file.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List every cause that is known.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an error text of a mail program means.

    The text may be one line, a traceback or a piece of a log. Names one cause where the text decides it, otherwise all
    that fit, each with what would decide. Exit status 1 when nothing is known of the text, 2 when there is none.
    """
    raise typer.Exit(answer(list(text or ()), file, list_all=list_all, as_json=as_json))
