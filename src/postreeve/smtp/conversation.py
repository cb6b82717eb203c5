"""What the server remembers of one conversation, and the few things that all its parts do: say, refuse, close.

`reading` takes octets from it, `obey` does the commands, `server` is its face. Nothing outside this package touches it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from postreeve.mail.envelope import NO_MAIL_PARAMETERS, MailParameters
from postreeve.mail.reply import Reply
from postreeve.smtp import sasl
from postreeve.smtp.bdat import Chunk
from postreeve.smtp.content import DotReader, Inspection
from postreeve.smtp.event import NEED_DATA, Closed, Connected, Event, Need, Refused, TransactionReset, WrongProtocol
from postreeve.smtp.extension import Offer, offer
from postreeve.smtp.order import AFTER_REFUSAL, TRANSACTION, TURNS, State, Turn, Verb
from postreeve.smtp.settings import ServerSettings, TlsOffer

NOT_SMTP: Final = Reply(554, "5.5.1", "this is an SMTP server")
EARLY: Final = Reply(554, "5.5.1", "you spoke before it was your turn")
_SILENT: Final = frozenset({"tls", "rdp", "socks"})  # peers that could not read a reply


class Conversation:
    """One conversation's memory. `owed` settles the reply that is owed, if one is."""

    __slots__ = (
        "at", "authenticated", "buffer", "chunk", "clock", "closed_in_transaction", "dots", "ended", "exchange",
        "extended", "fresh", "inspection", "mechanism", "messages", "news", "offer", "out", "owed", "parameters",
        "recipients", "said_hello", "settings", "state", "tls_active",
    )  # fmt: skip

    def __init__(self, settings: ServerSettings, clock: Callable[[], float], owed: Settle) -> None:
        self.settings = settings
        self.clock = clock
        self.buffer = b""
        self.at = 0
        self.ended = False
        self.out: list[bytes] = []
        self.news: deque[Event] = deque((Connected(),))
        self.owed: Settle | None = owed
        self.state = State.CONNECTED
        self.closed_in_transaction = False
        self.fresh = True  # nothing was understood yet: the peer may be no SMTP client at all
        self.messages = 0
        self.extended = False
        self.dots: DotReader | None = None
        self.inspection: Inspection | None = None
        self.chunk: Chunk | None = None
        self.exchange: sasl.Exchange | None = None
        self.mechanism = ""
        self.begin_session(tls_active=settings.tls is TlsOffer.IMPLICIT)

    def begin_session(self, *, tls_active: bool) -> None:
        """Know nothing of the client yet: at the start, and again inside TLS (RFC 3207, section 4.2)."""
        self.tls_active = tls_active
        self.authenticated = False
        self.offer: Offer = offer(self.settings, tls_active=tls_active, authenticated=False)
        self.said_hello = False
        self.parameters: MailParameters = NO_MAIL_PARAMETERS
        self.recipients = 0

    @property
    def has_buffered(self) -> bool:
        return self.at < len(self.buffer)

    @property
    def spoke_early(self) -> bool:
        """True when a stranger's octets are here that only our next reply should have brought about."""
        return self.at < len(self.buffer) and self.settings.refuse_early_talkers and not self.authenticated

    def say(self, reply: Reply) -> None:
        self.out.append(reply.to_bytes())

    def turn(self, turn: Turn) -> None:
        """Something ended without a command."""
        self.state = TURNS[self.state][turn]

    def refuse(self, command: str, reply: Reply, *, credentials: bool = False) -> Event:
        self.out.append(reply.to_bytes())
        return Refused(command, reply, credentials)

    def refuse_and_close(self, command: str, reply: Reply) -> Event:
        event = self.refuse(command, reply)
        self.shut()
        return event

    def refuse_afterwards(self, command: str, reply: Reply) -> None:
        """Refuse where a reply was expected to be good, and close: the event follows when it is asked for."""
        self.news.append(self.refuse_and_close(command, reply))

    def refuse_chunk(self, reply: Reply) -> Event:
        """A BDAT was refused: with it ends the mail transaction, if there is one (RFC 3030, section 2)."""
        if self.state in TRANSACTION:
            self.news.append(TransactionReset())
        self.state = AFTER_REFUSAL.get(self.state, {}).get(Verb.BDAT, self.state)
        return self.refuse(Verb.BDAT, reply)

    def meet_stranger(self, protocol: str) -> Event:
        """The peer speaks `protocol` and no SMTP: say so where it could be read, and close."""
        if protocol not in _SILENT:
            self.say(NOT_SMTP)
        self.shut()
        return WrongProtocol(protocol)

    def wait(self) -> Event | Need:
        """There is nothing to read: more may come, or the conversation is over."""
        if not self.ended:
            return NEED_DATA
        self.shut()
        return Closed(self.closed_in_transaction)

    def shut(self) -> None:
        """The conversation is over; what was not read will never be."""
        if self.state is State.CLOSED:
            return
        self.closed_in_transaction = self.state in TRANSACTION
        self.state = State.CLOSED
        self.buffer = b""
        self.at = 0
        self.chunk = None
        self.owed = None


Settle = Callable[[Conversation, Reply], None]
"""What a reply to an event does to the conversation."""
