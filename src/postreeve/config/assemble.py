"""Config → the Settings of the packages below, which know nothing of the file.

Passwords kept in files are read by the caller: `secrets` maps the path of each file to the password in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from postreeve.config.limit import LimitsTable
from postreeve.config.model import Config, ListenerTable
from postreeve.config.next_hop import FallbackTable, RouteTable, Via
from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain, parse_domain
from postreeve.policy.settings import LimitSettings, ListenerSettings, LocalDomain, PolicySettings
from postreeve.queue.route import Identity
from postreeve.queue.settings import (
    Credentials,
    DeliverySettings,
    Discard,
    Fallback,
    Hold,
    Lmtp,
    Maildir,
    Mx,
    QueueSettings,
    RouteSettings,
    Schedule,
    Smarthost,
    Target,
    Timeouts,
    TlsMode,
)

DEFAULT_MAILDIR: Final = "{data_dir}/mail/{domain}/{local}"
Secrets = Mapping[PurePosixPath, str]


def postmaster(config: Config) -> Mailbox:
    """Who takes mail to `<postmaster>` (RFC 5321, section 4.5.1)."""
    if config.postmaster is not None:
        return config.postmaster
    return Mailbox("postmaster", config.domain[0].name if config.domain else config.hostname)


def limit_settings(limits: LimitsTable) -> LimitSettings:
    """[limits], or a listener's own."""
    return LimitSettings(
        max_message_octets=limits.max_message,
        max_header_octets=limits.max_header,
        max_command_octets=limits.max_command,
        max_recipients=limits.max_recipients,
        max_messages_per_session=limits.max_messages_per_session,
        max_errors=limits.max_errors,
        soft_errors=limits.soft_errors,
        error_delay_seconds=limits.error_delay,
        max_junk=limits.max_junk,
        max_unknown_recipients=limits.max_unknown_recipients,
        max_auth_failures=limits.max_auth_failures,
        auth_failures_per_client=limits.auth_failures_per_client,
        auth_failures_per_account=limits.auth_failures_per_account,
        auth_window_seconds=int(limits.auth_window),
        connections=limits.connections,
        connections_per_client=limits.connections_per_client,
        connections_per_minute_per_client=limits.connections_per_minute_per_client,
        command_timeout_seconds=limits.command_timeout,
        content_timeout_seconds=limits.content_timeout,
        session_timeout_seconds=limits.session_timeout,
        tls_timeout_seconds=limits.tls_timeout,
        proxy_timeout_seconds=limits.proxy_timeout,
        minimum_rate_octets_per_second=limits.minimum_rate,
        minimum_rate_grace_seconds=limits.minimum_rate_grace,
        max_hops=limits.max_hops,
        stress_at=limits.stress_at,
        stress_timeout_seconds=limits.stress_timeout,
        bare_newlines=limits.bare_newlines,
        early_talkers=limits.early_talkers,
        max_hold_seconds=int(limits.max_hold),
    )


def listener_settings(config: Config, listener: ListenerTable) -> ListenerSettings:
    """One [[listener]]."""
    return ListenerSettings(
        name=listener.label,
        port=listener.port,
        role=listener.role,
        tls=listener.offer,
        addresses=tuple(str(address) for address in listener.addresses),
        proxy_from=listener.proxy_from,
        limits=limit_settings(config.limits_of(listener)),
    )


def policy_settings(config: Config) -> PolicySettings:
    """[[domain]] and [relay]."""
    return PolicySettings(
        hostname=config.hostname.ascii,
        postmaster=postmaster(config),
        domains=tuple(LocalDomain(domain.name.ascii, domain.recipients) for domain in config.domain),
        relay_networks=config.relay.networks,
    )


def queue_settings(config: Config, workers: int, secrets: Secrets) -> QueueSettings:
    """[[route]], [queue] and [delivery], for one of `workers` processes."""
    queue = config.queue
    return QueueSettings(
        routes=tuple(route_settings(config, route, secrets) for route in config.route),
        schedule=Schedule(
            retry_seconds=queue.retry,
            lifetime_seconds=queue.lifetime,
            warn_after_seconds=tuple(sorted(queue.warn_after)),
        ),
        delivery=_delivery_settings(config, workers),
        history_seconds=queue.history,
    )


def _delivery_settings(config: Config, workers: int) -> DeliverySettings:
    delivery = config.delivery
    return DeliverySettings(
        hostname=config.hostname.ascii,
        concurrency=max(1, delivery.concurrency // workers),
        per_destination=max(1, delivery.per_destination // workers),
        initial_per_destination=max(1, delivery.initial_per_destination // workers),
        messages_per_connection=delivery.messages_per_connection,
        recipients_per_transaction=delivery.recipients_per_transaction,
        idle_seconds=delivery.idle_seconds,
        family=delivery.family,
        source_ipv4=str(delivery.source_ipv4 or ""),
        source_ipv6=str(delivery.source_ipv6 or ""),
        port=delivery.port,
        eight_bit=delivery.eight_bit,
        keep_conversations=config.queue.keep_conversations,
        timeouts=Timeouts(**{name: getattr(delivery.timeouts, name) for name in type(delivery.timeouts).model_fields}),
    )


def route_label(route: RouteTable) -> str:
    """The route's name in force."""
    if route.name:
        return route.name
    first = str(route.domains[0]) if route.domains else ""
    return route.via.value if first in ("", "*") else f"{route.via.value}-{first.lstrip('.')}"


def route_settings(config: Config, route: RouteTable, secrets: Secrets) -> RouteSettings:
    """One [[route]]."""
    fallback = None
    if route.fallback is not None:
        hop = route.fallback
        fallback = Fallback(_smarthost(hop, hop.port, hop.tls, secrets), hop.after_attempts, hop.after)
    return RouteSettings(
        route_label(route), tuple(str(pattern) for pattern in route.domains), _target(config, route, secrets), fallback
    )


def _target(config: Config, route: RouteTable, secrets: Secrets) -> Target:
    match route.via:
        case Via.MAILDIR:
            path = (route.path or DEFAULT_MAILDIR).replace("{data_dir}", str(config.data_dir))
            return Maildir(path)
        case Via.LMTP:
            return Lmtp(route.host, route.port or 24, str(route.socket or ""))
        case Via.SMARTHOST:
            port = route.port or (465 if route.tls is TlsMode.IMPLICIT else 587)
            tls = route.tls or (TlsMode.IMPLICIT if port == 465 else TlsMode.REQUIRED)
            return _smarthost(route, port, tls, secrets)
        case Via.MX:
            return Mx()
        case Via.HOLD:
            return Hold()
        case Via.DISCARD:
            return Discard()


def _smarthost(hop: RouteTable | FallbackTable, port: int, tls: TlsMode, secrets: Secrets) -> Smarthost:
    password = hop.password if hop.password_file is None else secrets.get(hop.password_file, "")
    credentials = Credentials(hop.username, password) if hop.username else None
    return Smarthost(hop.host, port, tls, hop.verify, credentials)


def password_files(config: Config) -> tuple[PurePosixPath, ...]:
    """The files that the caller has to read for `secrets`."""
    hops = [hop for route in config.route for hop in (route, route.fallback) if hop is not None]
    return tuple(dict.fromkeys(hop.password_file for hop in hops if hop.password_file is not None))


def identity(config: Config, own_addresses: frozenset[str] = frozenset({"127.0.0.1", "::1"})) -> Identity:
    """Who we are, so that no mail is sent to ourselves; `own_addresses` are what wildcard listeners listen on."""
    endpoints: set[tuple[str, int]] = set()
    for listener in config.listener:
        for address in listener.addresses:
            if address.is_unspecified:
                own = {one for one in own_addresses if (":" in one) == (address.version == 6)}
            else:
                own = {str(address)}
            endpoints |= {(one, listener.port) for one in own}
    names: set[Domain] = {config.hostname}
    if any(listener_address.startswith("127.") or listener_address == "::1" for listener_address, _ in endpoints):
        localhost = parse_domain("localhost")
        names |= {localhost} if localhost is not None else set()
    return Identity(frozenset(names), frozenset(endpoints))
