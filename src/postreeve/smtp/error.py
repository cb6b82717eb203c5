"""The surprises of the protocol cores. What a peer does on an ordinary day is an event, never an exception."""

from __future__ import annotations

from postreeve.mail.error import PostreeveError


class ProtocolError(PostreeveError):
    """Somebody broke the protocol."""


class LocalProtocolError(ProtocolError):
    """We did: a reply nobody asked for, a positive reply to content that has a problem. Never a peer's doing."""
