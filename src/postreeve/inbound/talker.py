"""What a connection tells whoever talks over it."""

from __future__ import annotations

from typing import Protocol

from postreeve.net.tls import TlsInfo, TlsProblem


class Talker(Protocol):
    """The session, as its connection sees it."""

    def data_received(self, data: bytes) -> None:
        """Plaintext. May call back into the connection."""
        ...

    def eof_received(self) -> None:
        """The client will say no more; it may still listen."""
        ...

    def tls_established(self, info: TlsInfo) -> None: ...
    def tls_failed(self, problem: TlsProblem) -> None: ...

    def connection_lost(self, reason: str) -> None:
        """The socket is closed; called exactly once. Nothing may be written any more."""
        ...

    def deadline_passed(self, now: float) -> None:
        """Say good-bye, or set a later deadline."""
        ...

    def crashed(self, error: Exception) -> None:
        """Our own bug: say good-bye."""
        ...
