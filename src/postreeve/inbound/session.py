"""The one loop: the core's event → facts → policy → reply.

Decisions are taken inside `data_received`, without a task per command. Only three things wait: checking a password,
handing content to the store, and the pause before the answer to yet another error. While one of them is under way the
session `is_busy`: the core keeps what is pipelined, and the connection stops reading.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from postreeve.inbound.moment import HANDLERS
from postreeve.inbound.peer import Peer
from postreeve.inbound.receive import Transaction
from postreeve.inbound.service import Services
from postreeve.inbound.transport import Connection, Phase
from postreeve.mail.reply import Reply
from postreeve.net.tls import TlsInfo, TlsProblem
from postreeve.policy import connect, farewell, limits
from postreeve.policy.limits import Patience, Tally
from postreeve.policy.settings import ListenerSettings
from postreeve.policy.verdict import Verdict
from postreeve.smtp.event import NEED_DATA, NEED_REPLY
from postreeve.smtp.order import State
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import ServerSettings
from postreeve.telemetry.event import CommandRefused, InternalError, SessionClosed, TlsEstablished, TlsFailed

Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine as a task that somebody owns."""


class Session:
    """One conversation with one client, from the greeting to its end."""

    __slots__ = (
        "_busy_since",
        "_draining",
        "_is_busy",
        "_opened_at",
        "_spawn",
        "commands",
        "connection",
        "core",
        "is_stressed",
        "listener",
        "loop",
        "messages",
        "peer",
        "protocol",
        "rate_from",
        "services",
        "tally",
        "transaction",
    )

    def __init__(
        self,
        services: Services,
        listener: ListenerSettings,
        protocol: ServerSettings,
        peer: Peer,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        is_stressed: Callable[[], bool],
    ) -> None:
        """Nothing is said before `greet`."""
        self.services = services
        self.listener = listener
        self.peer = peer
        self.connection = connection
        self.loop = loop
        self._spawn = spawn
        self.protocol = protocol
        self.core = ServerProtocol(protocol, time.time)
        self.tally = Tally()
        self.transaction: Transaction | None = None
        self._is_busy = False
        self._busy_since = 0.0
        self.is_stressed = is_stressed
        self._draining = False
        self.messages = 0
        self.commands = 0
        self._opened_at = loop.time()
        connection.ends_at = self._opened_at + listener.limits.session_timeout_seconds
        self.rate_from: float | None = None

    def greet(self, early: bytes) -> None:
        """Begin the conversation; `early` is what the client has sent already."""
        self.core.receive_data(early)
        self._advance()

    def data_received(self, data: bytes) -> None:
        """See `talker.Talker`."""
        self.core.receive_data(data)
        if self._is_busy:
            self.connection.hold(True)
        else:
            self._advance()

    def eof_received(self) -> None:
        """See `talker.Talker`. What is under way goes on: the client may have closed one direction only."""
        self.core.receive_eof()
        if not self._is_busy:
            self._advance()

    def tls_established(self, info: TlsInfo) -> None:
        """See `talker.Talker`."""
        self.services.tell(TlsEstablished(self.peer.session, info.version, info.cipher, info.server_name))
        self.peer.forget()
        self.peer.tls_version, self.peer.cipher = info.version, info.cipher
        if self.core.state is State.HANDSHAKE:
            self.core.tls_started()
        self._advance()

    def tls_failed(self, problem: TlsProblem) -> None:
        """See `talker.Talker`."""
        self.services.tell(TlsFailed(self.peer.session, self.peer.text, problem.detail, problem.hint))

    def connection_lost(self, reason: str) -> None:
        """See `talker.Talker`."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.is_spooled and not self._is_busy:
            self._spawn(transaction.discard())
        self.services.tell(
            SessionClosed(
                self.peer.session,
                self.listener.name,
                self.peer.text,
                reason,
                self.loop.time() - self._opened_at,
                self.messages,
                self.commands,
            )
        )

    def deadline_passed(self, now: float) -> None:
        """See `talker.Talker`."""
        if self._is_busy:
            return
        if now >= self.connection.ends_at:
            self._end(farewell.TOO_LONG, "timeout")
        elif self.rate_from is not None and now >= self._rate_deadline():
            self._end(farewell.TOO_SLOW, "timeout")
        else:
            self._end(farewell.IDLE, "timeout")

    def drain(self) -> None:
        """Shutting down: say so as soon as no content is on its way."""
        self._draining = True
        if not self._is_busy and self.rate_from is None:
            self._end(connect.SHUTTING_DOWN, "shutdown")

    def crashed(self, error: Exception) -> None:
        """See `talker.Talker`."""
        text = "".join(traceback.format_exception(error))
        self.services.tell(InternalError("inbound.session", self.peer.session, text))
        if self.connection.is_open:
            self._end(farewell.INTERNAL, "error")

    def _advance(self) -> None:
        """Handle events until the core needs data or something is awaited; then send what it has to say."""
        core, connection = self.core, self.connection
        while not self._is_busy and connection.is_open:
            event = core.next_event()
            if event is NEED_DATA or event is NEED_REPLY:
                break
            HANDLERS[type(event)](self, event)
        if not self._is_busy:
            self.flush()

    def flush(self) -> None:
        out = self.core.data_to_send()
        if out:
            self.connection.write(out)
        if self.connection.phase is Phase.TALK:
            self.connection.deadline = self._deadline()

    def _deadline(self) -> float:
        settings = self.listener.limits
        now = self.loop.time()
        if self.rate_from is not None:
            return min(now + settings.content_timeout_seconds, self._rate_deadline())
        if self.is_stressed():
            return now + settings.stress_timeout_seconds
        return now + settings.command_timeout_seconds

    def _rate_deadline(self) -> float:
        """When the content that has come so far would be less than the minimum rate, if nothing more came."""
        settings = self.listener.limits
        rate = settings.minimum_rate_octets_per_second
        if rate <= 0 or self.rate_from is None or self.transaction is None:
            return math.inf
        return self.rate_from + settings.minimum_rate_grace_seconds + self.transaction.octets / rate

    def _end(self, reply: Reply, reason: str) -> None:
        """Say a last word that nobody asked for, and close (RFC 5321, section 3.8)."""
        self.core.close(reply)
        self.connection.write(self.core.data_to_send())
        self.connection.close(reason, linger=True)

    def _wait(self) -> None:
        """Something is awaited: nothing is read, and no deadline of the client's runs."""
        self._is_busy = True
        self._busy_since = self.loop.time()
        self.connection.deadline = math.inf

    def _resume(self) -> None:
        """What was awaited is here."""
        self._is_busy = False
        connection = self.connection
        if not connection.is_open:
            return
        if self.rate_from is not None:
            self.rate_from += self.loop.time() - self._busy_since
        try:
            self._advance()
        except Exception as error:
            self.crashed(error)
            return
        if self._is_busy:
            return
        connection.hold(False)
        if self._draining:
            self.drain()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`, then go on."""
        self._wait()
        self._spawn(self._guard(work))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            # The end of a session is one of the three places that catch everything.
            self._is_busy = False
            self.crashed(error)
            return
        self._resume()

    def answer(self, verdict: Verdict, command: str, patience: Patience | None = None) -> None:
        """Give the verdict; a refusal costs patience."""
        self.commands += 1
        reply = verdict.reply
        self.core.reply(reply)
        if reply.code < 400:
            return
        self.services.tell(CommandRefused(self.peer.session, self.peer.text, command, str(reply), verdict.reason))
        if verdict.close:
            self.flush()
            self.connection.close("protocol", linger=True)
            return
        self.be_patient(patience or limits.note_error(self.tally, self.listener.limits, self.is_stressed()))

    def be_patient(self, patience: Patience) -> None:
        if patience.farewell is not None:
            self._end(patience.farewell, "limit")
        elif patience.delay_seconds > 0:
            self._wait()
            self.loop.call_later(patience.delay_seconds, self._resume)
