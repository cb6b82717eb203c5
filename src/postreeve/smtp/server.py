"""The server's side of one SMTP conversation: bytes in, events out; replies in, bytes out.

This is the face. `conversation` is the memory behind it, `reading` turns octets into events, `obey` does the commands
and `order` says which of them may come when. One thing is read at a time and nothing while a reply is owed, so that
pipelined commands (RFC 2920) simply wait in the buffer.

RFC 5321; RFC 2920; RFC 3030; RFC 3207; RFC 4954.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp.conversation import Conversation
from postreeve.smtp.error import LocalProtocolError
from postreeve.smtp.event import NEED_REPLY, Event, Need
from postreeve.smtp.obey import settle_greeting
from postreeve.smtp.order import State, Turn
from postreeve.smtp.reading import read
from postreeve.smtp.settings import ServerSettings

_DEAF: Final = frozenset({State.HANDSHAKE, State.CLOSED})


class ServerProtocol:
    """One conversation, from the greeting on.

    The caller's duties: call `next_event()` until it says what it needs; answer every event that OWES with `reply()`;
    write `data_to_send()` whenever it may have grown; stop reading from the transport while a reply is owed, for what
    comes is kept; stop reading before the 220 to `StartTls` is written, do the handshake, then call `tls_started()`;
    after `Quit`, `WrongProtocol` or `Closed`, write what is left and close.
    """

    __slots__ = ("_talk",)

    def __init__(self, settings: ServerSettings, clock: Callable[[], float]) -> None:
        """`clock` gives POSIX seconds; HOLDFOR, HOLDUNTIL and BY are reckoned from it."""
        self._talk = Conversation(settings, clock, settle_greeting)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the transport. Plain text after the 220 to STARTTLS ends the conversation, unread."""
        talk = self._talk
        if talk.state in _DEAF:
            talk.shut()
            return
        talk.buffer = talk.buffer[talk.at :] + data if talk.at < len(talk.buffer) else data
        talk.at = 0

    def receive_eof(self) -> None:
        """The peer sends no more; what it sent in full is still answered."""
        self._talk.ended = True

    def next_event(self) -> Event | Need:
        """What happened next; `Closed` again and again once the conversation is over."""
        talk = self._talk
        while not talk.news:
            if talk.owed is not None:
                return NEED_REPLY
            event = read(talk)
            if event is not None:
                return event
        return talk.news.popleft()

    def reply(self, reply: Reply) -> None:
        """Answer the outstanding event. 421 ends the conversation whatever it answers (RFC 5321, section 3.8).

        After the conversation has ended there is nobody to answer, and the reply is dropped.
        """
        talk = self._talk
        settle = talk.owed
        if settle is None:
            if talk.state is State.CLOSED:
                return
            raise LocalProtocolError(f"no reply is owed in state {talk.state}: {reply}")
        talk.owed = None
        if reply.code == 421:
            self.close(reply)
        else:
            settle(talk, reply)

    def close(self, reply: Reply | None = None) -> None:
        """End the conversation from our side, whatever is owed: a deadline, a shutdown, too many errors."""
        if reply is not None and not self.is_closed:
            self._talk.say(reply)
        self._talk.shut()

    def tls_started(self) -> None:
        """The TLS handshake is done: forget everything that was said before it (RFC 3207, section 4.2)."""
        if self._talk.state is not State.HANDSHAKE:
            raise LocalProtocolError(f"TLS began in state {self._talk.state}")
        self._talk.turn(Turn.TLS_STARTED)
        self._talk.begin_session(tls_active=True)

    def data_to_send(self) -> bytes:
        """What is to be written now; it is handed out once."""
        out = self._talk.out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def has_buffered(self) -> bool:
        """True while octets wait that were not read yet."""
        return self._talk.has_buffered

    @property
    def is_closed(self) -> bool:
        """True when nothing more will be read."""
        return self._talk.state is State.CLOSED

    @property
    def tls_active(self) -> bool:
        """True inside TLS, by STARTTLS or from the first octet."""
        return self._talk.tls_active

    @property
    def authenticated(self) -> bool:
        """True once a 235 has answered `Authenticate`."""
        return self._talk.authenticated

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._talk.state
