"""The data directory as operators' commands use it: with the rights of the server's account."""

from __future__ import annotations

import os
from pathlib import Path

from postreeve.app.configuration import Installation
from postreeve.app.privilege import drop, find_account, prepare_directory
from postreeve.cli.output import console, table
from postreeve.cli.place import installation as read_installation
from postreeve.cli.refusal import Refused


def open_place(config: Path | None, *, make: bool = False) -> Installation:
    """The installation that the configuration describes; as root we go on as the server's own account.

    So no file that the server must write ever belongs to root, and nothing in a directory that is not root's is
    followed with root's rights. With `make` the data directory is made where it is missing. Raises ConfigError,
    StartupError, Refused.
    """
    installation = read_installation(config)
    directory = installation.data_dir
    account = find_account(installation.config.user)
    if make:
        prepare_directory(directory, account)
    if account is not None:
        table((), ())  # imports what the account may be unable to reach
        console()
        drop(account)
    try:
        os.scandir(directory).close()
    except FileNotFoundError:
        hint = f"it is made when the server starts: postreeve serve --config {installation.path}"
        raise Refused(f"data directory {directory} does not exist", hint) from None
    except OSError as problem:
        raise Refused(f"data directory {directory} cannot be read: {problem.strerror}", _who(installation)) from None
    return installation


def check_access(installation: Installation, name: str) -> None:
    """Raise Refused when the file in the data directory is there and is not ours to read and write."""
    path = installation.data_dir / name
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Refused(f"{path} cannot be read and written", _who(installation))


def _who(installation: Installation) -> str:
    user = installation.config.user
    return f"run this as {user} or as root" if user else "run this as the account that runs the server"
