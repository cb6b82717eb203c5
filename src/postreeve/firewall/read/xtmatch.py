"""What the options of one rule of iptables are about, said once for all packets; what has no word here is a doubt."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from postreeve.firewall.flow import Family, Network, NotUnderstood, Protocol, Rate, State
from postreeve.firewall.interval import (
    ALL_ADDRESSES,
    ALL_PORTS,
    ALL_TYPES,
    Intervals,
    intersect,
    of_networks,
    subtract,
    tidy,
)
from postreeve.firewall.read.xtnames import ICMP_TYPES, PORTS, PROTOCOLS

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_FLAGS: Final = frozenset({"FIN", "SYN", "RST", "ACK", "URG", "PSH"})
_UNDER_WAY: Final = (
    frozenset({"ACK"}),
    frozenset({"ACK", "PSH"}),
    frozenset({"SYN", "ACK"}),
    frozenset({"FIN", "ACK"}),
)
_HARMLESS: Final = frozenset(
    [
        "--hashlimit-name",
        "--hashlimit-htable-expire",
        "--hashlimit-htable-size",
        "--hashlimit-htable-max",
        "--hashlimit-htable-gcinterval",
        "--name",
        "--rsource",
        "--mask",
        "--reap",
        "--set",
        "--limit-burst",
        "--connlimit-saddr",
        "--connlimit-mask",
        "--return-nomatch",
    ]
)
"""They say how, or where a list is kept, not which packets."""


@dataclass(slots=True)
class Match:
    """Every condition of a rule; None and "" mean that there is none. An address is as the packet has it."""

    family: Family
    source: Intervals | None = None
    destination: Intervals | None = None
    protocols: frozenset[Protocol] | None = None
    ports: Intervals | None = None
    types: Intervals | None = None
    states: frozenset[State] | None = None
    came_in: tuple[str, bool] = ("", True)
    """An interface, and whether it must be that one or must not."""
    goes_out: tuple[str, bool] = ("", True)
    user: str = ""
    peer_set: tuple[str, str] = ("", "")
    rate: Rate | None = None
    excess: Rate | None = None
    """It fits only what exceeds this."""
    dialled: Intervals | None = None
    """The port that was dialled, before DNAT."""
    is_redirected: bool | None = None
    destination_type: str = ""
    comment: str = ""
    is_never: bool = False
    doubts: tuple[str, ...] = ()

    def doubt(self, text: str) -> None:
        self.doubts += (text,)


@dataclass(frozen=True, slots=True)
class Option:
    """`--name values`, with "!" before it when `is_not`."""

    name: str
    values: tuple[str, ...]
    is_not: bool

    def __str__(self) -> str:
        return " ".join((*(["!"] if self.is_not else []), self.name, *self.values))


def split_options(words: tuple[str, ...]) -> tuple[list[Option], str, str]:
    """The conditions, `-j` or `-g`, the target ("" when there is none); the target's own options are left out."""
    options: list[Option] = []
    way = target = ""
    place, is_not = 0, False
    while place < len(words):
        word = words[place]
        place += 1
        if word == "!":
            is_not = True
            continue
        begin = place
        if word in ("--comment", "-j", "-g", "--log-prefix", "--nflog-prefix"):
            place += 1
        else:
            while place < len(words) and not (words[place].startswith("-") or words[place] == "!"):
                place += 1
        values = words[begin:place]
        if word in ("-j", "-g") and values:
            way, target = word, values[0]
        elif not target or word == "--comment":
            options.append(Option(word, values, is_not))
        is_not = False
    return options, way, target


def read_match(options: list[Option], family: Family, accounts: dict[str, str]) -> Match:
    """Raises NotUnderstood for a value that is none of its option."""
    match = Match(family)
    for option in options:
        read = _READERS.get(option.name)
        try:
            if read is not None and (len(option.values) == 1 or option.name in _OTHERWISE):
                read(match, option)
            elif option.name not in _HARMLESS:
                match.doubt(str(option))
        except (ValueError, ZeroDivisionError, IndexError) as problem:
            raise NotUnderstood(f"{option}: {problem}") from problem
    try:
        _limits(match, {option.name: option for option in options})
    except (ValueError, ZeroDivisionError, IndexError) as problem:
        raise NotUnderstood(f"{' '.join(map(str, options))}: {problem}") from problem
    match.user = accounts.get(match.user, match.user)
    return match


def _narrow(old: Intervals | None, new: Intervals, whole: Intervals, is_not: bool) -> Intervals:
    wanted = subtract(whole, new) if is_not else new
    return wanted if old is None else intersect(old, wanted)


def _addresses(text: str, family: Family) -> Intervals:
    network: Network
    if family is Family.IPV4:
        network = ipaddress.IPv4Network(text, strict=False)
    else:
        network = ipaddress.IPv6Network(text, strict=False)
    return of_networks((network,))


def _source(match: Match, option: Option) -> None:
    found = tuple(one for text in option.values[0].split(",") for one in _addresses(text, match.family))
    match.source = _narrow(match.source, tidy(found), ALL_ADDRESSES[match.family], option.is_not)


def _destination(match: Match, option: Option) -> None:
    found = tuple(one for text in option.values[0].split(",") for one in _addresses(text, match.family))
    match.destination = _narrow(match.destination, tidy(found), ALL_ADDRESSES[match.family], option.is_not)


def _range(match: Match, option: Option) -> None:
    first, _, last = option.values[0].partition("-")
    found = ((int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last or first))),)
    whole = ALL_ADDRESSES[match.family]
    if option.name == "--src-range":
        match.source = _narrow(match.source, found, whole, option.is_not)
    else:
        match.destination = _narrow(match.destination, found, whole, option.is_not)


def _protocol(match: Match, option: Option) -> None:
    name = option.values[0].lower()
    if name in ("all", "0"):
        return
    found = PROTOCOLS[match.family].get(name)
    if found is None:
        # One of those that have no name here: GRE, ESP ... It is never a packet of mail, and the rest nearly all.
        match.protocols = None if option.is_not else frozenset({Protocol.ANY})
    else:
        match.protocols = frozenset(Protocol) - {found} if option.is_not else frozenset({found})


def _port_number(text: str, default: int) -> int:
    return PORTS[text] if text in PORTS else int(text) if text else default


def _ports(match: Match, option: Option) -> None:
    found = []
    for text in option.values[0].replace("-", ":").split(",") if option.values[0] not in PORTS else option.values:
        first, colon, last = text.partition(":")
        low = _port_number(first, 0)
        high = _port_number(last, 65_535) if colon else low
        if not 0 <= low <= high <= 65_535:
            raise ValueError("no port")
        found.append((low, high))
    match.ports = _narrow(match.ports, tidy(found), ALL_PORTS, option.is_not)


def _dialled(match: Match, option: Option) -> None:
    first, _, last = option.values[0].partition(":")
    match.dialled = _narrow(match.dialled, ((int(first), int(last or first)),), ALL_PORTS, option.is_not)


def _icmp(match: Match, option: Option) -> None:
    text, _, code = option.values[0].partition("/")
    if text == "any" or (text == "255" and match.family is Family.IPV4):
        return
    kind = ICMP_TYPES[match.family][text] if text in ICMP_TYPES[match.family] else int(text)
    if code:
        match.doubt(str(option))
    match.types = _narrow(match.types, ((kind, kind),), ALL_TYPES, option.is_not and not code)


def _states(match: Match, option: Option) -> None:
    words = set(option.values[0].upper().split(","))
    is_dnat = "DNAT" in words
    found = {State(word.lower()) for word in words & {"NEW", "ESTABLISHED"}}
    if is_dnat and (found or option.is_not or len(words) > 1):
        match.doubt(str(option))
    elif is_dnat:
        match.is_redirected = True
        return
    if "SNAT" in words or ("RELATED" in words and "ESTABLISHED" not in words):
        match.doubt(str(option))
        found.add(State.ESTABLISHED)
    both = frozenset({State.NEW, State.ESTABLISHED})
    # INVALID and UNTRACKED alone leave nothing: no packet that somebody asks about is that.
    chosen = both - found if option.is_not else frozenset(found)
    match.states = chosen if match.states is None else match.states & chosen


def _direction(match: Match, option: Option) -> None:
    is_original = (option.values[0].upper() == "ORIGINAL") != option.is_not
    if not is_original:
        match.states = (match.states or frozenset({State.ESTABLISHED})) & {State.ESTABLISHED}


def _tcp_flags(match: Match, option: Option) -> None:
    if option.name == "--syn":
        mask, wanted = frozenset({"SYN", "ACK", "FIN", "RST"}), frozenset({"SYN"})
    else:
        mask, wanted = (_flags(one) for one in option.values)

    def fits(flags: frozenset[str]) -> bool:
        return (flags & mask == wanted) != option.is_not

    states = {State.NEW} if fits(frozenset({"SYN"})) else set()
    later = [fits(one) for one in _UNDER_WAY]
    if any(later):
        states.add(State.ESTABLISHED)
    if any(later) and not all(later) and not (option.is_not and wanted == {"SYN"}):
        match.doubt(str(option))
    match.protocols = frozenset({Protocol.TCP})
    match.states = frozenset(states) if match.states is None else match.states & states


def _flags(text: str) -> frozenset[str]:
    words = frozenset(text.upper().split(","))
    return _FLAGS if "ALL" in words else words & _FLAGS


def _interface(match: Match, option: Option) -> None:
    name = option.values[0]
    if name == "+":
        return
    if name.endswith("+"):
        match.doubt(str(option))
    elif option.name in ("-i", "--in-interface"):
        match.came_in = (name, not option.is_not)
    else:
        match.goes_out = (name, not option.is_not)


def _owner(match: Match, option: Option) -> None:
    if (
        option.is_not
        or not option.values[0].replace("_", "").replace("-", "").isalnum()
        or ("-" in option.values[0] and option.values[0][0].isdigit())
    ):
        match.doubt(str(option))
    else:
        match.user = option.values[0]


def _set(match: Match, option: Option) -> None:
    if option.is_not or len(option.values) != 2 or option.values[1] not in ("src", "dst") or match.peer_set[0]:
        match.doubt(str(option))
    else:
        match.peer_set = (option.values[0], option.values[1])


def _destination_type(match: Match, option: Option) -> None:
    if option.is_not or option.values[0] not in ("LOCAL", "MULTICAST", "BROADCAST", "ANYCAST", "UNICAST"):
        match.doubt(str(option))
    else:
        match.destination_type = option.values[0]


def _source_route(match: Match, option: Option) -> None:
    """Routing headers of the type 0 are long forbidden; other types are met seldom enough."""
    match.is_never = match.is_never or (option.values == ("0",) and not option.is_not)
    if not match.is_never:
        match.doubt(str(option))


def _hops(match: Match, option: Option) -> None:
    """Neighbour discovery comes with a hop limit of 255 from honest neighbours."""
    if match.family is not Family.IPV6 or match.protocols != frozenset({Protocol.ICMP}):
        match.doubt(str(option))


def _comment(match: Match, option: Option) -> None:
    match.comment = option.values[0]


def _skip(_match: Match, _option: Option) -> None:
    """A module is known by its options, limits are read together."""


def _limits(match: Match, options: dict[str, Option]) -> None:
    """Rates need several options at once."""
    above, upto = options.get("--hashlimit-above"), options.get("--hashlimit-upto")
    if (one := above or upto) is not None:
        mode, mask = options.get("--hashlimit-mode"), options.get("--hashlimit-srcmask")
        wanted = "32" if match.family is Family.IPV4 else "64"
        given = mask.values[0] if mask else "32" if match.family is Family.IPV4 else "128"
        burst = int(options["--hashlimit-burst"].values[0]) if "--hashlimit-burst" in options else 5
        rate = _rate(one.values[0], burst)
        if rate is None or mode is None or mode.values != ("srcip",) or one.is_not or (upto and given != wanted):
            match.doubt(str(one))
        if above:
            match.excess = rate or Rate(burst, 1)
        else:
            match.rate = rate
    again = options.get("--update") or options.get("--rcheck")
    if again is not None:
        hits, seconds = options.get("--hitcount"), options.get("--seconds")
        if hits is None or seconds is None or again.is_not:
            match.doubt(str(again))
        else:
            match.excess = Rate(max(1, int(hits.values[0]) - 1), max(1, int(seconds.values[0])))
    if "--connlimit-above" in options:
        match.excess = Rate(int(options["--connlimit-above"].values[0]) or 1, 1)


def _rate(text: str, burst: int) -> Rate | None:
    """A burst of thirty that fills up at six a minute is thirty in five minutes."""
    number, _, unit = text.partition("/")
    if not number.isdigit() or not unit or unit[0] not in _UNITS:
        return None
    seconds = Fraction(burst * _UNITS[unit[0]], int(number))
    return Rate(burst, max(1, round(seconds)))


def _names(
    *pairs: tuple[str, Callable[[Match, Option], None]],
) -> Iterator[tuple[str, Callable[[Match, Option], None]]]:
    for names, reader in pairs:
        for name in names.split():
            yield name, reader


_READERS: Final = dict(
    _names(
        ("-s --source --src", _source),
        ("-d --destination --dst", _destination),
        ("--src-range --dst-range", _range),
        ("-p --protocol", _protocol),
        ("--dport --dports --destination-port --destination-ports", _ports),
        ("--ctorigdstport", _dialled),
        ("--icmp-type --icmpv6-type", _icmp),
        ("--state --ctstate", _states),
        ("--ctdir", _direction),
        ("--tcp-flags --syn", _tcp_flags),
        ("-i -o --in-interface --out-interface", _interface),
        ("--uid-owner", _owner),
        ("--match-set", _set),
        ("--dst-type", _destination_type),
        ("--comment", _comment),
        ("--rt-type", _source_route),
        ("--hl-eq", _hops),
        ("-m --match --hashlimit-above --hashlimit-upto --hashlimit-burst --hashlimit-mode --hashlimit-srcmask", _skip),
        ("--update --rcheck --seconds --hitcount --connlimit-above", _skip),
    )
)
_OTHERWISE: Final = frozenset({"--tcp-flags", "--syn", "--match-set", "--update", "--rcheck"})
