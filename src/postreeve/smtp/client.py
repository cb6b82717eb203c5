"""The client core, for SMTP and LMTP: replies in, commands out, no I/O.

    core = ClientProtocol(settings)
    event = core.receive_data(data)          ClientEvent | None, at most one per call; at the end of input: receive_eof
    transport.write(core.data_to_send())     after every call
    core.begin(transaction)                  once Ready; then ContentWanted → content(…) → Finished, and see `results`

A command is sent when the one before it is answered, or, for a server that offers PIPELINING (RFC 2920), MAIL, all RCPT
and DATA go out in one write. What a server says without being asked ends the connection: one reply out of step, and the
next message would be marked delivered by the words that belong to another.
"""

from __future__ import annotations

import base64
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp.capability import Capabilities, parse_capabilities
from postreeve.smtp.client_command import Transaction, shortcoming
from postreeve.smtp.client_event import (
    ClientEvent,
    ClientSettings,
    ClientStage,
    Failed,
    FailureKind,
    Finished,
    HandshakeWanted,
    Ready,
    RecipientResult,
    StartTlsUse,
)
from postreeve.smtp.client_transaction import MailTransaction
from postreeve.smtp.reply_reader import BadReply, ReplyReader
from postreeve.smtp.transcript import Transcript

_UNASKED: Final = "replies to nothing that was asked"


class ClientProtocol:
    """One connection to a server. `stage` says whose answer is awaited, for the caller's time-outs."""

    __slots__ = (
        "_login", "_needs_reset", "_output", "_reader", "_settings", "_stays_in_step", "_transaction", "capabilities",
        "is_extended", "is_tls_active", "messages", "replies", "results", "stage", "transcript",
    )  # fmt: skip

    def __init__(self, settings: ClientSettings, *, is_tls_active: bool = False) -> None:
        """`is_tls_active`: implicit TLS, done before the first octet comes here."""
        self._settings = settings
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        self._login: list[bytes] = []
        self._transaction: MailTransaction | None = None
        self._needs_reset = False
        self._stays_in_step = True
        self.capabilities = Capabilities()
        self.is_extended = False
        self.is_tls_active = is_tls_active
        self.messages = 0
        """Transactions begun."""
        self.replies = 0
        """Complete replies taken: a server that only drips octets makes no progress."""
        self.results: list[RecipientResult] = []
        """Of the latest transaction, by place in its recipients."""
        self.stage = ClientStage.GREETING
        self.transcript = Transcript()

    @property
    def is_usable(self) -> bool:
        """True when another transaction may begin (now, or after the one under way)."""
        most = self.capabilities.max_messages
        return self._stays_in_step and (most is None or self.messages < most)

    # What the caller does

    def receive_data(self, data: bytes) -> ClientEvent | None:
        """Take what the server said; the event that came of it, if any."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.next_reply()) is not None:
                self.replies += 1
                self.transcript.add(reply)
                event = self._take(reply)
                if event is not None:
                    return event if reader.is_empty else self._overrun(event)
                if self._output and not reader.is_empty:
                    return self._fail(FailureKind.PROTOCOL, detail=_UNASKED)
        except BadReply as problem:
            return self._fail(FailureKind.PROTOCOL, detail=str(problem))
        return None

    def receive_eof(self) -> ClientEvent | None:
        """The server closed the connection; None when that is in order."""
        if self.stage in (ClientStage.QUIT, ClientStage.CLOSED):
            self._close()
            return None
        return self._fail(FailureKind.DISCONNECTED, detail="connection closed by the server")

    def data_to_send(self) -> bytes:
        """What to write now, perhaps nothing."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    def tls_started(self) -> None:
        """The handshake that HandshakeWanted asked for is done: what was said before counts for nothing."""
        self.is_tls_active = True
        self.capabilities = Capabilities()
        self._say_hello()

    def begin(self, transaction: Transaction) -> ClientEvent | None:
        """Start a transaction, when `stage` is READY and `is_usable`; Finished at once if the server rules it out."""
        if self.stage is not ClientStage.READY or not self.is_usable:
            raise ValueError(f"no transaction can begin at {self.stage.value}")
        settings, offered = self._settings, self.capabilities
        self.transcript.begin_message(is_first=self.messages == 0)
        lack = shortcoming(transaction, offered, eight_bit_anyway=settings.eight_bit_anyway)
        if lack is not None:
            self.results = [lack] * len(transaction.recipients)
            return Finished()
        made = MailTransaction(
            transaction,
            offered,
            is_lmtp=settings.is_lmtp,
            needs_reset=self._needs_reset,
            is_authenticated=bool(settings.username),  # or we would not be ready
        )
        self.results = made.results
        if made.is_void:
            return Finished()
        self.messages += 1
        self._transaction = made
        self._collect(made)
        return None

    def content(self, content: bytes) -> None:
        """All of the content, after ContentWanted."""
        self.transcript.add(f"content, {len(content)} octets")
        transaction = self._under_way()
        transaction.content(content)
        self._output += transaction.output
        transaction.output.clear()
        self.stage = transaction.stage

    def content_piece(self, piece: bytes) -> None:
        """Some of the content, after ContentWanted; `content_end` follows at last."""
        transaction = self._under_way()
        transaction.content_piece(piece)
        self._output += transaction.output
        transaction.output.clear()

    def content_end(self) -> None:
        """The content is complete."""
        self.transcript.add("content, in pieces")
        transaction = self._under_way()
        transaction.content_end()
        self._output += transaction.output
        transaction.output.clear()
        self.stage = transaction.stage

    def quit(self) -> None:
        """Say QUIT; the server's answer, or the end of the connection, may be awaited for a while."""
        if self.stage is ClientStage.READY and self._stays_in_step:
            self.stage = ClientStage.QUIT
            self._send(b"QUIT\r\n")
        else:
            self._close()

    # Replies, by stage

    def _take(self, reply: Reply) -> ClientEvent | None:
        if self._transaction is not None:
            return self._take_transaction(self._transaction, reply)
        match self.stage:
            case ClientStage.GREETING:
                if reply.code != 220:
                    return self._refused(reply)
                self._say_hello()
                return None
            case ClientStage.EHLO:
                return self._take_hello(reply)
            case ClientStage.STARTTLS:
                return self._take_starttls(reply)
            case ClientStage.AUTH:
                return self._take_auth(reply)
            case ClientStage.QUIT | ClientStage.CLOSED:
                self._close()
                return None
            case _:
                return self._fail(FailureKind.DISCONNECTED, detail=f"the server ends the session: {reply}")

    def _take_transaction(self, transaction: MailTransaction, reply: Reply) -> ClientEvent | None:
        event = transaction.take(reply)
        self._collect(transaction)
        if isinstance(event, Finished):
            self._transaction = None
            self._needs_reset = transaction.needs_reset
            self._stays_in_step = transaction.stays_in_step
        return event

    def _collect(self, transaction: MailTransaction) -> None:
        self.stage = transaction.stage
        for command in transaction.output:
            self._send(command)
        transaction.output.clear()

    def _under_way(self) -> MailTransaction:
        if self._transaction is None or self.stage is not ClientStage.CONTENT:
            raise ValueError(f"no content is wanted at {self.stage.value}")
        return self._transaction

    def _overrun(self, event: ClientEvent) -> ClientEvent:
        """Replies are waiting although it is our turn to speak."""
        match event:
            case Failed():
                return event
            case Finished():
                self._stays_in_step = False
                return event
            case _:
                return self._fail(FailureKind.PROTOCOL, detail=_UNASKED)

    # Opening the connection

    def _say_hello(self) -> None:
        self.stage = ClientStage.EHLO
        self.is_extended = True
        verb = "LHLO" if self._settings.is_lmtp else "EHLO"
        self._send(f"{verb} {self._settings.hostname}\r\n".encode("ascii", "replace"))

    def _take_hello(self, reply: Reply) -> ClientEvent | None:
        settings = self._settings
        if 200 <= reply.code < 300:
            self.capabilities = parse_capabilities(self._reader.lines[1:]) if self.is_extended else Capabilities()
            return self._secure()
        # RFC 5321, section 3.2: a server that does not know EHLO gets HELO. Never where something depends on EHLO.
        needs_ehlo = settings.is_lmtp or settings.starttls is StartTlsUse.REQUIRED or bool(settings.username)
        if not self.is_extended or needs_ehlo or self.is_tls_active or not 500 <= reply.code <= 509:
            return self._refused(reply)
        self.is_extended = False
        self._send(f"HELO {settings.hostname}\r\n".encode("ascii", "replace"))
        return None

    def _secure(self) -> ClientEvent | None:
        use = self._settings.starttls
        if self.is_tls_active or use is StartTlsUse.NEVER:
            return self._log_in()
        if self.capabilities.starttls:
            self.stage = ClientStage.STARTTLS
            self._send(b"STARTTLS\r\n")
            return None
        if use is StartTlsUse.REQUIRED:
            self.stage = ClientStage.STARTTLS
            return self._fail(FailureKind.TLS_NOT_OFFERED, detail="the server does not offer STARTTLS")
        return self._log_in()

    def _take_starttls(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 220:
            # RFC 3207, section 4.2; CVE-2021-38371: what came with the 220 was said in plaintext, by anybody.
            if not self._reader.is_empty:
                return self._fail(FailureKind.PROTOCOL, detail="plaintext after the reply to STARTTLS: injected?")
            return HandshakeWanted()
        if self._settings.starttls is StartTlsUse.REQUIRED or reply.code == 421 or reply.code < 400:
            return self._refused(reply)
        return self._log_in()

    def _log_in(self) -> ClientEvent | None:
        settings, mechanisms = self._settings, self.capabilities.auth
        if not settings.username:
            self.stage = ClientStage.READY
            return Ready()
        self.stage = ClientStage.AUTH
        if not self.is_tls_active:
            return self._fail(FailureKind.AUTH_NOT_OFFERED, detail="without TLS no password is sent")
        name, password = settings.username.encode(), settings.password.encode()
        if "PLAIN" in mechanisms:
            # RFC 4616: message = [authzid] UTF8NUL authcid UTF8NUL passwd
            response = _response(b"\0" + name + b"\0" + password)
            self._login = [response]
            self.transcript.add(b"AUTH PLAIN (credentials)")
            self._output.append(b"AUTH PLAIN " + response)
            return None
        if "LOGIN" in mechanisms:
            self._login = [_response(password), _response(name)]
            self._send(b"AUTH LOGIN\r\n")
            return None
        offered = " ".join(sorted(mechanisms))[:200] or "nothing"
        return self._fail(FailureKind.AUTH_NOT_OFFERED, detail=f"PLAIN or LOGIN needed, offered: {offered}")

    def _take_auth(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 235:
            self._login.clear()
            self.stage = ClientStage.READY
            return Ready()
        if reply.code == 334 and self._login:
            self.transcript.add(b"(credentials)")
            self._output.append(self._login.pop())
            return None
        return self._refused(reply)

    # Ends

    def _refused(self, reply: Reply) -> ClientEvent:
        return self._fail(FailureKind.REFUSED, reply=reply)

    def _fail(self, kind: FailureKind, *, reply: Reply | None = None, detail: str = "") -> ClientEvent:
        failed = Failed(kind, self.stage, reply, detail)
        if detail:
            self.transcript.add(detail)
        self._close()
        return failed

    def _close(self) -> None:
        self.stage = ClientStage.CLOSED
        self._stays_in_step = False
        self._transaction = None
        self._login.clear()
        self._output.clear()

    def _send(self, command: bytes) -> None:
        self.transcript.add(command)
        self._output.append(command)


def _response(octets: bytes) -> bytes:
    """A SASL response and its line end (RFC 4954, section 4)."""
    return base64.b64encode(octets) + b"\r\n"
