"""TLS on the way out: STARTTLS, implicit, verified or not, and what peers do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from postreeve.net.certificate import ServerContexts
from postreeve.outbound.smtp import Connection, NotOpened
from postreeve.queue.outcome import (
    Delivered,
    Lack,
    Outcome,
    ProtocolProblem,
    Stage,
    TlsKind,
    TlsProblem,
    Unsuitable,
)
from postreeve.queue.settings import Credentials, TlsMode
from postreeve.queue.step import TlsRequirement
from tests.lab.sink import (
    Act,
    Close,
    Exactly,
    Hang,
    Line,
    Say,
    Sink,
    StartTls,
    serve,
)
from tests.outbound.conftest import SHORT, outgoing, step_to
from tests.outbound.dialogue import (
    GREET,
    HELLO,
    IF_OFFERED,
    IMPLICIT,
    OFFER,
    REQUIRED,
    Connectors,
    attempt,
    refused,
    timed_out,
)

pytestmark = pytest.mark.asyncio


def tls_script(contexts: ServerContexts, *after: Act, hello: bytes = b"250 sink.example.com\r\n") -> list[Act]:
    return [
        *GREET,
        Line(),
        Say(OFFER),
        Line(),
        Say(b"220 go\r\n"),
        StartTls(contexts.default),
        Line(),
        Say(hello),
        *after,
    ]


@pytest.mark.parametrize("requirement", [IF_OFFERED, REQUIRED], ids=["opportunistic", "verified"])
async def test_starttls_moves_everything_inside(
    requirement: TlsRequirement, connector: Connectors, server_contexts: ServerContexts
) -> None:
    async with Sink(tls_script(server_contexts, *serve()[3:])) as sink:
        connection = await connector().open(step_to(sink, requirement))
        assert isinstance(connection, Connection), connection
        (outcome,) = await connection.send(outgoing())
        connection.close()
        transcript = connection.transcript()
    assert isinstance(outcome, Delivered)
    assert b"MAIL" not in sink.connections[0].received
    assert sink.connections[0].over_tls.startswith(b"EHLO mail.example.org\r\nMAIL FROM:<alice@example.org>")
    assert connection.tls.startswith("TLSv1.3 ")
    assert connection.tls.endswith("verified" if requirement.verify else "trusted")
    assert "TLS started" in transcript


async def test_implicit_tls_logs_in_and_hides_the_password(
    connector: Connectors, server_contexts: ServerContexts
) -> None:
    hello = b"250-sink\r\n250 AUTH LOGIN PLAIN\r\n"
    script = [StartTls(server_contexts.default), *GREET, Line(), Say(hello), Line(), Say(b"235 in\r\n"), *serve()[3:]]
    async with Sink(script) as sink:
        step = replace(step_to(sink, IMPLICIT), credentials=Credentials("me", "s3cret"))
        connection = await connector().open(step)
        assert isinstance(connection, Connection), connection
        (outcome,) = await connection.send(outgoing())
        connection.abort()
    assert isinstance(outcome, Delivered)
    assert b"AUTH PLAIN AG1lAHMzY3JldA==\r\n" in sink.connections[0].over_tls
    assert "AUTH PLAIN (credentials)" in connection.transcript()
    assert "AG1lAHMzY3JldA" not in connection.transcript()
    assert "s3cret" not in repr(step)


async def test_password_never_leaves_without_tls(connector: Connectors) -> None:
    async with Sink([*GREET, Line(), Say(b"250-sink\r\n250 AUTH PLAIN LOGIN\r\n"), Hang()]) as sink:
        outcome = await connector(SHORT).open(replace(step_to(sink), credentials=Credentials("me", "s3cret")))
    assert isinstance(outcome, NotOpened)
    assert isinstance(outcome.outcome, Unsuitable)
    assert outcome.outcome.lack is Lack.AUTH
    assert b"AUTH" not in sink.received


TLS_FAULTS: dict[str, tuple[list[Act], TlsRequirement, Callable[[Outcome], bool]]] = {
    "not offered": (HELLO, REQUIRED, lambda o: isinstance(o, TlsProblem) and o.kind is TlsKind.NOT_OFFERED),
    "refused where required": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"454 4.7.0 no\r\n")],
        REQUIRED,
        refused(454, Stage.STARTTLS),
    ),
    "no answer": ([*GREET, Line(), Say(OFFER), Line(), Hang()], IF_OFFERED, timed_out(Stage.STARTTLS)),
    "no handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Hang()],
        IF_OFFERED,
        timed_out(Stage.STARTTLS),
    ),
    "junk in the handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Say(b"\x00\x01\x02\x03\x04\x05\x06\x07")],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and o.kind is TlsKind.HANDSHAKE,
    ),
    "alert": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Say(b"\x15\x03\x03\x00\x02\x02\x28")],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and "no cipher" in o.detail,
    ),
    "closed in the handshake": (
        [*GREET, Line(), Say(OFFER), Line(), Say(b"220 go\r\n"), Exactly(5), Close()],
        IF_OFFERED,
        lambda o: isinstance(o, TlsProblem) and "handshake" in o.detail,
    ),
    "plaintext where TLS was expected": (
        GREET,
        IMPLICIT,
        lambda o: isinstance(o, TlsProblem) and "speaks plaintext" in o.detail,
    ),
    "implicit silent": ([Hang()], IMPLICIT, timed_out(Stage.STARTTLS)),
}


@pytest.mark.parametrize("name", TLS_FAULTS)
async def test_tls_survives_peer(name: str, connector: Connectors) -> None:
    script, requirement, is_expected = TLS_FAULTS[name]
    async with Sink(script) as sink:
        async with asyncio.timeout(5):
            outcome = await connector(SHORT).open(step_to(sink, requirement))
    assert isinstance(outcome, NotOpened)
    assert is_expected(outcome.outcome), outcome
    assert b"MAIL" not in sink.received


async def test_starttls_refused_goes_on_in_plaintext_when_opportunistic(connector: Connectors) -> None:
    script = [*GREET, Line(), Say(OFFER), Line(), Say(b"454 4.7.0 not now\r\n"), *serve()[3:]]
    async with Sink(script) as sink:
        assert isinstance(await attempt(connector(), sink, tls=IF_OFFERED), Delivered)


async def test_verified_refuses_another_name(connector: Connectors, server_contexts: ServerContexts) -> None:
    async with Sink(tls_script(server_contexts, Hang())) as sink:
        wrong = TlsRequirement(TlsMode.REQUIRED, verify=True, name="other.example.com")
        outcome = await connector(SHORT).open(step_to(sink, wrong))
    assert isinstance(outcome, NotOpened)
    assert isinstance(outcome.outcome, TlsProblem)
    assert outcome.outcome.kind is TlsKind.CERTIFICATE
    assert "another name" in outcome.outcome.detail


INJECTED = b"220 go\r\n250-sink.example.com\r\n250 AUTH PLAIN\r\n"


@pytest.mark.parametrize("cut", range(len(INJECTED) + 1))
async def test_starttls_discards_injected_replies(
    cut: int, connector: Connectors, server_contexts: ServerContexts
) -> None:
    """The plaintext after the 220 never counts, wherever the packets are cut."""
    acts: list[Act] = [Say(INJECTED[:cut])] if cut else []
    acts += [Say(INJECTED[cut:])] if cut < len(INJECTED) else []
    tail = [StartTls(server_contexts.default), Line(), Say(b"250 sink\r\n"), *serve()[3:]]
    async with Sink([*GREET, Line(), Say(OFFER), Line(), *acts, *tail]) as sink:
        step = replace(step_to(sink, REQUIRED), credentials=Credentials("me", "s3cret"))
        opened = await connector(SHORT).open(step)
    assert isinstance(opened, NotOpened), opened
    assert isinstance(opened.outcome, (ProtocolProblem, TlsProblem)), opened
    assert b"AUTH" not in sink.received
