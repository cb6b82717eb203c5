"""The wire under one client core: socket, TLS, time-outs, back-pressure.

One timer per connection serves all stages: it is armed for the earliest deadline and looks again when it fires, so a
message on an open connection costs none.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from postreeve.net.poller import Poller
from postreeve.net.stream import Stream
from postreeve.net.tls import TlsInfo, TlsPipe, TlsTrouble
from postreeve.net.tls import TlsProblem as TlsFailure
from postreeve.queue.outcome import Disconnected, Outcome, Stage, TimedOut, TlsKind, TlsProblem
from postreeve.queue.settings import Timeouts
from postreeve.smtp.client import ClientProtocol
from postreeve.smtp.client_event import ClientEvent, ClientStage, Failed, HandshakeWanted

WireEvent = ClientEvent | Outcome
"""What the core said, or how the wire failed."""

_STAGES: Final = {
    stage: Stage.MAIL if stage in (ClientStage.READY, ClientStage.QUIT, ClientStage.CLOSED) else Stage(stage.value)
    for stage in ClientStage
}


def stage_of(stage: ClientStage) -> Stage:
    """The queue's name of a core's stage; an idle connection's trouble is the next MAIL's."""
    return _STAGES[stage]


@dataclass(frozen=True, slots=True)
class WireTls:
    """How TLS is made if it is: `name` for SNI and verification, "" for none."""

    context: ssl.SSLContext
    name: str = ""
    is_implicit: bool = False


class Wire:
    """Joins a socket and a ClientProtocol. One coroutine at a time may use it."""

    def __init__(self, core: ClientProtocol, timeouts: Timeouts, tls: WireTls | None) -> None:
        self.core = core
        self.tls_info: TlsInfo | None = None
        self.closed = asyncio.Event()
        """Set once the socket is gone."""
        self._timeouts = timeouts
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._pipe: TlsPipe | None = None
        self._is_shaking_hands = False
        self._waiter: asyncio.Future[WireEvent] | None = None
        self._event: WireEvent | None = None
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._replies = 0
        self._is_paused = False
        self._seconds: Final = {
            ClientStage.GREETING: timeouts.greeting,
            ClientStage.EHLO: timeouts.ehlo,
            ClientStage.STARTTLS: timeouts.starttls,
            ClientStage.AUTH: timeouts.ehlo,
            ClientStage.READY: timeouts.mail,
            ClientStage.MAIL: timeouts.mail,
            ClientStage.RCPT: timeouts.rcpt,
            ClientStage.DATA: timeouts.data,
            ClientStage.CONTENT: timeouts.content,
            ClientStage.FINAL: timeouts.final,
            ClientStage.QUIT: timeouts.quit,
            ClientStage.CLOSED: timeouts.quit,
        }

    # For the connection

    @property
    def is_alive(self) -> bool:
        """True while another transaction may begin."""
        stream = self._stream
        return stream is not None and not stream.is_closing and self._event is None and self.core.is_usable

    @property
    def has_event(self) -> bool:
        """True when the peer spoke, or the wire broke, while nobody was waiting."""
        return self._event is not None

    async def next_event(self) -> WireEvent:
        """What happens next; a TimedOut when nothing does within the stage's time. Failures come once and close."""
        if self._event is not None:
            event, self._event = self._event, None
            return event
        self._waiter = self._loop.create_future()
        self._set_deadline()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def flush(self) -> None:
        """Write what the core has to say."""
        data = self.core.data_to_send()
        if data:
            self._write(data)

    async def wait_for_room(self) -> bool:
        """Wait until the peer has taken most of what was written; False when it took too long or something happened."""
        if self._is_paused and self._event is None:
            self._room = self._loop.create_future()
            try:
                async with asyncio.timeout(self._timeouts.content):
                    await self._room
            except TimeoutError:
                self._give(TimedOut(Stage.CONTENT))
                self.abort()
            finally:
                self._room = None
        return self._event is None

    def close(self) -> None:
        """Say QUIT and close when it is answered, or after the time allowed for it; nobody needs to wait."""
        if self._stream is None or self._stream.is_closing:
            return
        self.core.quit()
        self.flush()
        if self.core.stage is ClientStage.QUIT:
            self._drop_timer()
            self._timer = self._loop.call_later(self._timeouts.quit, self.abort)
        else:
            self._shut()

    def abort(self) -> None:
        """Cut the connection, whatever is under way."""
        if self._stream is not None:
            self._stream.abort()

    def begin(self, poller: Poller, connected: socket.socket) -> None:
        """Talk over this socket from now on; it is the wire's."""
        self._stream = Stream(self._loop, poller, connected, self)
        if self._tls is not None and self._tls.is_implicit:
            problem = self._start_tls(self._tls)
            if problem is not None:
                self._give(problem)

    # For the stream

    def data_received(self, data: bytes) -> None:
        """See `net.stream.Receiver`."""
        event = self._take(data) if self._pipe is None else self._take_ciphertext(self._pipe, data)
        if event is not None:
            self._give(event)
        elif self._waiter is not None and (self.core.replies != self._replies or self._is_shaking_hands):
            self._set_deadline()
        elif self.core.stage is ClientStage.CLOSED:
            self._shut()

    def eof_received(self) -> None:
        """See `net.stream.Receiver`."""
        self._end("connection closed by the peer")

    def connection_lost(self, error: Exception | None) -> None:
        """See `net.stream.Receiver`."""
        self._end("connection closed" if error is None else f"connection lost: {error}"[:200])
        self._drop_timer()
        self._wake()
        self.closed.set()

    def pause_writing(self) -> None:
        """See `net.stream.Receiver`."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """See `net.stream.Receiver`."""
        self._is_paused = False
        self._wake()

    # Octets

    def _take(self, data: bytes) -> WireEvent | None:
        event = self.core.receive_data(data)
        self.flush()
        if isinstance(event, HandshakeWanted):
            if self._tls is None:
                raise RuntimeError("the core wants TLS where none was prepared")
            return self._start_tls(self._tls)
        return event

    def _take_ciphertext(self, pipe: TlsPipe, data: bytes) -> WireEvent | None:
        try:
            plaintext = pipe.receive(data)
        except TlsFailure as failure:
            self._write_out(pipe)
            return self._tls_failed(failure)
        self._write_out(pipe)
        if self._is_shaking_hands and pipe.handshake_done:
            self._is_shaking_hands = False
            self.tls_info = pipe.info
            self.core.transcript.add(f"TLS started: {self.tls_info.version} {self.tls_info.cipher}")
            if self._tls is not None and not self._tls.is_implicit:
                self.core.tls_started()
                self.flush()
            self._set_deadline()
        event = self._take(plaintext) if plaintext else None
        if event is None and pipe.peer_closed:
            return self._ended("TLS closed by the peer")
        return event

    def _start_tls(self, tls: WireTls) -> WireEvent | None:
        try:
            self._pipe = TlsPipe(tls.context, server_side=False, server_hostname=tls.name or None)
        except ValueError as error:
            # A name that is none (from an MX record, say): Python refuses to put it into SNI.
            return TlsProblem(TlsKind.CERTIFICATE, f"no usable host name: {error}")
        except TlsFailure as failure:
            return self._tls_failed(failure)
        self._is_shaking_hands = True
        self._set_deadline()
        self._write_out(self._pipe)
        return None

    def _tls_failed(self, failure: TlsFailure) -> WireEvent:
        if not self._is_shaking_hands:
            return Disconnected(stage_of(self.core.stage), f"TLS: {failure}")
        kind = TlsKind.CERTIFICATE if failure.kind is TlsTrouble.UNVERIFIED else TlsKind.HANDSHAKE
        return TlsProblem(kind, str(failure))

    def _write(self, data: bytes) -> None:
        if self._stream is None or self._stream.is_closing:
            return
        if self._pipe is None:
            self._stream.write(data)
            return
        try:
            self._pipe.send(data)
        except TlsFailure as failure:
            self._give(self._tls_failed(failure))
        self._write_out(self._pipe)

    def _write_out(self, pipe: TlsPipe) -> None:
        ciphertext = pipe.outgoing()
        if ciphertext and self._stream is not None and not self._stream.is_closing:
            self._stream.write(ciphertext)

    # Ends

    def _give(self, event: WireEvent) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(event)
        elif self._event is None:
            self._event = event
        self._wake()
        if not isinstance(event, ClientEvent) or isinstance(event, Failed):
            self._shut()

    def _end(self, words: str) -> None:
        event = self._ended(words)
        if event is not None:
            self._give(event)

    def _ended(self, words: str) -> WireEvent | None:
        if self._is_shaking_hands:
            self._is_shaking_hands = False
            return TlsProblem(TlsKind.HANDSHAKE, f"{words} during the TLS handshake")
        stage = stage_of(self.core.stage)
        failed = self.core.receive_eof()
        return None if failed is None else Disconnected(stage, words)

    def _shut(self) -> None:
        if self._stream is None or self._stream.is_closing:
            return
        if self._pipe is not None:
            self._pipe.close()
            self._write_out(self._pipe)
        self._stream.close()
        if self._stream.unsent_octets:
            # A peer that reads nothing must not keep the connection.
            self._drop_timer()
            self._timer = self._loop.call_later(self._timeouts.quit, self.abort)

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # Time

    def _set_deadline(self) -> None:
        self._replies = self.core.replies
        seconds = self._timeouts.starttls if self._is_shaking_hands else self._seconds[self.core.stage]
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._drop_timer()
            self._timer = self._loop.call_at(self._deadline, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_time)
            return
        stage = Stage.STARTTLS if self._is_shaking_hands else stage_of(self.core.stage)
        self._give(TimedOut(stage))
        self.abort()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
