"""Facts made by hand for the tests of the judge: what a probe would have seen, in a few words."""

from __future__ import annotations

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls
from postreeve.checks.facts import Asked, Endpoint, Facts, Intent, Lookup, Names, TargetKind, Vantage
from postreeve.checks.path import Control, ControlRole, Dial, DialOutcome, Hop, Icmp, Trace
from postreeve.checks.stage import Stage

NOW = 1_790_000_000.0
HOST, V4, V6, HERE, GOOD = "mail.example.com", "192.0.2.7", "2001:db8::7", "198.51.100.3", "203.0.113.9"


def dial(outcome: DialOutcome, address: str = V4, port: int = 587, icmp: Icmp | None = None) -> Dial:
    """One connect from HERE."""
    return Dial(address, port, outcome, 0.1, HERE if ":" not in address else "2001:db8::3", "", icmp)


def known_good(outcome: DialOutcome, port: int = 587, banner: str = "") -> Control:
    """A control at a server that is known to answer."""
    return Control(ControlRole.KNOWN_GOOD, dial(outcome, GOOD, port), banner)


def other_port(outcome: DialOutcome, port: int = 443) -> Control:
    """A control at another port of the target."""
    return Control(ControlRole.OTHER_PORT, dial(outcome, V4, port))


def nowhere(outcome: DialOutcome, port: int = 587, banner: str = "") -> Control:
    """A control where nobody can answer."""
    return Control(ControlRole.NOWHERE, dial(outcome, "203.0.113.113", port), banner)


def trace(*senders: str, is_reached: bool = False, port: int = 587) -> Trace:
    """A traceroute; "" for a hop that did not answer."""
    hops = tuple(Hop(ttl, sender, 0.01) for ttl, sender in enumerate(senders, 1))
    return Trace(V4, port, hops, is_reached)


def said(stage: Stage, command: str, reply: str, *, is_in_tls: bool = False, seconds: float = 0.01) -> Said:
    """`reply` is "250 text", its lines separated by newlines; "" for none."""
    code, _, text = reply.partition(" ")
    return Said(stage, command, int(code or 0), tuple(text.split("\n")) if text else (), seconds, is_in_tls)


GREETING = said(Stage.BANNER, "", "220 mail.example.com ESMTP")


def hello(*keywords: str, is_in_tls: bool = False) -> Said:
    """The reply to EHLO."""
    return said(Stage.EHLO, "EHLO me", "250 " + "\n".join(("mail.example.com", *keywords)), is_in_tls=is_in_tls)


def talk(*exchanges: Said, tls: Tls | None = None, ending: Ending = Ending.QUIT, address: str = V4,
         opening: Opening = Opening.CLEAR, port: int = 587, stage: Stage = Stage.NONE) -> Conversation:  # fmt: skip
    """One conversation on a connection that came about."""
    connected = dial(DialOutcome.OPEN, address, port)
    heard = "" if not exchanges else exchanges[0].text
    protocol = "smtp" if heard else ""
    return Conversation(opening, connected, heard, protocol, exchanges, tls, ending=ending, ended_at=stage)


def endpoint(*talks: Conversation, address: str = V4, port: int = 587, dials: tuple[Dial, ...] = (),
             way: Trace | None = None, host: str = HOST, preference: int = 0) -> Endpoint:  # fmt: skip
    """One address; without `dials` those of its conversations."""
    return Endpoint(host, address, port, preference, dials or tuple(one.dial for one in talks), talks, way)


def healthy(address: str = V4, port: int = 587, host: str = HOST) -> Endpoint:
    """An endpoint where nothing is wrong, seen up to STARTTLS and EHLO."""
    tls = Tls(host, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", 0.02)
    starttls = said(Stage.TLS, "STARTTLS", "220 go")
    one = talk(GREETING, hello("STARTTLS"), starttls, hello("AUTH PLAIN", is_in_tls=True), tls=tls, address=address,
               port=port)  # fmt: skip
    return endpoint(one, address=address, port=port, host=host)


def dead(outcome: DialOutcome, address: str = V4, port: int = 587, icmp: Icmp | None = None,
         way: Trace | None = None, host: str = HOST) -> Endpoint:  # fmt: skip
    """An endpoint to which no connection came about."""
    return endpoint(address=address, port=port, dials=(dial(outcome, address, port, icmp),), way=way, host=host)


def facts(
    *endpoints: Endpoint,
    controls: tuple[Control, ...] = (),
    lookups: tuple[Lookup, ...] = (),
    kind: TargetKind = TargetKind.HOST,
    intent: Intent = Intent.AUTO,
    is_application: bool = True,
    has_credentials: bool = False,
    vantage: Vantage | None = None,
    names: Names | None = None,
    library: str = "",
    mail_from: str = "",
) -> Facts:
    """All of it."""
    asked = Asked(HOST, kind, 587, intent, has_credentials, mail_from=mail_from, is_application=is_application,
                  library=library)  # fmt: skip
    found = names or Names(HOST, (V4,), lookups)
    return Facts(asked, NOW, found, vantage or Vantage(has_ipv6_route=True), endpoints, controls)
