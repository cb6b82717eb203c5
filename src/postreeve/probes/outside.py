"""Looking at somebody's ports from where we stand, for those who ask about themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from postreeve.checks.conversation import Conversation, Opening
from postreeve.checks.machine import Outside
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from postreeve.probes.script import Patience, Script

_CONNECT_SECONDS: Final = 6.0
_PATIENCE: Final = Patience(greeting=6.0, reply=6.0, handshake=6.0, whole=12.0)


async def look_back(
    address: str, ports: Sequence[int], implicit: Sequence[int], hello: str, our_name: str
) -> tuple[Outside, ...]:
    """What comes of one connection to each port, side by side.

    Those in `implicit` begin with TLS. `hello` is the name that certificates should bear.
    """
    return tuple(await asyncio.gather(*(_look(address, port, port in implicit, hello, our_name) for port in ports)))


async def _look(address: str, port: int, is_implicit: bool, name: str, our_name: str) -> Outside:
    dialled = await dial(address, port, timeout_seconds=_CONNECT_SECONDS)
    outcome = dialled.dial.outcome
    if outcome is not DialOutcome.OPEN:
        return Outside(port, address, outcome.value, "", "")
    script = Script(
        Opening.TLS if is_implicit else Opening.CLEAR,
        hello_name=our_name,
        server_name=name,
        reference_name=name,
        stop_after=Stage.CERT,
        patience=_PATIENCE,
    )
    talk = await converse(dialled, script)
    version = talk.tls.version if talk.tls else ""
    return Outside(port, address, outcome.value, talk.protocol, version, _problem(talk), _certificate_problem(talk))


def _problem(talk: Conversation) -> str:
    """What keeps mail from flowing over this connection, "" when nothing does."""
    banner = talk.reply(Stage.BANNER)
    if talk.tls is not None and not talk.tls.version:
        return f"no TLS came about: {talk.tls.alert or talk.tls.error or talk.tls.heard or talk.ending.value}"
    if banner is None or not banner.code:
        return f"no greeting came ({talk.ending.value})"
    if banner.code != 220:
        return f"the greeting was {banner.text}"
    return ""


def _certificate_problem(talk: Conversation) -> str:
    if talk.tls is not None and talk.tls.troubles:
        return f"the certificate is not trusted: {talk.tls.troubles[0].text}"
    if talk.tls is not None and talk.tls.is_name_right is False:
        return "the certificate bears another name"
    return ""
