"""Steps: what a DeliveryPlan asks the outside to do next. Values only; `plan` decides, `outbound` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from postreeve.queue.disposition import Disposition
from postreeve.queue.outcome import Outcome
from postreeve.queue.settings import Credentials, TlsMode


class Dialogue(Enum):
    """Which protocol a connection speaks."""

    SMTP = "smtp"
    LMTP = "lmtp"


@dataclass(frozen=True, slots=True)
class TlsRequirement:
    """How sure we must be of the next hop: with `verify`, the certificate must be trusted and name `name`."""

    mode: TlsMode = TlsMode.OPPORTUNISTIC
    verify: bool = False
    name: str = ""


PLAINTEXT = TlsRequirement(TlsMode.NONE)


@dataclass(frozen=True, slots=True)
class LookupMx:
    """Ask for the MX records of `domain`; answer with `DeliveryPlan.take_mx`."""

    domain: str


@dataclass(frozen=True, slots=True)
class LookupAddresses:
    """Ask for the addresses of `host`; answer with `DeliveryPlan.take_addresses`.

    `is_configured`: the operator named it, so that the machine's own names (/etc/hosts) count as well.
    """

    host: str
    is_configured: bool = False


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect, greet, start TLS, log in; answer with `DeliveryPlan.take_connection`.

    Either `address` and `port`, or `socket` (a local path). `host` is the name for TLS (SNI) and for the log. `others`
    are further addresses of the host, to be raced with the first when that one is slow (RFC 8305, section 5).
    """

    host: str
    address: str
    port: int
    tls: TlsRequirement
    credentials: Credentials | None = None
    dialogue: Dialogue = Dialogue.SMTP
    socket: str = ""
    others: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, in the order of preference."""
        return (self.address, *self.others)

    def at(self, address: str) -> Connect:
        """The same at one address alone."""
        if self.socket or (not self.others and address == self.address):
            return self
        return replace(self, address=address, others=())

    def allows(self, made: Connect) -> bool:
        """True when a connection that was made as `made` says is one of those asked for here."""
        return made.host == self.host and made.address in self.addresses and made == self.at(made.address)


@dataclass(frozen=True, slots=True)
class Send:
    """One mail transaction on the open connection for these recipients (indexes); answer with `take_outcomes`."""

    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Deposit:
    """Write one copy per recipient (indexes) to the Maildir at `path`; answer with `DeliveryPlan.take_outcomes`."""

    path: str
    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How it ended for one recipient in this attempt; `host` and `address` are "" where no host was reached."""

    recipient: int
    disposition: Disposition
    outcome: Outcome
    host: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Every recipient is judged; the connection, if any, may serve another message."""

    judgements: tuple[Judgement, ...]


Step = LookupMx | LookupAddresses | Connect | Send | Deposit | Done
