"""`postreeve serve`: run the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file; otherwise $POSTREEVE_CONFIG or /etc/postreeve/postreeve.toml.",
    ),
]
DevOption = Annotated[
    bool, typer.Option("--dev", help="Development: loopback only, an account dev/dev, all mail kept in a Maildir.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="With --dev: where its data is; default: in your state directory."),
]


def serve(config: ConfigOption = None, dev: DevOption = False, data: DataOption = None) -> None:
    """Run the server in the foreground until SIGTERM; SIGHUP reloads the configuration."""
    if data is not None and not dev:
        raise typer.BadParameter(
            "it goes with --dev; otherwise data_dir is in the configuration file", param_hint="--data"
        )
    if dev and config is not None:
        raise typer.BadParameter("--dev makes its own configuration", param_hint="--config")
    from postreeve.app.configuration import find, read
    from postreeve.app.launch import serve as run

    if dev:
        from postreeve.app.dev import prepare

        stand = prepare(data)
        raise typer.Exit(run(stand.installation, stand.announce))
    raise typer.Exit(run(read(find(config, is_tool=False))))
