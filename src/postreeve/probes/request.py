"""What one probe is asked to do, beyond the target itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from postreeve.checks.facts import Intent
from postreeve.checks.stage import Stage
from postreeve.ports.known_good import KNOWN_GOOD, KnownGood
from postreeve.probes.script import Login

NOWHERE: Final = ("203.0.113.113", "2001:db8:bad::25")
"""Of documentation blocks (RFC 5737, RFC 3849): nobody can answer there, so whoever does is in the way."""


@dataclass(frozen=True, slots=True)
class Request:
    """See `postreeve probe --help`. Nothing in it is ever written down but by `Asked`, which has no secrets."""

    intent: Intent = Intent.AUTO
    port: int | None = None
    family: int | None = None
    source_ipv4: str = ""
    source_ipv6: str = ""
    login: Login | None = None
    mail_from: str | None = None
    """None: no MAIL; "" is the null reverse-path."""
    recipient: str = ""
    message: bytes | None = field(default=None, repr=False)
    """The content to send, at one endpoint only; None sends none."""
    message_octets: int = 0
    stop_after: Stage = Stage.RCPT
    hello_name: str = ""
    """"" is this machine's own name if that is qualified, else the address literal."""
    is_application: bool | None = None
    """None: an application unless the target is a mail domain or the port is 25."""
    timeout_seconds: float = 10.0
    all_addresses: bool = False
    known_good: tuple[KnownGood, ...] = KNOWN_GOOD
    has_own_known_good: bool = False
    """Somebody chose them: dial them even when the target is in a private network."""
    nowhere: tuple[str, ...] = NOWHERE
    servers: tuple[tuple[str, int], ...] = ()
    """Name servers to ask in place of those of the system: then /etc/hosts and getaddrinfo are left out too."""
    second_servers: tuple[tuple[str, int], ...] = ()
    """Others to ask as well, to see a split horizon."""
    ca_file: Path | None = None
    may_ask_authority: bool = True
    """Ask certificate authorities over HTTP (OCSP, the missing intermediate)."""
    may_autoconfigure: bool = True
    """Ask a submission domain's autoconfig over HTTPS."""
    library: str = ""
