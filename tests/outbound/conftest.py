"""What the outbound tests share: short time-outs, messages, ways to connect to a sink."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.envelope import EnvelopeRecipient, MailParameters
from postreeve.net.certificate import CertificateFiles, ServerContexts, TlsSettings, load_client_trust, load_contexts
from postreeve.outbound.outgoing import Outgoing
from postreeve.outbound.smtp import Connector
from postreeve.queue.settings import DeliverySettings, Timeouts
from postreeve.queue.step import PLAINTEXT, Connect, Dialogue, TlsRequirement
from tests.lab.certificates import Authority
from tests.lab.sink import Sink

SHORT = Timeouts(0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.2)
PATIENT = Timeouts(10, 10, 10, 10, 10, 10, 10, 10, 10, 5)


def mailbox(text: str) -> Mailbox:
    """The mailbox that `text` surely is."""
    parsed = parse_mailbox(text)
    assert parsed is not None
    return parsed


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both event loops: uvloop is what the server runs on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def eventually(is_so: Callable[[], bool]) -> None:
    """Returns once `is_so`, which the event loop will bring about by itself, within 5 s."""
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came about")


def outgoing(
    content: bytes = b"Subject: x\r\n\r\nhello\r\n",
    recipients: tuple[str, ...] = ("bob@example.com",),
    parameters: MailParameters | None = None,
) -> Outgoing:
    """A message from alice@example.org."""
    people = tuple(EnvelopeRecipient(mailbox(one)) for one in recipients)
    message = Outgoing(mailbox("alice@example.org"), people, content, len(content), now=time.time())
    return message if parameters is None else replace(message, parameters=parameters)


def step_to(
    sink: Sink, tls: TlsRequirement = PLAINTEXT, dialogue: Dialogue = Dialogue.SMTP, socket: str = ""
) -> Connect:
    """How to connect to a sink."""
    return Connect("sink.example.com", sink.address, sink.port, tls, dialogue=dialogue, socket=socket)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server_contexts(authority: Authority, tmp_path: Path) -> ServerContexts:
    """Of sink.example.com."""
    chain, key = authority.issue("sink.example.com").write(tmp_path, "sink")
    made = load_contexts(TlsSettings(CertificateFiles(chain, key)), time.time())
    assert isinstance(made, ServerContexts)
    return made


@pytest.fixture
def connector(authority: Authority, tmp_path: Path) -> Callable[..., Connector]:
    """A Connector that trusts the test's authority."""
    trust = load_client_trust(authority.write(tmp_path / "ca.pem"))

    def make(timeouts: Timeouts = PATIENT, **settings: object) -> Connector:
        return Connector(
            replace(DeliverySettings(hostname="mail.example.org", timeouts=timeouts), **settings),  # type: ignore[arg-type]
            trust,
            time.time,
        )

    return make
