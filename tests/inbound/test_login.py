"""Passwords: right ones, wrong ones, floods of them, and what a clock or a log may learn."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.login import Claimed, Logins
from postreeve.policy import login
from postreeve.policy.facts import Account
from postreeve.policy.settings import LimitSettings
from postreeve.policy.verdict import Verdict
from postreeve.store.accounts import SqliteAccounts

LIMITS = LimitSettings(auth_failures_per_client=5, auth_failures_per_account=8, auth_window_seconds=300)
CLIENT = b"\xc0\0\2\1"


class Desk:
    """Logins over a real account file, at a time that stands still until told."""

    def __init__(self, directory: Path) -> None:
        self.now = 1.8e9
        self.accounts = SqliteAccounts(directory / "accounts.db")
        self.accounts.add("alice", "correct horse", ("alice@example.org",), self.now)
        self.accounts.add("gone", "correct horse", (), self.now)
        self.accounts.disable("gone", self.now)
        self.logins = Logins(self.accounts, SharedCounters(1024), clock=lambda: self.now)

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
    started = time.perf_counter()
    for _ in range(20):
        assert desk.check("alice", "correct horse")[0] is login.ACCEPTED
    assert time.perf_counter() - started < 0.2
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
    assert verdicts.count(login.UNKNOWN) == 64


def test_check_without_accounts_is_a_temporary_failure(desk: Desk) -> None:
    desk.accounts.close()
    assert desk.check("alice", "correct horse")[0] is login.UNAVAILABLE


def test_enumeration_by_time_finds_nothing(desk: Desk) -> None:
    """Interleaved, so that whatever else the machine does falls on both; medians within a coarse bound."""
    free = LimitSettings(auth_failures_per_client=0, auth_failures_per_account=0)
    known, unknown = [], []
    for number in range(25):
        for name, times in (("alice", known), (f"nobody{number}", unknown)):
            started = time.perf_counter()
            desk.check(name, "wrong", limits=free)
            times.append(time.perf_counter() - started)
    ratio = statistics.median(known) / statistics.median(unknown)
    assert 0.7 < ratio < 1.4
