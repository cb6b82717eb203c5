"""SQL for many rows at once.

Every step of a statement gives up the interpreter and has to win it back from the event loop; one statement with 64
rows does that once, 64 statements do it 64 times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

ROWS_PER_STATEMENT: Final = 64


def insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert all rows (of equal width) with as few statements as there are times 64 in them."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        connection.execute(_insert(table, len(part[0]), len(part)), tuple(chain.from_iterable(part)))


@lru_cache(maxsize=1024)
def _insert(table: str, width: int, count: int) -> str:
    return f"INSERT INTO {table} VALUES {values(width, count)}"


@lru_cache(maxsize=1024)
def values(width: int, count: int) -> str:
    """`(?,?),(?,?)` for a list of rows."""
    row = "(" + ",".join("?" * width) + ")"
    return ",".join([row] * count)


@lru_cache(maxsize=1024)
def marks(count: int) -> str:
    """`?,?,?` for a list of values."""
    return ",".join("?" * count)
