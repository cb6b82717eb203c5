"""The state machine: the table walked against the real core, and every triple of commands against a second opinion."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from postreeve.mail.reply import Reply
from postreeve.smtp.event import Connected, Event, Mail, Recipient
from postreeve.smtp.order import AFTER_REFUSAL, COMMANDS, TURNS, State, Turn, Verb
from postreeve.smtp.settings import AuthOffer, TlsOffer
from tests.smtp.drive import Session, begin, settings
from tools import states

ROOT = Path(__file__).resolve().parent.parent.parent

LINES: dict[Verb, bytes] = {
    Verb.EHLO: b"EHLO client.example.org\r\n",
    Verb.HELO: b"HELO client.example.org\r\n",
    Verb.STARTTLS: b"STARTTLS\r\n",
    Verb.AUTH: b"AUTH PLAIN\r\n",
    Verb.MAIL: b"MAIL FROM:<a@example.org>\r\n",
    Verb.RCPT: b"RCPT TO:<b@example.com>\r\n",
    Verb.DATA: b"DATA\r\n",
    Verb.BDAT: b"BDAT 1\r\nx",
    Verb.RSET: b"RSET\r\n",
    Verb.NOOP: b"NOOP\r\n",
    Verb.VRFY: b"VRFY a\r\n",
    Verb.EXPN: b"EXPN a\r\n",
    Verb.HELP: b"HELP\r\n",
    Verb.QUIT: b"QUIT\r\n",
    Verb.UNKNOWN: b"FROB\r\n",
}
HELLO = LINES[Verb.HELO]
SENDER = HELLO + LINES[Verb.MAIL]
BAD_RCPT = b"RCPT TO:<bad@example.com>\r\n"
WAYS: dict[State, bytes] = {
    State.TURNED_AWAY: b"",
    State.GREETED: b"",
    State.READY: HELLO,
    State.SENDER: SENDER,
    State.NO_RECIPIENT: SENDER + BAD_RCPT,
    State.RECIPIENT: SENDER + LINES[Verb.RCPT],
    State.CHUNKING: SENDER + LINES[Verb.RCPT] + LINES[Verb.BDAT],
}


def refuse_bad(event: Event) -> Reply | None:
    return Reply(550, "5.1.1", "no") if isinstance(event, Recipient) and event.mailbox.local == "bad" else None


def turn_away(event: Event) -> Reply | None:
    return Reply(554, "5.7.1", "no service") if isinstance(event, Connected) else None


def reach(state: State) -> Session:
    """A core in `state`, where both STARTTLS and AUTH are open."""
    config = settings(TlsOffer.STARTTLS, AuthOffer.OPTIONAL, auth_without_tls=True)
    if state is State.TURNED_AWAY:
        session = begin(config, turn_away)
    else:
        session = begin(config, refuse_bad)
    for line in WAYS[state].splitlines(keepends=True):
        session.feed(line)
    session.written = b""
    assert session.core.state is state
    return session


@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.name)
@pytest.mark.parametrize("state", COMMANDS, ids=lambda state: state.value)
def test_order_is_what_the_core_does(state: State, verb: Verb) -> None:
    session = reach(state)
    session.feed(LINES[verb])
    move = COMMANDS[state][verb]
    if isinstance(move, State):
        assert session.core.state is move
        assert all(code < 400 or (verb is Verb.EXPN and code == 502) for code in session.codes())
    else:
        assert session.written == move.to_bytes()
        assert session.core.state is AFTER_REFUSAL.get(state, {}).get(verb, state)


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_order_reads_commands_or_turns_in_every_state(state: State) -> None:
    assert state in COMMANDS or state in TURNS or state is State.CLOSED
    assert set(COMMANDS.get(state, Verb)) == set(Verb)


def test_order_turns_are_taken() -> None:
    assert begin(decide=turn_away).core.state is TURNS[State.CONNECTED][Turn.TURNED_AWAY]
    assert begin().core.state is TURNS[State.CONNECTED][Turn.WELCOMED]
    session = reach(State.RECIPIENT)
    session.feed(b"DATA\r\n", b".\r\n")
    assert session.core.state is TURNS[State.CONTENT][Turn.CONTENT_ENDED]
    session.feed(b"AUTH PLAIN\r\n")
    assert session.core.state is State.SASL
    session.feed(b"AGEAYQ==\r\n")
    assert session.core.state is TURNS[State.SASL][Turn.SASL_ENDED]
    assert session.core.authenticated
    session.feed(b"STARTTLS\r\n")
    assert session.core.state is State.HANDSHAKE
    session.start_tls()
    assert session.core.state is TURNS[State.HANDSHAKE][Turn.TLS_STARTED]
    assert session.core.tls_active
    assert not session.core.authenticated


def test_order_page_is_drawn_from_the_table() -> None:
    assert (ROOT / "docs" / "smtp-states.md").read_text("utf-8") == states.render(), "run: python tools/states.py"


class Reference:
    """A second opinion on what may follow what, written from RFC 5321, section 4.1.4, and not from the table.

    It knows five facts about a conversation and the first digit each command must get.
    """

    def __init__(self) -> None:
        self.hello = self.mail = self.rcpt = self.chunks = self.login = False

    def expect(self, command: str) -> int:
        """The first digit of the last reply to `command`, and what it changes."""
        name, _, failing = command.partition("-")
        handler = getattr(self, name, None)
        return handler(bool(failing)) if handler else 2

    def ehlo(self, failing: bool) -> int:
        if not failing:
            self.hello, self.mail, self.rcpt, self.chunks = True, False, False, False
        return 5 if failing else 2

    def auth(self, failing: bool) -> int:
        if not self.hello or self.mail or self.login or failing:
            return 5
        self.login = True
        return 2

    def from_(self, failing: bool) -> int:
        if not self.hello or self.mail or failing:
            return 5
        self.mail = True
        return 2

    def to(self, failing: bool) -> int:
        if not self.mail or self.chunks or failing:
            return 5
        self.rcpt = True
        return 2

    def data(self, failing: bool) -> int:
        if not self.rcpt or self.chunks:
            return 5
        self.mail = self.rcpt = False
        return 5 if failing else 2

    def bdat(self, failing: bool) -> int:
        if not self.rcpt:
            self.mail = self.chunks = False
            return 5
        self.chunks = True
        return 2

    def last(self, failing: bool) -> int:
        good = self.rcpt
        self.mail = self.rcpt = self.chunks = False
        return 2 if good and not failing else 5

    def rset(self, _failing: bool) -> int:
        self.mail = self.rcpt = self.chunks = False
        return 2

    def frob(self, _failing: bool) -> int:
        return 5


COMMAND_OCTETS: dict[str, bytes] = {
    "ehlo": b"EHLO client.example.org\r\n",
    "ehlo-bad": b"EHLO\r\n",
    "auth": b"AUTH PLAIN AGEAYQ==\r\n",
    "auth-bad": b"AUTH PLAIN !\r\n",
    "from_": b"MAIL FROM:<a@example.org>\r\n",
    "from_-bad": b"MAIL FROM:<bad@example.org>\r\n",
    "to": b"RCPT TO:<b@example.com>\r\n",
    "to-bad": b"RCPT TO:<bad@example.com>\r\n",
    "data": b"DATA\r\nNOOP\r\n.\r\n",
    "data-bad": b"DATA\r\nbad\n\r\n.\r\n",
    "bdat": b"BDAT 6\r\nNOOP\r\n",
    "last": b"BDAT 6 LAST\r\nNOOP\r\n",
    "last-bad": b"BDAT 6 LAST\r\nbad\nx\n",
    "rset": b"RSET\r\n",
    "noop": b"NOOP\r\n",
    "vrfy": b"VRFY bad\r\n",
    "frob": b"FROB\r\n",
}


def judge(event: Event) -> Reply | None:
    match event:
        case Mail(reverse_path=sender) if sender is not None and sender.local == "bad":
            return Reply(550, "5.7.1", "no")
        case Recipient():
            return refuse_bad(event)
        case _:
            return None


def test_order_agrees_with_an_independent_automaton_on_every_triple() -> None:
    """RFC 5321, section 4.1.4: all ordered triples, from a fresh conversation, after EHLO and inside a transaction."""
    config = settings(TlsOffer.NONE, AuthOffer.OPTIONAL, auth_without_tls=True)
    prefixes: list[list[str]] = [[], ["ehlo"], ["ehlo", "from_"], ["ehlo", "from_", "to"]]
    for prefix in prefixes:
        for triple in itertools.product(COMMAND_OCTETS, repeat=3):
            run_against_reference(begin(config, judge), [*prefix, *triple])


def run_against_reference(session: Session, commands: list[str]) -> None:
    reference = Reference()
    for command in commands:
        octets = COMMAND_OCTETS[command]
        had_recipient = reference.rcpt and not reference.chunks
        wanted = reference.expect(command)
        if command.startswith("data") and not had_recipient:
            octets = b"DATA\r\n"
        answer = session.feed(octets)
        lines = [line for line in answer.decode().split("\r\n") if line[3:4] == " "]
        assert lines, (commands, command)
        assert int(lines[-1][0]) == wanted, (commands, command, lines)
        assert len(lines) == (2 if command.startswith("data") and had_recipient else 1), (commands, command, lines)
    assert not session.core.is_closed
