"""The tables of one queue file, and how a connection to it is set up.

`recipient.due` of a leased recipient is when its lease ends, so that a lease that ran out needs nobody to notice it.
`lease` is 0 for a recipient that nobody holds. The index `queued` is what claims and `upcoming` walk.
Content has a table of its own: lists and counts walk `message` without dragging content through the cache.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from postreeve.store.face import StoreError

VERSION: Final = 1
PAGE_OCTETS: Final = 4096
CACHE_KIBIBYTES: Final = 8 * 1024
BUSY_SECONDS: Final = 10.0

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, accepted REAL, sender TEXT, size INTEGER, priority INTEGER, expires REAL,
    envelope TEXT, origin TEXT, digest BLOB, chunks INTEGER
);
CREATE TABLE IF NOT EXISTS content (id INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE IF NOT EXISTS chunk (message_id INTEGER, seq INTEGER, data BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS chunk_place ON chunk (message_id, seq);
CREATE TABLE IF NOT EXISTS spool (message_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS recipient (
    message_id INTEGER, n INTEGER, state INTEGER, destination TEXT, priority INTEGER, due REAL, lease INTEGER,
    attempts INTEGER, first_attempt REAL, problem TEXT, warned INTEGER, doomed INTEGER, address TEXT,
    PRIMARY KEY (message_id, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS queued ON recipient (destination, priority, due) WHERE state = 0;
CREATE TABLE IF NOT EXISTS attempt (
    message_id INTEGER, seq INTEGER, data TEXT, PRIMARY KEY (message_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, finished REAL, accepted REAL, sender TEXT, size INTEGER, priority INTEGER, expires REAL,
    envelope TEXT, origin TEXT, recipients TEXT, attempts TEXT, last TEXT
);
CREATE INDEX IF NOT EXISTS history_age ON history (finished);
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, problem TEXT, at REAL, message TEXT, recipients TEXT, content BLOB
);
CREATE TRIGGER IF NOT EXISTS message_ends AFTER DELETE ON message BEGIN
    DELETE FROM recipient WHERE message_id = OLD.id;
    DELETE FROM content WHERE id = OLD.id;
    DELETE FROM chunk WHERE message_id = OLD.id;
    DELETE FROM attempt WHERE message_id = OLD.id;
END;
"""


def connect(path: Path, *, is_owner: bool = False, is_reader: bool = False) -> sqlite3.Connection:
    """A connection in autocommit: transactions are begun and ended in the open.

    It is for one thread at a time.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=400, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_OCTETS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL syncs the log at every commit: that is the durability promise.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA cache_size = {-CACHE_KIBIBYTES if is_owner else -4096}")
        # Checkpoints are made by a thread of their own, so that no commit waits for one.
        connection.execute(f"PRAGMA wal_autocheckpoint = {0 if is_owner or is_reader else 1000}")
        if is_reader:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def wait_for_nobody(connection: sqlite3.Connection) -> None:
    """From now on a file that another process holds is an error at once."""
    connection.execute("PRAGMA busy_timeout = 0")


@contextmanager
def wait_for_others(connection: sqlite3.Connection) -> Iterator[None]:
    """While the block lasts another process that holds the file is waited for."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
    try:
        yield
    finally:
        wait_for_nobody(connection)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables where they are missing; raises StoreError for a file that a newer postreeve wrote."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version > VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this postreeve knows version {VERSION}: run the newer postreeve"
        )
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")


def read_meta(connection: sqlite3.Connection, name: str) -> int:
    """The number kept under `name`, or 0."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def write_meta(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Keep a number under `name`."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def checkpoint(connection: sqlite3.Connection) -> int:
    """Copy what can be copied without waiting for anybody; returns the length of the log in pages."""
    return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
