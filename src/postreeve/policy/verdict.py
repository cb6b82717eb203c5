"""A decision: what to say to the peer, what to tell the operator, and whether to wait or to hang up."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one event of the core.

    `reply` is generic: it tells the peer nothing of our configuration. `reason` is for the operator's log and names the
    rule; "" where there is nothing to explain. `delay_seconds` is waited before the reply is written.
    """

    reply: Reply
    close: bool = False
    reason: str = ""
    delay_seconds: float = 0.0

    @property
    def is_positive(self) -> bool:
        """True when the peer may go on."""
        return self.reply.code < 400


def accept(code: int, enhanced: str, text: str) -> Verdict:
    """Yes; nothing to explain."""
    return Verdict(Reply(code, enhanced, text))


def refuse(code: int, enhanced: str, text: str, reason: str, close: bool = False) -> Verdict:
    """No, with the operator's reason."""
    return Verdict(Reply(code, enhanced, text), close, reason)
