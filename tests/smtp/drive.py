"""A session for tests: answers every event of the server core as scripted, and keeps what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from postreeve.mail.reply import Reply
from postreeve.smtp.event import (
    Authenticate,
    Closed,
    Connected,
    ContentChunk,
    ContentEnd,
    ContentStarted,
    Event,
    Hello,
    Mail,
    Need,
    Quit,
    Recipient,
    StartTls,
    TransactionReset,
    WrongProtocol,
)
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z

DEFAULTS: dict[type[Event], Reply] = {
    Connected: Reply(220, "", "mx.example.com ESMTP"),
    Hello: Reply(250, "", "mx.example.com"),
    StartTls: Reply(220, "2.0.0", "go ahead"),
    Authenticate: Reply(235, "2.7.0", "welcome"),
    Mail: Reply(250, "2.1.0", "OK"),
    Recipient: Reply(250, "2.1.5", "OK"),
    ContentEnd: Reply(250, "2.0.0", "queued"),
}

Decide = Callable[[Event], Reply | None]


def settings(tls: TlsOffer = TlsOffer.STARTTLS, auth: AuthOffer = AuthOffer.NEVER, **more: object) -> ServerSettings:
    """A listener that lets clients pipeline as they like, so that a test may feed all at once."""
    return ServerSettings("mx.example.com", tls, auth, **({"refuse_early_talkers": False} | more))  # type: ignore[arg-type]


def accept_all(_event: Event) -> Reply | None:
    return None


@dataclass
class Stored:
    """A message the session said 250 to."""

    sender: str
    recipients: list[str]
    content: bytes


@dataclass
class Session:
    """Drives one `ServerProtocol` as the real session does; `decide` may answer an event otherwise than the default."""

    core: ServerProtocol
    decide: Decide = accept_all
    events: list[Event] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    written: bytes = b""
    _sender: str = ""
    _recipients: list[str] = field(default_factory=list)
    _content: bytes = b""
    _over: bool = False

    def feed(self, *pieces: bytes) -> bytes:
        """Hand over `pieces` one by one, answering all that follows; what was written meanwhile."""
        before = len(self.written)
        for piece in pieces or (b"",):
            self.core.receive_data(piece)
            self.run()
        return self.written[before:]

    def eof(self) -> None:
        self.core.receive_eof()
        self.run()

    def start_tls(self) -> None:
        self.core.tls_started()
        self.run()

    def run(self) -> None:
        while not self._over and not isinstance(event := self.core.next_event(), Need):
            self.events.append(event)
            self._take(event)
            self.written += self.core.data_to_send()
            if isinstance(event, Closed | Quit | WrongProtocol):
                assert self.core.is_closed
                self._over = True
        self.written += self.core.data_to_send()

    def _take(self, event: Event) -> None:
        reply = self.decide(event) or DEFAULTS.get(type(event))
        if isinstance(event, ContentEnd) and event.problem is not None:
            reply = event.problem
        if reply is not None:
            self.core.reply(reply)
        accepted = reply is not None and reply.is_positive
        match event:
            case Mail() if accepted:
                self._sender, self._recipients = str(event.reverse_path or ""), []
            case Recipient() if accepted:
                self._recipients.append(str(event.mailbox))
            case ContentStarted():
                self._content = b""
            case ContentChunk():
                assert event.data
                self._content += event.data
            case ContentEnd() if accepted:
                assert event.size_octets == len(self._content)
                self.stored.append(Stored(self._sender, self._recipients, self._content))
            case TransactionReset():
                self._content = b""
            case _:
                pass

    def codes(self) -> list[int]:
        """The codes of all replies written, in order, one per reply."""
        return [int(line[:3]) for line in self.written.decode().split("\r\n") if line[3:4] == " "]

    def names(self) -> list[str]:
        """The events' names in order, with runs of content chunks as one."""
        names = [type(event).__name__ for event in self.events]
        return [n for i, n in enumerate(names) if n != "ContentChunk" or i == 0 or names[i - 1] != n]


def begin(config: ServerSettings | None = None, decide: Decide = accept_all) -> Session:
    """A session whose greeting was said."""
    session = Session(ServerProtocol(config or settings(), lambda: NOW), decide)
    session.run()
    session.written = b""
    session.events.clear()
    return session


def greeted(config: ServerSettings | None = None, decide: Decide = accept_all) -> Session:
    """A session whose EHLO was answered."""
    session = begin(config, decide)
    session.feed(b"EHLO client.example.org\r\n")
    session.written = b""
    session.events.clear()
    return session


def in_transaction(config: ServerSettings | None = None, decide: Decide = accept_all) -> Session:
    """A session ready for DATA or BDAT."""
    session = greeted(config, decide)
    session.feed(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    session.written = b""
    session.events.clear()
    return session


def octets(data: bytes) -> list[bytes]:
    """`data` cut into single octets."""
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at `places`."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]
