"""What SQLite's errors mean for us."""

from __future__ import annotations

import sqlite3

from postreeve.store.face import StoreError


class Damaged(StoreError):
    """The queue file is damaged where this operation looked; elsewhere it may be well."""


def code_of(error: sqlite3.Error) -> int:
    """The primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_own_fault(error: sqlite3.Error) -> bool:
    """True when it concerns the operation (a taken identifier), not the whole file."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return True
    return code_of(error) in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)


def is_full(error: sqlite3.Error) -> bool:
    """True for the one failure that passes: no room."""
    return code_of(error) == sqlite3.SQLITE_FULL


def is_busy(error: sqlite3.Error) -> bool:
    """True when another process held the file for longer than we wait."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: sqlite3.Error) -> bool:
    """True when the file is no (whole) database."""
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
