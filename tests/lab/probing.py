"""Having conversations with scripted servers: what the tests of probes share."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from postreeve.checks.conversation import Conversation
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from postreeve.probes.script import Patience, Script
from tests.lab.certificates import Issued
from tests.lab.faulty import HOST, middle
from tests.lab.sink import Act, Close, Hang, Line, Say, Sink, StartTls

SHORT = Patience(greeting=0.3, reply=0.3, handshake=0.5, content=0.5, whole=3.0)
PLAIN = Script(hello_name="probe.example.org", patience=SHORT)
ENVELOPE = replace(PLAIN, mail_from="a@example.org", recipient="b@example.com")
GREETING = Say(b"220 mail.example.com ESMTP\r\n")
BYE = (Line(), Say(b"221 2.0.0 bye\r\n"), Close())


def served(issued: Issued) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        made.load_cert_chain(*issued.write(Path(directory), "server"))
    return made


@cache
def context() -> ssl.SSLContext:
    """A server's, with a good certificate."""
    return served(middle().issue(HOST))


def hello(*words: str) -> Say:
    lines = ["mail.example.com", *words]
    return Say("".join(f"250{'-' if one != lines[-1] else ' '}{one}\r\n" for one in lines).encode())


async def eventually(is_so: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def talk(acts: Sequence[Act], script: Script) -> tuple[Conversation, Sink]:
    async with Sink(acts) as sink:
        async with asyncio.timeout(10):
            dialled = await dial(sink.address, sink.port, timeout_seconds=2)
            assert dialled.socket is not None
            conversation = await converse(dialled, script)
            assert dialled.socket.fileno() == -1
        if not any(isinstance(act, Hang) for act in acts):
            await eventually(lambda: all(one.is_over for one in sink.connections))
    return conversation, sink


def commands(conversation: Conversation) -> list[str]:
    return [one.command for one in conversation.said]


def secure(*rest: Act, before: bytes = b"220 go\r\n", tls: ssl.SSLContext | None = None) -> list[Act]:
    return [GREETING, Line(), hello("STARTTLS"), Line(), Say(before), StartTls(tls or context()), *rest]
