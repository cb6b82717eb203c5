"""Facts: all that a probe saw of one target, from here, without a word of judgement.

A Facts is a value that can be saved as JSON and judged later on another machine. Text that a peer said is kept as it
came (latin-1, control characters escaped, bounded) and never contains what we would keep secret: passwords and
responses of AUTH are masked before they get here. Times are seconds, moments POSIX seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postreeve.checks.conversation import Conversation
from postreeve.checks.path import Control, Dial, Trace
from postreeve.checks.stage import Stage


class TargetKind(Enum):
    """How the target was named."""

    HOST = "host"
    MAIL_DOMAIN = "mail domain"
    SUBMISSION_DOMAIN = "submission domain"
    SETTINGS = "settings"


class Intent(Enum):
    """The TLS mode that the client means to use; AUTO where nobody said: the port's convention, then what answers."""

    AUTO = "auto"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the probe was told to do. `stop_after` is the last stage that may be walked.

    `has_credentials` says that a user name and password (or token) were given; neither is ever kept here.
    """

    target: str
    kind: TargetKind
    port: int | None = None
    intent: Intent = Intent.AUTO
    has_credentials: bool = False
    mail_from: str = ""
    recipient: str = ""
    stop_after: Stage = Stage.RCPT
    hello_name: str = ""
    """What we called ourselves in EHLO."""
    source_ipv4: str = ""
    source_ipv6: str = ""
    family: int | None = None
    """4 or 6 when only one was wanted."""
    is_application: bool = False
    """True: judge as a client that submits mail; False: judge as a server that relays (an MX)."""
    library: str = ""
    """The client's library where settings named it ("nodemailer", "django" …): its limits belong to the verdict."""
    message_octets: int = 0
    """The size of the message that shall go through, where one was named; 0 for unknown."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question to the DNS. `absence` is "NXDOMAIN", "NODATA" or "", `failure` why a lookup failed, or ""."""

    name: str
    kind: str
    """The record type: A, AAAA, MX, SRV, TXT, PTR, CNAME, TLSA."""
    records: tuple[str, ...] = ()
    absence: str = ""
    failure: str = ""
    is_authentic: bool = False
    server: str = ""
    """The name server that was asked, "" for those of the system."""
    is_checking_disabled: bool = False
    """Asked with the CD bit (RFC 4035, section 3.2.2): an answer only then means that DNSSEC is bogus."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Names:
    """What the names came to. `addresses` is what the system (getaddrinfo, /etc/hosts) gives for `host`."""

    host: str = ""
    addresses: tuple[str, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    is_from_hosts_file: bool = False
    suggestion: str = ""
    """A well-known host that the name is one typing mistake away from, or the host inside what was pasted, or ""."""


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where we look from. `platform` is a key of `ports.network` ("hetzner-cloud") or "", `platform_evidence` why."""

    platform: str = ""
    platform_evidence: str = ""
    has_ipv4_route: bool = True
    has_ipv6_route: bool = False
    is_container: bool = False
    ptr: tuple[Lookup, ...] = ()
    """Reverse names of the addresses that we connect from."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port of the target, and everything that was tried there, in order."""

    host: str
    address: str
    port: int
    preference: int = 0
    """Of the MX or SRV record; 0 otherwise."""
    dials: tuple[Dial, ...] = ()
    """All attempts to connect, those of the conversations included: at most three."""
    conversations: tuple[Conversation, ...] = ()
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything seen. `endpoints` are in the order in which a client would try them."""

    asked: Asked
    at: float
    names: Names = field(default_factory=Names)
    vantage: Vantage = field(default_factory=Vantage)
    endpoints: tuple[Endpoint, ...] = ()
    controls: tuple[Control, ...] = ()
    policies: tuple[Lookup, ...] = ()
    """Records of SPF, DKIM, DMARC, MTA-STS, TLS-RPT and DANE as published: judged by the work on authentication."""
    version: int = 1
    """Of this document; a reader refuses one that it does not know."""
