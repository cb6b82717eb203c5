"""Readiness of many sockets through one descriptor: our own epoll set, itself watched by the event loop.

Why not `loop.add_reader` per socket: under uvloop 0.23 a socket that the peer has reset makes libuv close the watcher
without a word to us (POLLERR becomes an error that uvloop swallows). The session would live until its deadline, and the
next socket with that number could not be watched at all. This way nothing is lost, one wake-up serves all sockets that
are ready, and an idle connection costs no watcher.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
TROUBLE: Final = select.EPOLLERR | select.EPOLLHUP
"""Always reported, whether asked for or not."""
_EVENTS_PER_WAKE: Final = 512

OnReady = Callable[[int], None]
"""Called with what the socket is ready for: READ, WRITE, TROUBLE."""


class Poller:
    """Watches sockets until `close`. A callback may be called once more than its socket is ready for.

    The event loop knows of it only while there is a socket to watch.
    """

    __slots__ = ("_callbacks", "_epoll", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, OnReady] = {}

    def watch(self, fd: int, events: int, on_ready: OnReady) -> None:
        """Call `on_ready` from now on."""
        self._epoll.register(fd, events)
        if not self._callbacks:
            self._loop.add_reader(self._epoll.fileno(), self._wake)
        self._callbacks[fd] = on_ready

    def change(self, fd: int, events: int) -> None:
        """Watch for other events."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Call it before the socket is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            if not self._callbacks:
                self._loop.remove_reader(self._epoll.fileno())

    def close(self) -> None:
        """Watch nothing any more; harmless when done before."""
        if self._epoll.closed:
            return
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._callbacks.clear()

    def _wake(self) -> None:
        callbacks = self._callbacks
        for fd, events in self._epoll.poll(0, _EVENTS_PER_WAKE):
            on_ready = callbacks.get(fd)
            if on_ready is not None:
                on_ready(events)
