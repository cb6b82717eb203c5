"""Values on the right side of a match in nftables' JSON: single ones, ranges, prefixes, anonymous and named sets."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from postreeve.firewall.flow import Family
from postreeve.firewall.interval import Intervals, intersect, subtract, tidy
from postreeve.firewall.ruleset import Hook


class Doubt(Exception):
    """The match cannot be judged; the text is shown to people."""


@dataclass(frozen=True, slots=True)
class Elements:
    """A named set: what is in it now, and whether that may change while the firewall runs."""

    name: str
    items: tuple[Any, ...]
    is_volatile: bool
    family: Family | None = None
    """Of sets of addresses."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a rule stands."""

    hook: Hook
    sets: Mapping[str, Elements]
    accounts: Mapping[int, str]


def items_of(right: object, sets: Mapping[str, Elements]) -> list[Any]:
    """The elements on the right side: one, those of an anonymous set, or those of a named one."""
    if isinstance(right, str) and right.startswith("@"):
        if right[1:] not in sets:
            raise Doubt(f"there is no set {right[1:]}")
        return list(sets[right[1:]].items)
    if isinstance(right, dict) and "set" in right:
        inner = right["set"]
        return [_bare(one) for one in inner] if isinstance(inner, list) else [_bare(inner)]
    return [_bare(right)]


def _bare(item: Any) -> Any:
    """Without the time-out or comment of an element."""
    return item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item


def is_negated(op: str) -> bool:
    if op not in ("==", "!=", "in"):
        raise Doubt(f"a comparison by {op}")
    return op == "!="


def numbers_of(
    right: object, op: str, every: Intervals, parse: Callable[[Any], int], sets: Mapping[str, Elements]
) -> Intervals:
    """The numbers that a comparison lets through."""
    if op in ("<", ">", "<=", ">="):
        bound = parse(right)
        low, high = every[0]
        ranges = {
            "<": (low, bound - 1),
            "<=": (low, bound),
            ">": (bound + 1, high),
            ">=": (bound, high),
        }
        return intersect(tidy([ranges[op]]), every)
    chosen: list[tuple[int, int]] = []
    for item in items_of(right, sets):
        match item:
            case {"range": [first, last]}:
                chosen.append((parse(first), parse(last)))
            case {"prefix": {"addr": address, "len": length}}:
                network = ipaddress.ip_network(f"{address}/{length}")
                chosen.append((int(network.network_address), int(network.broadcast_address)))
            case "*":
                chosen += every
            case int() | str():
                chosen.append((parse(item), parse(item)))
            case _:
                raise Doubt("a value of an unknown kind")
    ranges_ = intersect(tidy(chosen), every)
    return subtract(every, ranges_) if is_negated(op) else ranges_


def address_number(text: object) -> int:
    """An address as a number. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no address")
    return int(ipaddress.ip_address(text))
