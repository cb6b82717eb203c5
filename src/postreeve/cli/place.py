"""Where the configuration is, for every command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from postreeve.app.configuration import Installation, find, read

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file; otherwise $POSTREEVE_CONFIG, /etc/postreeve/postreeve.toml or that of the last "
        "`postreeve serve --dev`.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def installation(config: Path | None) -> Installation:
    """The configuration to work with. Raises ConfigError, which `main` prints, when there is none or it is wrong."""
    return read(find(config))
