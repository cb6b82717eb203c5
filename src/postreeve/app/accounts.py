"""Where the accounts of a data directory are kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postreeve.store.accounts import SqliteAccounts

FILE_NAME: Final = "accounts.db"


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
