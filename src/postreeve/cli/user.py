"""`postreeve user`: who may log in on submission listeners, and which addresses each may send as."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from postreeve.app.accounts import FILE_NAME, open_accounts
from postreeve.cli import password as passwords
from postreeve.cli.moment import Clock, iso
from postreeve.cli.opening import check_access, open_place
from postreeve.cli.output import clean, console, print_json, say, table
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.refusal import Refused
from postreeve.cli.selection import Utc
from postreeve.mail.address import parse_mailbox
from postreeve.mail.domain import parse_domain
from postreeve.store.accounts import Account, NoSuchAccount, SqliteAccounts, check_name

app = typer.Typer(help="Accounts that may submit mail.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name it logs in with.")]
SendAs = Annotated[
    list[str] | None,
    typer.Option(
        "--send-as",
        metavar="PATTERN",
        help='An address, "*@example.org" for a domain, or "*" for any; may be repeated.',
    ),
]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command("add")
def add(
    name: Name,
    send_as: SendAs = None,
    password_stdin: FromStdin = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add an account. Without --password-stdin a password is made and printed, once.

    A name that is an address may send as itself; any other needs --send-as.
    """
    patterns = _patterns(name, send_as)
    check_name(name)
    given = passwords.check_new(passwords.read_stdin()) if password_stdin else ""
    with _accounts(config, make=True) as accounts:
        # Before the slow hash, and whatever else: the name decides.
        if accounts.get(name) is not None:
            raise Refused(f"account {name} exists", "`postreeve user passwd` sets its password")
        account = accounts.add(name, given or (made := passwords.make_password()), patterns, time.time())
    _report(account, "" if given else made, as_json, f"account {name} added, may send as {', '.join(patterns)}")


@app.command("passwd")
def passwd(
    name: Name, password_stdin: FromStdin = False, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Set an account's password. Without --password-stdin one is made and printed, once."""
    given = passwords.check_new(passwords.read_stdin()) if password_stdin else ""
    made = "" if given else passwords.make_password()
    with _accounts(config) as accounts:
        _find(accounts, name)
        accounts.set_password(name, given or made, time.time())
        account = _find(accounts, name)
    _report(account, made, as_json, f"account {account.name} has a new password")


@app.command("list")
def list_accounts(as_json: JsonOption = False, utc: Utc = False, config: ConfigOption = None) -> None:
    """List the accounts."""
    with _accounts(config) as accounts:
        found = accounts.list()
    if as_json:
        print_json({"accounts": [_document(account) for account in found]})
        return
    if not found:
        say("there is no account; add one with `postreeve user add`")
        return
    clock = Clock(time.time(), utc)
    rows = [
        (
            account.name,
            "disabled" if account.is_disabled else "active",
            ", ".join(account.send_as),
            clock.tell(account.created_at),
            clock.tell(account.changed_at),
        )
        for account in found
    ]
    console().print(table(("Name", "State", "Sends as", "Created", "Changed"), rows, cut="Sends as"))


@app.command("disable")
def disable(name: Name, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Refuse an account's logins from now on. Its queued mail stays: see `postreeve queue hold --account`."""
    with _accounts(config) as accounts:
        account = _find(accounts, name)
        accounts.disable(name, time.time())
        changed = _find(accounts, name)
    note = f"account {account.name} {'was disabled already' if account.is_disabled else 'is disabled'}"
    _report(changed, "", as_json, note)


@app.command("enable")
def enable(name: Name, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a disabled account log in again."""
    with _accounts(config) as accounts:
        _find(accounts, name)
        accounts.enable(name, time.time())
        account = _find(accounts, name)
    _report(account, "", as_json, f"account {account.name} is enabled")


@app.command("remove")
def remove(name: Name, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Remove an account for good."""
    with _accounts(config) as accounts:
        account = _find(accounts, name)
        accounts.remove(name)
    if as_json:
        print_json({"removed": account.name})
    else:
        say(f"account {clean(account.name)} is removed")


@contextmanager
def _accounts(config: Path | None, *, make: bool = False) -> Iterator[SqliteAccounts]:
    installation = open_place(config, make=make)
    check_access(installation, FILE_NAME)
    with open_accounts(installation.data_dir) as accounts:
        yield accounts


def _find(accounts: SqliteAccounts, name: str) -> Account:
    account = accounts.get(name)
    if account is None:
        raise NoSuchAccount(f"there is no account {clean(name)} (see `postreeve user list`)")
    return account


def _patterns(name: str, given: list[str] | None) -> tuple[str, ...]:
    """What the account may send as; wrong usage where a pattern can never fit."""
    if not given:
        if parse_mailbox(name) is None:
            hint = "which addresses may it send as? Its name is no address: name them with --send-as"
            raise typer.BadParameter(hint, param_hint="--send-as")
        return (name,)
    for pattern in given:
        domain = pattern.removeprefix("*").removeprefix("@")
        is_domain = pattern.startswith(("@", "*@")) and parse_domain(domain) is not None
        if pattern != "*" and not is_domain and ("*" in pattern or parse_mailbox(pattern) is None):
            known = 'an address, "*@example.org" or "*"'
            raise typer.BadParameter(f"{pattern!r} is none of {known}", param_hint="--send-as")
    return tuple(dict.fromkeys(given))


def _report(account: Account, made: str, as_json: bool, words: str) -> None:
    if as_json:
        print_json(_document(account) | ({"password": made} if made else {}))
        return
    say(clean(words))
    if made:
        say(f"password: {made}")
        say("it is kept as a hash only and not shown again")


def _document(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "disabled": account.is_disabled,
        "send_as": list(account.send_as),
        "created_at": iso(account.created_at),
        "changed_at": iso(account.changed_at),
    }
