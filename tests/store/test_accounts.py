"""Accounts: what is kept, what is refused, what a cache sees."""

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from postreeve.smtp.sasl import Credentials, Plain
from postreeve.store.accounts import (
    AccountExists,
    AccountNameInvalid,
    AccountsDamaged,
    NoSuchAccount,
    PasswordInvalid,
    SqliteAccounts,
)


@pytest.fixture
def accounts(tmp_path: Path) -> SqliteAccounts:
    return SqliteAccounts(tmp_path / "accounts.db")


def test_accounts_add_keeps_a_hash_and_not_the_password(accounts: SqliteAccounts, tmp_path: Path) -> None:
    added = accounts.add("Alice@example.org", "correct horse", ("alice@example.org", "*@example.net"), 100.0)
    assert accounts.get("alice@EXAMPLE.org") == added
    assert added.password_hash.startswith("$argon2id$")
    assert PasswordHasher().verify(added.password_hash, "correct horse")
    assert (added.name, added.send_as, added.is_disabled) == (
        "Alice@example.org",
        ("alice@example.org", "*@example.net"),
        False,
    )
    assert (added.created_at, added.changed_at) == (100.0, 100.0)
    for file in tmp_path.iterdir():
        assert b"correct horse" not in file.read_bytes()


def test_accounts_file_is_private(accounts: SqliteAccounts, tmp_path: Path) -> None:
    assert (tmp_path / "accounts.db").stat().st_mode & 0o077 == 0


def test_accounts_add_refuses_a_name_that_is_taken(accounts: SqliteAccounts) -> None:
    accounts.add("alice", "x", (), 1.0)
    with pytest.raises(AccountExists, match="ALICE"):
        accounts.add("ALICE", "y", (), 2.0)
    assert len(accounts.list()) == 1


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\x00b", "x" * 256], ids=["empty", "space", "lf", "nul", "long"])
def test_accounts_add_refuses_a_bad_name(accounts: SqliteAccounts, name: str) -> None:
    with pytest.raises(AccountNameInvalid):
        accounts.add(name, "x", (), 1.0)


def test_accounts_change_and_remove(accounts: SqliteAccounts) -> None:
    accounts.add("alice", "old", ("a@example.org",), 1.0)
    accounts.set_password("Alice", "new", 2.0)
    accounts.disable("alice", 3.0)
    accounts.set_send_as("alice", (), 4.0)
    account = accounts.get("alice")
    assert account is not None
    assert PasswordHasher().verify(account.password_hash, "new")
    assert (account.is_disabled, account.changed_at, account.created_at, account.send_as) == (True, 4.0, 1.0, ())
    accounts.enable("alice", 5.0)
    assert [a.is_disabled for a in accounts.list()] == [False]
    accounts.remove("alice")
    assert accounts.get("alice") is None
    assert accounts.list() == ()


def test_accounts_unknown_name_is_an_error(accounts: SqliteAccounts) -> None:
    for call in (
        lambda: accounts.set_password("bob", "x", 1.0),
        lambda: accounts.disable("bob", 1.0),
        lambda: accounts.enable("bob", 1.0),
        lambda: accounts.set_send_as("bob", (), 1.0),
        lambda: accounts.remove("bob"),
    ):
        with pytest.raises(NoSuchAccount, match="bob"):
            call()
    assert accounts.version() == 0


def test_accounts_version_tells_of_changes_by_another_process(accounts: SqliteAccounts, tmp_path: Path) -> None:
    other = SqliteAccounts(tmp_path / "accounts.db")
    before = accounts.version()
    other.add("alice", "x", (), 1.0)
    assert accounts.version() != before
    assert accounts.get("alice") is not None
    other.close()
    accounts.close()


def test_accounts_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(AccountsDamaged, match=r"accounts\.db is damaged: .*copy a backup"):
        SqliteAccounts(path)
    assert path.exists()


def test_accounts_inspect_finds_a_page_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    accounts = SqliteAccounts(path)
    accounts.inspect()
    accounts.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    damaged = SqliteAccounts(path)  # its first page is well
    with pytest.raises(AccountsDamaged):
        damaged.inspect()
    with pytest.raises(AccountsDamaged):
        damaged.get("alice")
    damaged.close()


def test_accounts_take_what_a_login_will_claim(accounts: SqliteAccounts) -> None:
    """RFC 4013: the composed and the decomposed letter are one, and a no-break space is a space."""
    typed, sent = "cafe\u0301\u00a0noir", "caf\u00e9 noir"
    accounts.add("Rene\u0301", typed, (), 1.0)
    account = accounts.get("ren\u00e9")
    assert account is not None
    claimed = Plain().step(b"\0" + "Ren\u00e9".encode() + b"\0" + sent.encode())
    assert isinstance(claimed, Credentials)
    assert PasswordHasher().verify(account.password_hash, claimed.password)
    with pytest.raises(AccountExists):
        accounts.add("REN\u00c9", "x", (), 2.0)
    accounts.set_password("ren\u00e9", "o\u0308", 3.0)
    changed = accounts.get("ren\u00e9")
    assert changed is not None
    assert PasswordHasher().verify(changed.password_hash, "\u00f6")


@pytest.mark.parametrize("password", ["", "a\nb", "a\x00b", "a\u0085b"], ids=["empty", "lf", "nul", "nel"])
def test_accounts_refuse_a_password_that_no_login_can_carry(accounts: SqliteAccounts, password: str) -> None:
    with pytest.raises(PasswordInvalid):
        accounts.add("alice", password, (), 1.0)
    assert accounts.list() == ()
