"""One endpoint's side of the Facts, with the questions that the judges ask of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from postreeve.checks.conversation import Conversation, Opening, Said, Tls
from postreeve.checks.facts import Asked, Endpoint, Facts, Intent
from postreeve.checks.path import Control, ControlRole, DialOutcome
from postreeve.checks.stage import Stage

IMPLICIT_PORTS: Final = frozenset({465, 2465, 8465})
"""RFC 8314, section 3.3, and what providers opened beside it."""
STARTTLS_PORTS: Final = frozenset({25, 587, 588, 2525, 2587, 8025})

_ORDER: Final = {stage: place for place, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Case:
    """An endpoint to judge, with everything else that was seen."""

    facts: Facts
    endpoint: Endpoint

    @property
    def asked(self) -> Asked:
        """What the probe was told to do."""
        return self.facts.asked

    @property
    def place(self) -> str:
        """Address and port, as a subject."""
        return at(self.endpoint.address, self.endpoint.port)

    @property
    def host(self) -> str:
        """The name that a client puts into its settings."""
        return self.endpoint.host or self.endpoint.address

    @property
    def mode(self) -> Intent:
        """The TLS mode that a client would use here: the one it means to, else the port's convention, else AUTO."""
        if self.asked.intent is not Intent.AUTO:
            return self.asked.intent
        if self.endpoint.port in IMPLICIT_PORTS:
            return Intent.IMPLICIT
        return Intent.STARTTLS if self.endpoint.port in STARTTLS_PORTS else Intent.AUTO

    @property
    def is_open(self) -> bool:
        """True when at least one connection came about."""
        return any(dial.outcome is DialOutcome.OPEN for dial in self.endpoint.dials) or any(
            one.dial.outcome is DialOutcome.OPEN for one in self.endpoint.conversations
        )

    def opened(self, opening: Opening) -> tuple[Conversation, ...]:
        """The conversations that were begun like this by an ordinary client, in order."""
        return tuple(one for one in self.conversations if one.opening is opening)

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """All that an ordinary client could have had; a lenient one's is `lenient`, one's without SNI `nameless`."""
        return tuple(
            one
            for one in self.endpoint.conversations
            if one.dial.outcome is DialOutcome.OPEN
            and not one.is_nameless
            and not (one.tls is not None and one.tls.is_lenient)
        )

    @property
    def lenient(self) -> Tls | None:
        """What a handshake gave that allowed old versions and weak ciphers; None when none was made or none worked."""
        tries = [one.tls for one in self.endpoint.conversations if one.tls is not None and one.tls.is_lenient]
        return next((tls for tls in tries if tls.version), None)

    @property
    def nameless(self) -> Tls | None:
        """The handshake without SNI, certificates and all; None when none was made or none worked."""
        tries = (one.tls for one in self.endpoint.conversations if one.is_nameless and one.tls is not None)
        return next((tls for tls in tries if tls.version and tls.chain), None)

    @property
    def main(self) -> Conversation | None:
        """The conversation that a client of this mode has; that which went farthest where nobody said which mode."""
        match self.mode:
            case Intent.IMPLICIT:
                fit = self.opened(Opening.TLS)
            case Intent.STARTTLS | Intent.PLAIN:
                fit = self.opened(Opening.CLEAR)
            case _:
                fit = self.conversations
                if not any(said.code for one in fit for said in one.said):
                    fit = tuple(one for one in fit if one.tls is not None and is_tls_server(one.tls)) or fit
        return max(fit, key=progress, default=None)

    @property
    def farthest(self) -> Conversation | None:
        """The conversation that went farthest, whatever its mode."""
        return max(self.conversations, key=progress, default=None)

    @property
    def tls(self) -> Tls | None:
        """The handshake of an ordinary client that worked, else the lenient one's, else None."""
        worked = [one.tls for one in self.conversations if one.tls is not None and one.tls.version]
        return worked[-1] if worked else self.lenient

    @property
    def speaks_implicit_tls(self) -> Conversation | None:
        """A conversation where a TLS server answered our ClientHello at once."""
        for one in self.endpoint.conversations:
            if one.opening is Opening.TLS and one.tls is not None and is_tls_server(one.tls):
                return one
        return None

    @property
    def speaks_in_the_clear(self) -> Said | None:
        """A greeting of SMTP that came without TLS."""
        for one in self.opened(Opening.CLEAR):
            greeting = one.reply(Stage.BANNER)
            if greeting is not None and greeting.code:
                return greeting
        return None

    def controls(self, role: ControlRole) -> tuple[Control, ...]:
        """The controls of a role in this endpoint's address family."""
        family = ipaddress_version(self.endpoint.address)
        fit = tuple(one for one in self.facts.controls if one.role is role)
        same = tuple(one for one in fit if ipaddress_version(one.dial.address) == family)
        return same if same or role is ControlRole.OTHER_PORT else fit


def is_tls_server(tls: Tls) -> bool:
    """True when a TLS server answered: by a handshake, an alert, or an offer that our own library refused."""
    refusals = ("TOO_SMALL", "TOO_WEAK", "UNSUPPORTED_PROTOCOL", "SIGALG", "CERTIFICATE_VERIFY")
    return bool(tls.version or tls.alert or tls.chain) or any(mark in tls.error for mark in refusals)


def progress(conversation: Conversation) -> tuple[int, int, int]:
    """How far a conversation went: greeted, handshake done, stages reached."""
    greeted = any(said.code for said in conversation.said)
    worked = conversation.tls is not None and bool(conversation.tls.version)
    reached = max((_ORDER[said.stage] for said in conversation.said if said.code), default=-1)
    return (reached if greeted else -1, int(worked), len(conversation.said))


def capabilities(hello: Said | None) -> tuple[str, ...]:
    """The keywords and parameters of an EHLO reply, upper case, without the greeting line."""
    return tuple(line.strip().upper() for line in hello.lines[1:]) if hello is not None and hello.code == 250 else ()


def mechanisms(hello: Said | None) -> tuple[str, ...]:
    """The SASL mechanisms of an EHLO reply, the old form `AUTH=LOGIN` included, each once."""
    found: dict[str, None] = {}
    for line in capabilities(hello):
        keyword, _, rest = line.replace("AUTH=", "AUTH ", 1).partition(" ")
        if keyword == "AUTH":
            found |= dict.fromkeys(rest.split())
    return tuple(found)


def at(address: str, port: int) -> str:
    """`192.0.2.7:587`, `[2001:db8::7]:587`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ipaddress_version(address: str) -> int:
    """4 or 6; 0 for what is no address."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).version
    except ValueError:
        return 0


def is_loopback(address: str) -> bool:
    """True for 127.0.0.0/8 and ::1."""
    return bool(ipaddress_version(address)) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


def is_private(address: str) -> bool:
    """True for addresses that the public Internet does not route."""
    return bool(ipaddress_version(address)) and ipaddress.ip_address(address.partition("%")[0]).is_private


def first(items: Iterable[str]) -> str:
    """The first that is not empty, or ""."""
    return next((item for item in items if item), "")
