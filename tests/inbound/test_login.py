"""Passwords: right ones, wrong ones, floods of them, and what a clock or a log may learn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.login import Claimed, Logins
from postreeve.policy import login
from postreeve.policy.facts import Account
from postreeve.policy.settings import LimitSettings
from postreeve.policy.verdict import Verdict
from postreeve.store.accounts import SqliteAccounts

LIMITS = LimitSettings(auth_failures_per_client=5, auth_failures_per_account=8, auth_window_seconds=300)
CLIENT = b"\xc0\0\2\1"


class CountingHasher:
    """The real hasher, and what it was asked to verify: the cost of each hash is in its parameters."""

    def __init__(self, real: PasswordHasher) -> None:
        self.real = real
        self.asked: list[Parameters] = []

    def verify(self, password_hash: str, password: bytes) -> bool:
        self.asked.append(extract_parameters(password_hash))
        return bool(self.real.verify(password_hash, password))


class Desk:
    """Logins over a real account file, at a time that stands still until told."""

    def __init__(self, directory: Path) -> None:
        self.now = 1.8e9
        self.accounts = SqliteAccounts(directory / "accounts.db")
        self.accounts.add("alice", "correct horse", ("alice@example.org",), self.now)
        self.accounts.add("gone", "correct horse", (), self.now)
        self.accounts.disable("gone", self.now)
        self.logins = Logins(self.accounts, SharedCounters(1024), clock=lambda: self.now)
        self.hasher = CountingHasher(self.logins._hasher)
        self.logins._hasher = self.hasher  # type: ignore[assignment]

    def check(
        self,
        username: str,
        password: str,
        *,
        identity: str = "",
        client: bytes = CLIENT,
        limits: LimitSettings = LIMITS,
    ) -> tuple[Verdict, Account | None]:
        return asyncio.run(self.logins.check(Claimed(username, password, identity, client), limits))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.logins.close()
    desk.accounts.close()


@pytest.mark.parametrize(
    ("username", "password", "identity", "reason"),
    [
        ("alice", "correct horse", "", None),
        ("ALICE", "correct horse", "", None),
        ("alice", "correct horse", "alice", None),
        ("alice", "wrong", "", "password"),
        ("alice", "", "", "password"),
        ("alice", "x" * 1025, "", "password"),
        ("alice", "correct horse\0", "", "password"),
        ("nobody", "correct horse", "", "unknown"),
        ("", "correct horse", "", "unknown"),
        ("alice\r\nx", "correct horse", "", "unknown"),
        ("a" * 5000, "correct horse", "", "unknown"),
        ("gone", "correct horse", "", "disabled"),
        ("gone", "wrong", "", "password"),
        ("alice", "correct horse", "bob", "authorization identity of somebody else"),
    ],
)
def test_check(desk: Desk, username: str, password: str, identity: str, reason: str | None) -> None:
    verdict, account = desk.check(username, password, identity=identity)
    if reason is None:
        assert (verdict, account) == (login.ACCEPTED, Account("alice", ("alice@example.org",)))
    else:
        assert account is None
        assert str(verdict.reply) == "535 5.7.8 authentication credentials invalid"
        assert verdict.reason == reason


def test_check_throttles_a_client_before_any_hash(desk: Desk) -> None:
    for number in range(5):
        assert desk.check(f"name{number}", "x")[0].reply.code == 535
    assert desk.check("alice", "correct horse")[0] is login.THROTTLED
    assert len(desk.hasher.asked) == 5
    assert desk.check("alice", "correct horse", client=b"\xc0\0\2\2")[0] is login.ACCEPTED
    desk.now += 300
    assert desk.check("alice", "correct horse")[0] is login.ACCEPTED


def test_check_throttles_an_account_but_not_the_owner_who_was_here(desk: Desk) -> None:
    assert desk.check("alice", "correct horse")[0] is login.ACCEPTED
    for number in range(8):
        desk.check("alice", "guess", client=bytes([number]))
    assert desk.check("Alice", "guess", client=b"new")[0] is login.THROTTLED
    assert desk.check("alice", "correct horse")[0] is login.ACCEPTED


def test_check_remembers_success_until_an_account_changes(desk: Desk) -> None:
    assert desk.check("alice", "correct horse")[0] is login.ACCEPTED
    for _ in range(20):
        assert desk.check("alice", "correct horse")[0] is login.ACCEPTED
    assert len(desk.hasher.asked) == 1
    desk.accounts.set_password("alice", "another", desk.now)
    assert desk.check("alice", "correct horse")[0].reply.code == 535
    assert desk.check("alice", "another")[0] is login.ACCEPTED
    desk.accounts.disable("alice", desk.now)
    assert desk.check("alice", "another")[0] is login.DISABLED


def test_check_bounds_the_hashes_that_wait(desk: Desk) -> None:
    async def flood() -> list[Verdict]:
        claims = [Claimed(f"name{number}", "x", "", bytes([number])) for number in range(100)]
        return [verdict for verdict, _ in await asyncio.gather(*(desk.logins.check(one, LIMITS) for one in claims))]

    verdicts = asyncio.run(flood())
    assert verdicts.count(login.BUSY) == 36
    assert verdicts.count(login.UNKNOWN) == 64 == len(desk.hasher.asked)


def test_check_without_accounts_is_a_temporary_failure(desk: Desk) -> None:
    desk.accounts.close()
    assert desk.check("alice", "correct horse")[0] is login.UNAVAILABLE


NAMES = {
    "known": ("alice", "wrong"),
    "known, too long a password": ("alice", "x" * 100_000),
    "known, no password": ("alice", ""),
    "disabled": ("gone", "wrong"),
    "disabled, right password": ("gone", "correct horse"),
    "unknown": ("nobody", "wrong"),
    "unknown, too long a password": ("nobody", "x" * 100_000),
    "no name": ("", "wrong"),
    "too long a name": ("a" * 100_000, "wrong"),
    "control characters": ("alice\r\n", "wrong"),
}


def test_enumeration_by_time_finds_nothing(desk: Desk) -> None:
    """threats T5: whatever the name, a refusal costs one verification of a hash with the same parameters."""
    free = LimitSettings(auth_failures_per_client=0, auth_failures_per_account=0)
    costs = {}
    for case, (name, password) in NAMES.items():
        desk.hasher.asked.clear()
        verdict, _ = desk.check(name, password, limits=free)
        assert str(verdict.reply) == "535 5.7.8 authentication credentials invalid"
        costs[case] = desk.hasher.asked.copy()
    (stored,) = costs["known"]
    assert stored.memory_cost >= 19 * 1024
    assert costs == {case: [stored] for case in NAMES}
