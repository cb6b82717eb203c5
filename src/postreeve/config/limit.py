"""The [limits] table: what one client may cost; each listener may override any of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from postreeve.config.kind import Count, CountOrOff, Duration, Size, setting
from postreeve.policy.settings import BareNewlines, EarlyTalkers

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)
"""How every table of the file is read: unknown keys and near-miss types are mistakes."""


class LimitsTable(BaseModel):
    """What one client may cost the server. Sizes in octets or as "50MiB", times in seconds or as "5m"."""

    model_config = STRICT

    max_message: Size = setting("50MiB", "Largest content taken; announced with SIZE (RFC 1870).")
    max_header: Size = setting("256KiB", "Largest header section of a message.")
    max_command: Annotated[int, Field(ge=512, le=65536)] = setting(
        2048, "Longest command line in octets, CRLF included (RFC 5321 asks for 512 at least)."
    )
    max_recipients: Annotated[int, Field(ge=100, le=1_000_000)] = setting(
        1000, "Recipients of one message (RFC 5321 asks for 100 at least); more get 452 and are sent separately."
    )
    max_messages_per_session: Count = setting(1000, "Messages in one session; then 421, and the client reconnects.")
    max_errors: Count = setting(20, "Errors in one session; then 421.")
    soft_errors: CountOrOff = setting(10, "From this many errors on, each further one waits `error_delay` first.")
    error_delay: Duration = setting("1s", "How long an error beyond `soft_errors` waits for its reply.")
    max_junk: Count = setting(100, "Commands that move no mail (NOOP, RSET, VRFY …) between two messages; then 421.")
    max_unknown_recipients: Count = setting(20, "Unknown recipients in one session; then 421: an address harvest.")
    max_auth_failures: Count = setting(3, "Failed logins in one session; then 421.")
    auth_failures_per_client: CountOrOff = setting(
        30,
        "Failed logins from one client within `auth_window`; then 454 without looking at the password; 0 = no limit.",
    )
    auth_failures_per_account: CountOrOff = setting(30, "The same for one account, whoever tries.")
    auth_window: Duration = setting("5m", "The time over which failed logins are counted.")
    connections: Count = setting(10000, "Connections at the same time, per listener, over all workers.")
    connections_per_client: CountOrOff = setting(
        50, "Connections at the same time from one client (one IPv4 address, one IPv6 /64); 0 = no limit."
    )
    connections_per_minute_per_client: CountOrOff = setting(
        0, "New connections per minute from one client; 0 = no limit."
    )
    command_timeout: Duration = setting("5m", "How long a session waits for the next command.")
    content_timeout: Duration = setting("5m", "How long a session waits for the next piece of content.")
    session_timeout: Duration = setting("1h", "How long a session may last in all; a message under way is finished.")
    tls_timeout: Duration = setting("30s", "How long a TLS handshake may take.")
    proxy_timeout: Duration = setting("5s", "How long a proxy may take to say whom it speaks for.")
    minimum_rate: CountOrOff = setting(
        500, "Octets per second of content, averaged over the message, after `minimum_rate_grace`; 0 = no limit."
    )
    minimum_rate_grace: Duration = setting("60s", "How long a message may be slower than `minimum_rate`.")
    max_hops: Annotated[int, Field(ge=10, le=1000)] = setting(
        50, "Received fields in a message; more is a mail loop (RFC 5321, section 6.3)."
    )
    stress_at: Annotated[float, Field(gt=0, le=1)] = setting(
        0.9, "Share of `connections` from which on the server is under stress: short deadlines, one error per session."
    )
    stress_timeout: Duration = setting("10s", "Takes the place of `command_timeout` under stress.")
    bare_newlines: Annotated[BareNewlines, Field(strict=False)] = setting(
        "reject",
        "A CR or LF alone in content: `reject` the message, or `normalise` it to CRLF. Never passed on as it is.",
    )
    early_talkers: Annotated[EarlyTalkers, Field(strict=False)] = setting(
        "reject", "Clients that talk before the greeting: `reject`, or `accept`."
    )
    max_hold: Duration = setting("60d", "Longest FUTURERELEASE hold (RFC 4865), submission only; 0 switches it off.")
