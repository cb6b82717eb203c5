"""The catalogue of metrics: every name, its labels and what it means. docs/metrics.md is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """What several workers' values of one series make together."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: all series of one name."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without the last (infinity)."""
    merge: Merge = Merge.SUM


_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SESSION: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_QUEUED: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 259200.0)
_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

SESSIONS: Final = Family("postreeve_sessions_total", _COUNTER, "Connections taken.", ("listener",))
SESSIONS_OPEN: Final = Family("postreeve_sessions_open", _GAUGE, "Connections open now.", ("listener",))
SESSIONS_CLOSED: Final = Family(
    "postreeve_sessions_closed_total", _COUNTER, "Sessions that ended, by how.", ("listener", "reason")
)
SESSION_SECONDS: Final = Family(
    "postreeve_session_seconds", _HISTOGRAM, "How long sessions lasted.", ("listener",), _SESSION
)
CONNECTIONS_REFUSED: Final = Family(
    "postreeve_connections_refused_total",
    _COUNTER,
    "Connections turned away before a session began.",
    ("listener", "reason"),
)
TLS_ESTABLISHED: Final = Family(
    "postreeve_tls_established_total", _COUNTER, "TLS handshakes with clients that succeeded.", ("version",)
)
TLS_FAILURES: Final = Family("postreeve_tls_failures_total", _COUNTER, "TLS handshakes with clients that failed.")
WRONG_PROTOCOL: Final = Family(
    "postreeve_wrong_protocol_total", _COUNTER, "Clients that did not speak SMTP.", ("listener", "sniffed")
)
AUTHENTICATIONS: Final = Family("postreeve_authentications_total", _COUNTER, "Logins that succeeded.", ("mechanism",))
AUTHENTICATION_FAILURES: Final = Family(
    "postreeve_authentication_failures_total", _COUNTER, "Logins that failed.", ("reason",)
)
FINDINGS: Final = Family("postreeve_findings_total", _COUNTER, "Findings of the self-check that appeared.", ("check",))
FINDINGS_GONE: Final = Family(
    "postreeve_findings_gone_total", _COUNTER, "Findings of the self-check that are over.", ("check",)
)
CREDENTIALS_MISPLACED: Final = Family(
    "postreeve_credentials_misplaced_total", _COUNTER, "AUTH tried where none belongs.", ("listener",)
)
BANS: Final = Family(
    "postreeve_bans_total", _COUNTER, "Addresses that the firewall was asked to keep out.", ("result",)
)
COMMANDS_REFUSED: Final = Family(
    "postreeve_commands_refused_total", _COUNTER, "Commands refused, by reply code.", ("command", "code")
)
MESSAGES_ACCEPTED: Final = Family(
    "postreeve_messages_accepted_total", _COUNTER, "Messages made durable and answered with 250.", ("listener",)
)
RECIPIENTS_ACCEPTED: Final = Family(
    "postreeve_recipients_accepted_total", _COUNTER, "Recipients of accepted messages.", ("listener",)
)
OCTETS_ACCEPTED: Final = Family(
    "postreeve_octets_accepted_total", _COUNTER, "Octets of accepted content.", ("listener",)
)
ACCEPT_SECONDS: Final = Family(
    "postreeve_accept_seconds", _HISTOGRAM, "From the end of content to 250.", ("listener",), _FAST
)
MESSAGES_REFUSED: Final = Family(
    "postreeve_messages_refused_total", _COUNTER, "Content refused after the final dot, by reply code.", ("code",)
)
DELIVERIES: Final = Family(
    "postreeve_deliveries_total",
    _COUNTER,
    "What became of recipients at each attempt: delivered, deferred, bounced, expired, dropped.",
    ("outcome",),
)
DELIVERIES_TLS: Final = Family(
    "postreeve_deliveries_tls_total", _COUNTER, "Recipients delivered, by TLS version or none.", ("version",)
)
DEFERRALS: Final = Family(
    "postreeve_deferrals_total", _COUNTER, "Recipients deferred, by stage and reply code.", ("stage", "code")
)
FAILURES: Final = Family(
    "postreeve_failures_total", _COUNTER, "Recipients given up, by stage and reply code.", ("stage", "code")
)
QUEUED_SECONDS: Final = Family(
    "postreeve_queued_seconds", _HISTOGRAM, "From acceptance to delivery.", buckets=_QUEUED
)  # fmt: skip
MESSAGES_SPAWNED: Final = Family(
    "postreeve_messages_spawned_total", _COUNTER, "Machine-made messages queued, such as DSNs.", ("kind",)
)
DESTINATION_CHANGES: Final = Family(
    "postreeve_destination_changes_total", _COUNTER, "Destinations found dead, alive, slowed or sped up.", ("state",)
)
QUEUE_CHANGES: Final = Family(
    "postreeve_queue_changes_total", _COUNTER, "Recipients changed by an operator.", ("change",)
)
RECORDS_QUARANTINED: Final = Family(
    "postreeve_records_quarantined_total", _COUNTER, "Damaged records that were set aside."
)
STORE_TROUBLES: Final = Family("postreeve_store_troubles_total", _COUNTER, "Changes of the store's health.", ("state",))
STORE_HEALTHY: Final = Family(
    "postreeve_store_healthy", _GAUGE, "1 while the store can promise durability, else 0.", merge=Merge.MIN
)
ACCOUNTS_HEALTHY: Final = Family(
    "postreeve_accounts_healthy", _GAUGE, "1 while logins can be checked, else 0.", merge=Merge.MIN
)
STRESS: Final = Family("postreeve_stress", _GAUGE, "Workers near the connection limit.", ("listener",))
CONFIG_RELOADS: Final = Family(
    "postreeve_config_reloads_total", _COUNTER, "Configurations loaded anew (ok) or refused (problem).", ("result",)
)
CERTIFICATE_LOADS: Final = Family(
    "postreeve_certificate_loads_total", _COUNTER, "Certificates loaded (ok) or refused (problem).", ("result",)
)
WORKER_EXITS: Final = Family("postreeve_worker_exits_total", _COUNTER, "Worker processes that ended.")
INTERNAL_ERRORS: Final = Family("postreeve_internal_errors_total", _COUNTER, "Bugs met; each is in the log.")
BUILD_INFO: Final = Family("postreeve_build_info", _GAUGE, "Always 1.", ("version",), merge=Merge.MAX)
QUEUE_MESSAGES: Final = Family("postreeve_queue_messages", _GAUGE, "Messages in the queue.")
QUEUE_RECIPIENTS: Final = Family("postreeve_queue_recipients", _GAUGE, "Recipients in the queue.", ("state",))
QUEUE_OCTETS: Final = Family("postreeve_queue_octets", _GAUGE, "Octets of content in the queue.")
QUEUE_DUE: Final = Family("postreeve_queue_due", _GAUGE, "Recipients due now.")
QUEUE_OLDEST: Final = Family(
    "postreeve_queue_oldest_age_seconds", _GAUGE, "Age of the oldest queued message.", merge=Merge.MAX
)
QUEUE_DESTINATIONS: Final = Family(
    "postreeve_queue_destination_recipients", _GAUGE, "Queued recipients of the largest destinations.", ("destination",)
)
QUEUE_QUARANTINED: Final = Family("postreeve_queue_quarantined", _GAUGE, "Damaged records set aside and still kept.")
WORKERS: Final = Family(
    "postreeve_workers", _GAUGE, "Worker processes: configured, and answering just now.", ("state",), merge=Merge.MAX
)
PROCESS_START: Final = Family(
    "postreeve_process_start_seconds", _GAUGE, "When a worker process started, POSIX seconds.", ("worker",)
)
PROCESS_CPU: Final = Family(
    "postreeve_process_cpu_seconds_total", _COUNTER, "Processor time of a worker, user and system.", ("worker",)
)
PROCESS_MEMORY: Final = Family(
    "postreeve_process_resident_octets", _GAUGE, "Resident memory of a worker, shared pages included.", ("worker",)
)
PROCESS_DESCRIPTORS: Final = Family(
    "postreeve_process_descriptors", _GAUGE, "Open file descriptors of a worker.", ("worker",)
)
PROCESS_DESCRIPTORS_MOST: Final = Family(
    "postreeve_process_descriptors_limit", _GAUGE, "How many file descriptors a worker may open.", ("worker",)
)

FAMILIES: Final = (
    SESSIONS, SESSIONS_OPEN, SESSIONS_CLOSED, SESSION_SECONDS, CONNECTIONS_REFUSED, TLS_ESTABLISHED, TLS_FAILURES,
    WRONG_PROTOCOL, AUTHENTICATIONS, AUTHENTICATION_FAILURES, FINDINGS, FINDINGS_GONE,
    CREDENTIALS_MISPLACED, BANS, COMMANDS_REFUSED,
    MESSAGES_ACCEPTED, RECIPIENTS_ACCEPTED, OCTETS_ACCEPTED, ACCEPT_SECONDS, MESSAGES_REFUSED, DELIVERIES,
    DELIVERIES_TLS, DEFERRALS, FAILURES, QUEUED_SECONDS, MESSAGES_SPAWNED, DESTINATION_CHANGES, QUEUE_CHANGES,
    RECORDS_QUARANTINED, STORE_TROUBLES, STORE_HEALTHY, ACCOUNTS_HEALTHY, STRESS, CONFIG_RELOADS, CERTIFICATE_LOADS,
    WORKER_EXITS, INTERNAL_ERRORS, BUILD_INFO, QUEUE_MESSAGES, QUEUE_RECIPIENTS, QUEUE_OCTETS, QUEUE_DUE, QUEUE_OLDEST,
    QUEUE_DESTINATIONS, QUEUE_QUARANTINED, WORKERS, PROCESS_START, PROCESS_CPU, PROCESS_MEMORY, PROCESS_DESCRIPTORS,
    PROCESS_DESCRIPTORS_MOST,
)  # fmt: skip
