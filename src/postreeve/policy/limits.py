"""A session's patience: refusals, junk, unknown recipients and failed logins are counted; first we slow down, then we
hang up.

An accepted message sets refusals and junk back to nought: the limits are for clients that do not get anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.policy import farewell
from postreeve.policy.settings import LimitSettings


@dataclass(slots=True)
class Tally:
    """What a session has used up."""

    errors: int = 0
    junk: int = 0
    unknown_recipients: int = 0
    auth_failures: int = 0

    def note_message(self) -> None:
        """A message was accepted."""
        self.errors = 0
        self.junk = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """What follows from a tally: wait before the reply, and after it say `farewell` and close, when it is set."""

    delay_seconds: float = 0.0
    farewell: Reply | None = None


GO_ON: Final = Patience()
_NO_ERRORS_LEFT: Final = Patience(farewell=farewell.TOO_MANY_ERRORS)
_NO_JUNK_LEFT: Final = Patience(farewell=farewell.TOO_MUCH_JUNK)
_NO_UNKNOWN_LEFT: Final = Patience(farewell=farewell.TOO_MANY_UNKNOWN)
_NO_LOGINS_LEFT: Final = Patience(farewell=farewell.TOO_MANY_LOGINS)


def note_error(tally: Tally, limits: LimitSettings, is_stressed: bool) -> Patience:
    """A command was refused. Under stress the first refusal is the last."""
    tally.errors += 1
    allowed = 1 if is_stressed else limits.max_errors
    if tally.errors >= allowed > 0:
        return _NO_ERRORS_LEFT
    if tally.errors >= limits.soft_errors > 0:
        return Patience(limits.error_delay_seconds)
    return GO_ON


def note_unknown_recipient(tally: Tally, limits: LimitSettings, is_stressed: bool) -> Patience:
    """A recipient was unknown: an error that may also be somebody trying out names."""
    tally.unknown_recipients += 1
    patience = note_error(tally, limits, is_stressed)
    if tally.unknown_recipients >= limits.max_unknown_recipients > 0:
        return _NO_UNKNOWN_LEFT
    return patience


def note_failed_login(tally: Tally, limits: LimitSettings, is_stressed: bool) -> Patience:
    """A login failed."""
    tally.auth_failures += 1
    patience = note_error(tally, limits, is_stressed)
    if tally.auth_failures >= limits.max_auth_failures > 0:
        return _NO_LOGINS_LEFT
    return patience


def note_junk(tally: Tally, limits: LimitSettings, is_stressed: bool) -> Patience:
    """A command that moves no mail was answered."""
    tally.junk += 1
    allowed = 1 if is_stressed else limits.max_junk
    return _NO_JUNK_LEFT if tally.junk > allowed > 0 else GO_ON
