"""The order of commands: the table state × command that is the server's state machine.

The theory. A conversation is in exactly one `State`. Two kinds of thing move it:

- A command (`Verb`). `COMMANDS[state][verb]` is either the state that follows when the command succeeds, or the
  `Reply` that refuses it there. A command that is refused, by this table, by its own syntax or by the session's reply,
  leaves the state as it was, with the exceptions listed in `AFTER_REFUSAL`.
- A turn (`Turn`): something that ends without a command, as the greeting, the content, a SASL exchange or a TLS
  handshake. `TURNS[state][turn]` is the state that follows.

States in which octets are no command lines (CONTENT, SASL, HANDSHAKE, and the chunk of a BDAT) have no row in
`COMMANDS`: no command can be read there, which is the whole defence against commands smuggled in content. Which
commands need TLS or authentication first is no matter of order: `extension.offer()` says so, and is asked first.

A refused BDAT is the one error that ends a mail transaction: the chunk is gone, so the message can never be whole
(RFC 3030, section 2).

RFC 5321, sections 3.3 and 4.1.4; RFC 3030; RFC 3207, section 4.2; RFC 4954, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from postreeve.mail.reply import Reply


class Verb(StrEnum):
    """The commands the server knows; UNKNOWN stands for all others."""

    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    QUIT = "QUIT"
    UNKNOWN = "any other"


class State(StrEnum):
    """Where a conversation stands."""

    CONNECTED = "Connected"
    """The greeting is owed."""
    TURNED_AWAY = "TurnedAway"
    """The greeting was 554: only QUIT is answered (RFC 5321, section 3.1)."""
    GREETED = "Greeted"
    """The greeting, or a TLS handshake, is done; no EHLO or HELO yet."""
    READY = "Ready"
    """EHLO or HELO was accepted; no mail transaction."""
    SENDER = "Sender"
    """MAIL was accepted; no RCPT has been answered."""
    NO_RECIPIENT = "NoRecipient"
    """MAIL was accepted and every RCPT so far was refused."""
    RECIPIENT = "Recipient"
    """At least one RCPT was accepted."""
    CHUNKING = "Chunking"
    """At least one BDAT was accepted, none of them LAST."""
    CONTENT = "Content"
    """Octets of DATA are read, and after them or BDAT LAST the reply to the content is owed."""
    SASL = "Sasl"
    """Lines of a SASL exchange are read, and after them the reply to the credentials is owed."""
    HANDSHAKE = "Handshake"
    """220 to STARTTLS was said; nothing is read until the TLS handshake is done."""
    CLOSED = "Closed"


class Turn(StrEnum):
    """What moves the state without a command."""

    WELCOMED = "220 greeting"
    TURNED_AWAY = "554 greeting"
    CONTENT_ENDED = "content answered"
    SASL_ENDED = "credentials answered"
    TLS_STARTED = "handshake done"


HELLO_FIRST: Final = Reply(503, "5.5.1", "send EHLO first")
MAIL_FIRST: Final = Reply(503, "5.5.1", "send MAIL first")
RECIPIENT_FIRST: Final = Reply(503, "5.5.1", "send RCPT first")
NO_VALID_RECIPIENTS: Final = Reply(554, "5.5.1", "no valid recipients")
NESTED_MAIL: Final = Reply(503, "5.5.1", "a mail transaction is open already")
NOT_IN_TRANSACTION: Final = Reply(503, "5.5.1", "not during a mail transaction")
CHUNKS_BEGUN: Final = Reply(503, "5.5.1", "the content has begun with BDAT: go on with BDAT, or RSET")
ONLY_QUIT: Final = Reply(503, "5.5.1", "no service for you here: send QUIT")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.1", "command not recognised")

Move = State | Reply
Row = Mapping[Verb, Move]


def _row(stay: State, moves: dict[Verb, Move]) -> Row:
    """One state's row: `moves`, and what is the same in every state that reads commands."""
    always: dict[Verb, Move] = {
        Verb.EHLO: State.READY,
        Verb.HELO: State.READY,
        Verb.RSET: State.GREETED if stay is State.GREETED else State.READY,
        Verb.NOOP: stay,
        Verb.VRFY: stay,
        Verb.EXPN: stay,
        Verb.HELP: stay,
        Verb.QUIT: State.CLOSED,
        Verb.UNKNOWN: UNKNOWN_COMMAND,
    }
    return MappingProxyType(always | moves)


_V = Verb
_S = State
_BUSY: Final[dict[Verb, Move]] = {
    _V.STARTTLS: NOT_IN_TRANSACTION,
    _V.AUTH: NOT_IN_TRANSACTION,
    _V.MAIL: NESTED_MAIL,
}

COMMANDS: Final[Mapping[State, Row]] = MappingProxyType(
    {
        _S.TURNED_AWAY: MappingProxyType(dict.fromkeys(Verb, ONLY_QUIT) | {_V.QUIT: _S.CLOSED}),
        _S.GREETED: _row(
            _S.GREETED,
            dict.fromkeys((_V.STARTTLS, _V.AUTH, _V.MAIL, _V.RCPT, _V.DATA, _V.BDAT), HELLO_FIRST),
        ),
        _S.READY: _row(
            _S.READY,
            {
                _V.STARTTLS: _S.HANDSHAKE,
                _V.AUTH: _S.SASL,
                _V.MAIL: _S.SENDER,
                _V.RCPT: MAIL_FIRST,
                _V.DATA: MAIL_FIRST,
                _V.BDAT: MAIL_FIRST,
            },
        ),
        _S.SENDER: _row(_S.SENDER, _BUSY | {_V.RCPT: _S.RECIPIENT, _V.DATA: RECIPIENT_FIRST, _V.BDAT: RECIPIENT_FIRST}),
        _S.NO_RECIPIENT: _row(
            _S.NO_RECIPIENT,
            _BUSY | {_V.RCPT: _S.RECIPIENT, _V.DATA: NO_VALID_RECIPIENTS, _V.BDAT: NO_VALID_RECIPIENTS},
        ),
        _S.RECIPIENT: _row(_S.RECIPIENT, _BUSY | {_V.RCPT: _S.RECIPIENT, _V.DATA: _S.CONTENT, _V.BDAT: _S.CHUNKING}),
        _S.CHUNKING: _row(_S.CHUNKING, _BUSY | {_V.RCPT: CHUNKS_BEGUN, _V.DATA: CHUNKS_BEGUN, _V.BDAT: _S.CHUNKING}),
    }
)

AFTER_REFUSAL: Final[Mapping[State, Mapping[Verb, State]]] = MappingProxyType(
    {
        _S.SENDER: {_V.RCPT: _S.NO_RECIPIENT, _V.BDAT: _S.READY},
        _S.NO_RECIPIENT: {_V.BDAT: _S.READY},
        _S.RECIPIENT: {_V.BDAT: _S.READY},
        _S.CHUNKING: {_V.BDAT: _S.READY},
    }
)

TURNS: Final[Mapping[State, Mapping[Turn, State]]] = MappingProxyType(
    {
        _S.CONNECTED: {Turn.WELCOMED: _S.GREETED, Turn.TURNED_AWAY: _S.TURNED_AWAY},
        _S.CONTENT: {Turn.CONTENT_ENDED: _S.READY},
        _S.CHUNKING: {Turn.CONTENT_ENDED: _S.READY},
        _S.SASL: {Turn.SASL_ENDED: _S.READY},
        _S.HANDSHAKE: {Turn.TLS_STARTED: _S.GREETED},
    }
)

TRANSACTION: Final = frozenset({_S.SENDER, _S.NO_RECIPIENT, _S.RECIPIENT, _S.CHUNKING, _S.CONTENT})
"""The states inside a mail transaction."""


def draw() -> str:
    """The state machine as a Mermaid diagram, without the commands that leave a state where it is."""
    lines = ["stateDiagram-v2", "    [*] --> Connected"]
    for state in State:
        edges: dict[State, list[str]] = {}
        for turn, target in TURNS.get(state, {}).items():
            edges.setdefault(target, []).append(turn)
        for verb, move in COMMANDS.get(state, {}).items():
            if isinstance(move, State) and move is not state:
                edges.setdefault(move, []).append(verb)
        for verb, target in AFTER_REFUSAL.get(state, {}).items():
            edges.setdefault(target, []).append(f"{verb} refused")
        lines += [f"    {state} --> {target}: {', '.join(labels)}" for target, labels in edges.items()]
    return "\n".join([*lines, "    Closed --> [*]"])


def tabulate() -> str:
    """The table state × command in Markdown: the state that follows, "·" for the same state, or the refusal's code."""
    states = list(COMMANDS)
    lines = ["| command | " + " | ".join(states) + " |", "|---" * (len(states) + 1) + "|"]
    for verb in Verb:
        cells = (_cell(state, COMMANDS[state][verb]) for state in states)
        lines.append(f"| {verb} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(state: State, move: Move) -> str:
    if isinstance(move, Reply):
        return f"{move.code} {move.enhanced}"
    return "·" if move is state else f"**{move}**"
