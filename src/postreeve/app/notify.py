"""Word to systemd, as sd_notify(3) describes: datagrams to the socket named in NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Sends state changes to the service manager; does nothing where there is none. Never raises."""

    __slots__ = ("_address", "watchdog_seconds")

    def __init__(self) -> None:
        """Takes the variables out of the environment: they are not meant for our children."""
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        for_us = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(microseconds) / 1_000_000 if microseconds.isdigit() and for_us else 0.0
        """How often the manager wants to hear of us at least; 0 = never."""

    def ready(self, status: str) -> None:
        """All listeners accept; also the end of `reloading`."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """SIGHUP came; `ready` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Shutdown began."""
        self._send("STOPPING=1\nSTATUS=finishing the messages in hand")

    def alive(self) -> None:
        """All is well."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
                peer.setblocking(False)
                peer.sendto(text.encode(), address)
        except OSError:
            pass  # the manager will notice by itself; mail goes on
