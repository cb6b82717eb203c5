"""Every conversation in tests/conversations, whatever way the network cuts it."""

from __future__ import annotations

import random

import pytest

from postreeve.smtp.order import State
from tests.conversations import script
from tests.smtp.drive import cut, octets

CONVERSATIONS = script.load_all()
each = pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)


def test_conversations_are_many() -> None:
    assert len(CONVERSATIONS) >= 40


@each
def test_conversation_turn_by_turn(conversation: script.Conversation) -> None:
    session = conversation.begin()
    for turn in conversation.turns:
        before = len(session.written)
        if turn.kind == "octets":
            session.feed(turn.data)
        else:
            assert (turn.kind == "tls") == (session.core.state is State.HANDSHAKE)
            script.act(session, turn)
        script.check_lines(session.written[before:], turn.answers)
    script.check(conversation, session)


@each
def test_conversation_whole(conversation: script.Conversation) -> None:
    script.check(conversation, script.run(conversation, lambda data: [data]))


@each
def test_conversation_octet_by_octet(conversation: script.Conversation) -> None:
    script.check(conversation, script.run(conversation, octets))


@each
def test_conversation_cut_at_random(conversation: script.Conversation) -> None:
    chance = random.Random(conversation.name)
    for _ in range(20):

        def slice_octets(data: bytes) -> list[bytes]:
            return cut(data, (chance.randrange(len(data) + 1) for _ in range(chance.randrange(12))))

        script.check(conversation, script.run(conversation, slice_octets))
