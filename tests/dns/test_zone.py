"""The resolver over a dict, and reverse names."""

from __future__ import annotations

import pytest

from postreeve.dns.answer import Absence, LookupFailed, Mx
from postreeve.dns.reverse import reverse_name
from postreeve.dns.zone import Records, ZoneResolver

pytestmark = pytest.mark.asyncio

ZONE = {
    "example.org": Records(mx=[Mx(10, "mx.example.org")], txt=[b"v=spf1 -all"]),
    "mx.example.org": Records(a=["192.0.2.1"], aaaa=["2001:db8::1"]),
    "alias.example.org": Records(cname="mx.example.org"),
    "loop.example.org": Records(cname="loop.example.org"),
    "1.2.0.192.in-addr.arpa": Records(ptr=["mx.example.org"]),
}


async def test_zone_answers_with_records_and_absences() -> None:
    resolver = ZoneResolver(ZONE)
    assert (await resolver.mx("Example.org")).records == (Mx(10, "mx.example.org"),)
    assert (await resolver.addresses("alias.example.org")).records == ("192.0.2.1", "2001:db8::1")
    assert (await resolver.addresses("alias.example.org")).canonical_name == "mx.example.org"
    assert (await resolver.txt("example.org")).records == (b"v=spf1 -all",)
    assert (await resolver.ptr("192.0.2.1")).records == ("mx.example.org",)
    assert (await resolver.mx("mx.example.org")).absence is Absence.NO_DATA
    assert (await resolver.addresses("example.org")).absence is Absence.NO_DATA
    assert (await resolver.addresses("nowhere.example.org")).absence is Absence.NO_SUCH_NAME
    assert resolver.asked[0] == "MX example.org"


async def test_zone_fails_where_told() -> None:
    resolver = ZoneResolver(ZONE, {"example.org": "SERVFAIL", "AAAA mx.example.org": "time-out"})
    with pytest.raises(LookupFailed, match="SERVFAIL"):
        await resolver.mx("example.org")
    assert (await resolver.addresses("mx.example.org")).records == ("192.0.2.1",)
    with pytest.raises(LookupFailed, match="aliases"):
        await resolver.mx("loop.example.org")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
async def test_reverse_name_is_as_the_rfcs_say(address: str, name: str) -> None:
    """RFC 1035, section 3.5; RFC 3596, section 2.5."""
    assert reverse_name(address) == name
