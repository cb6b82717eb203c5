"""What `postreeve ports` prints for people: the choice first, then why, then what was measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from postreeve.cli.fold import say_folded
from postreeve.cli.output import clean, clean_lines, console, say, table
from postreeve.cli.ports_report import HostReport, Overview, Settings
from postreeve.ports.advise import Grade, describe
from postreeve.ports.endpoint import Measured, Reach
from postreeve.ports.network import Observed, Opinion, Pattern
from postreeve.ports.provider import Provider
from postreeve.ports.service import BY_PORT, SERVICES, Mode, rank
from postreeve.ports.sniff import WORDS
from postreeve.probes.way_out import Tried, WaysOut

_SERVICES_WIDTH, _MEASURED_WIDTH = 172, 110
"""Columns that the tables take: on a narrower terminal they would be cut."""
_MODES = {Mode.IMPLICIT: "TLS at once", Mode.STARTTLS: "STARTTLS", Mode.PLAIN: "none"}


def print_overview(overview: Overview) -> None:
    """The table of ports, and which lead out of here."""
    if _is_narrower(_SERVICES_WIDTH):
        for one in SERVICES:
            custom = "" if one.is_registered else ", custom"
            say(f"{one.port:>5}  {_MODES[one.mode]}{custom}")
            say_folded(f"       {one.purpose}: {one.audience}", 7)
    else:
        _print_services()
    _section("The way out of this network", _ways(overview.ways))
    _section("This network", _opinion(overview.opinion))


def _print_services() -> None:
    rows = [
        [str(one.port), _MODES[one.mode], "yes" if one.is_registered else "custom", one.purpose, one.audience]
        for one in SERVICES
    ]
    console().print(table(["port", "encryption", "registered", "purpose", "who should use it"], rows, ["port"]))


def print_host(report: HostReport) -> None:
    """The verdict on a host's ports."""
    for line in _verdict(report):
        say_folded(line, 4)
    if not report.measured.endpoints:
        return
    say()
    _print_measured(report.measured.endpoints)
    _section("Ranking", _ranking(report))
    if report.settings is not None:
        say()
        say("Settings")
        # Not indented: they are to be pasted, and Python and YAML mind.
        for line in _paste(report.settings):
            say(line)
        for line in _words(report.settings):
            say(f"  {line}")
    if report.provider is not None:
        _section(f"{report.provider.name}, by its own rules", _provider(report.provider))
    network = list(_opinion(report.opinion))
    if report.ways.tried:
        network = [*_ways(report.ways), *network]
    _section("This network", network)


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> None:
    shown = list(lines)
    if shown:
        say()
        say(title)
        for line in shown:
            say_folded(f"  {line}", 6)


def _verdict(report: HostReport) -> Iterator[str]:
    measured, advice = report.measured, report.advice
    if report.is_domain and report.provider is not None:
        yield f"{clean(report.asked)} is a mail domain of {report.provider.name}, whose host is {measured.host}"
    host = clean(measured.host)
    if measured.failure:
        yield f"{host}: {measured.failure}"
        if report.suggestion:
            yield f"  did you mean {report.suggestion}?"
        elif "." in measured.host:
            yield f"  for a mail domain: `postreeve probe submission:{host}` looks for its servers"
        return
    choice = advice.choice
    if choice is None:
        yield f"{host}: {advice.reason}"
        if advice.nearest is not None:
            yield f"  port {advice.nearest.port} lacks least: {clean(advice.nearest.lost)}"
        return
    mode = f" with {choice.mode.words}" if choice.mode is not None else ""
    yield f"{host}: use port {choice.port}{mode}"
    yield f"  {advice.reason}"
    for warning in advice.warnings:
        yield f"  note: {clean(warning)}"


def _print_measured(endpoints: Sequence[Measured]) -> None:
    """One table; on a narrow terminal one for each address, so that nothing of it need be cut."""
    screen = console()
    columns = ["port", "connect", "speaks", "encryption", "certificate", "login"]
    if _is_narrower(_MEASURED_WIDTH):
        for place, address in enumerate(dict.fromkeys(one.address for one in endpoints)):
            say(f"{'' if place == 0 else chr(10)}{clean(address)}")
            here = [one for one in endpoints if one.address == address]
            # Why a certificate is not verified fits in no column: it follows.
            rows = [
                [*_row(one)[:4], "not verified" if _has_problem(one) else _certificate(one), _login(one)]
                for one in here
            ]
            screen.print(table(columns, rows, ["port"]))
            for one in filter(_has_problem, here):
                say_folded(f"  {one.port}: {clean(one.certificate_problem)}", 4)
        return
    rows = [
        [port, one.address, reach, f"{one.connect_seconds * 1000:.0f} ms", *rest]
        for one in endpoints
        for port, reach, *rest in [_row(one)]
    ]
    columns = ["port", "address", "connect", "after", *columns[2:]]
    screen.print(table(columns, rows, ["port", "after"], cut="certificate"))


def _is_narrower(width: int) -> bool:
    return sys.stdout.isatty() and console().width < width


def _row(one: Measured) -> list[str]:
    return [str(one.port), one.reach.value, _spoken(one), _encryption(one), _certificate(one), _login(one)]


def _spoken(one: Measured) -> str:
    if one.reach is not Reach.OPEN:
        return "-"
    return WORDS.get(one.protocol, "nothing" if not one.greeting else "?")


def _encryption(one: Measured) -> str:
    if one.mode is None or one.mode is Mode.PLAIN:
        return "-" if one.mode is None else "none"
    return f"{_MODES[one.mode]}, {one.tls_version}" if one.tls_version else f"{_MODES[one.mode]}, fails"


def _has_problem(one: Measured) -> bool:
    return one.is_trusted is not None and not one.is_verified


def _certificate(one: Measured) -> str:
    if one.is_trusted is None:
        return "-"
    return "verified" if one.is_verified else one.certificate_problem


def _login(one: Measured) -> str:
    """What AUTH offers to a careful client; before TLS only where that is all there is, or where it is too early."""
    words = " ".join(one.auth) or "-"
    if one.tls_version and one.auth_before:
        return f"{words} (before TLS too)"
    return words


def _ranking(report: HostReport) -> Iterator[str]:
    for place, one in enumerate(report.advice.ranking, 1):
        is_choice = one is report.advice.choice
        lines = list(one.because) if is_choice else [one.lost or "; ".join(one.because)]
        name = f" ({BY_PORT[one.port].name})" if one.port in BY_PORT else ""
        mark = "" if one.is_usable or one.grade >= Grade.USELESS else "not usable: "
        yield f"{place}. {one.port}{name}: {mark}{clean(lines[0])}"
        for line in lines[1:]:
            yield f"   {clean(line)}"


def _paste(one: Settings) -> Iterator[str]:
    yield ""
    if one.snippet:
        yield from clean_lines(one.snippet.rstrip("\n"))
    else:
        yield f"SMTP_HOST={one.host}"
        yield f"SMTP_PORT={one.port}"
        yield f"SMTP_ENCRYPTION={_ENCRYPTION[one.mode]}"
        if one.username:
            yield f"SMTP_USERNAME={one.username}"
            yield "SMTP_PASSWORD="
    yield ""


def _words(one: Settings) -> Iterator[str]:
    yield f"encryption: {one.mode.words}{_ALSO_CALLED[one.mode]}"
    yield f"user name:  {one.user_words}"
    yield f"password:   {one.password_words}"


_ENCRYPTION = {Mode.IMPLICIT: "ssl", Mode.STARTTLS: "starttls", Mode.PLAIN: "none"}
_ALSO_CALLED = {
    Mode.IMPLICIT: " (other programs say SSL, SSL/TLS, SMTPS or secure: true)",
    Mode.STARTTLS: " (other programs say TLS, or secure: false with TLS required)",
    Mode.PLAIN: "",
}


def _provider(one: Provider) -> Iterator[str]:
    yield "ports: " + ", ".join(
        f"{each.port} {_MODES[each.mode]}{'' if each.is_confirmed else ' (not confirmed)'}" for each in one.ports
    )
    for note in one.notes:
        yield note.text + ("" if note.is_confirmed else " (not confirmed)")
    yield from one.disagreements
    confirmed = "" if one.is_confirmed else "; not confirmed"
    yield f"source: {'; '.join(one.sources)}; checked on {one.checked_on.isoformat()}{confirmed}"


def _ways(ways: WaysOut) -> Iterator[str]:
    if not ways.is_tested:
        yield f"could not be tested: {clean(ways.failure)}"
        return
    for port in sorted(ways.observed, key=rank):
        seen = ways.observed[port]
        tried = [one for one in ways.tried if one.known.port == port]
        yield f"{port:>5}  {_OBSERVED[seen]:<12} {'; '.join(_tried(one) for one in tried)}"
    if ways.proxied:
        yield f"at port {', '.join(map(str, ways.proxied))} somebody answers for an address that nobody has: a proxy"
    good = [port for port, seen in ways.observed.items() if seen in (Observed.OPEN, Observed.SLOW)]
    submission = sorted((port for port in good if port != 25), key=rank)
    if submission:
        yield f"to hand in mail: port {submission[0]}, where the provider has it"
    if 25 in ways.observed:
        yield (
            "to deliver to other servers: port 25 is open"
            if 25 in good
            else ("to deliver to other servers: not from here, port 25 is closed; relay through a smarthost")
        )


_OBSERVED = {
    Observed.OPEN: "open",
    Observed.SLOW: "slow",
    Observed.DROPPED: "no answer",
    Observed.REFUSED: "refused",
    Observed.INTERCEPTED: "intercepted",
    Observed.UNKNOWN: "not tested",
}


def _tried(one: Tried) -> str:
    if one.measured is None:
        return clean(one.failure)
    words = "answers" if one.observed in (Observed.OPEN, Observed.SLOW) else describe(one.measured)
    return f"{one.known.host} {clean(words)}"


def _opinion(opinion: Opinion) -> Iterator[str]:
    network = opinion.network
    if network is None:
        if opinion.candidates:
            yield "likely one of: " + ", ".join(one.name for one in opinion.candidates)
        if opinion.because and opinion.pattern is not Pattern.NONE:
            yield f"{'since ' if opinion.candidates else ''}{'; '.join(opinion.because)}"
        return
    yield f"likely {network.name}: {clean('; '.join(opinion.because))}"
    statuses = ", ".join(
        f"{one.port} {one.status.value}{'' if one.is_confirmed else ' (not confirmed)'}" for one in network.ports
    )
    yield f"known there for new accounts: {statuses}"
    yield f"to open ports: {network.unblock}"
    for note in network.notes:
        yield note.text + ("" if note.is_confirmed else " (not confirmed)")
    yield from (clean(line) for line in opinion.differences)
    confirmed = "" if network.is_confirmed else "; not confirmed"
    yield f"source: {'; '.join(network.sources)}; checked on {network.checked_on.isoformat()}{confirmed}"
