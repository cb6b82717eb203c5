"""Fills a queue with deferred mail, through the store's own promises."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.queue.model import NewMessage, NewRecipient, Origin
from postreeve.store.shards import find_nodes
from postreeve.store.sqlite import SqliteStore

DESTINATIONS = 1_000
_SENDER = Mailbox("sender", Domain("example.org"))
_ORIGIN = Origin(listener="bench", client_address="127.0.0.1", hello="bench.test", protocol="ESMTP")
_BATCH = 250


async def fill(data: Path, messages: int, octets: int = 4096) -> None:
    """Queue `messages`, due tomorrow, spread over 1,000 destinations and over the queue files in `data`."""
    nodes = find_nodes(data) or (0,)
    content = b"Subject: bench\r\n\r\n" + b"X" * 76 + b"\r\n"
    content += (b"X" * 76 + b"\r\n") * ((octets - len(content)) // 78)
    for node in nodes:
        store = SqliteStore(data, node)
        await store.open()
        for start in range(0, messages // len(nodes), _BATCH):
            await asyncio.gather(*[store.accept(_message(store, start + number, content)) for number in range(_BATCH)])
        await store.close()


def _message(store: SqliteStore, number: int, content: bytes) -> NewMessage:
    now = time.time()
    name = f"d{number % DESTINATIONS}.example.com"
    recipient = EnvelopeRecipient(Mailbox("recipient", Domain(name)))
    return NewMessage(
        ident=store.new_ident(now),
        accepted_at=now,
        envelope=Envelope(_SENDER, (recipient,)),
        recipients=(NewRecipient(recipient, f"mx:{name}", now + 86_400),),
        origin=_ORIGIN,
        size_octets=len(content),
        content=content,
    )
