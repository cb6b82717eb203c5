"""What each SMTP port is for, when TLS begins on it, and who should use it.

RFC 8314, section 3 settles it for mail programs: implicit TLS on 465 first, STARTTLS on 587 where the server does not
offer that (section 3.3). Every other submission port is custom: some provider opened it since networks on the way
block the two. 25 is for servers among themselves (RFC 5321, section 2.1) and the port that networks block first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Mode(Enum):
    """When TLS begins. The values are those of every other package that speaks of TLS modes."""

    IMPLICIT = "implicit"
    """With the first octet."""
    STARTTLS = "starttls"
    """After the command STARTTLS (RFC 3207)."""
    PLAIN = "plain"
    """Never."""

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS: Final = {
    Mode.IMPLICIT: "TLS from the first octet",
    Mode.STARTTLS: "STARTTLS",
    Mode.PLAIN: "no encryption",
}


class Use(Enum):
    """What a port is for."""

    SUBMISSION = "submission"
    """Mail programs and applications hand in mail, with a login (RFC 6409)."""
    RELAY = "relay"
    """Servers pass mail on to the recipient's server."""
    LOCAL = "local"
    """Within one machine or site: LMTP, test sinks."""


@dataclass(frozen=True, slots=True)
class Service:
    """One port. `rank` orders submission ports by RFC 8314, 1 is the best; `is_registered`: IANA lists it for mail."""

    port: int
    name: str
    use: Use
    mode: Mode
    purpose: str
    audience: str
    is_registered: bool
    rank: int


_ANYBODY: Final = "applications and mail programs"
_BLOCKED: Final = "applications in networks that block 465 and 587, where the provider has it"

SERVICES: Final[tuple[Service, ...]] = (
    Service(465, "submissions", Use.SUBMISSION, Mode.IMPLICIT, "message submission over TLS (RFC 8314)", _ANYBODY,
            True, 1),
    Service(587, "submission", Use.SUBMISSION, Mode.STARTTLS, "message submission (RFC 6409)",
            f"{_ANYBODY} where 465 is not offered", True, 2),
    Service(2465, "submissions, alternative", Use.SUBMISSION, Mode.IMPLICIT, "as 465, at some providers", _BLOCKED,
            False, 3),
    Service(2587, "submission, alternative", Use.SUBMISSION, Mode.STARTTLS, "as 587, at some providers", _BLOCKED,
            False, 4),
    Service(2525, "submission, alternative", Use.SUBMISSION, Mode.STARTTLS, "as 587, at most relay providers",
            _BLOCKED, False, 5),
    Service(8465, "submissions, alternative", Use.SUBMISSION, Mode.IMPLICIT, "as 465, at SMTP2GO", _BLOCKED, False, 6),
    Service(8025, "submission, alternative", Use.SUBMISSION, Mode.STARTTLS, "as 587, at SMTP2GO", _BLOCKED, False, 7),
    Service(588, "submission, alternative", Use.SUBMISSION, Mode.STARTTLS, "as 587, at Mailjet", _BLOCKED, False, 8),
    Service(443, "submissions on the port of HTTPS", Use.SUBMISSION, Mode.IMPLICIT, "as 465, at SMTP2GO",
            "applications where nothing but the web is open", False, 9),
    Service(80, "submission on the port of HTTP", Use.SUBMISSION, Mode.STARTTLS, "as 587, at Mailjet and SMTP2GO",
            "applications where nothing but the web is open; proxies on the way may break it", False, 10),
    Service(26, "smtp, alternative", Use.SUBMISSION, Mode.STARTTLS, "as 587, at web hosters with cPanel",
            "mail programs, where the hoster says so", False, 11),
    Service(25, "smtp", Use.RELAY, Mode.STARTTLS, "mail from server to server (RFC 5321)",
            "mail servers; not for applications or mail programs", True, 20),
    Service(24, "lmtp", Use.LOCAL, Mode.PLAIN, "delivery into mailboxes (RFC 2033), by convention",
            "a mail server and its mailbox server, on one site", False, 30),
    Service(1025, "test sink", Use.LOCAL, Mode.PLAIN, "Mailpit, MailDev, MailHog; Proton Mail Bridge with STARTTLS",
            "programs under development, on this machine", False, 31),
)  # fmt: skip
"""The ports that are known, best first for submission."""

BY_PORT: Final = {service.port: service for service in SERVICES}
USUAL: Final = (465, 587, 2525, 2587, 2465, 25)
"""What is measured where nobody named ports."""
SUBMISSION_PORTS: Final = tuple(service.port for service in SERVICES if service.use is Use.SUBMISSION)


def convention(port: int) -> Mode:
    """The TLS mode that a client should expect: that of the table, STARTTLS for ports that it does not have."""
    known = BY_PORT.get(port)
    return Mode.STARTTLS if known is None else known.mode


def rank(port: int) -> int:
    """The place of a port among those for submission, lower is better; ports that are not known come before 25."""
    known = BY_PORT.get(port)
    return _UNKNOWN_RANK if known is None else known.rank


_UNKNOWN_RANK: Final = 15
