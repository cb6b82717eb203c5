"""What the sessions of a process share, and what they need from packages that they must not know."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.login import Logins
from postreeve.mail.domain import Domain
from postreeve.policy.recipient import OwnDomains, own_domains
from postreeve.policy.sender import Room
from postreeve.policy.settings import PolicySettings
from postreeve.queue.model import Claim, NewMessage
from postreeve.queue.route import Route
from postreeve.store.face import Store
from postreeve.telemetry.event import Tell


@dataclass(frozen=True, slots=True)
class Services:
    """One per process; every listener and session of it has the same.

    A reload makes a new one: sessions that have begun keep theirs.
    """

    policy: PolicySettings
    store: Store
    route: Callable[[Domain], Route | None]
    """Where mail for a domain goes; None where no route speaks of it."""
    tell: Tell
    counters: SharedCounters
    tls_context: Callable[[], ssl.SSLContext | None]
    """The context for the next handshake; None where there is no certificate."""
    logins: Logins | None
    """None where no listener takes logins."""
    room: Callable[[], Room] = lambda: Room.ENOUGH
    """Can mail be taken now? Asked at every MAIL, so the answer is remembered where finding it costs anything."""
    wants_claims: Callable[[], bool] = lambda: False
    """True when the deliverer has time for more: then a message is born leased to us and handed to `offer`."""
    offer: Callable[[tuple[Claim, ...]], None] = lambda claims: None
    announce: Callable[[NewMessage], None] = lambda message: None
    """Told of a message that waits in the store: nobody had time for it, or it is due later."""
    lease_seconds: float = 300.0
    domains: OwnDomains = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", own_domains(self.policy))
