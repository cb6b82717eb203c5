"""Scripts and expectations that several tests of outbound connections share."""

from __future__ import annotations

from collections.abc import Callable

from postreeve.outbound.smtp import Connection, Connector
from postreeve.queue.outcome import (
    Disconnected,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TimedOut,
)
from postreeve.queue.settings import TlsMode
from postreeve.queue.step import TlsRequirement
from tests.lab.sink import (
    Act,
    Content,
    Line,
    Say,
    Sink,
)
from tests.outbound.conftest import outgoing, step_to

Connectors = Callable[..., Connector]

GREET: list[Act] = [Say(b"220 sink ESMTP\r\n")]
HELLO: list[Act] = [*GREET, Line(), Say(b"250 sink.example.com\r\n")]
MAIL: list[Act] = [*HELLO, Line(), Say(b"250 ok\r\n")]
RCPT: list[Act] = [*MAIL, Line(), Say(b"250 ok\r\n")]
DATA: list[Act] = [*RCPT, Line(), Say(b"354 go\r\n")]
FINAL: list[Act] = [*DATA, Content()]
OFFER = b"250-sink.example.com\r\n250 STARTTLS\r\n"
IF_OFFERED = TlsRequirement(TlsMode.OPPORTUNISTIC, name="sink.example.com")
REQUIRED = TlsRequirement(TlsMode.REQUIRED, verify=True, name="sink.example.com")
IMPLICIT = TlsRequirement(TlsMode.IMPLICIT, verify=True, name="sink.example.com")


async def attempt(connector: Connector, sink: Sink, **manner: object) -> Outcome:
    opened = await connector.open(step_to(sink, **manner))  # type: ignore[arg-type]
    if not isinstance(opened, Connection):
        return opened.outcome
    (outcome,) = await opened.send(outgoing())
    opened.abort()
    return outcome


def refused(code: int, stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, Refused) and outcome.reply.code == code and outcome.stage is stage


def disconnected(stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, Disconnected) and outcome.stage is stage


def timed_out(stage: Stage) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome == TimedOut(stage)


def nonsense(stage: Stage, words: str) -> Callable[[Outcome], bool]:
    return lambda outcome: isinstance(outcome, ProtocolProblem) and outcome.stage is stage and words in outcome.detail
