"""The configuration file as a typed model: every table, every setting, its default and its meaning.

The defaults stand here as they would in the file; validation turns them into what the house uses.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from postreeve.config.firewall_table import FirewallTable
from postreeve.config.kind import (
    Address,
    Count,
    DnsServer,
    DomainName,
    Duration,
    FilePath,
    Host,
    Listen,
    MailboxName,
    MinFree,
    NetworkName,
    OptionalPath,
    Port,
    Recipients,
    SourceAddress,
    Switch,
    Url,
    Workers,
    setting,
)
from postreeve.config.limit import STRICT, LimitsTable
from postreeve.config.next_hop import RouteTable
from postreeve.policy.settings import Role
from postreeve.queue.settings import EightBit, Family, KeepConversations
from postreeve.smtp.settings import TlsOffer


class TlsMinimum(Enum):
    """The oldest TLS version spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class LogFormat(Enum):
    """How a log line looks."""

    LOGFMT = "logfmt"
    JSON = "json"


class LogLevel(Enum):
    """The quietest event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class CertificateTable(BaseModel):
    """A certificate for further names."""

    model_config = STRICT

    certificate: FilePath = Field(description="PEM file: the certificate, then its chain. Its names are read from it.")
    key: FilePath = Field(description="PEM file of the private key.")


class TlsTable(BaseModel):
    """The certificate of all listeners. The files are watched: a renewed certificate is taken up by itself."""

    model_config = STRICT

    certificate: OptionalPath = setting("", "PEM file: the certificate, then its chain.")
    key: OptionalPath = setting("", "PEM file of the private key.")
    minimum_version: Annotated[TlsMinimum, Field(strict=False)] = setting(
        "1.2", "Oldest TLS version spoken: `1.2` or `1.3` (RFC 8996 forbids older ones)."
    )
    extra: Annotated[tuple[CertificateTable, ...], Field(strict=False)] = setting(
        (), "Further certificates, chosen by the name the client asks for (SNI)."
    )


class ListenerTable(BaseModel):
    """One port that takes mail. Any number, with any port, address, role, TLS mode and limits."""

    model_config = STRICT

    name: str = setting("", "Shown in the log and the metrics; default: role and port, such as `relay-25`.")
    addresses: Annotated[tuple[Address, ...], Field(strict=False, min_length=1)] = setting(
        ("0.0.0.0", "::"), "Addresses to listen on; IPv6 ones take IPv6 only."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        description="Port: 25 by custom for relay, 587 and 465 for submission; 0 takes a free one."
    )
    role: Annotated[Role, Field(strict=False)] = Field(
        description="`relay` (other servers, our domains) or `submission` (our users, anywhere, login required)."
    )
    tls: Annotated[TlsOffer | None, Field(strict=False)] = setting(
        None,
        "`none`, `starttls` (offered), `required` (STARTTLS before mail) or `implicit`; default: `implicit` on port "
        "465, `required` for submission, `starttls` for relay.",
    )
    proxy_from: Annotated[tuple[NetworkName, ...], Field(strict=False)] = setting(
        (), "Networks of proxies that must speak the PROXY protocol; nobody else may."
    )
    limits: LimitsTable = setting({}, "Overrides of `[limits]` for this listener.")

    @property
    def offer(self) -> TlsOffer:
        """The TLS mode in force."""
        if self.tls is not None:
            return self.tls
        if self.port == 465:
            return TlsOffer.IMPLICIT
        return TlsOffer.REQUIRED if self.role is Role.SUBMISSION else TlsOffer.STARTTLS

    @property
    def label(self) -> str:
        """The name in force."""
        return self.name or f"{self.role.value}-{self.port}"


class DomainTable(BaseModel):
    """One of our own domains: mail for it is taken from anybody."""

    model_config = STRICT

    name: DomainName = Field(description="The domain.")
    recipients: Recipients = setting(
        "any", '`"any"` local part, or a list of those that exist. `postmaster` is always taken.'
    )


class RelayTable(BaseModel):
    """Who may send to anywhere through a relay listener without login."""

    model_config = STRICT

    networks: Annotated[tuple[NetworkName, ...], Field(strict=False)] = setting(
        (), "Networks of machines you answer for. Everybody else needs a submission listener and a login."
    )


class QueueTable(BaseModel):
    """How long and how often mail is tried, and what is remembered of it."""

    model_config = STRICT

    retry: Annotated[tuple[Duration, ...], Field(strict=False, min_length=1)] = setting(
        ("5m", "10m", "20m", "40m", "1h20m", "2h40m", "4h"),
        "Waits between attempts; the last repeats. Each is varied by up to 10 %.",
    )
    lifetime: Duration = setting("5d", "After this long without success a message is returned (RFC 5321: 4 to 5 days).")
    warn_after: Annotated[tuple[Duration, ...], Field(strict=False)] = setting(
        ("4h",), "When the sender is told that the message still waits; `[]` = never."
    )
    history: Duration = setting("3d", "How long `postreeve queue show` still knows a finished message.")
    keep_conversations: Annotated[KeepConversations, Field(strict=False)] = setting(
        "failures", "Which conversations with next hops the history keeps: `failures`, `all` or `none`."
    )
    min_free: MinFree = setting(
        "5%, at most 1GiB",
        "Free share of the file system, or size, below which new mail gets 452 4.3.1; queued mail still leaves.",
    )
    synchronous: Switch = setting(
        True,
        "Wait for stable storage before saying 250. `false` loses accepted mail in a crash: only for throw-away data.",
    )


class TimeoutsTable(BaseModel):
    """How long a delivery waits at each step (RFC 5321, section 4.5.3.2)."""

    model_config = STRICT

    connect: Duration = setting("30s", "For a connection, per address.")
    greeting: Duration = setting("5m", "For the greeting.")
    ehlo: Duration = setting("5m", "For the reply to EHLO, and to AUTH.")
    mail: Duration = setting("5m", "For the reply to MAIL.")
    rcpt: Duration = setting("5m", "For the reply to RCPT.")
    data: Duration = setting("2m", "For the reply to DATA.")
    content: Duration = setting("3m", "For each piece of content to be taken.")
    final: Duration = setting("10m", "For the reply to the final dot; a shorter time makes duplicates.")
    starttls: Duration = setting("2m", "For the reply to STARTTLS and the handshake.")
    quit: Duration = setting("20s", "For the reply to QUIT.")


class DeliveryTable(BaseModel):
    """How mail is sent on."""

    model_config = STRICT

    concurrency: Count = setting(500, "Connections at the same time in all, over all workers.")
    per_destination: Count = setting(20, "Connections at the same time to one destination, at most.")
    initial_per_destination: Count = setting(
        5, "Connections a destination starts with; success raises, trouble lowers it."
    )
    messages_per_connection: Count = setting(100, "Messages sent over one connection before it is closed.")
    recipients_per_transaction: Count = setting(100, "Recipients of a message sent together.")
    idle_seconds: Annotated[float, Field(ge=0, le=300)] = setting(
        10, "How long an idle connection is kept for the next message."
    )
    family: Annotated[Family, Field(strict=False)] = setting("auto", "`auto` (both, IPv6 first), `ipv4` or `ipv6`.")
    source_ipv4: SourceAddress = setting("", "IPv4 address that deliveries come from; default: the system's choice.")
    source_ipv6: SourceAddress = setting("", "IPv6 address that deliveries come from; default: the system's choice.")
    port: Port = setting(25, "Port of MX hosts; anything but 25 is for tests.")
    eight_bit: Annotated[EightBit, Field(strict=False)] = setting(
        "send", "8-bit content for a next hop without 8BITMIME: `send` it as it is, or `bounce` it; never converted."
    )
    ca_file: OptionalPath = setting(
        "", "Certificate authorities (PEM) to trust beside those of the system, such as the own one of a smarthost."
    )
    timeouts: TimeoutsTable = setting({}, "How long each step may take.")


class DnsTable(BaseModel):
    """How names are looked up."""

    model_config = STRICT

    servers: Annotated[tuple[DnsServer, ...], Field(strict=False)] = setting(
        (), 'Resolvers, such as `"127.0.0.1"` or `"127.0.0.1:5353"`; `[]` = those of the system.'
    )
    timeout: Duration = setting("5s", "For one query to one server.")
    total: Duration = setting("20s", "For one lookup with all its retries.")


class LogTable(BaseModel):
    """Where and how events are logged: one line each."""

    model_config = STRICT

    format: Annotated[LogFormat, Field(strict=False)] = setting("logfmt", "`logfmt` or `json`.")
    level: Annotated[LogLevel, Field(strict=False)] = setting(
        "info", "Quietest level logged: `debug`, `info`, `warning` or `error`."
    )
    file: OptionalPath = setting("", "Log file, opened anew on SIGUSR1 and SIGHUP; default: standard error.")


class MetricsTable(BaseModel):
    """The Prometheus endpoint."""

    model_config = STRICT

    listen: Listen = setting("", 'Address and port of the endpoint, such as `"127.0.0.1:9125"`; default: none.')


class DoctorTable(BaseModel):
    """The self-check: what `postreeve doctor` looks at, and how often the server looks by itself."""

    model_config = STRICT

    enabled: Switch = setting(True, "Look by itself, and log what has changed.")
    every: Duration = setting("6h", "How often; the first time five minutes after the start.")
    summary: Switch = setting(True, "Mail the postmaster a summary when something has changed, and only then.")
    known_good: Annotated[tuple[Host, ...], Field(strict=False)] = setting(
        (
            "gmail-smtp-in.l.google.com:25",
            "outlook-com.olc.protection.outlook.com:25",
            "smtp.gmail.com:465",
            "smtp.office365.com:587",
        ),
        "Hosts that answer from any network which lets mail out, to tell a blocked port from a broken one; connected "
        "to and left after the greeting. `[]` = none.",
    )
    block_lists: Annotated[tuple[DomainName, ...], Field(strict=False)] = setting(
        ("zen.spamhaus.org",), "Block lists (RFC 5782) that are asked about the addresses that mail leaves from."
    )
    outside: Url = setting("", "URL of a `postreeve probe-server` that tests our ports from outside.")
    outside_token_file: OptionalPath = setting("", "File whose first line is the token of that server.")


class Config(BaseModel):
    """The whole file."""

    model_config = STRICT

    hostname: DomainName = Field(
        description="The server's own name, fully qualified: greeting, EHLO, Received. Its PTR record should say so."
    )
    data_dir: FilePath = Field(description="Directory of the queue, accounts, keys and control sockets.")
    user: str = setting("postreeve", 'Account the server changes to when started as root; `""` = stay.')
    workers: Workers = setting("auto", 'Worker processes; `"auto"` = one per processor core.')
    postmaster: MailboxName | None = setting(
        None, "Takes mail to `<postmaster>` and is named in reports; default: postmaster at the first domain."
    )
    tls: TlsTable = setting({}, "Certificates.")
    listener: Annotated[tuple[ListenerTable, ...], Field(strict=False)] = setting((), "Ports that take mail.")
    limits: LimitsTable = setting({}, "What one client may cost.")
    domain: Annotated[tuple[DomainTable, ...], Field(strict=False)] = setting((), "Our own domains.")
    relay: RelayTable = setting({}, "Relay without login.")
    route: Annotated[tuple[RouteTable, ...], Field(strict=False)] = setting((), "Where mail goes.")
    queue: QueueTable = setting({}, "Retries and memory.")
    delivery: DeliveryTable = setting({}, "Sending on.")
    dns: DnsTable = setting({}, "Name lookups.")
    log: LogTable = setting({}, "The log.")
    metrics: MetricsTable = setting({}, "The Prometheus endpoint.")
    doctor: DoctorTable = setting({}, "The self-check.")
    firewall: FirewallTable = setting({}, "Who may connect, and what may leave.")

    def limits_of(self, listener: ListenerTable) -> LimitsTable:
        """[limits] with the listener's overrides."""
        given: dict[str, Any] = {name: getattr(listener.limits, name) for name in listener.limits.model_fields_set}
        return self.limits.model_copy(update=given)
