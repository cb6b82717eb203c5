"""Accepts and settles at speed and writes one line per promise kept, until it is killed: run by the fault tests.

A line is written only after the store's future was resolved, with one write(2) to an unbuffered pipe.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.queue.model import NewMessage, NewRecipient, Origin, RecipientState, Result, Settlement
from postreeve.store.face import LeaseTerms, StoreError, StoreFull, StoreUnavailable
from postreeve.store.sqlite import SqliteStore

CONTENT_OCTETS = 4096
CLIENTS = 32
TO = parse_mailbox("user@example.com")
FROM = parse_mailbox("sender@example.org")


def content_for(ident: int, octets: int = CONTENT_OCTETS) -> bytes:
    """Content that can be told from any other message's."""
    return (b"%d\r\n" % ident * (octets // 8))[:octets]


def tell(word: str, ident: int) -> None:
    """One line of the ledger."""
    os.write(1, f"{word} {ident}\n".encode())


async def client(store: SqliteStore, until: float, settle_every: int) -> None:
    """Accept, and settle every n-th, until time is up or the store fails."""
    assert TO is not None
    to = EnvelopeRecipient(TO)
    count = 0
    while time.monotonic() < until:
        count += 1
        now = time.time()
        ident = store.new_ident(now)
        content = content_for(ident)
        new = NewMessage(
            ident,
            now,
            Envelope(FROM, (to,)),
            (NewRecipient(to, "mx:example.com", now),),
            Origin("relay"),
            len(content),
            content,
        )
        tell("offered", ident)
        (claim,) = await store.accept(new, LeaseTerms(now + 600))
        tell("accepted", ident)
        if count % settle_every == 0:
            await store.settle(Settlement(claim.lease, (Result(0, RecipientState.DELIVERED),), settled_at=now))
            tell("settled", ident)


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]), keep_history=False, reserve_octets=1 << 20)
    await store.open()
    tell("open", 0)
    clients = [client(store, time.monotonic() + float(sys.argv[2]), 3) for _ in range(CLIENTS)]
    for outcome in await asyncio.gather(*clients, return_exceptions=True):
        if isinstance(outcome, StoreError):
            kind = {StoreUnavailable: "unavailable", StoreFull: "full"}.get(type(outcome), "other")
            tell(kind, 0)
        elif isinstance(outcome, BaseException):
            raise outcome
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
