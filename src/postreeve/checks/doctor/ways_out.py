"""Can mail leave? Port 25 to the world, each smarthost, and who stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Check, Seen, place, span
from postreeve.checks.finding import Level
from postreeve.checks.machine import Machine, WayOut
from postreeve.checks.path import Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.ports.network import by_id


def _is_open(way: WayOut) -> bool:
    return bool(way.banner) or any(one.outcome is DialOutcome.OPEN for one in way.dials)


def _story(dials: tuple[Dial, ...]) -> tuple[str, ...]:
    return tuple(
        f"{place(one.address, one.port)}: {one.outcome.value} after {span(one.seconds)}"
        + (f", ICMP type {one.icmp.kind} code {one.icmp.code} from {one.icmp.sender}" if one.icmp else "")
        for one in dials
    )


def _has_ipv6(dial: Dial) -> bool:
    return ":" in dial.address


def port_25_blocked(machine: Machine) -> Iterator[Seen]:
    """Nothing on port 25 answers, and mail has to go there."""
    for way in machine.ways_out:
        if way.port != 25 or not way.is_used or _is_open(way) or not way.dials:
            continue
        others = [one for one in machine.known_good if one.outcome is DialOutcome.OPEN]
        network = by_id(machine.platform)
        who = f" ({network.name}; there: {network.unblock})" if network else ""
        if any(one.outcome is DialOutcome.FORBIDDEN for one in way.dials):
            yield Seen(
                "port 25",
                (*_story(way.dials), "this machine's own firewall or sandbox refused to send"),
                "nft list ruleset | grep -nE 'dport.*25'   # let the server's user out to port 25",
            )
        elif others:
            yield Seen(
                "port 25",
                (*_story(way.dials), *(f"{place(one.address, one.port)} answers" for one in others[:2])),
                f"ask this network's provider{who} to open outgoing port 25, or send through a smarthost:\n"
                '[[route]]\ndomains = ["*"]\nvia = "smarthost"\nhost = "smtp.example.com"\nport = 465\n'
                'username = "…"\npassword_file = "…"',
            )
        else:
            yield Seen(
                "port 25",
                (*_story(way.dials), "nothing else could be reached either"),
                "ip route get 1.1.1.1   # is this machine connected at all?",
            )


def smarthost_unreachable(machine: Machine) -> Iterator[Seen]:
    """A smarthost of the configuration does not answer."""
    for way in machine.ways_out:
        if way.port == 25 and way.name == "port 25":
            continue
        if way.lookup_failure:
            yield Seen(way.name, (way.lookup_failure,), f"getent ahosts {way.host}   # is the name right?")
        elif way.is_used and way.dials and not _is_open(way):
            yield Seen(
                way.name,
                _story(way.dials),
                f"postreeve probe {place(way.host, way.port)}   # says who stands in the way",
            )


def smarthost_refuses(machine: Machine) -> Iterator[Seen]:
    """It answers, and does not let us in."""
    for way in machine.ways_out:
        talk = way.conversation
        if talk is None:
            continue
        for said in talk.said:
            if said.code >= 400 and said.stage in (Stage.BANNER, Stage.EHLO, Stage.TLS, Stage.AUTH):
                yield Seen(
                    way.name,
                    (f"{said.command or 'greeting'}: {said.text}",),
                    f"postreeve probe {place(way.host, way.port)} --user NAME   # with the route's account",
                )
                break
        if way.verifies and talk.tls is not None and (talk.tls.troubles or talk.tls.is_name_right is False):
            because = tuple(one.text for one in talk.tls.troubles) or ("the certificate names another host",)
            yield Seen(way.name, because, f"postreeve probe {place(way.host, way.port)}")


def one_family(machine: Machine) -> Iterator[Seen]:
    """IPv6 is there, and mail cannot leave by it."""
    for way in machine.ways_out:
        six = [one for one in way.dials if _has_ipv6(one)]
        four = [one for one in way.dials if not _has_ipv6(one)]
        if (
            six
            and any(one.outcome is DialOutcome.OPEN for one in four)
            and all(one.outcome in (DialOutcome.TIMED_OUT, DialOutcome.UNREACHABLE) for one in six)
        ):
            yield Seen(
                way.name,
                (*_story(tuple(six)), "IPv4 works"),
                f'in {machine.config_path}, [delivery]: family = "ipv4"   # until IPv6 is mended',
            )


CHECKS: Final = (
    Check(
        "outbound-25-blocked",
        Level.ERROR,
        "Mail cannot leave by port 25",
        "Connections to MX hosts that are known to answer, against other ports from here.",
        port_25_blocked,
    ),
    Check(
        "smarthost-unreachable",
        Level.ERROR,
        "A smarthost cannot be reached",
        "A connection to every smarthost of the configuration.",
        smarthost_unreachable,
    ),
    Check(
        "smarthost-refuses",
        Level.ERROR,
        "A smarthost does not let us in",
        "Greeting, EHLO and TLS of every smarthost; nothing is sent and no password is tried.",
        smarthost_refuses,
    ),
    Check(
        "ipv6-way-out-broken",
        Level.WARNING,
        "Mail cannot leave by IPv6",
        "The same connections by either family.",
        one_family,
    ),
)
