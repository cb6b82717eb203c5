"""What to try next when a submission failed: a hint for every outcome that has one."""

from __future__ import annotations

from typing import Final

from postreeve.cli.submission import Server
from postreeve.queue.disposition import text_of
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Lack,
    LocalProblem,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TimedOut,
    TlsKind,
    TlsProblem,
    Unsuitable,
)
from postreeve.queue.settings import TlsMode

_OTHER_MODE: Final = {
    TlsMode.IMPLICIT: "the server may want STARTTLS here: --tls starttls, usually on port 587",
    TlsMode.REQUIRED: "the server may want TLS from the first octet: --tls implicit, usually on port 465",
}


def explain(outcome: Outcome, server: Server) -> str:
    """The outcome in one line, with what to do about it."""
    words = text_of(outcome)
    if isinstance(outcome, ConnectFailed) and outcome.kind is not ConnectProblem.OTHER:
        words = outcome.kind.value
    hint = hint_for(outcome, server)
    return f"{words} ({hint})" if hint else words


def hint_for(outcome: Outcome, server: Server) -> str:
    """What to try next, "" where nobody knows."""
    match outcome:
        case ConnectFailed():
            return (
                "is the server running? `postreeve status` tells" if server.is_ours else "check host, port and firewall"
            )
        case TlsProblem(kind=TlsKind.CERTIFICATE):
            return "name its authority with --ca, or take any certificate with --insecure"
        case TlsProblem(kind=TlsKind.NOT_OFFERED):
            return _OTHER_MODE[TlsMode.REQUIRED]
        case TlsProblem() | TimedOut(stage=Stage.GREETING | Stage.STARTTLS) | ProtocolProblem() | Disconnected():
            return _OTHER_MODE.get(server.tls, "")
        case Refused(stage=stage, reply=reply):
            return _about_reply(stage, reply.code, reply.enhanced, server)
        case Unsuitable(lack=Lack.AUTH):
            return "no login on this port, or not without TLS: relay ports take none, see --port and --tls"
        case Unsuitable(lack=Lack.SMTPUTF8):
            return "an address or header field is not US-ASCII"
        case Unsuitable(lack=Lack.SIZE):
            return "the message is larger than the server takes"
        case LocalProblem() | Delivered() | _:
            return ""


def _about_reply(stage: Stage, code: int, enhanced: str, server: Server) -> str:
    if stage is Stage.AUTH:
        where = "; `postreeve user list` knows the names" if server.is_ours else ""
        return f"check name and password{where}" if code == 535 else ""
    if code == 530:
        return "the server wants a login: --user" if server.credentials is None else ""
    if stage is Stage.MAIL and enhanced in ("5.7.1", "5.1.7", "5.1.8"):
        return "may the account send as this address? `postreeve user list` tells" if server.is_ours else ""
    if stage is Stage.RCPT and server.credentials is None and code >= 500:
        return "without a login only the server's own domains can be reached: --user"
    if 400 <= code < 500:
        return "for now: try again later"
    return ""
