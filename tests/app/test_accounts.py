"""What a worker reads accounts from: whatever file is there, taken up by itself, and told of when it is no good."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from postreeve.app.accounts import ServedAccounts
from postreeve.store.accounts import SqliteAccounts
from postreeve.store.face import StoreError
from postreeve.telemetry.event import AccountsTrouble, TelemetryEvent


class Desk:
    """Accounts with one name in them, and what was told of them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "accounts.db"
        self.add(self.path)
        self.told: list[TelemetryEvent] = []
        self.served = ServedAccounts(self.path, self.told.append)

    def add(self, path: Path) -> None:
        """A sound file with alice in it."""
        accounts = SqliteAccounts(path)
        accounts.add("alice", "x", (), 1.0)
        accounts.close()

    def look(self) -> None:
        """One round of the watch."""
        asyncio.run(self.served.look())

    def states(self) -> list[str]:
        """What was told so far."""
        return [event.state for event in self.told if isinstance(event, AccountsTrouble)]

    def fails(self) -> bool:
        """True when a login would be answered with 454."""
        try:
            self.served.version()
            return self.served.get("alice") is None
        except StoreError:
            return True


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_served_accounts_are_read_and_nothing_is_told(desk: Desk) -> None:
    desk.look()
    desk.look()
    assert not desk.fails()
    assert desk.states() == []
    assert desk.served.describe() == {"problem": "", "hint": ""}


def test_served_accounts_that_are_damaged_are_told_once_and_left_alone(desk: Desk) -> None:
    garbage = b"no database at all" * 500
    desk.path.write_bytes(garbage)
    desk.look()
    desk.look()
    assert desk.fails()
    assert desk.states() == ["damaged"]
    assert "is damaged" in desk.served.describe()["problem"]
    assert "damaged-accounts-" in desk.served.describe()["hint"]
    assert desk.path.read_bytes() == garbage


def test_served_accounts_take_up_another_file_in_their_place(desk: Desk, tmp_path: Path) -> None:
    desk.path.write_bytes(b"no database at all" * 500)
    desk.look()
    desk.path.rename(tmp_path / "aside")
    desk.look()
    assert not desk.path.exists()  # nothing is made where a backup is about to be put
    desk.add(desk.path)
    desk.look()
    assert not desk.fails()
    assert desk.states() == ["damaged", "unavailable", "recovered"]


def test_served_accounts_take_up_a_file_that_replaced_a_sound_one(desk: Desk, tmp_path: Path) -> None:
    desk.look()
    SqliteAccounts(tmp_path / "other.db").close()
    (tmp_path / "other.db").replace(desk.path)
    desk.look()
    assert desk.served.get("alice") is None
    assert desk.states() == []


def test_served_accounts_that_a_login_finds_damaged_are_looked_at_again(desk: Desk) -> None:
    desk.look()
    accounts = SqliteAccounts(desk.path)
    accounts.add("bob", "x", (), 1.0)  # what the other had read before is read anew
    accounts.close()
    with closing(sqlite3.connect(desk.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = desk.path.read_bytes()
    with desk.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (len(whole) - 4096))
    assert desk.states() == []
    with pytest.raises(StoreError):
        desk.served.get("alice")
    desk.look()
    assert desk.states() == ["damaged"]
    assert desk.fails()
