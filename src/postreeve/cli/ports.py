"""`postreeve ports`: what each port is for, which lead out of here, and the best one of a host, with reasons."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Final

import typer

from postreeve.cli import ports_options as options
from postreeve.cli.output import clean, print_json
from postreeve.cli.ports_document import host_document, overview_document
from postreeve.cli.ports_print import print_host, print_overview
from postreeve.cli.ports_report import HostReport, Overview, settings_for
from postreeve.clientconfig.settings import Kind, TlsMode
from postreeve.ports import provider as providers
from postreeve.ports.advise import ANY_CLIENT, Client, advise
from postreeve.ports.known_good import KNOWN_GOOD, VARIABLE, BadKnownGood, KnownGood, parse_known_good
from postreeve.ports.network import Opinion, judge
from postreeve.ports.service import USUAL, Mode
from postreeve.probes.measure import Survey
from postreeve.probes.outlook import QUICK_SECONDS, look
from postreeve.probes.target import NoTarget, Target, parse_target
from postreeve.probes.vantage import read_dmi
from postreeve.probes.way_out import WaysOut, find_ways_out

_SERVER: Final = "server"
_MAX_PORTS: Final = 20
_NOT_TRIED: Final = WaysOut({}, (), "not asked for")


def ports(
    host: options.Host = None,
    from_here: options.FromHere = None,
    app: options.App = "",
    port: options.Ports = None,
    four: options.Four = False,
    six: options.Six = False,
    timeout: options.Timeout = 5.0,
    known_good: options.Good = None,
    ca_file: options.CaFile = None,
    hello: options.Hello = "",
    as_json: options.AsJson = False,
) -> None:
    """Show what each SMTP port is for and which lead out of this network; or measure a host's ports and choose one.

    With HOST: connects to each port (at most three connections to an address and port, one at a time; no login, no
    mail), ranks them by RFC 8314 and by what was measured, says why each other one lost, and prints settings.

    JSON without HOST: `ports` (`port`, `name`, `mode`, `use`, `purpose`, `audience`, `registered`), `ways_out`
    (`tested`, `failure`, `ports` by number, `tried`) and `network` (`id`, `name`, `likely`, `pattern`, `because`,
    `candidates`, `differences`, `ports`, `unblock`, `sources`, `checked_on`). With HOST: `host`, `addresses`,
    `failure`, `suggestion`, `measured` (one for each address and port), `ranking` (`port`, `grade`, `usable`, `mode`,
    `because`, `lost`), `choice` (`port`, `mode`, `reason`, `warnings`, `settings`; null when nothing is usable),
    `nearest`, `provider`, `network` and `ways_out`.

    Exit status: 0 fine, 1 nothing usable (or --from-here could not be tested), 2 wrong usage.
    """
    family = {(True, False): 4, (False, True): 6}.get((four, six))
    if ca_file is not None and not ca_file.is_file():
        raise wrong(f"--ca-file {ca_file} is no file")
    client, kind = _client(app)
    known, is_own = _known_good(known_good or [])
    survey = Survey(tuple(dict.fromkeys(port or ())), family, timeout, hello, ca_file)
    if len(survey.ports) > _MAX_PORTS:
        raise wrong(f"--port: {_MAX_PORTS} ports at most; this is no port scanner")
    if host is None:
        if survey.ports or app:
            raise wrong("--port and --app need a HOST")
        overview = _overview(survey, known, from_here)
        print_json(overview_document(overview)) if as_json else print_overview(overview)
        is_asked = from_here is True
        raise typer.Exit(0 if overview.has_way_out or not (overview.ways.is_tested or is_asked) else 1)
    report = _measure(_target(host), survey, known, is_own, from_here, client, kind)
    print_json(host_document(report)) if as_json else print_host(report)
    raise typer.Exit(0 if report.advice.choice is not None else 1)


def wrong(problem: str) -> typer.Exit:
    """Wrong usage: says so in one line; the exit to raise."""
    sys.stderr.write(f"postreeve: {clean(problem)}\n")
    return typer.Exit(2)


def _target(text: str) -> Target:
    try:
        return parse_target(text)
    except NoTarget as problem:
        raise wrong(str(problem)) from None


def _client(app: str) -> tuple[Client, Kind | None]:
    """Who will use the port, and the writer of its settings if there is one."""
    if not app:
        return ANY_CLIENT, None
    if app.lower() == _SERVER:
        return Client("a mail server", is_server=True), None
    # Forty modules that only this option needs.
    from postreeve.clientconfig.kind import KINDS, kind_named

    kind = kind_named(app) or kind_named(app.lower())
    if kind is None:
        names = ", ".join(sorted([_SERVER, *(one.name for one in KINDS)]))
        raise wrong(f"--app {app!r} is none of: {names}")
    words = {mode.value for mode in kind.modes}
    modes = {mode for mode in Mode if mode.value in words}
    falls_back = TlsMode.OPPORTUNISTIC in kind.modes and TlsMode.STARTTLS not in kind.modes
    return Client(kind.title, frozenset(modes | {Mode.STARTTLS} if falls_back else modes), falls_back=falls_back), kind


def _known_good(given: list[str]) -> tuple[tuple[KnownGood, ...], bool]:
    """The hosts that are known to answer, and whether somebody chose them."""
    variable = os.environ.get(VARIABLE, "").strip()
    try:
        if given:
            return tuple(one for text in given for one in parse_known_good(text)), True
        return (parse_known_good(variable), True) if variable else (KNOWN_GOOD, False)
    except BadKnownGood as problem:
        raise wrong(f"--known-good: {problem}" if given else f"${VARIABLE}: {problem}") from None


def _overview(survey: Survey, known: tuple[KnownGood, ...], from_here: bool | None) -> Overview:
    if from_here is False:
        return Overview(_NOT_TRIED, _opinion(_NOT_TRIED))
    if from_here is None:
        survey = Survey(
            (), survey.family, min(survey.timeout_seconds, QUICK_SECONDS), survey.hello_name, survey.ca_file
        )
    progress = Progress("testing the ways out of this network")
    try:
        ways = asyncio.run(find_ways_out(known, survey, report=progress.show))
    finally:
        progress.clear()
    return Overview(ways, _opinion(ways))


def _opinion(ways: WaysOut) -> Opinion:
    return judge(read_dmi(), dict(os.environ), ways.observed if ways.is_tested else None)


def _measure(
    target: Target,
    survey: Survey,
    known: tuple[KnownGood, ...],
    is_own: bool,
    from_here: bool | None,
    client: Client,
    kind: Kind | None,
) -> HostReport:
    host, is_domain = (target.name, False) if client.is_server else _submission_host(target.name)
    provider = providers.by_host(host)
    chosen = survey.ports or _default_ports(target.port, provider)
    named = (*survey.ports, *([target.port] if target.port else []))
    survey = Survey(chosen, survey.family, survey.timeout_seconds, survey.hello_name, survey.ca_file)
    progress = Progress(f"measuring {host}")
    try:
        outlook = asyncio.run(
            look(
                host,
                survey,
                () if from_here is False else known,
                expected=_expected(named, provider, client),
                is_asked=from_here is True,
                is_own=is_own,
                report=progress.show,
            )
        )
    finally:
        progress.clear()
    opinion = _opinion(outlook.ways)
    advice = advise(outlook.host.endpoints, client=client, provider=provider, network=opinion.network)
    return HostReport(
        asked=target.name,
        is_domain=is_domain,
        measured=outlook.host,
        ways=outlook.ways,
        provider=provider,
        opinion=opinion,
        advice=advice,
        suggestion=providers.suggest_host(host) if not outlook.host.addresses else "",
        settings=settings_for(host, advice, provider, kind, client),
        client=client,
    )


def _submission_host(name: str) -> tuple[str, bool]:
    """The submission host of a well-known mail domain, or the name as it is."""
    if providers.by_host(name) is None:
        owner = providers.by_domain(name)
        if owner is not None and not owner.is_local:
            return owner.hosts[0], True
    return name, False


def _default_ports(wanted: int | None, provider: providers.Provider | None) -> tuple[int, ...]:
    """The usual ones, the provider's own, and the one in `host:port`."""
    own = [one.port for one in provider.ports] if provider is not None else []
    return tuple(dict.fromkeys([*USUAL, *own, *([wanted] if wanted else [])]))


def _expected(named: tuple[int, ...], provider: providers.Provider | None, client: Client) -> frozenset[int]:
    """The ports that ought to be open: those that were named, the provider's, or those of everybody."""
    if named:
        return frozenset(named)
    if provider is not None:
        return frozenset(one.port for one in provider.ports if one.is_confirmed)
    return frozenset({25} if client.is_server else {465, 587})


class Progress:
    """One line at a terminal while something takes longer than a moment."""

    __slots__ = ("_began", "_is_shown", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_shown = sys.stderr.isatty()
        self._began = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Say how far it is."""
        if self._is_shown:
            sys.stderr.write(f"\r\x1b[K{self._what[:60]}: {done} of {total}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
