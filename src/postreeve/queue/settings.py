"""The operator's choices about routes, retries and deliveries. Times in seconds, sizes as the names say.

Every class checks nothing: `config` does, where it knows the file and the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class TlsMode(Enum):
    """How TLS stands towards a next hop."""

    NONE = "none"
    """Plaintext; STARTTLS is not used even where it is offered."""
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS where offered, any certificate; plaintext again when the handshake fails (RFC 7435)."""
    REQUIRED = "required"
    """STARTTLS or no delivery."""
    IMPLICIT = "implicit"
    """TLS from the first octet (RFC 8314)."""


class Family(Enum):
    """Which addresses of a host are used."""

    AUTO = "auto"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class EightBit(Enum):
    """What becomes of 8-bit content for a next hop without 8BITMIME (RFC 6152)."""

    SEND = "send"
    """It goes as it is."""
    BOUNCE = "bounce"


class KeepConversations(Enum):
    """Which attempts keep their dialogue for `queue show`."""

    FAILURES = "failures"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What AUTH says to a smarthost; the password never shows in a repr."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Maildir:
    """Into a local Maildir. `path` may name `{domain}` and `{local}`, filled in so that none leaves its directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Lmtp:
    """To an LMTP server (RFC 2033), by `host` and `port` or by a local `socket` path."""

    host: str = ""
    port: int = 24
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Mx:
    """To the MX hosts of the domain (RFC 5321, section 5), at DeliverySettings.port."""


@dataclass(frozen=True, slots=True)
class Smarthost:
    """To one configured host; `verify` asks for a certificate of that name (only with REQUIRED and IMPLICIT)."""

    host: str
    port: int = 587
    tls: TlsMode = TlsMode.REQUIRED
    verify: bool = True
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Queued as held, until an operator releases it and the route says something else."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Accepted and thrown away, without a word."""


Target = Maildir | Lmtp | Mx | Smarthost | Hold | Discard


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another way out after `after_attempts` failed attempts or `after_seconds` of waiting; 0 switches one off."""

    smarthost: Smarthost
    after_attempts: int = 3
    after_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """One route. `domains` are names, ".name" for all below it, "*" for all else; `name` is unique."""

    name: str
    domains: tuple[str, ...]
    target: Target
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to try again, when to warn, when to give up (RFC 5321, section 4.5.4.1)."""

    retry_seconds: tuple[float, ...] = (300.0, 600.0, 1200.0, 2400.0, 4800.0, 9600.0, 14400.0)
    """Pauses after the first, second … attempt; the last repeats. Never empty."""
    jitter: float = 0.1
    """Each pause varies by this share either way."""
    lifetime_seconds: float = 432_000.0
    warn_after_seconds: tuple[float, ...] = (14_400.0,)
    """Ages, ascending, at which the sender is told of the delay; empty = never."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step of an attempt may take (RFC 5321, section 4.5.3.2)."""

    connect: float = 30.0
    greeting: float = 300.0
    ehlo: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    content: float = 180.0
    """Between two pieces of content taken by the peer."""
    final: float = 600.0
    starttls: float = 120.0
    quit: float = 20.0


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How delivery goes about it."""

    hostname: str = "localhost"
    """What EHLO says and DSNs are from."""
    concurrency: int = 500
    """Attempts at once (of this process)."""
    per_destination: int = 20
    initial_per_destination: int = 5
    messages_per_connection: int = 100
    recipients_per_transaction: int = 100
    idle_seconds: float = 10.0
    """How long a connection without work is kept."""
    addresses_per_attempt: int = 5
    """RFC 5321, section 5.1: at least two; more only cost the time of a dead destination."""
    family: Family = Family.AUTO
    source_ipv4: str = ""
    source_ipv6: str = ""
    port: int = 25
    """For Mx targets."""
    eight_bit: EightBit = EightBit.SEND
    keep_conversations: KeepConversations = KeepConversations.FAILURES
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """All of the above."""

    routes: tuple[RouteSettings, ...]
    schedule: Schedule = field(default_factory=Schedule)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    history_seconds: float = 259_200.0
    """How long `queue show` knows a message that has left the queue."""
