"""The accounts that may submit: names, password hashes, and which addresses each may send as.

`SqliteAccounts` keeps them in one small file. Its methods are synchronous and quick (a point look-up in a file that is
in the page cache), but `add`, `set_password` and `hash_password` are not: argon2id is slow on purpose. Call those from
a thread.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.low_level import Type

from postreeve.smtp.sasl import prepare
from postreeve.store.face import StoreError

VERSION: Final = 1
MAX_NAME_OCTETS: Final = 255

# RFC 9106, section 4 asks for as much memory as one can afford: 19 MiB, so that 50 logins at once fit a small machine,
# with the 2 passes that OWASP's password storage guidance pairs with it. A hash carries its parameters along.
_HASHER: Final = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
)
_COLUMNS: Final = "name, password_hash, disabled, send_as, created, changed"


@dataclass(frozen=True, slots=True)
class Account:
    """Who may submit. `send_as` are patterns of reverse-paths and From addresses, such as `*@example.org`."""

    name: str
    password_hash: str
    is_disabled: bool
    send_as: tuple[str, ...]
    created_at: float
    changed_at: float


class AccountReader(Protocol):
    """What a login asks for. All methods raise StoreError when the accounts cannot be read."""

    def get(self, name: str) -> Account | None:
        """The account, disabled or not."""
        ...

    def version(self) -> int:
        """A number that changes whenever any account changes, by whichever process: for whoever caches."""
        ...


class AccountStore(AccountReader, Protocol):
    """Names are compared without case (RFC 8265 UsernameCaseMapped reduced to what mail accounts use)."""

    def list(self) -> tuple[Account, ...]:
        """All, by name."""
        ...

    def add(self, name: str, password: str, send_as: tuple[str, ...], now: float) -> Account:
        """A new account; raises AccountExists, AccountNameInvalid, PasswordInvalid."""
        ...

    def set_password(self, name: str, password: str, now: float) -> None:
        """Raises NoSuchAccount, PasswordInvalid."""
        ...

    def set_send_as(self, name: str, send_as: tuple[str, ...], now: float) -> None:
        """Raises NoSuchAccount."""
        ...

    def disable(self, name: str, now: float) -> None:
        """No login from now on; raises NoSuchAccount."""
        ...

    def enable(self, name: str, now: float) -> None:
        """Raises NoSuchAccount."""
        ...

    def remove(self, name: str) -> None:
        """Raises NoSuchAccount."""
        ...


class AccountsDamaged(StoreError):
    """The file is no account file any more: only the operator can put another in its place, and `hint` says how."""

    def __init__(self, path: Path, problem: object) -> None:
        aside = path.parent / f"damaged-accounts-{time.strftime('%Y%m%d')}"
        self.problem = f"{path} is damaged: {problem}"
        self.hint = (
            f"set it aside, with its log: mkdir {aside} && mv {path}* {aside}; then copy a backup to {path}, owned by "
            "the server's account, or make the accounts anew: postreeve user add"
        )
        super().__init__(f"{self.problem} ({self.hint})")


class AccountExists(StoreError):
    """There is an account of that name."""


class NoSuchAccount(StoreError):
    """There is no account of that name."""


class AccountNameInvalid(StoreError):
    """The name is empty, too long, or has control characters or spaces."""


class PasswordInvalid(StoreError):
    """The password is empty or has characters that no login could carry."""


def hash_password(password: str) -> str:
    """argon2id (RFC 9106) with a random salt, in the usual `$argon2id$…` form. Takes tens of milliseconds.

    The password is prepared as a login prepares it (RFC 4013). Raises PasswordInvalid.
    """
    prepared = prepare(password)
    if not prepared:
        raise PasswordInvalid("the password is empty or has control characters")
    return _HASHER.hash(prepared)


def fold_name(name: str) -> str:
    """The comparable form of an account name: prepared as in a login (RFC 4013), without case."""
    return (prepare(name) or name).casefold()


def check_name(name: str) -> None:
    """Raises AccountNameInvalid for a name that could not be typed into every client, or forges log lines."""
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME_OCTETS:
        raise AccountNameInvalid(f"an account name has 1 to {MAX_NAME_OCTETS} octets")
    if not name.isprintable() or " " in (prepare(name) or " "):
        raise AccountNameInvalid("an account name has no spaces and no control characters")


class SqliteAccounts:
    """See `AccountStore`. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it (readable by its owner only).

        Raises AccountsDamaged for what is no account file, StoreError when it cannot be used otherwise.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._surprise("opened", error) from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA synchronous = FULL")
        (version,) = run("PRAGMA user_version").fetchone()
        if version > VERSION:
            self.close()
            raise StoreError(f"{self._path} has schema version {version}, this postreeve knows version {VERSION}")
        if version == VERSION:
            # Nothing is written then: several workers open the file at the same moment.
            return
        run("PRAGMA journal_mode = WAL")
        run(
            "CREATE TABLE IF NOT EXISTS account (key TEXT PRIMARY KEY, name TEXT NOT NULL, password_hash TEXT NOT NULL,"
            " disabled INTEGER NOT NULL, send_as TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL)"
        )
        run("CREATE TABLE IF NOT EXISTS version (number INTEGER NOT NULL)")
        run("INSERT INTO version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM version)")
        run(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def inspect(self) -> None:
        """Read all of the file. Raises AccountsDamaged when a part of it cannot be, StoreError as reading does."""
        found = self._read("PRAGMA quick_check(1)")
        if found != (("ok",),):
            raise AccountsDamaged(self._path, found[0][0])

    def get(self, name: str) -> Account | None:
        """See `AccountStore`."""
        rows = self._read(f"SELECT {_COLUMNS} FROM account WHERE key = ?", fold_name(name))
        return _account(rows[0]) if rows else None

    def list(self) -> tuple[Account, ...]:
        """See `AccountStore`."""
        return tuple(_account(row) for row in self._read(f"SELECT {_COLUMNS} FROM account ORDER BY key"))

    def add(self, name: str, password: str, send_as: tuple[str, ...], now: float) -> Account:
        """See `AccountStore`."""
        check_name(name)
        account = Account(name, hash_password(password), False, send_as, now, now)
        row = (fold_name(name), name, account.password_hash, False, "\n".join(send_as), now, now)
        if not self._write("INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?, ?, ?, ?)", *row):
            raise AccountExists(f"there is an account {name} already")
        return account

    def set_password(self, name: str, password: str, now: float) -> None:
        """See `AccountStore`."""
        self._update(name, "password_hash", hash_password(password), now)

    def set_send_as(self, name: str, send_as: tuple[str, ...], now: float) -> None:
        """See `AccountStore`."""
        self._update(name, "send_as", "\n".join(send_as), now)

    def disable(self, name: str, now: float) -> None:
        """See `AccountStore`."""
        self._update(name, "disabled", True, now)

    def enable(self, name: str, now: float) -> None:
        """See `AccountStore`."""
        self._update(name, "disabled", False, now)

    def remove(self, name: str) -> None:
        """See `AccountStore`."""
        if not self._write("DELETE FROM account WHERE key = ?", fold_name(name)):
            raise NoSuchAccount(f"there is no account {name}")

    def version(self) -> int:
        """See `AccountStore`."""
        return int(str(self._read("SELECT number FROM version")[0][0]))

    def _update(self, name: str, column: str, value: str | bool, now: float) -> None:
        if not self._write(f"UPDATE account SET {column} = ?, changed = ? WHERE key = ?", value, now, fold_name(name)):
            raise NoSuchAccount(f"there is no account {name}")

    def _read(self, query: str, *values: str) -> tuple[tuple[object, ...], ...]:
        with self._lock:
            try:
                return tuple(self._connection.execute(query, values).fetchall())
            except sqlite3.Error as error:
                raise self._surprise("read", error) from error

    def _write(self, query: str, *values: str | bool | float) -> int:
        """Run `query` and count the change of version with it; returns how many rows it changed."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                changed = self._connection.execute(query, values).rowcount
                if changed:
                    self._connection.execute("UPDATE version SET number = number + 1")
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise self._surprise("written", error) from error
        return changed

    def _surprise(self, done: str, error: sqlite3.Error) -> StoreError:
        """What to raise for SQLite's error; its subclasses are what a sound file can meet too (locks, the disk)."""
        if type(error) is sqlite3.DatabaseError:
            return AccountsDamaged(self._path, error)
        return StoreError(f"{self._path} cannot be {done}: {error}")


def _account(row: tuple[object, ...]) -> Account:
    name, password_hash, disabled, send_as, created, changed = row
    return Account(
        str(name),
        str(password_hash),
        bool(disabled),
        tuple(str(send_as).split("\n")) if send_as else (),
        float(str(created)),
        float(str(changed)),
    )
