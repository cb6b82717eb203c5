"""Whatever a server says, in whatever stage: a Conversation comes of it, soon and without an error."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.checks.conversation import Opening
from postreeve.probes.script import Login, Patience
from postreeve.probes.transcript import transcript
from tests.lab.probing import ENVELOPE, GREETING, hello, secure, talk
from tests.lab.sink import Act, Close, Drip, Exactly, Line, Reset, Say

SCRIPT = replace(
    ENVELOPE,
    patience=Patience(0.05, 0.05, 0.2, 0.05, 1.0),
    login=Login("ann", "secret word", may_go_in_clear=True, may_go_to_strangers=True),
)
STARTS: dict[str, list[Act]] = {
    "greeting": [],
    "EHLO": [GREETING, Line()],
    "STARTTLS": [GREETING, Line(), hello("STARTTLS"), Line()],
    "handshake": [GREETING, Line(), hello("STARTTLS"), Line(), Say(b"220 go\r\n"), Exactly(50)],
    "EHLO in TLS": secure(Line()),
    "AUTH": [GREETING, Line(), hello("AUTH LOGIN PLAIN CRAM-MD5"), Line()],
    "MAIL": [GREETING, Line(), hello("AUTH PLAIN"), Line(), Say(b"235 ok\r\n"), Line()],
}
words = st.sampled_from(
    [b"220 ", b"250-", b"250 ", b"334 ", b"235 ok\r\n", b"354 go\r\n", b"421 ", b"535 no\r\n", b"\r\n", b"\n", b"\0",
     b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"SIZE 9999999999999999\r\n", b"\x16\x03\x01\x00\x05", b"\x15\x03\x03\x00\x02"]
)  # fmt: skip
speech = st.lists(words | st.binary(max_size=40), max_size=12).map(b"".join)
acts = st.lists(speech.map(Say) | speech.map(Drip) | st.just(Line()), max_size=6)


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=40, deadline=None)
@given(acts=acts, end=st.sampled_from([Close(), Reset()]))
def test_converse_bears_anything(start: str, acts: list[Act], end: Act) -> None:
    conversation, sink = asyncio.run(talk([*STARTS[start], *acts, end], SCRIPT))
    assert transcript(conversation).replace("\n", "").isprintable()
    assert len(sink.connections) == 1
    assert "secret word" not in repr(conversation)
    assert sum(one.command.startswith("AUTH") for one in conversation.said) <= 1


@settings(max_examples=40, deadline=None)
@given(speech=speech)
def test_converse_bears_anything_where_tls_was_due(speech: bytes) -> None:
    conversation, _ = asyncio.run(talk([Say(speech), Close()], replace(SCRIPT, opening=Opening.TLS)))
    assert conversation.tls is not None
    assert conversation.tls.error
