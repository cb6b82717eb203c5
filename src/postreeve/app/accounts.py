"""Where accounts are kept, as logins see them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve.store.accounts import SqliteAccounts

FILE_NAME: Final = "accounts.db"


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """What a login needs to know of an account; see `inbound.login.AccountRecord`."""

    name: str
    password_hash: str
    send_as: tuple[str, ...]
    disabled: bool


class LoginAccounts:
    """The account store as `inbound.login.Accounts`."""

    __slots__ = ("_store",)

    def __init__(self, store: SqliteAccounts) -> None:
        self._store = store

    def find(self, name: str) -> LoginRecord | None:
        """See `inbound.login.Accounts`."""
        account = self._store.get(name)
        if account is None:
            return None
        return LoginRecord(account.name, account.password_hash, account.send_as, account.is_disabled)

    def version(self) -> object:
        """See `inbound.login.Accounts`."""
        return self._store.version()


@contextlib.contextmanager
def open_accounts(data_dir: Path) -> Iterator[SqliteAccounts]:
    """The accounts of a data directory, for tools. Raises StoreError when they cannot be opened."""
    store = SqliteAccounts(data_dir / FILE_NAME)
    try:
        yield store
    finally:
        store.close()


def ensure(data_dir: Path, name: str, password: str, send_as: tuple[str, ...]) -> None:
    """Add the account unless there is one of that name. Raises StoreError."""
    with open_accounts(data_dir) as store:
        if store.get(name) is None:
            store.add(name, password, send_as, time.time())
