"""What the operator may set about accepting mail: listeners, limits, own domains, whom we relay for.

Sizes are octets, times seconds. `config` fills these from the configuration file; the defaults here are its defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from postreeve.mail.address import Mailbox
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer


class Role(Enum):
    """What a listener is for."""

    RELAY = "relay"
    """Mail from other servers for our own domains, and from listed networks to anywhere; never AUTH."""
    SUBMISSION = "submission"
    """Mail from accounts to anywhere (RFC 6409); AUTH before MAIL."""


class BareNewlines(Enum):
    """What happens to content with a bare CR or LF."""

    REJECT = "reject"
    NORMALISE = "normalise"


class EarlyTalkers(Enum):
    """What happens to a stranger who sends before it is his turn (RFC 5321, section 4.3.1): mostly malware."""

    REJECT = "reject"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much one client, session, message or listener may use; 0 switches a limit off where that makes sense."""

    max_message_octets: int = 52_428_800
    max_header_octets: int = 262_144
    max_command_octets: int = 2_048
    max_recipients: int = 1_000
    max_messages_per_session: int = 1_000
    max_errors: int = 20
    """Refused commands in a session, then 421."""
    soft_errors: int = 10
    """From here on each refusal waits `error_delay_seconds`."""
    error_delay_seconds: float = 1.0
    max_junk: int = 100
    """NOOP, RSET, VRFY, EXPN, HELP and repeated EHLO in a session without a message between, then 421."""
    max_unknown_recipients: int = 20
    max_auth_failures: int = 3
    """Failed logins in a session, then 421."""
    auth_failures_per_client: int = 30
    """Failed logins from one client (IPv4 /32, IPv6 /64) in `auth_window_seconds`, then 454 and no hashing; 0 = off."""
    auth_failures_per_account: int = 30
    """The same for one account name."""
    auth_window_seconds: int = 300
    connections: int = 10_000
    """At once, on the listener, over all worker processes."""
    connections_per_client: int = 50
    """At once, per IPv4 /32 or IPv6 /64, on the listener, over all worker processes; 0 = off."""
    connections_per_minute_per_client: int = 0
    command_timeout_seconds: float = 300.0
    content_timeout_seconds: float = 300.0
    """Between two pieces of content."""
    session_timeout_seconds: float = 3_600.0
    tls_timeout_seconds: float = 30.0
    proxy_timeout_seconds: float = 5.0
    minimum_rate_octets_per_second: int = 500
    """Of content, averaged, after `minimum_rate_grace_seconds`; 0 = off."""
    minimum_rate_grace_seconds: float = 60.0
    max_hops: int = 50
    stress_at: float = 0.9
    """The share of `connections` from which on sessions get `stress_timeout_seconds` and one error."""
    stress_timeout_seconds: float = 10.0
    bare_newlines: BareNewlines = BareNewlines.REJECT
    early_talkers: EarlyTalkers = EarlyTalkers.REJECT
    max_hold_seconds: int = 5_184_000
    """FUTURERELEASE, submission only; 0 = not offered."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One listener: the addresses and port it is bound to, its role, its TLS mode and its limits."""

    name: str
    port: int
    role: Role
    tls: TlsOffer
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    proxy_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that must speak the PROXY protocol; from all others it is refused."""
    limits: LimitSettings = field(default_factory=LimitSettings)


@dataclass(frozen=True, slots=True)
class LocalDomain:
    """One of our own domains: `name` in A-labels, lower case.

    `recipients` holds the known local parts in lower case; None takes any. postmaster is always taken
    (RFC 5321, section 4.5.1).
    """

    name: str
    recipients: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Whom we take mail for, whom we relay for, and under which name."""

    hostname: str
    postmaster: Mailbox
    domains: tuple[LocalDomain, ...] = ()
    relay_networks: tuple[IPv4Network | IPv6Network, ...] = ()


def protocol_settings(hostname: str, listener: ListenerSettings) -> ServerSettings:
    """What the protocol core must know of `listener`."""
    limits = listener.limits
    is_submission = listener.role is Role.SUBMISSION
    return ServerSettings(
        hostname=hostname,
        tls=listener.tls,
        auth=AuthOffer.REQUIRED if is_submission else AuthOffer.NEVER,
        max_message_octets=limits.max_message_octets,
        max_header_octets=limits.max_header_octets,
        max_command_octets=limits.max_command_octets,
        max_recipients=limits.max_recipients,
        max_messages=limits.max_messages_per_session,
        max_hold_seconds=limits.max_hold_seconds if is_submission else 0,
        offer_future_release=is_submission and limits.max_hold_seconds > 0,
        normalise_newlines=limits.bare_newlines is BareNewlines.NORMALISE,
        refuse_early_talkers=limits.early_talkers is EarlyTalkers.REJECT,
    )
