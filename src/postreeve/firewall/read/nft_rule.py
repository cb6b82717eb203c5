"""One rule of nftables' JSON: what it does with the packets of a box, statement by statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from postreeve.firewall.box import Box, to_flows
from postreeve.firewall.flow import Direction, Family, Flow, Rate, Verdict
from postreeve.firewall.read.chain import Case, Way
from postreeve.firewall.read.nft_match import narrow, narrow_to
from postreeve.firewall.read.nft_value import Doubt, Surroundings, items_of

_VERDICTS: Final = {"accept": Verdict.ACCEPT, "drop": Verdict.DROP, "reject": Verdict.REJECT}
_WAYS: Final = {"jump": Way.JUMP, "goto": Way.GOTO}
_WITHOUT_EFFECT: Final = frozenset(
    {"counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "ct expectation", "secmark", "flow", "dup"}
)
"""They let the packet go on to the next statement, or to the next rule."""
_NAT: Final = frozenset({"dnat", "snat", "masquerade", "redirect"})
_QUIET_TARGETS: Final = frozenset({"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "CHECKSUM", "CLASSIFY", "CT"})
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_BROKEN: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)


@dataclass(slots=True)
class _Reading:
    """How far a rule was read: the boxes that still fit, what was not understood, a limit that must be exceeded."""

    boxes: list[Box]
    doubts: list[str]
    over: Rate | None = None
    is_broken: bool = False

    @property
    def doubt(self) -> str:
        return "; ".join(dict.fromkeys(self.doubts))


def split(box: Box, rule: Mapping[str, Any], around: Surroundings) -> Iterator[Case]:
    """What the rule does. Rules that only fit beyond a limit say nothing here: see `limits_of`."""
    reading = _Reading([box], [])
    expressions = rule.get("expr")
    if not isinstance(expressions, list):
        yield Case(box, None, doubt="a rule without expressions")
        return
    for statement in expressions:
        if not reading.boxes:
            return
        try:
            yield from _step(reading, statement, around)
        except Doubt as doubt:
            reading.doubts.append(str(doubt))
        except _BROKEN:
            reading.doubts.append("an expression of an unknown form")
            reading.is_broken = True
    if reading.is_broken:
        # It may have been the verdict.
        yield from _end(reading, None)


def _step(reading: _Reading, statement: Any, around: Surroundings) -> Iterator[Case]:
    kind: Any = statement
    inner: Any = None
    if isinstance(statement, dict) and statement:
        kind, inner = next(iter(statement.items()))
    if not isinstance(kind, str):
        raise TypeError("no statement")
    if kind == "match":
        reading.boxes = [part for one in reading.boxes for part in narrow(one, inner, around)]
    elif kind in _VERDICTS:
        yield from _end(reading, _VERDICTS[kind])
    elif kind in _WAYS:
        yield from _end(reading, _WAYS[kind], _text(inner["target"]))
    elif kind == "return":
        yield from _end(reading, Way.RETURN)
    elif kind == "vmap":
        yield from _map(reading, inner, around)
    elif kind in ("limit", "ct count", "set", "meter"):
        _limit(reading, kind, inner)
    elif kind == "xt":
        yield from _xt(reading, inner)
    elif kind in _NAT:
        yield from _end(reading, Verdict.ACCEPT)
    elif kind == "continue":
        reading.boxes = []
    elif kind not in _WITHOUT_EFFECT:
        # A queue, a proxy: whoever gets the packet there decides.
        reading.doubts.append(f"the statement {kind}")
        yield from _end(reading, None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no name")
    return value


def _end(reading: _Reading, action: Verdict | Way | None, target: str = "") -> Iterator[Case]:
    boxes, reading.boxes = reading.boxes, []
    if reading.over is not None and not reading.doubts:
        return
    for box in boxes:
        yield Case(box, action, target, reading.doubt)


def _map(reading: _Reading, inner: Mapping[str, Any], around: Surroundings) -> Iterator[Case]:
    """Each element is a rule of its own; what no element fits goes on."""
    pairs: list[Any] = items_of(inner["data"], around.sets)
    for value, verdict in pairs:
        key = value["elem"]["val"] if isinstance(value, dict) and "elem" in value else value
        boxes = [part for one in reading.boxes for part in narrow_to(one, inner["key"], key, around)]
        part = _Reading(boxes, list(reading.doubts), reading.over)
        if boxes:
            yield from _step(part, verdict, around)


def _limit(reading: _Reading, kind: str, inner: Mapping[str, Any]) -> None:
    """Within the limit, as the model's packets are by default, a rule for what exceeds it does not fit."""
    if kind in ("set", "meter"):
        families = _families_in(inner.get("elem", inner.get("key")))
        reading.boxes = [box for box in reading.boxes if not families or box.family in families]
        for statement in inner.get("stmt", []) if isinstance(inner.get("stmt"), list) else [inner.get("stmt")]:
            if isinstance(statement, dict):
                nested: str
                what: Any
                nested, what = next(iter(statement.items()), ("", None))
                if nested in ("limit", "ct count"):
                    _limit(reading, nested, what)
        return
    if kind == "ct count":
        if not inner.get("inv"):
            raise Doubt("up to a number of connections")
        reading.over = Rate(int(inner["val"]), 1)
        return
    if inner.get("rate_unit", "packets") != "packets":
        raise Doubt("a limit of octets")
    rate = Rate(int(inner["rate"]), _UNITS[inner["per"]])
    if inner.get("inv"):
        reading.over = rate
    else:
        reading.boxes = [replace(box, rate=rate) for box in reading.boxes]


def _families_in(expression: Any) -> set[Family]:
    """A header that a set is fed from must be there: nft then leaves out the match on the family."""
    match expression:
        case {"payload": {"protocol": "ip"}}:
            return {Family.IPV4}
        case {"payload": {"protocol": "ip6"}}:
            return {Family.IPV6}
        case dict():
            return {one for inner in expression.values() for one in _families_in(inner)}
        case list():
            return {one for inner in expression for one in _families_in(inner)}
    return set()


def _xt(reading: _Reading, inner: Mapping[str, Any]) -> Iterator[Case]:
    name = str(inner.get("name"))
    if inner.get("type") == "target":
        if name in _QUIET_TARGETS:
            return
        if name == "REJECT":
            yield from _end(reading, Verdict.REJECT)
            return
        reading.doubts.append(f"what iptables does by {name}")
        yield from _end(reading, None)
    else:
        reading.doubts.append(f"what iptables matches by {name}")


def limits_of(
    box: Box, rule: Mapping[str, Any], around: Surroundings, direction: Direction, ident: str, quote: str
) -> Iterator[Flow]:
    """The flows that a rule refuses beyond a limit, with the limit as their rate."""
    reading = _Reading([box], [])
    for statement in rule.get("expr") or ():
        try:
            cases = list(_step(reading, statement, around)) if "match" in statement or _is_limit(statement) else []
        except (Doubt, *_BROKEN):
            return
        if cases or not reading.boxes:
            return
    verdicts = [_VERDICTS[one] for statement in rule.get("expr") or () for one in statement if one in _VERDICTS]
    if reading.over is not None and verdicts and verdicts[-1] is not Verdict.ACCEPT:
        for one in reading.boxes:
            limited = replace(one, rate=reading.over, other_than=frozenset())
            yield from to_flows(limited, direction, ident, verdicts[-1], quote, "")


def has_limit(rule: Mapping[str, Any]) -> bool:
    """True when `limits_of` is worth asking."""
    expressions = rule.get("expr")
    return isinstance(expressions, list) and any(_is_limit(one) for one in expressions)


def _is_limit(statement: Any) -> bool:
    return isinstance(statement, dict) and bool({"limit", "ct count", "set", "meter"} & statement.keys())
