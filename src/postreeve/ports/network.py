"""Networks that block outbound mail ports: clouds, platforms, lines to homes; and which of them this may be.

The rows are in data/networks.toml. Policies change and accounts differ, so an opinion is "likely" and never more: what
was measured decides, the table explains it. A network is recognised by what the machine says of itself (DMI strings,
environment variables; both are arguments here), and by the pattern of what is open to hosts that are known to answer.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import cache
from typing import Any, Final

from postreeve.ports.provider import Note


class Status(Enum):
    """What a network does with a port by default."""

    BLOCKED = "blocked"
    OPEN = "open"
    LIMITED = "limited"
    """Slow, not closed."""
    MIXED = "mixed"
    """It depends on account or plan, or the sources disagree."""


class Observed(Enum):
    """What was seen of a port, to hosts that are known to answer on it."""

    OPEN = "open"
    DROPPED = "no answer"
    REFUSED = "refused"
    SLOW = "slow"
    INTERCEPTED = "intercepted"
    """Something answered that is not the host."""
    UNKNOWN = "not tested"

    @property
    def is_closed(self) -> bool:
        """No mail gets out there."""
        return self in (Observed.DROPPED, Observed.REFUSED, Observed.INTERCEPTED)


@dataclass(frozen=True, slots=True)
class PortStatus:
    """What is known of one port."""

    port: int
    status: Status
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Network:
    """One network. `kind`: cloud, platform or access. `dmi` are pairs of field and value as /sys/class/dmi/id has."""

    id: str
    name: str
    kind: str
    ports: tuple[PortStatus, ...]
    unblock: str
    notes: tuple[Note, ...]
    dmi: tuple[tuple[str, str], ...]
    environment: tuple[str, ...]
    sources: tuple[str, ...]
    checked_on: date
    is_confirmed: bool

    def status(self, port: int) -> PortStatus | None:
        """What is known of this port, None for nothing."""
        return next((one for one in self.ports if one.port == port), None)


def _read(row: dict[str, Any]) -> Network:
    return Network(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        ports=tuple(PortStatus(port, Status(status), sure) for port, status, sure in row["ports"]),
        unblock=row["unblock"],
        notes=tuple(Note(text, sure) for text, sure in row["notes"]),
        dmi=tuple((field, value) for field, value in row["dmi"]),
        environment=tuple(row["environment"]),
        sources=tuple(row["sources"]),
        checked_on=date.fromisoformat(row["checked_on"]),
        is_confirmed=row["is_confirmed"],
    )


@cache
def networks() -> tuple[Network, ...]:
    """All of them, in the order of the table."""
    return tuple(_read(row) for row in json.loads(pkgutil.get_data("postreeve.ports", "data/networks.json") or b""))


def by_id(ident: str) -> Network | None:
    """The row with this id."""
    return next((one for one in networks() if one.id == ident), None)


DMI_FIELDS: Final = ("sys_vendor", "product_name", "product_serial", "product_uuid", "chassis_asset_tag", "bios_vendor")
"""The files of /sys/class/dmi/id that `recognise` looks at; only root may read the serial number and the UUID."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A network that the machine itself names, and by what."""

    network: Network
    evidence: str


def recognise(dmi: Mapping[str, str], environment: Mapping[str, str]) -> Recognised | None:
    """Where this machine says that it is. A platform's variables come first: it runs on somebody's machines."""
    for kind in ("platform", "cloud", "access"):
        for network in networks():
            if network.kind != kind:
                continue
            for wanted in network.environment:
                name = _variable(wanted, environment)
                if name:
                    return Recognised(network, f"environment variable {name}")
    for network in networks():
        for field, value in network.dmi:
            found = dmi.get(field, "").strip()
            if found and _matches(value, found):
                return Recognised(network, f"{field} of this machine is {found[:60]!r}")
    return None


def _variable(wanted: str, environment: Mapping[str, str]) -> str:
    name, has_value, value = wanted.partition("=")
    if name.endswith("*"):
        return next((one for one in sorted(environment) if one.startswith(name[:-1])), "")
    if name not in environment or (has_value and environment[name] != value):
        return ""
    return name


def _matches(pattern: str, text: str) -> bool:
    if pattern.endswith("*"):
        return text.lower().startswith(pattern[:-1].lower())
    return text.lower() == pattern.lower()


class Pattern(Enum):
    """What the open and closed ports together look like; the value says it in words."""

    NONE = "every mail port that was tested is open"
    UNTESTED = "the network could not be tested"
    OFFLINE = "nothing answers at all: no network, or everything is filtered"
    ALL_MAIL = "every mail port is closed while the web is open: an HTTPS API, or SMTP on port 443, is the way out"
    ALL_BUT_2525 = "25, 465 and 587 are closed, 2525 is open"
    RELAY_AND_SUBMISSIONS = "25 and 465 are closed, 587 is open"
    RELAY_ONLY = "25 is closed, submission is open"
    RELAY_REFUSED = "25 is refused at once while the rest is open: a firewall on this machine or right beside it"
    RELAY_LIMITED = "25 is slow, not closed: its rate is limited"
    INTERCEPTED = "something on the way answers in place of the hosts: a proxy intercepts mail"
    OTHER = "some mail ports are closed"


def see_pattern(observed: Mapping[int, Observed]) -> Pattern:
    """Name the pattern. `observed` is by port; 443 is the web, and not a mail port here."""
    mail = {port: seen for port, seen in observed.items() if port not in (80, 443) and seen is not Observed.UNKNOWN}
    if not mail:
        return Pattern.UNTESTED
    if Observed.INTERCEPTED in mail.values():
        return Pattern.INTERCEPTED
    closed = {port for port, seen in mail.items() if seen.is_closed}
    if not closed:
        return Pattern.RELAY_LIMITED if mail.get(25) is Observed.SLOW else Pattern.NONE
    if closed == set(mail):
        if observed.get(443) is Observed.OPEN:
            return Pattern.ALL_MAIL
        return Pattern.OFFLINE if len(mail) > 1 else Pattern.OTHER
    if closed == {25}:
        return Pattern.RELAY_REFUSED if mail[25] is Observed.REFUSED else Pattern.RELAY_ONLY
    if closed & {25, 465, 587} == {25, 465} and 587 in mail:
        return Pattern.RELAY_AND_SUBMISSIONS
    if closed >= {25, 465, 587} and mail.get(2525) in (Observed.OPEN, Observed.SLOW):
        return Pattern.ALL_BUT_2525
    return Pattern.OTHER


def candidates(observed: Mapping[int, Observed]) -> tuple[Network, ...]:
    """The networks whose known habits fit what was seen, and that explain at least one closed or slow port."""
    return tuple(one for one in networks() if _fits(one, observed))


def _fits(network: Network, observed: Mapping[int, Observed]) -> bool:
    explained = False
    for known in network.ports:
        seen = observed.get(known.port, Observed.UNKNOWN)
        match known.status:
            case _ if seen is Observed.UNKNOWN:
                continue
            case Status.BLOCKED if seen.is_closed:
                explained = True
            case Status.LIMITED if seen is Observed.SLOW:
                explained = True
            case Status.OPEN if not seen.is_closed:
                continue
            case Status.MIXED:
                explained = explained or seen.is_closed
            case _:
                return False
    closed = {port for port, seen in observed.items() if seen.is_closed}
    may_close = {one.port for one in network.ports if one.status in (Status.BLOCKED, Status.MIXED)}
    return explained and closed & {25, 465, 587} <= may_close


@dataclass(frozen=True, slots=True)
class Opinion:
    """Which network this likely is, and why. `network` is None when nothing points at a single one.

    `differences`: where what was seen is not what is known of that network.
    """

    network: Network | None
    pattern: Pattern
    candidates: tuple[Network, ...]
    because: tuple[str, ...]
    differences: tuple[str, ...] = ()


def judge(
    dmi: Mapping[str, str], environment: Mapping[str, str], observed: Mapping[int, Observed] | None = None
) -> Opinion:
    """What is likely true of the way out of here. `observed` is what was seen towards hosts known to answer."""
    seen = observed or {}
    pattern = see_pattern(seen)
    recognised = recognise(dmi, environment)
    fitting = () if pattern in _NO_NETWORKS else _possible(candidates(seen), dmi, environment)
    because = [pattern.value] if seen and pattern is not Pattern.UNTESTED else []
    if recognised is not None:
        because.insert(0, recognised.evidence)
        return Opinion(recognised.network, pattern, fitting, tuple(because), _differences(recognised.network, seen))
    if len(fitting) == 1 and sum(one.is_closed for one in seen.values()) > 1:
        because.append(f"of the networks that are known only {fitting[0].name} is like that")
        return Opinion(fitting[0], pattern, fitting, tuple(because))
    return Opinion(None, pattern, fitting, tuple(because))


_NO_NETWORKS: Final = (Pattern.NONE, Pattern.UNTESTED, Pattern.OFFLINE, Pattern.RELAY_REFUSED, Pattern.INTERCEPTED)
"""What no policy of a network explains: a single firewall near here does, or nothing is to be explained."""


def _possible(
    fitting: tuple[Network, ...], dmi: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[Network, ...]:
    """Those that this machine does not contradict: each would have left its name in DMI or environment."""

    def is_possible(network: Network) -> bool:
        if network.kind == "platform" and network.environment:
            return any(_variable(one, environment) for one in network.environment)
        return not any(field in ("sys_vendor", "product_name") and dmi.get(field) for field, _ in network.dmi)

    return tuple(one for one in fitting if is_possible(one))


def _differences(network: Network, observed: Mapping[int, Observed]) -> tuple[str, ...]:
    found = []
    for known in network.ports:
        seen = observed.get(known.port, Observed.UNKNOWN)
        if known.status is Status.BLOCKED and seen is Observed.OPEN:
            found.append(f"port {known.port} is open here though {network.name} blocks it by default: it was unblocked")
        elif known.status is Status.OPEN and seen.is_closed:
            found.append(
                f"port {known.port} is closed here though {network.name} leaves it open: see this machine's firewall"
            )
    return tuple(found)
