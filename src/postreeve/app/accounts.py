"""Where the accounts of a data directory are kept, and how a worker reads them.

The server needs no accounts for mail between servers. So a file that cannot be read stops no start: logins are told to
come back (454), the operator what to do, and another file in its place is taken up by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postreeve.store.accounts import Account, AccountsDamaged, SqliteAccounts
from postreeve.store.face import StoreError
from postreeve.telemetry.event import AccountsTrouble, Tell

FILE_NAME: Final = "accounts.db"
POLL_SECONDS: Final = 5.0


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


class ServedAccounts:
    """The accounts as logins ask for them. Await `look` once, then run `watch` as a task; `close` at the end."""

    __slots__ = ("_path", "_seen", "_store", "_tell", "trouble")

    def __init__(self, path: Path, tell: Tell) -> None:
        """`tell` hears when the accounts cannot be read, and when they can again."""
        self._path = path
        self._tell = tell
        self._store: SqliteAccounts | None = None
        self._seen: tuple[int, int] | None = None
        """Which file is in use: an operator may have put another in its place. None: to be looked at anew."""
        self.trouble: AccountsTrouble | None = None
        """Why nobody can log in; None when all is well."""

    def get(self, name: str) -> Account | None:
        """See `AccountReader`. May be called from any thread."""
        try:
            return self._opened().get(name)
        except AccountsDamaged:
            self._seen = None
            raise

    def version(self) -> int:
        """See `AccountReader`."""
        return self._opened().version()

    def _opened(self) -> SqliteAccounts:
        if self._store is None:
            raise StoreError(f"{self._path} is not in use")
        return self._store

    async def watch(self) -> None:
        """Look every few seconds."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Take up the file that is there now, unless it is in use already; tell what is wrong with it, once."""
        before, trouble = self.trouble, await asyncio.to_thread(self._examine)
        self.trouble = trouble
        if trouble is not None and (before is None or before.state != trouble.state):
            self._tell(trouble)
        elif trouble is None and before is not None:
            self._tell(AccountsTrouble("recovered", f"{self._path} is in use again", ""))

    def _examine(self) -> AccountsTrouble | None:
        try:
            status = self._path.stat()
            seen = status.st_dev, status.st_ino
            if self._store is None or seen != self._seen:
                self.close()  # also because a damaged file is to be moved away
                self._store = _open_whole(self._path)
                self._seen = seen
            self._store.version()
        except AccountsDamaged as damage:
            self.close()
            return AccountsTrouble("damaged", damage.problem, damage.hint)
        except StoreError as problem:
            return AccountsTrouble(
                "unavailable", str(problem), "the server's account must be able to read and write it"
            )
        except OSError as problem:
            self.close()
            hint = "copy a backup there, owned by the server's account, or make the accounts anew: postreeve user add"
            return AccountsTrouble("unavailable", f"{self._path}: {problem.strerror}", hint)
        return None

    def describe(self) -> dict[str, str]:
        """What is wrong, for the tools; empty strings when nothing is."""
        trouble = self.trouble
        return {"problem": "", "hint": ""} if trouble is None else {"problem": trouble.problem, "hint": trouble.hint}

    def close(self) -> None:
        """Let go of the file."""
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _open_whole(path: Path) -> SqliteAccounts:
    store = SqliteAccounts(path)
    try:
        store.inspect()
    except StoreError:
        store.close()
        raise
    return store
