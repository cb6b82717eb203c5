"""Evidence in words: each line is one observation, with its numbers, and a peer's words are marked as the peer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from postreeve.checks.conversation import Certificate, Conversation, Ending, Opening, Said, Tls
from postreeve.checks.judge.case import at
from postreeve.checks.path import Control, ControlRole, Dial, DialOutcome, Icmp, Trace

_MOST: Final = 300
"""Characters of a peer's words in one line."""

_ICMP_V4: Final = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 9): "network administratively prohibited",
    (3, 10): "host administratively prohibited",
    (3, 13): "communication administratively prohibited",
    (11, 0): "time to live exceeded",
}
_ICMP_V6: Final = {
    (1, 0): "no route to destination",
    (1, 1): "communication administratively prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "source address failed ingress or egress policy",
    (1, 6): "reject route to destination",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded",
}


_DIALLED: Final = {
    DialOutcome.OPEN: "connected",
    DialOutcome.REFUSED: "was refused",
    DialOutcome.RESET: "was reset",
    DialOutcome.TIMED_OUT: "got no answer at all",
    DialOutcome.UNREACHABLE: "was unreachable",
    DialOutcome.PROHIBITED: "was prohibited by a firewall",
    DialOutcome.NO_ROUTE: "has no route from this machine",
    DialOutcome.NO_SOURCE: "could not be tried: the source address is not one of this machine's",
    DialOutcome.FORBIDDEN: "was forbidden by this machine itself",
    DialOutcome.OTHER: "failed",
}
_ROLES: Final = {
    ControlRole.OTHER_PORT: "control, another port of the same host",
    ControlRole.KNOWN_GOOD: "control, a host that is known to answer",
    ControlRole.NOWHERE: "control, an address where nobody can answer",
}


def quoted(text: str) -> str:
    """A peer's words, marked as such and bounded."""
    short = text if len(text) <= _MOST else text[:_MOST] + " …"
    return f"“{short}”"


def told(said: Said) -> str:
    """What came for a command."""
    what = f"to {said.command!r}" if said.command else "as its greeting"
    where = " inside TLS" if said.is_in_tls else ""
    if not said.code:
        return f"the server sent no reply {what}{where} within {said.seconds:.1f} s"
    return f"the server said {what}{where}, after {said.seconds:.1f} s: {quoted(said.text)}"


def icmp_words(icmp: Icmp) -> str:
    """An ICMP error in the words of RFC 792, RFC 1812 or RFC 4443, with its numbers."""
    names = _ICMP_V6 if ":" in icmp.sender else _ICMP_V4
    name = names.get((icmp.kind, icmp.code), "error")
    return f"ICMP {name} (type {icmp.kind}, code {icmp.code}) from {icmp.sender or 'an unknown sender'}"


def dialled(dial: Dial) -> str:
    """What came of a connect."""
    where = at(dial.address, dial.port)
    source = f" from {dial.local_address}" if dial.local_address else ""
    words = _DIALLED[dial.outcome]
    error = f", {dial.error}" if dial.error else ""
    answer = f"; {icmp_words(dial.icmp)}" if dial.icmp else ""
    return f"TCP to {where}{source} {words} ({dial.seconds:.2f} s{error}){answer}"


def controlled(control: Control) -> str:
    """What came of a control."""
    banner = f", and it greeted with {quoted(control.banner)}" if control.banner else ""
    return f"{_ROLES[control.role]}: {dialled(control.dial)}{banner}"


def controls_of(controls: Sequence[Control]) -> Iterator[str]:
    """What came of controls of one role: those of one address that ended alike in one line."""
    alike: dict[tuple[object, ...], list[Control]] = {}
    for one in controls:
        key = (one.dial.address, one.dial.outcome, one.dial.icmp) if not one.banner else (one,)
        alike.setdefault(key, []).append(one)
    for group in alike.values():
        first = group[0]
        if len(group) == 1:
            yield controlled(first)
            continue
        ports = ", ".join(str(one.dial.port) for one in group)
        slowest = max(one.dial.seconds for one in group)
        answer = f"; {icmp_words(first.dial.icmp)}" if first.dial.icmp else ""
        what = (
            "other ports of the same host" if first.role is ControlRole.OTHER_PORT else f"ports of {first.dial.address}"
        )
        yield f"controls, {what}: {ports}: TCP {_DIALLED[first.dial.outcome]} (within {slowest:.1f} s){answer}"


def traced(trace: Trace) -> str:
    """How far packets came."""
    if trace.is_reached:
        return f"TCP traceroute to {at(trace.address, trace.port)}: the target answered at hop {len(trace.hops)}"
    heard = [hop for hop in trace.hops if hop.sender]
    if not heard:
        return f"TCP traceroute to {at(trace.address, trace.port)}: nobody on the way answered"
    last = heard[-1]
    return (
        f"TCP traceroute to {at(trace.address, trace.port)}: the last machine that answered is {last.sender} at hop "
        f"{last.ttl}, nothing came from the {trace.hops[-1].ttl - last.ttl} hops after it"
    )


def ended(conversation: Conversation) -> str:
    """How a connection ended, where that is worth a line."""
    where = at(conversation.dial.address, conversation.dial.port)
    how = {
        Ending.QUIT: "ended in good order",
        Ending.CLOSED: "was closed by the server",
        Ending.RESET: "was reset (RST)",
        Ending.TIMED_OUT: "went silent until we gave up",
        Ending.TLS_FAILED: "ended with a failed TLS handshake",
        Ending.NOT_SMTP: "was not SMTP",
        Ending.STOPPED: "was ended by us",
    }[conversation.ending]
    opening = "opened with a TLS ClientHello" if conversation.opening is Opening.TLS else "opened in the clear"
    stage = f" at {conversation.ended_at.value}" if conversation.ended_at.value != "none" else ""
    return f"a connection to {where}, {opening}, {how}{stage}"


def shaken(tls: Tls) -> str:
    """What came of a handshake."""
    named = f" (SNI {tls.server_name})" if tls.server_name else " (without SNI)"
    if tls.version:
        lenient = ", old versions and weak ciphers allowed" if tls.is_lenient else ""
        group = f", {tls.group}" if tls.group else ""
        return f"TLS handshake{named}{lenient}: {tls.version}, {tls.cipher}{group}, {tls.seconds:.2f} s"
    parts = [f"TLS handshake{named} failed after {tls.seconds:.2f} s"]
    if tls.alert:
        parts.append(f"the server sent the alert {tls.alert}")
    if tls.error:
        parts.append(f"our TLS library says {tls.error}")
    if tls.heard:
        parts.append(f"where a TLS record was due came {quoted(tls.heard)}")
    return "; ".join(parts)


def shown(certificate: Certificate) -> str:
    """A certificate in one line."""
    names = ", ".join(certificate.names[:8]) or f"none (common name {certificate.common_name})"
    return (
        f"certificate {quoted(certificate.subject)} issued by {quoted(certificate.issuer)}, names {names}, "
        f"{certificate.key}, valid {day(certificate.not_before)} to {day(certificate.not_after)}, "
        f"SHA-256 {certificate.fingerprint[:16]}…"
    )


def day(moment: float) -> str:
    """A moment as a date and time of UTC; what no calendar has as its number."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{moment:.0f}"
