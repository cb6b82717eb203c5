"""One mail transaction from the client's side: which reply belongs to which command, and what it means for whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp.capability import Capabilities
from postreeve.smtp.client_command import Shortcoming, Transaction, mail_command, recipient_command
from postreeve.smtp.client_event import (
    Answer,
    ClientEvent,
    ClientStage,
    ContentWanted,
    Finished,
    RecipientResult,
)
from postreeve.smtp.reply_reader import BadReply
from postreeve.smtp.stuffing import END, Stuffer, stuff

_CONTENT_WANTED: Final = ContentWanted()
_FINISHED: Final = Finished()


class MailTransaction:
    """MAIL, RCPT …, DATA or BDAT, content, end. Commands to send are appended to `output`.

    Replies are counted against `commands`: number −1 is a leading RSET, 0 MAIL, 1 … n RCPT, n+1 DATA.
    """

    __slots__ = (
        "_accepted", "_answered", "_chunks", "_commands", "_is_binary", "_is_lmtp", "_is_pipelined", "_mail_taken",
        "_offset", "_places", "_stuffer", "needs_reset", "output", "results", "stage", "stays_in_step",
    )  # fmt: skip

    def __init__(
        self,
        transaction: Transaction,
        offered: Capabilities,
        *,
        is_lmtp: bool,
        needs_reset: bool,
        is_authenticated: bool = False,
    ) -> None:
        """`needs_reset`: the one before ended in the middle, and RSET goes ahead of this one."""
        self.output: list[bytes] = []
        self.results: list[RecipientResult] = [None] * len(transaction.recipients)
        self.stage = ClientStage.MAIL
        self.stays_in_step = True
        """False: nobody can say which reply would belong to what from here on."""
        self.needs_reset = needs_reset
        self._is_lmtp = is_lmtp
        self._is_binary = transaction.is_binary
        self._is_pipelined = offered.pipelining
        self._mail_taken = False
        self._accepted: list[int] = []
        self._places = self._reachable(transaction, offered)
        self._commands = [b"RSET\r\n"] if needs_reset else []
        self._offset = len(self._commands)
        self._answered = 0
        self._chunks = 0
        self._stuffer = Stuffer()
        if self._places:
            recipients = transaction.recipients
            self._commands.append(mail_command(transaction, offered, is_authenticated=is_authenticated))
            self._commands += [recipient_command(recipients[place], offered) for place in self._places]
            if not self._is_binary:
                self._commands.append(b"DATA\r\n")
            self.output.append(b"".join(self._commands) if self._is_pipelined else self._commands[0])

    @property
    def is_void(self) -> bool:
        """True when the server can be told of no recipient: nothing is sent, the results say why."""
        return not self._places

    def _reachable(self, transaction: Transaction, offered: Capabilities) -> list[int]:
        """Places of the recipients whom this server can be told; the others lack SMTPUTF8 (RFC 6531, section 3.5)."""
        if offered.smtputf8:
            return list(range(len(transaction.recipients)))
        places = []
        for place, recipient in enumerate(transaction.recipients):
            if recipient.mailbox.is_ascii:
                places.append(place)
            else:
                self.results[place] = Shortcoming.SMTPUTF8
        return places

    def content(self, content: bytes) -> None:
        """All of the content, after ContentWanted."""
        if self._is_binary:
            self.output += (b"BDAT %d LAST\r\n" % len(content), content)
        else:
            self.output.append(stuff(content))
        self.stage = ClientStage.FINAL

    def content_piece(self, piece: bytes) -> None:
        """Some of the content."""
        if not piece:
            return
        if self._is_binary:
            self.output += (b"BDAT %d\r\n" % len(piece), piece)
            self._chunks += 1
        else:
            self.output.append(self._stuffer.encode(piece))

    def content_end(self) -> None:
        """The pieces are complete."""
        self.output.append(b"BDAT 0 LAST\r\n" if self._is_binary else self._stuffer.finish())
        self.stage = ClientStage.FINAL

    def take(self, reply: Reply) -> ClientEvent | None:
        """The next reply. Raises BadReply where it cannot be one to what was said last."""
        if self.stage in (ClientStage.CONTENT, ClientStage.FINAL):
            return self._take_content(reply)
        number = self._answered - self._offset
        self._answered += 1
        if reply.code == 421:
            return self._end(reply, stays_in_step=False)
        is_taken = 200 <= reply.code < 300
        if number < 0:
            if not is_taken:
                return self._end(reply, stays_in_step=False)
        elif number == 0:
            self._mail_taken = is_taken
            if not is_taken:
                self._refuse(self._places, reply)
        elif number <= len(self._places):
            place = self._places[number - 1]
            if is_taken:
                self._accepted.append(place)
            else:
                self._refuse((place,), reply)
        else:
            return self._take_data(reply)
        return self._go_on(number)

    def _go_on(self, number: int) -> ClientEvent | None:
        """The answer to command `number` is in: what is next?"""
        last = len(self._places)
        if number >= 0:
            self.stage = ClientStage.RCPT if number < last else ClientStage.DATA
        is_complete = number == last
        if self._is_pipelined:
            return self._content_or_end() if is_complete and self._is_binary else None
        if number == 0 and not self._mail_taken:
            return self._end(None)
        if is_complete and (self._is_binary or not self._accepted):
            return self._content_or_end()
        self.output.append(self._commands[self._answered])
        return None

    def _take_data(self, reply: Reply) -> ClientEvent | None:
        if reply.code < 400 and reply.code != 354:
            raise BadReply(f"unexpected reply to DATA: {reply}")
        if reply.code != 354:
            return self._end(reply)
        if self._accepted or self._is_lmtp:
            return self._content_or_end()
        # RFC 2920, section 3.1: with no recipient accepted, a lone dot ends what the server should not have begun.
        self.output.append(END)
        self.stage = ClientStage.FINAL
        return None

    def _content_or_end(self) -> ClientEvent:
        if not self._accepted:
            # After an LMTP server's 354 to nobody (RFC 2033, section 4.2, wants 503) no reply would ever come.
            return self._end(None, stays_in_step=not self._is_lmtp)
        if not self._mail_taken:
            # MAIL refused, yet a recipient accepted: the content, even an empty one, might reach somebody.
            return self._end(None, stays_in_step=False)
        self.stage = ClientStage.CONTENT
        return _CONTENT_WANTED

    def _take_content(self, reply: Reply) -> ClientEvent | None:
        is_taken = 200 <= reply.code < 300
        if self._chunks:
            self._chunks -= 1
            return None if is_taken else self._end(reply, stays_in_step=False)
        if self.stage is ClientStage.CONTENT:
            if reply.code < 400:
                raise BadReply(f"reply before the end of the content: {reply}")
            return self._end(reply, stays_in_step=False)
        if not self._accepted:
            return self._end(None)
        answer = Answer(reply, ClientStage.FINAL, is_taken)
        if self._is_lmtp and reply.code != 421:
            # RFC 2033, section 4.2: one reply for each recipient accepted, in their order.
            self.results[self._accepted.pop(0)] = answer
            if self._accepted:
                return None
        else:
            for place in self._accepted:
                self.results[place] = answer
        return self._end(None, stays_in_step=is_taken or 400 <= reply.code != 421, needs_reset=not is_taken)

    def _refuse(self, places: Iterable[int], reply: Reply) -> None:
        for place in places:
            if self.results[place] is None:
                self.results[place] = Answer(reply, self.stage, False)
        if reply.code < 400:
            self.stays_in_step = False

    def _end(self, reply: Reply | None, *, stays_in_step: bool = True, needs_reset: bool = True) -> ClientEvent:
        """The transaction is over; `reply` is the last word for all who have none yet."""
        if reply is not None:
            self._refuse(self._places, reply)
            stays_in_step = stays_in_step and reply.code != 421
        self.needs_reset = needs_reset
        self.stays_in_step = self.stays_in_step and stays_in_step
        self.stage = ClientStage.READY
        return _FINISHED
