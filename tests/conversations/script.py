"""Reading and running the conversations beside this file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

from postreeve.mail.reply import Reply
from postreeve.smtp.event import (
    Authenticate,
    ContentChunk,
    ContentEnd,
    Event,
    Hello,
    Idled,
    Mail,
    Recipient,
    Refused,
    WrongProtocol,
)
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer
from tests.smtp.drive import NOW, Session, settings

DIRECTORY = Path(__file__).resolve().parent
_REPEAT = re.compile(rb"\{(.+?)\*(\d+)\}", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|([rnt0\\]))")
_LETTERS = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


@dataclass(frozen=True)
class Turn:
    """What the client does ("octets", "tls", "eof", "wait") and which lines answer it."""

    kind: str
    data: bytes = b""
    answers: list[str] = field(default_factory=list)


@dataclass
class Conversation:
    name: str
    settings: ServerSettings
    decisions: list[tuple[str, str, Reply]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=lambda: [Turn("octets")])
    events: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [line for turn in self.turns for line in turn.answers]

    def decide(self, event: Event) -> Reply | None:
        for name, text, reply in self.decisions:
            if type(event).__name__ == name and text in describe(event):
                return reply
        return None

    def begin(self) -> Session:
        session = Session(ServerProtocol(self.settings, lambda: NOW), self.decide)
        session.run()
        session.written = b""
        return session


def load_all() -> list[Conversation]:
    return [load(path) for path in sorted(DIRECTORY.glob("*.smtp"))]


def load(path: Path) -> Conversation:
    conversation = Conversation(path.stem, settings())
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        if text and not text.startswith("#"):
            try:
                _read_line(conversation, text)
            except (ValueError, KeyError, IndexError) as error:
                raise ValueError(f"{path.name}, line {number}: {text!r}: {error}") from error
    return conversation


def _read_line(conversation: Conversation, text: str) -> None:
    key, _, value = text.partition(" ")
    turns = conversation.turns
    match key:
        case "settings:":
            conversation.settings = _settings(value)
        case "decide:":
            name, subject, code, enhanced, words = value.split(" ", 4)
            subject = "" if subject == "*" else subject
            conversation.decisions.append((name, subject, Reply(int(code), "" if enhanced == "-" else enhanced, words)))
        case "C:" | "C+":
            turns.append(Turn("octets", _octets(value) + (b"\r\n" if key == "C:" else b"")))
        case "S:":
            turns[-1].answers.append(value)
        case "TLS" | "EOF" | "WAIT":
            turns.append(Turn(key.lower()))
        case "E:":
            conversation.events.append(value)
        case "M:":
            conversation.messages.append(_octets(value))
        case _:
            raise ValueError("unknown directive")


def _settings(text: str) -> ServerSettings:
    """Each word is field=value; numbers, true and false, and the values of the two offers are understood."""
    known = {f.name for f in fields(ServerSettings)}
    given: dict[str, object] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in known:
            raise ValueError(f"no such setting: {name}")
        if name == "tls":
            given[name] = TlsOffer(value)
        elif name == "auth":
            given[name] = AuthOffer(value)
        else:
            given[name] = int(value) if value.isdigit() else {"true": True, "false": False}.get(value, value)
    return settings(**given)  # type: ignore[arg-type]


def _octets(text: str) -> bytes:
    """Text as octets: \\xNN is that octet, other characters are UTF-8, {x*n} is x n times."""
    parts: list[bytes] = []
    last = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[last : match.start()].encode())
        parts.append(bytes.fromhex(match[1]) if match[1] else _LETTERS[match[2]].encode())
        last = match.end()
    parts.append(text[last:].encode())
    return _REPEAT.sub(lambda match: match[1] * int(match[2]), b"".join(parts))


def describe(event: Event) -> str:
    """An event in a few words, as E: lines and decisions name it."""
    match event:
        case Hello():
            return f"Hello {event.name}{'' if event.extended else ' plain'}"
        case Authenticate():
            return f"Authenticate {event.mechanism} {event.username}:{event.password}:{event.authorization_identity}"
        case Mail():
            given = " ".join(
                f"{f.name}={getattr(event.parameters, f.name)}"
                for f in fields(event.parameters)
                if getattr(event.parameters, f.name) not in (None, False)
            )
            return f"Mail <{event.reverse_path or ''}> {given}".rstrip()
        case Recipient():
            words = [f"Recipient {event.mailbox}"]
            if event.parameters.notify is not None:
                words.append("notify=" + ",".join(sorted(n.value for n in event.parameters.notify)))
            if event.parameters.orcpt is not None:
                words.append(f"orcpt={event.parameters.orcpt.address_type};{event.parameters.orcpt.address}")
            return " ".join(words)
        case ContentEnd():
            return f"ContentEnd {event.size_octets}" + (f" {event.problem}" if event.problem else "")
        case Refused():
            return f"Refused {event.command or '-'} {event.reply.code}" + (" credentials" if event.credentials else "")
        case Idled():
            return f"Idled {event.command}"
        case WrongProtocol():
            return f"WrongProtocol {event.sniffed}"
        case _:
            return type(event).__name__


def run(conversation: Conversation, slice_octets: Callable[[bytes], list[bytes]]) -> Session:
    """Run it with everything the client says up to a TLS, EOF or WAIT joined, then cut by `slice_octets`."""
    session = conversation.begin()
    waiting = b""
    for turn in conversation.turns:
        if turn.kind == "octets":
            waiting += turn.data
            continue
        session.feed(*slice_octets(waiting))
        waiting = b""
        act(session, turn)
    session.feed(*slice_octets(waiting))
    return session


def act(session: Session, turn: Turn) -> None:
    """What is no octets: a handshake, the end of input, or nothing but the client's patience."""
    match turn.kind:
        case "tls":
            session.start_tls()
        case "eof":
            session.eof()


def check(conversation: Conversation, session: Session) -> None:
    """The server's lines, the events and the messages are what the conversation says."""
    check_lines(session.written, conversation.lines)
    seen = [describe(event) for event in session.events if not isinstance(event, ContentChunk)]
    remaining = iter(seen)
    for wanted in conversation.events:
        assert any(wanted == text for text in remaining), f"{wanted!r} is missing, or not in this order, in {seen}"
    stored = [f"{m.sender} > {' '.join(m.recipients)}: ".encode() + m.content for m in session.stored]
    assert stored == conversation.messages


def check_lines(written: bytes, expected: list[str]) -> None:
    lines = written.decode().split("\r\n")[:-1]
    for line, wanted in zip(lines, expected, strict=False):
        assert line == wanted or (wanted.endswith("...") and line.startswith(wanted[:-3])), (line, wanted, lines)
    assert len(lines) == len(expected), lines
