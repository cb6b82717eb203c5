"""Content on its way in: written in chunks that count for nothing until the message is accepted.

Each chunk goes through the writer like any other job, so that a large message never makes small ones wait, and the next
chunk is not taken before the last is written, so that memory stays flat.
"""

from __future__ import annotations

import hashlib

from postreeve.store.face import StoreError
from postreeve.store.sqlite.arrival import CHUNK_OCTETS, Spooled, remove_spool, write_chunk
from postreeve.store.sqlite.writer import Writer


class SqliteSpool:
    """See `face.Spool`. One writer at a time; `live` is the store's set of spools that are not abandoned."""

    def __init__(self, writer: Writer, ident: int, live: set[int]) -> None:
        self._writer = writer
        self._live = live
        self._digest = hashlib.sha256()
        self._chunks = 0
        self._buffer = bytearray()
        self._is_over = False
        self.ident = ident
        live.add(ident)

    async def write(self, data: bytes) -> None:
        """See `face.Spool`."""
        if self._is_over:
            raise StoreError("this spool is closed")
        self._digest.update(data)
        self._buffer += data
        while len(self._buffer) > CHUNK_OCTETS:
            chunk = bytes(memoryview(self._buffer)[:CHUNK_OCTETS])
            del self._buffer[:CHUNK_OCTETS]
            await self._writer.run_growing(write_chunk, self.ident, self._chunks, chunk)
            self._chunks += 1

    def finish(self) -> Spooled:
        """What `accept` needs; no more can be written."""
        if self._is_over:
            raise StoreError("this spool is closed")
        self._is_over = True
        return Spooled(self._chunks, bytes(self._buffer), self._digest.digest())

    def accepted(self) -> None:
        """The content belongs to a message now."""
        self._live.discard(self.ident)
        self._buffer.clear()

    async def discard(self) -> None:
        """See `face.Spool`."""
        self._is_over = True
        self._buffer.clear()
        if self.ident in self._live:
            self._live.discard(self.ident)
            if self._chunks:
                await self._writer.run(remove_spool, self.ident)
