"""One accepted socket: PROXY header, TLS, the session's octets, back-pressure and deadlines.

    socket ⇄ [PROXY header] ⇄ [TlsPipe] ⇄ Session ⇄ ServerProtocol

The sockets are ours, not asyncio's: the boundary between plaintext and TLS is exact (what was read before the handshake
is never taken for what TLS decrypted), the limits are checked before anything is built, and one read costs one call.

Time is kept without timers: every connection holds one `deadline`, and the listener's sweep looks at all of them once
a second.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Final

from postreeve.inbound.talker import Talker
from postreeve.net.poller import READ, TROUBLE, WRITE, Poller
from postreeve.net.tls import TlsPipe, TlsProblem
from postreeve.smtp.event import Need
from postreeve.smtp.proxy import ProxyHeader, ProxyProblem, ProxyReader

READ_OCTETS: Final = 65_536
MAX_UNSENT_OCTETS: Final = 65_536
"""What a client that does not read our replies may cost; past it the connection ends."""
MAX_DISCARDED_OCTETS: Final = 1_048_576
"""How much is thrown away of what a client still sends after the end."""
LINGER_SECONDS: Final = 2.0
UNSENT_SECONDS: Final = 10.0


class Phase(Enum):
    """What the octets on the socket are."""

    PROXY = "proxy"
    HANDSHAKE = "handshake"
    TALK = "talk"
    LINGER = "linger"
    """All is said; what still comes is thrown away, so that our last reply is not lost to a reset."""
    CLOSED = "closed"


OnProxy = Callable[[ProxyHeader | ProxyProblem, bytes], None]
"""Told once what the proxy said, and what came after it; sets the connection's `talker`, or ends it."""


class Connection:
    """One socket. Everything happens in the event loop; nothing is called back after `connection_lost`."""

    __slots__ = (
        "_discarded",
        "_eof",
        "_events",
        "_fd",
        "_is_held",
        "_is_watched",
        "_loop",
        "_on_closed",
        "_on_proxy",
        "_poller",
        "_proxy",
        "_recv",
        "_send_some",
        "_socket",
        "_tls",
        "_unsent",
        "deadline",
        "ends_at",
        "is_open",
        "phase",
        "reason",
        "talker",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        accepted: socket.socket,
        on_closed: Callable[[Connection], None],
    ) -> None:
        """`accepted` does not block. Set `talker` or `expect_proxy`, then `begin`."""
        self._loop = loop
        self._poller = poller
        self._socket = accepted
        self._fd = accepted.fileno()
        self._recv = accepted.recv
        self._send_some = accepted.send
        self._on_closed = on_closed
        self._tls: TlsPipe | None = None
        self._proxy: ProxyReader | None = None
        self._on_proxy: OnProxy | None = None
        self._unsent = bytearray()
        self._events = 0
        self._discarded = 0
        self._is_held = False
        self._is_watched = False
        self._eof = False
        self.talker: Talker | None = None
        self.phase = Phase.TALK
        self.is_open = True
        """While something can be said."""
        self.deadline = math.inf
        """In the loop's time. The session moves it while it talks."""
        self.ends_at = math.inf
        """A deadline that does not move."""
        self.reason = ""
        """Why it ended; the first one stands."""

    def begin(self) -> None:
        """Read from now on."""
        self._events = self._wanted()
        self._poller.watch(self._fd, self._events, self._ready)
        self._is_watched = True

    def expect_proxy(self, seconds: float, on_proxy: OnProxy) -> None:
        """A PROXY header must come before anything else."""
        self._proxy = ProxyReader()
        self._on_proxy = on_proxy
        self.phase = Phase.PROXY
        self.deadline = self._loop.time() + seconds

    def start_tls(self, context: ssl.SSLContext, seconds: float, first: bytes = b"") -> None:
        """Everything that is read from now on, `first` before it, is TLS; what was written before went out in plain."""
        self._tls = TlsPipe(context, server_side=True)
        self.phase = Phase.HANDSHAKE
        self.deadline = self._loop.time() + seconds
        if first:
            self._take(first)

    @property
    def has_ended(self) -> bool:
        """True once the client said that it will say no more."""
        return self._eof

    def read_early(self) -> bytes:
        """What the client has sent before we said anything, "" for nothing."""
        try:
            return self._recv(READ_OCTETS)
        except OSError:
            return b""

    def hold(self, is_held: bool) -> None:
        """Stop reading, or go on: while a reply is owed, what the client sends stays in the kernel."""
        self._is_held = is_held
        self._choose_events()

    def write(self, data: bytes) -> None:
        """Send, now or as soon as the client takes it."""
        if not self.is_open:
            return
        if self._tls is not None:
            try:
                self._tls.send(data)
            except TlsProblem:
                self.abort("error")
                return
            data = self._tls.outgoing()
        self._send(data)

    def write_last(self, data: bytes, reason: str) -> None:
        """Send and close; reply and FIN go out in one segment, and wake the client once."""
        if self._tls is None and not self._unsent and self.is_open:
            try:
                sent = self._send_some(data, socket.MSG_MORE)
            except OSError:
                sent = 0
            data = data[sent:]
        if data:
            self.write(data)
        self.close(reason, linger=False)

    def close(self, reason: str, *, linger: bool) -> None:
        """All is said. `linger` where the client may still be sending and should get to read our last reply."""
        if not self.is_open:
            return
        self.reason = self.reason or reason
        if self._tls is not None:
            self._tls.close()
            self._send(self._tls.outgoing())
            if self.phase is Phase.CLOSED:
                return
        if not self._unsent and (self._eof or not linger):
            self._end()
            return
        self.phase = Phase.LINGER
        self.is_open = False
        self.ends_at = math.inf
        self._is_held = False
        self.deadline = self._loop.time() + (UNSENT_SECONDS if self._unsent else LINGER_SECONDS)
        if not self._unsent:
            self._shut_writing()
        self._choose_events()

    def abort(self, reason: str) -> None:
        """Close at once."""
        if self.phase is not Phase.CLOSED:
            self.reason = self.reason or reason
            self._end()

    def sweep(self, now: float) -> None:
        """A deadline has passed."""
        if self.talker is not None:
            if self.phase is Phase.TALK and not self._unsent:
                self.talker.deadline_passed(now)
                return
            if self.phase is Phase.HANDSHAKE and self._tls is not None:
                self.talker.tls_failed(self._tls.timed_out())
        self.abort("timeout")

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if not self._unsent:
            try:
                sent = self._send_some(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.abort("eof")
                return
            if sent == len(data):
                return
            self._unsent += data[sent:]
            self._choose_events()
        else:
            self._unsent += data
        if len(self._unsent) > MAX_UNSENT_OCTETS:
            self.abort("slow reader")

    def _writable(self) -> None:
        try:
            sent = self._send_some(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort("eof")
            return
        del self._unsent[:sent]
        if self._unsent:
            return
        if self.phase is Phase.LINGER:
            if self._eof:
                self._end()
                return
            self._shut_writing()
            self.deadline = self._loop.time() + LINGER_SECONDS
        self._choose_events()

    def _shut_writing(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._end()

    def _wanted(self) -> int:
        """A client that does not read is not read from: nothing it asks could be answered."""
        if self._unsent:
            return WRITE
        return 0 if self._eof or self._is_held else READ

    def _choose_events(self) -> None:
        wanted = self._wanted()
        if wanted != self._events and self._is_watched:
            self._events = wanted
            self._poller.change(self._fd, wanted)

    def _ready(self, events: int) -> None:
        if events & READ and self._events & READ:
            self._readable()
        elif events & WRITE and self._events & WRITE:
            self._writable()
        elif events & TROUBLE:
            if self._events & READ:
                self._readable()  # Perhaps there is something left to be read before the end.
            else:
                self.abort("eof")

    def _readable(self) -> None:
        try:
            data = self._recv(READ_OCTETS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort("eof")
            return
        try:
            self._take(data)
        except Exception as error:
            # One of the three places that catch everything: the end of a session.
            if self.talker is not None:
                self.talker.crashed(error)
            self.abort("error")

    def _take(self, data: bytes) -> None:
        if not data:
            self._end_of_input()
        elif self.phase is Phase.LINGER:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_OCTETS:
                self._end()
        elif self._proxy is not None:
            self._take_proxy(self._proxy, data)
        elif self.talker is not None:
            if self._tls is not None:
                self._take_tls(self._tls, self.talker, data)
            else:
                self.talker.data_received(data)

    def _take_proxy(self, proxy: ProxyReader, data: bytes) -> None:
        outcome = proxy.receive_data(data)
        if isinstance(outcome, Need) or self._on_proxy is None:
            return
        self._proxy = None
        self.phase = Phase.TALK
        self._on_proxy(outcome, proxy.remaining)
        self._on_proxy = None

    def _take_tls(self, tls: TlsPipe, talker: Talker, data: bytes) -> None:
        try:
            plaintext = tls.receive(data)
        except TlsProblem as problem:
            if self.phase is Phase.HANDSHAKE:
                talker.tls_failed(problem)
            self._send(tls.outgoing())
            # The alert must get through: a reset would throw it away together with what the client had not read yet.
            self._tls = None
            self.close("protocol", linger=True)
            return
        self._send(tls.outgoing())
        if self.phase is Phase.HANDSHAKE:
            if not tls.handshake_done:
                return
            self.phase = Phase.TALK
            talker.tls_established(tls.info)
        if plaintext and self.is_open:
            talker.data_received(plaintext)
        if tls.peer_closed and self.is_open:
            self._end_of_input()

    def _end_of_input(self) -> None:
        if self._eof:
            return
        self._eof = True
        self._choose_events()
        match self.phase:
            case Phase.LINGER:
                if not self._unsent:
                    self._end()
            case Phase.TALK if self.talker is not None:
                self.talker.eof_received()
            case Phase.HANDSHAKE if self.talker is not None and self._tls is not None:
                try:
                    self._tls.receive_eof()
                except TlsProblem as problem:
                    self.talker.tls_failed(problem)
                self.abort("eof")
            case _:
                self.abort("eof")

    def _end(self) -> None:
        self.phase = Phase.CLOSED
        self.is_open = False
        self._is_watched = False
        self._poller.forget(self._fd)
        self._unsent.clear()
        self._socket.close()
        if self.talker is not None:
            self.talker.connection_lost(self.reason)
        self._on_closed(self)
