from __future__ import annotations

from collections import Counter

import pytest

from postreeve.dns.answer import Mx
from postreeve.mail.domain import Domain
from postreeve.queue.hosts import (
    Addresses,
    addresses_to_try,
    before_ourselves,
    in_order,
    is_host_name,
    usable_address,
)
from postreeve.queue.route import Identity
from postreeve.queue.settings import Family

NOBODY = Identity()


def _names(hosts: list[Mx]) -> list[str]:
    return [host.host for host in hosts]


def test_hosts_come_by_preference() -> None:
    records = [Mx(20, "c.example"), Mx(5, "A.example"), Mx(10, "b.example")]
    assert _names(in_order(records, 1)) == ["a.example", "b.example", "c.example"]


def test_equal_hosts_come_in_every_order_equally_often() -> None:
    records = [Mx(10, name) for name in ("a.example", "b.example", "c.example")]
    orders = Counter(tuple(_names(in_order(records, seed))) for seed in range(3000))
    assert len(orders) == 6
    assert min(orders.values()) > 400
    assert in_order(records, 7) == in_order(records, 7)


def test_hosts_end_before_ourselves() -> None:
    identity = Identity(frozenset({Domain("b.example")}))
    hosts = in_order([Mx(5, "a.example"), Mx(10, "b.example"), Mx(10, "z.example"), Mx(20, "c.example")], 0)
    assert _names(before_ourselves(hosts, identity)) == ["a.example"]
    assert before_ourselves(hosts, NOBODY) == hosts


SIX, FOUR = ["2001:db8::1", "2001:db8::2", "2001:db8::3"], ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    ("texts", "family", "expected"),
    [
        (FOUR + SIX, Family.AUTO, Addresses(("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"))),
        (FOUR, Family.AUTO, Addresses(tuple(FOUR))),
        (FOUR + SIX, Family.IPV4, Addresses(tuple(FOUR))),
        (FOUR + SIX, Family.IPV6, Addresses(tuple(SIX))),
        (FOUR, Family.IPV6, Addresses(only_other_family=True)),
        (SIX, Family.IPV4, Addresses(only_other_family=True)),
        ([], Family.AUTO, Addresses()),
        (["0.0.0.0", "::", "224.0.0.1", "nonsense", "192.0.2.1"], Family.AUTO, Addresses(("192.0.2.1",))),
    ],
    ids=["both", "four", "only-four", "only-six", "no-six", "no-four", "none", "unusable"],
)
def test_addresses_interleave_the_families(texts: list[str], family: Family, expected: Addresses) -> None:
    assert addresses_to_try(texts, 25, family, NOBODY) == expected


def test_addresses_stop_at_our_own() -> None:
    identity = Identity(endpoints=frozenset({("192.0.2.2", 25)}))
    assert addresses_to_try(FOUR, 25, Family.AUTO, identity) == Addresses(ours="192.0.2.2")
    assert addresses_to_try(["::ffff:192.0.2.2"], 25, Family.IPV6, identity).ours == "192.0.2.2"
    assert addresses_to_try(FOUR, 26, Family.AUTO, identity).ours == ""


@pytest.mark.parametrize("name", ["192.0.2.1", "a b", "", "[192.0.2.1]", "x" * 300], ids=repr)
def test_host_names_are_no_addresses_and_no_rubbish(name: str) -> None:
    assert not is_host_name(name)


def test_host_names_may_stand_in_any_form() -> None:
    assert is_host_name("mx.example")
    assert is_host_name("_mx-1.example.")


def test_usable_address_takes_no_part_of_one() -> None:
    assert usable_address("192.0.2.1/24") is None
    assert usable_address("mx.example") is None
