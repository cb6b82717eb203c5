"""Sets of whole numbers as sorted ranges that do not touch: addresses, ports and types all become these."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from postreeve.firewall.flow import Family, Network, Ports

Intervals = tuple[tuple[int, int], ...]

ALL_PORTS: Final[Intervals] = ((0, 65_535),)
ALL_TYPES: Final[Intervals] = ((0, 255),)
ALL_ADDRESSES: Final[dict[Family, Intervals]] = {
    Family.IPV4: ((0, 2**32 - 1),),
    Family.IPV6: ((0, 2**128 - 1),),
}


def tidy(ranges: Iterable[tuple[int, int]]) -> Intervals:
    """Sorted and merged; ranges that are upside down count as empty."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if first > last:
            continue
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def intersect(one: Intervals, other: Intervals) -> Intervals:
    """What is in both."""
    found: list[tuple[int, int]] = []
    here = there = 0
    while here < len(one) and there < len(other):
        first = max(one[here][0], other[there][0])
        last = min(one[here][1], other[there][1])
        if first <= last:
            found.append((first, last))
        if one[here][1] < other[there][1]:
            here += 1
        else:
            there += 1
    return tuple(found)


def subtract(one: Intervals, other: Intervals) -> Intervals:
    """What is in the first and not in the second."""
    found: list[tuple[int, int]] = []
    at = 0
    for first, last in one:
        begin = first
        while at < len(other) and other[at][1] < begin:
            at += 1
        here = at
        while here < len(other) and other[here][0] <= last:
            low, high = other[here]
            if low > begin:
                found.append((begin, low - 1))
            begin = high + 1
            here += 1
        if begin <= last:
            found.append((begin, last))
    return tuple(found)


def contains(ranges: Intervals, number: int) -> bool:
    """True when `number` is in one of them."""
    return any(first <= number <= last for first, last in ranges)


def of_networks(networks: Iterable[Network]) -> Intervals:
    """The addresses of networks of one family."""
    return tidy((int(one.network_address), int(one.broadcast_address)) for one in networks)


def to_networks(ranges: Intervals, family: Family) -> tuple[Network, ...]:
    """The fewest networks that hold just these addresses, sorted."""
    make = ipaddress.IPv4Address if family is Family.IPV4 else ipaddress.IPv6Address
    single = ipaddress.IPv4Network if family is Family.IPV4 else ipaddress.IPv6Network
    found: list[Network] = []
    for first, last in ranges:
        if first == last:
            found.append(single(first))
        else:
            found += ipaddress.summarize_address_range(make(first), make(last))
    return tuple(found)


def of_ports(ports: Iterable[Ports]) -> Intervals:
    """Of a flow; none given means all."""
    return tidy((one.first, one.last) for one in ports) or ALL_PORTS


def to_ports(ranges: Intervals) -> tuple[Ports, ...]:
    """For a flow; all are written as none."""
    return () if ranges == ALL_PORTS else tuple(Ports(first, last) for first, last in ranges)
