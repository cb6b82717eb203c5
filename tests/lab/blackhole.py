"""An address that swallows connections, as a firewall that drops packets does."""

from __future__ import annotations

import socket


def full_backlog(address: str = "127.0.0.1", port: int = 0) -> list[socket.socket]:
    """A listener, first in the list, where a connection is neither accepted nor refused: its queue is full."""
    listener = socket.socket()
    listener.bind((address, port))
    listener.listen(0)
    held = [listener]
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        held.append(waiting)
    return held
