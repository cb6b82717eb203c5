"""Are our ports really ours? What is bound, by whom, and what answers there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation
from postreeve.checks.doctor.check import Check, Seen, place
from postreeve.checks.finding import Level
from postreeve.checks.machine import Bound, Machine, Served, Wanted
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage

_UNITS: Final = {
    "master": "postfix",
    "exim4": "exim4",
    "exim": "exim4",
    "smtpd": "opensmtpd",
    "sendmail": "sendmail",
    "sendmail-mta": "sendmail",
    "dovecot": "dovecot",
    "stalwart": "stalwart",
    "mox": "mox",
    "maddy": "maddy",
}
"""Programs that are known to take mail ports, and the unit that starts each."""


def _is_any(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified


def _covers(bound: Bound, wanted: Wanted) -> bool:
    if bound.port != wanted.port:
        return False
    return bound.address == wanted.address or (
        _is_any(bound.address) and (":" in bound.address or ":" not in wanted.address)
    )


def _holders(machine: Machine, wanted: Wanted) -> list[Bound]:
    return [one for one in machine.bound if _covers(one, wanted)]


def not_running(machine: Machine) -> Iterator[Seen]:
    """The server is not there."""
    if not machine.process:
        yield Seen(
            "",
            (f"no process holds {machine.data_dir}",),
            f"systemctl start postreeve   # or: postreeve serve --config {machine.config_path}",
        )


def taken(machine: Machine) -> Iterator[Seen]:
    """Another program has one of our ports."""
    for wanted in machine.wanted:
        for holder in _holders(machine, wanted):
            if holder.is_ours or (machine.process and not holder.pid):
                continue  # whose it is cannot be seen without privileges, and most likely it is ours
            who = f"{holder.program or 'a process'} (pid {holder.pid or 'unknown'}, user {holder.user or 'unknown'})"
            unit = _UNITS.get(holder.program)
            fix = (
                f"systemctl disable --now {unit} && systemctl restart postreeve"
                if unit
                else f"ss -ltnp 'sport = :{wanted.port}'   # stop that program, then: systemctl restart postreeve"
            )
            yield Seen(f"{wanted.name} {place(wanted.address, wanted.port)}", (f"bound by {who}",), fix)


def not_bound(machine: Machine) -> Iterator[Seen]:
    """The server runs, and nobody listens where the configuration says."""
    if not machine.process:
        return
    for wanted in machine.wanted:
        if wanted.port and not _holders(machine, wanted):
            others = ", ".join(sorted({place(one.address, one.port) for one in machine.bound if one.is_ours})) or "none"
            yield Seen(
                f"{wanted.name} {place(wanted.address, wanted.port)}",
                ("no socket listens there", f"listening sockets of the server: {others}"),
                "systemctl restart postreeve   # addresses and ports of listeners change at a restart only",
            )


def not_local(machine: Machine) -> Iterator[Seen]:
    """A listener on an address that this machine does not have."""
    if not machine.local_addresses:
        return
    for wanted in machine.wanted:
        if not _is_any(wanted.address) and wanted.address not in machine.local_addresses:
            yield Seen(
                f"{wanted.name} {place(wanted.address, wanted.port)}",
                (f"this machine has {', '.join(machine.local_addresses)}",),
                f'in {machine.config_path}, [[listener]] {wanted.name}: addresses = ["0.0.0.0", "::"]',
            )


def dead(machine: Machine) -> Iterator[Seen]:
    """It is bound, and does not answer as it should."""
    for served in machine.served:
        problem = _fault(served)
        if problem:
            yield Seen(
                f"{served.listener} {place(served.reached, served.port)}",
                problem,
                "journalctl -u postreeve -n 50   # and: postreeve status",
            )


def _fault(served: Served) -> tuple[str, ...]:
    talk = served.conversation
    if talk.dial.outcome is not DialOutcome.OPEN:
        return (f"connecting from this machine: {talk.dial.outcome.value} {talk.dial.error}".strip(),)
    banner = talk.reply(Stage.BANNER)
    if served.tls == "implicit" and (talk.tls is None or not talk.tls.version):
        return (f"implicit TLS is configured, and no handshake came about: {_reason(talk)}",)
    if banner is None or banner.code != 220:
        said = banner.text if banner else f"nothing ({talk.ending.value})"
        return (f"the greeting was: {said}",)
    if served.tls in ("starttls", "required") and (talk.tls is None or not talk.tls.version):
        return (f"STARTTLS is configured, and no handshake came about: {_reason(talk)}",)
    return ()


def _reason(talk: Conversation) -> str:
    if talk.tls is None:
        return "STARTTLS is not offered" if talk.said else talk.ending.value
    return talk.tls.alert or talk.tls.error or talk.tls.heard or talk.ending.value


def passwords_where_none_belong(machine: Machine) -> Iterator[Seen]:
    """AUTH offered on port 25, or before TLS on a submission port, live."""
    for served in machine.served:
        for said in served.conversation.said:
            offers = [line for line in said.lines if line.upper().startswith(("AUTH ", "AUTH="))]
            if said.stage is not Stage.EHLO or not offers:
                continue
            if served.role == "relay" or not said.is_in_tls:
                where = "on a relay port" if served.role == "relay" else "before TLS"
                yield Seen(
                    f"{served.listener} {place(served.reached, served.port)}",
                    (f"AUTH is offered {where}: {offers[0]}", "our own server never does so: something else answers"),
                    f"ss -ltnp 'sport = :{served.port}'   # which program, proxy or container is it?",
                )


def dropped(machine: Machine) -> Iterator[Seen]:
    """A firewall rule of this machine throws away packets to our ports."""
    for counter in machine.counters:
        if counter.packets and not counter.is_outgoing:
            yield Seen(
                f"port {counter.port}",
                (f"{counter.packets:,} packets met this rule: {counter.rule}",),
                f"nft list ruleset | grep -n {counter.port}   # let the port in, or take the listener away",
            )


def outgoing_dropped(machine: Machine) -> Iterator[Seen]:
    """A firewall rule of this machine throws away what we send."""
    for counter in machine.counters:
        if counter.packets and counter.is_outgoing:
            yield Seen(
                f"port {counter.port}",
                (f"{counter.packets:,} packets met this rule: {counter.rule}",),
                f"nft list ruleset | grep -n {counter.port}   # mail cannot leave while this rule stands",
            )


CHECKS: Final = (
    Check("server-not-running", Level.ERROR, "The server does not run", "The lock of the data directory.", not_running),
    Check(
        "port-taken",
        Level.ERROR,
        "Another program has our port",
        "Listening sockets of this machine and their owners, against the configured listeners.",
        taken,
    ),
    Check(
        "listener-not-bound",
        Level.ERROR,
        "Nobody listens on a configured port",
        "Configured listeners against the listening sockets of this machine.",
        not_bound,
    ),
    Check(
        "address-not-local",
        Level.ERROR,
        "A listener's address is not one of this machine",
        "Configured listeners against the addresses of the interfaces.",
        not_local,
    ),
    Check(
        "listener-dead",
        Level.ERROR,
        "A port does not answer as configured",
        "A conversation with every listener: greeting, EHLO, TLS.",
        dead,
    ),
    Check(
        "auth-misplaced",
        Level.ERROR,
        "A password is asked for where none belongs",
        "What EHLO offers on every listener, before and after TLS.",
        passwords_where_none_belong,
    ),
    Check(
        "firewall-drops-incoming",
        Level.ERROR,
        "This machine's firewall drops what comes to our port",
        "Counters of rules that drop or reject packets to our ports (needs root).",
        dropped,
    ),
    Check(
        "firewall-drops-outgoing",
        Level.ERROR,
        "This machine's firewall drops what we send",
        "Counters of rules that drop or reject outgoing packets to mail ports (needs root).",
        outgoing_dropped,
    ),
)
