"""A message's content, read back; apart from the store because what is compiled has no asynchronous generators."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

from postreeve.mail.ident import to_text
from postreeve.store.face import StoreError
from postreeve.store.sqlite.reader import Reader
from postreeve.store.sqlite.reading import load_chunk, load_content_head


async def read_content(
    reading: Callable[[], Reader], ident: int, set_aside: Callable[[int, str], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """Pieces in order, checked against the digest before the last is given; what is damaged is set aside."""
    reader = reading()
    head = await reader.run(load_content_head, ident)
    if head is None:
        raise StoreError(f"message {to_text(ident)} is not in the queue")
    digest, chunks, data = head
    check = hashlib.sha256()
    for seq in range(max(1, chunks)):
        if chunks:
            data = await reader.run(load_chunk, ident, seq)
        if data is not None:
            check.update(data)
        if data is None or (seq + 1 >= chunks and check.digest() != digest):
            await set_aside(ident, "its content is not what was accepted")
            raise StoreError(f"the content of message {to_text(ident)} is damaged")
        if data:
            yield data
