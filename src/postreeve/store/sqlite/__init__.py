"""The embedded store: SQLite files, one per worker process.

ASYNC. `store` is the class; `schema` the tables; `writer` the group commit; `arrival`, `claiming`, `settling` what is
written and why it is quick; `reading` what is read, by `reader`'s thread; `spool` large content on its way in.

Start reading at `writer`.
"""

from postreeve.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
