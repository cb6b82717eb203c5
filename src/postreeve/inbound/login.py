"""Passwords: checked in a bounded pool of threads, the same time and the same words for everybody who is refused.

RFC 4954; RFC 4616 for PLAIN. An unknown or disabled account costs the same hash as a wrong password (a dummy hash made
with the same parameters), so neither the clock nor the text tells names apart. A login that succeeded is remembered for
a short while as an HMAC with a key of this process, so a client with a connection per message costs one hash, not many.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import argon2

from postreeve.inbound.counter import SharedCounters
from postreeve.mail.error import PostreeveError
from postreeve.policy import login as policy
from postreeve.policy.facts import Account
from postreeve.policy.settings import LimitSettings
from postreeve.policy.verdict import Verdict
from postreeve.store.accounts import AccountReader, hash_password

REMEMBER_SECONDS: Final = 300.0
_MAX_REMEMBERED: Final = 10_000
_MAX_USERNAME_OCTETS: Final = 256


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who a client says it is."""

    username: str
    password: str
    authorization_identity: str
    client: bytes
    """The client's key, see `policy.facts.client_key`."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    digest: bytes
    version: int
    until: float
    account: Account

    def holds(self, digest: bytes, version: int, now: float) -> bool:
        return now < self.until and version == self.version and hmac.compare_digest(digest, self.digest)


class Logins:
    """Checks logins for all sessions of a process."""

    __slots__ = (
        "_accounts",
        "_clock",
        "_counters",
        "_dummy",
        "_hasher",
        "_key",
        "_pool",
        "_remembered",
        "_waiting",
        "_waiting_most",
    )

    def __init__(
        self,
        accounts: AccountReader,
        counters: SharedCounters,
        *,
        threads: int = 2,
        waiting: int = 64,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`waiting` bounds the logins that are being checked or wait for it. Costs one hash."""
        self._accounts = accounts
        self._counters = counters
        self._hasher = argon2.PasswordHasher()
        self._dummy = hash_password(secrets.token_hex(16))
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="login")
        self._remembered: dict[str, _Remembered] = {}
        self._waiting = 0
        self._waiting_most = waiting

    def close(self) -> None:
        """No logins any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def check(self, claimed: Claimed, limits: LimitSettings) -> tuple[Verdict, Account | None]:
        """The verdict, and the account when it is positive. Failures are counted here, and throttle later attempts."""
        if claimed.authorization_identity not in ("", claimed.username):
            return policy.NO_PROXY, None
        window = int(self._clock() // max(limits.auth_window_seconds, 1))
        by_client = self._counters.find(b"login client " + claimed.client)
        if self._counters.rate(by_client, window) >= limits.auth_failures_per_client > 0:
            return policy.THROTTLED, None
        try:
            version = self._accounts.version()
        except PostreeveError:
            return policy.UNAVAILABLE, None
        digest = self._digest(claimed)
        known = self._remembered.get(claimed.username)
        if known is not None and known.holds(digest, version, self._clock()):
            return policy.ACCEPTED, known.account
        by_account = self._counters.find(b"login account " + _octets(claimed.username.casefold()))
        # After what is remembered: strangers who guess must not lock out the owner at his usual client.
        if self._counters.rate(by_account, window) >= limits.auth_failures_per_account > 0:
            return policy.THROTTLED, None
        if self._waiting >= self._waiting_most:
            return policy.BUSY, None
        verdict, account = await self._in_pool(claimed)
        if account is not None:
            self._remember(claimed.username, _Remembered(digest, version, self._clock() + REMEMBER_SECONDS, account))
        elif policy.is_failure(verdict):
            self._counters.note(by_client, window)
            self._counters.note(by_account, window)
        return verdict, account

    async def _in_pool(self, claimed: Claimed) -> tuple[Verdict, Account | None]:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, claimed)
        finally:
            self._waiting -= 1

    def _verify(self, claimed: Claimed) -> tuple[Verdict, Account | None]:
        try:
            record = self._accounts.get(claimed.username) if _is_plausible(claimed) else None
        except (OSError, PostreeveError):
            return policy.UNAVAILABLE, None
        is_right = self._is_right(self._dummy if record is None else record.password_hash, claimed.password)
        if record is None:
            return policy.UNKNOWN, None
        if not is_right:
            return policy.WRONG_PASSWORD, None
        if record.is_disabled:
            return policy.DISABLED, None
        return policy.ACCEPTED, Account(record.name, tuple(record.send_as))

    def _is_right(self, password_hash: str, password: str) -> bool:
        octets = _octets(password)
        if len(octets) > policy.MAX_PASSWORD_OCTETS:
            octets = b""
        try:
            self._hasher.verify(password_hash, octets)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return bool(octets)

    def _digest(self, claimed: Claimed) -> bytes:
        text = _octets(claimed.username) + b"\0" + _octets(claimed.password)
        return hmac.digest(self._key, text, hashlib.sha256)

    def _remember(self, username: str, entry: _Remembered) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[username] = entry


def _is_plausible(claimed: Claimed) -> bool:
    """False for names that no account has: the stores need not see them."""
    name = claimed.username
    return bool(name) and len(name) <= _MAX_USERNAME_OCTETS and name.isprintable()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
