"""From root to the server's own account, for good."""

from __future__ import annotations

import grp
import importlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve.app.startup import StartupError

_IMPORTED_LATE: Final = ("concurrent.futures.thread", "encodings.idna", "pickle")
"""What the libraries import when they first need it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account the server runs under."""

    name: str
    uid: int
    gid: int


def find_account(user: str) -> Account | None:
    """The account to drop to; None when there is nothing to drop: not root, or `user` is empty.

    Raises StartupError when there is no such account.
    """
    if os.geteuid() != 0 or not user:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        command = f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
        raise StartupError(f'there is no account "{user}"', f'make it: {command}; or set user = ""') from None
    if entry.pw_uid == 0:
        raise StartupError(f'user = "{user}" is root itself', "name an account of its own")
    return Account(user, entry.pw_uid, entry.pw_gid)


def drop(account: Account) -> None:
    """Become `account`, irrevocably: supplementary groups, group, user, in this order."""
    for name in _IMPORTED_LATE:
        # A Python below root's home directory is out of reach for the account.
        importlib.import_module(name)
    os.initgroups(account.name, account.gid)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if os.geteuid() == 0 or os.getuid() == 0:
        raise StartupError("cannot give up the rights of root", "")


def prepare_directory(path: Path, account: Account | None) -> None:
    """Make `path` for the server alone, owned by its account; one that exists is left as it is."""
    if path.exists() and not path.is_dir():
        raise StartupError(f"{path} is no directory", "name another data_dir")
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            if account is not None:
                os.chown(path, account.uid, account.gid)
    except OSError as problem:
        hint = "make it, owned by the account that runs the server, or name another one"
        raise StartupError(f"{path} cannot be made: {problem.strerror}", hint) from None


def check_access(path: Path) -> None:
    """Raise StartupError unless we, as we are now, can write in `path`."""
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        name = _own_name()
        raise StartupError(f"account {name} cannot write to {path}", f"chown -R {name}: {path}")


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def group_name() -> str:
    """The group we run under, for hints."""
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
