"""Sets of numbers as ranges, against sets of numbers as sets."""

from __future__ import annotations

import ipaddress
import random

import pytest

from postreeve.firewall.flow import Family, Ports
from postreeve.firewall.interval import (
    ALL_PORTS,
    Intervals,
    contains,
    intersect,
    of_networks,
    of_ports,
    subtract,
    tidy,
    to_networks,
    to_ports,
)


def spread(ranges: Intervals) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def draw(chance: random.Random) -> Intervals:
    starts = [chance.randint(0, 40) for _ in range(chance.randint(0, 6))]
    return tidy((start, start + chance.randint(0, 4)) for start in starts)


@pytest.mark.parametrize("seed", range(200))
def test_operations_are_those_of_sets(seed: int) -> None:
    chance = random.Random(seed)
    one, other = draw(chance), draw(chance)
    assert spread(intersect(one, other)) == spread(one) & spread(other)
    assert spread(subtract(one, other)) == spread(one) - spread(other)
    for result in (intersect(one, other), subtract(one, other)):
        assert result == tidy(result)
    assert all(contains(one, number) == (number in spread(one)) for number in range(50))


def test_ranges_that_touch_become_one() -> None:
    assert tidy([(5, 9), (1, 2), (3, 4), (20, 10)]) == ((1, 9),)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "198.51.100.0/24", "192.0.2.1/32", "::/0", "2001:db8::/33", "::1/128"])
def test_network_comes_back(text: str) -> None:
    network = ipaddress.ip_network(text)
    assert to_networks(of_networks([network]), Family(network.version)) == (network,)


def test_all_ports_are_written_as_none() -> None:
    assert (of_ports(()), to_ports(ALL_PORTS)) == (ALL_PORTS, ())
    assert to_ports(of_ports((Ports(25, 25), Ports(80, 90)))) == (Ports(25, 25), Ports(80, 90))
