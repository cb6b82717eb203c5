"""Clients that write down what was acknowledged, whoever kills the server under them, and the sum at the end.

A client adds a message to the ledger after it has read the 250 to it, never before. `account` compares that with what
the sink took: lost = acknowledged - delivered - still queued - bounced has to be nothing, and each delivery too many
has to be explained by a kill between the sink's 250 and our commit.
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.faults.sink import MARK, LedgerSink, digest_of

DOMAINS: Final = ("example.org", "example.net")
REFUSED: Final = "refused"
"""Begins the local part of recipients that the sink refuses for good: they end in a report to the sender."""
DEFERRED: Final = "deferred"
"""Begins the local part of recipients that the sink defers the first time."""
ACCOUNT: Final = ("ledger", "correct horse battery staple")
REPLY_SECONDS: Final = 20.0
RECONNECT_SECONDS: Final = 0.05
READ_SECONDS: Final = 1.0
"""What a killed server has written the sink reads this much later at most."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a client sends."""

    ident: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    by_bdat: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a message that was sent."""

    sender: str
    recipients: tuple[str, ...]
    digest: str


@dataclass(slots=True)
class Ledger:
    """`begun` are messages of which any octet of content may have left the client."""

    begun: dict[str, Entry] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The text of the 250, by ident."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Replies other than expected."""
    broken: int = 0
    """Connections that ended under a client."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, message: Message) -> None:
        """The content is about to be sent."""
        self.begun[message.ident] = Entry(message.sender, message.recipients, digest_of(message.content))

    def acknowledge(self, message: Message, reply: str) -> None:
        """The 250 was read."""
        self.acknowledged[message.ident] = reply
        self.changed.set()

    async def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Until so many are acknowledged."""
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < count:
                self.changed.clear()
                await self.changed.wait()


def make_message(chance: random.Random, client: int, number: int) -> Message:
    """A message like no other: some with several recipients, some large, some by BDAT, some that will bounce."""
    ident = f"{client:02d}-{number:06d}"
    kind = chance.random()
    prefix = REFUSED if kind < 0.02 else DEFERRED if kind < 0.05 else "box"
    count = 1 if chance.random() < 0.8 else chance.randrange(2, 6)
    recipients = [f"{prefix}.{ident}@{chance.choice(DOMAINS)}"]
    recipients += [f"box{n}.{ident}@{chance.choice(DOMAINS)}" for n in range(1, count)]
    octets = 300_000 if chance.random() < 0.01 else chance.randrange(100, 6000)
    line = b".%s dots and text of %d\r\n" % (chance.randbytes(20).hex().encode(), number)
    body = (line * (octets // len(line) + 1)).replace(b"\r\n", b"\r\n..\r\n", 1)
    sender = f"from.{ident}@example.com"
    head = f"{ident}\r\nFrom: <{sender}>\r\nTo: <{recipients[0]}>\r\nSubject: ledger\r\n\r\n".encode("ascii")
    return Message(ident, sender, tuple(recipients), MARK + head + body, chance.random() < 0.3)


Compose = Callable[[random.Random, int, int], Message]
"""Makes a client's next message: chance, the client's number, the message's."""


class Refusal(Exception):
    """A reply that ends the client's session."""


@dataclass(slots=True)
class Door:
    """Where clients connect; ports change when the server is started anew. `tls` set means 465 with AUTH."""

    port: Callable[[], int]
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Client:
    """Sends one message after the other until told to stop; goes on after whatever happens to its connection."""

    number: int
    door: Door
    ledger: Ledger
    chance: random.Random
    compose: Compose = make_message
    messages_per_session: int = 30
    _count: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set and the message in hand is through."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except Refusal as refusal:
                self.ledger.refusals[str(refusal)] += 1
                await asyncio.sleep(RECONNECT_SECONDS)
            except (OSError, EOFError, TimeoutError):  # a broken connection is what this is about
                self.ledger.broken += 1
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _session(self, stop: asyncio.Event) -> None:
        async with asyncio.timeout(REPLY_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.door.port(), ssl=self.door.tls)
        talk = Talk(reader, writer)
        try:
            await talk.expect("220")
            await talk.say(b"EHLO client.example.com\r\n", "250")
            if self.door.tls is not None:
                secret = base64.b64encode("\0{}\0{}".format(*ACCOUNT).encode())
                await talk.say(b"AUTH PLAIN " + secret + b"\r\n", "235")
            for _ in range(self.messages_per_session):
                if stop.is_set():
                    break
                self._count += 1
                message = self.compose(self.chance, self.number, self._count)
                self.ledger.begin(message)
                self.ledger.acknowledge(message, await talk.send(message))
            await talk.say(b"QUIT\r\n", "221")
        finally:
            writer.close()


class Talk:
    """The client's side of SMTP, as plain as it can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes, code: str) -> str:
        """Write, and read one reply that has to begin with `code`."""
        self._writer.write(data)
        return await self.expect(code)

    async def expect(self, code: str) -> str:
        """One reply; raises Refusal for any other code."""
        async with asyncio.timeout(REPLY_SECONDS):
            while True:
                line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "replace")
                if line[3:4] != "-":
                    break
        if not line.startswith(code):
            raise Refusal(line.strip())
        return line.strip()

    async def send(self, message: Message) -> str:
        """One transaction; returns the reply that acknowledges it."""
        commands = [f"MAIL FROM:<{message.sender}>", *(f"RCPT TO:<{one}>" for one in message.recipients)]
        head = "".join(f"{command}\r\n" for command in commands).encode("ascii")
        if message.by_bdat:
            return await self._send_by_bdat(message, head)
        self._writer.write(head + b"DATA\r\n")
        for _ in commands:
            await self.expect("250")
        await self.expect("354")
        stuffed = message.content.replace(b"\r\n.", b"\r\n..")
        return await self.say(stuffed + b".\r\n", "250")

    async def _send_by_bdat(self, message: Message, head: bytes) -> str:
        middle = len(message.content) // 2
        parts = message.content[:middle], message.content[middle:]
        self._writer.write(head)
        self._writer.write(b"BDAT %d\r\n%s" % (len(parts[0]), parts[0]))
        self._writer.write(b"BDAT %d LAST\r\n%s" % (len(parts[1]), parts[1]))
        for _ in range(len(message.recipients) + 2):
            await self.expect("250")
        return await self.expect("250")


@dataclass(frozen=True, slots=True)
class Kill:
    """It happened between these two instants of the monotonic clock."""

    begun: float
    ended: float


@dataclass(slots=True)
class Balance:
    """The sum. Recipients are `(ident, address)`."""

    lost: list[tuple[str, str]] = field(default_factory=list)
    queued: int = 0
    bounced: int = 0
    delivered: int = 0
    unacknowledged_delivered: int = 0
    altered: list[tuple[str, str]] = field(default_factory=list)
    uninvited: list[tuple[str, str]] = field(default_factory=list)
    """Deliveries of what nobody sent."""
    duplicates: int = 0
    longest_window: float = 0.0
    """Of the explained duplicates: the longest time from the sink's 250 to the kill."""
    unexplained: list[str] = field(default_factory=list)
    most_at_one_kill: int = 0


def account(
    ledger: Ledger, sink: LedgerSink, kills: Sequence[Kill], queued: Collection[str], window_seconds: float
) -> Balance:
    """Compare. `kills` are in order; `queued` are addresses that are still in the queue.

    A duplicate, of a report too, is explained when a kill fell between its two deliveries, at most `window_seconds`
    after the first, or so shortly before it that the sink had still to read what was on its way.
    """
    balance = Balance()
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in sink.deliveries:
        entry = ledger.begun.get(one.ident)
        if entry is None or one.recipient not in entry.recipients:
            balance.uninvited.append((one.ident, one.recipient))
            continue
        taken[one.ident, one.recipient].append(one.at)
        if one.digest != entry.digest:
            balance.altered.append((one.ident, one.recipient))
    reported = {report.recipient for report in sink.reports}
    for ident in ledger.acknowledged:
        entry = ledger.begun[ident]
        for recipient in entry.recipients:
            _count_one(balance, ident, recipient, taken, entry.sender in reported, queued)
    balance.unacknowledged_delivered = sum(ident not in ledger.acknowledged for ident, _ in taken)
    for report in sink.reports:
        taken["report", report.recipient].append(report.at)
    _explain(balance, taken, kills, window_seconds)
    return balance


def _count_one(
    balance: Balance,
    ident: str,
    recipient: str,
    taken: dict[tuple[str, str], list[float]],
    is_reported: bool,
    queued: Collection[str],
) -> None:
    if (ident, recipient) in taken:
        balance.delivered += 1
    elif recipient in queued:
        balance.queued += 1
    elif recipient.startswith(REFUSED) and is_reported:
        balance.bounced += 1
    else:
        balance.lost.append((ident, recipient))


def _explain(
    balance: Balance, taken: dict[tuple[str, str], list[float]], kills: Sequence[Kill], window_seconds: float
) -> None:
    at_kill: Counter[Kill] = Counter()
    for (ident, recipient), times in taken.items():
        for first, second in pairwise(times):
            balance.duplicates += 1
            kill = next((one for one in kills if first - READ_SECONDS <= one.ended and one.begun <= second), None)
            if kill is None or kill.begun - first > window_seconds:
                after = "none" if kill is None else f"{kill.begun - first:.3f} s later"
                balance.unexplained.append(f"{ident} {recipient}: twice {second - first:.3f} s apart, kill {after}")
                continue
            at_kill[kill] += 1
            balance.longest_window = max(balance.longest_window, kill.begun - first)
    balance.most_at_one_kill = max(at_kill.values(), default=0)
