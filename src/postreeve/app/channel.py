"""Between the supervisor and a worker: one message per packet over a socket pair, with sockets where needed.

Either side sees the other's death as the end of the stream.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, Final

_MAX_OCTETS: Final = 65_536
_MAX_SOCKETS: Final = 250

Packet = dict[str, Any]


class Channel:
    """One end. Packets are small JSON objects; a long text travels beside them in memory of its own."""

    __slots__ = ("_socket",)

    def __init__(self, one: socket.socket) -> None:
        self._socket = one

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends; both are closed on exec, neither blocks."""
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in ends:
            end.setblocking(False)
        return cls(ends[0]), cls(ends[1])

    def fileno(self) -> int:
        """For selectors and event loops."""
        return self._socket.fileno()

    def send(self, packet: Packet, text: str | None = None, sockets: Sequence[socket.socket] = ()) -> bool:
        """False when the other side is gone or does not read."""
        descriptors = array.array("i", [one.fileno() for one in sockets])
        memory = -1
        try:
            if text is not None:
                memory = _store(text)
                descriptors.append(memory)
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else []
            self._socket.sendmsg([json.dumps(packet | {"has_text": text is not None}).encode()], extra)
        except OSError:
            return False
        finally:
            if memory >= 0:
                os.close(memory)
        return True

    def receive(self) -> tuple[Packet, str, list[socket.socket]] | None:
        """The next packet, the text and the sockets that came with it; None at the end.

        Raises BlockingIOError when none waits.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_OCTETS, _MAX_SOCKETS)
        except ConnectionError:
            return None
        if not data:
            return None
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        packet = json.loads(data)
        text = _fetch(descriptors.pop()) if packet.pop("has_text") else ""
        return packet, text, [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def close(self) -> None:
        """This end is done."""
        self._socket.close()


def _store(text: str) -> int:
    descriptor = os.memfd_create("text", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as memory:
        memory.write(text.encode())
    return descriptor


def _fetch(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as memory:
        memory.seek(0)
        return memory.read().decode()
