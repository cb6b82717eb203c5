"""The resolver against a real DNS server on loopback, faults included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from postreeve.dns.answer import Absence, LookupFailed, Mx
from postreeve.net.hosts import parse_hosts
from postreeve.net.resolver import NetResolver, ResolverSettings
from tests.lab.dns_server import DnsServer, Fault

pytestmark = pytest.mark.asyncio

ZONE = {
    "example.org": {"MX": ["10 mx1.example.org.", "20 MX2.Example.ORG."], "TXT": ['"v=spf1 " "-all"']},
    "mx1.example.org": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "four.example.org": {"A": ["192.0.2.4"]},
    "null.example.org": {"MX": ["0 ."]},
    "alias.example.org": {"CNAME": ["mx1.example.org."]},
    "dangling.example.org": {"CNAME": ["nowhere.example.org."]},
    "empty.example.org": {},
    "7.2.0.192.in-addr.arpa": {"PTR": ["Host.Example.ORG."]},
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["six.example.org."]},
    "big.example.org": {"TXT": [f'"{number:03}{"x" * 200}"' for number in range(40)]},
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer(ZONE) as server:
        yield server


def resolver_for(*servers: DnsServer, **settings: object) -> NetResolver:
    endpoints = tuple((server.address, server.port) for server in servers)
    return NetResolver(ResolverSettings(endpoints, timeout_seconds=0.3, total_seconds=1.0, **settings))  # type: ignore[arg-type]


async def test_mx_gives_hosts_in_lower_case(server: DnsServer) -> None:
    answer = await resolver_for(server).mx("Example.Org.")
    assert sorted(answer.records, key=lambda mx: mx.preference) == [
        Mx(10, "mx1.example.org"),
        Mx(20, "mx2.example.org"),
    ]
    assert answer.absence is None


async def test_null_mx_is_a_record_without_host(server: DnsServer) -> None:
    """RFC 7505."""
    assert (await resolver_for(server).mx("null.example.org")).records == (Mx(0, ""),)


async def test_addresses_of_both_families(server: DnsServer) -> None:
    resolver = resolver_for(server)
    both = (await resolver.addresses("mx1.example.org")).records
    assert sorted(both) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert (await resolver.addresses("four.example.org")).records == ("192.0.2.4",)


async def test_alias_is_followed_and_named(server: DnsServer) -> None:
    answer = await resolver_for(server).addresses("alias.example.org")
    assert "192.0.2.1" in answer.records
    assert answer.canonical_name == "mx1.example.org"


@pytest.mark.parametrize(
    ("name", "absence"),
    [
        ("nowhere.example.org", Absence.NO_SUCH_NAME),
        ("dangling.example.org", Absence.NO_SUCH_NAME),
        ("empty.example.org", Absence.NO_DATA),
        ("mx1.example.org", Absence.NO_DATA),
        ("two..dots.example", Absence.NO_SUCH_NAME),
        ("x" * 64 + ".example.org", Absence.NO_SUCH_NAME),
        (".".join(["x" * 60] * 5), Absence.NO_SUCH_NAME),
    ],
)
async def test_absence_is_a_value(name: str, absence: Absence, server: DnsServer) -> None:
    answer = await resolver_for(server).mx(name)
    assert answer.absence is absence
    assert answer.records == ()


async def test_txt_joins_strings_and_takes_big_answers(server: DnsServer) -> None:
    resolver = resolver_for(server)
    assert (await resolver.txt("example.org")).records == (b"v=spf1 -all",)
    assert len((await resolver.txt("big.example.org")).records) == 40


async def test_ptr_of_both_families(server: DnsServer) -> None:
    resolver = resolver_for(server)
    assert (await resolver.ptr("192.0.2.7")).records == ("host.example.org",)
    assert (await resolver.ptr("::ffff:192.0.2.7")).records == ("host.example.org",)
    assert (await resolver.ptr("2001:db8::1")).records == ("six.example.org",)


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.SILENCE, Fault.GARBAGE, Fault.WRONG_ID])
async def test_faults_are_lookup_failures(fault: Fault, server: DnsServer) -> None:
    server.faults["example.org"] = fault
    async with asyncio.timeout(3):
        with pytest.raises(LookupFailed) as caught:
            await resolver_for(server).mx("example.org")
    assert caught.value.name == "example.org"
    assert caught.value.record_type == "MX"


async def test_dead_server_is_a_lookup_failure(server: DnsServer) -> None:
    async with DnsServer({}) as gone:
        resolver = resolver_for(gone)
    async with asyncio.timeout(3):
        with pytest.raises(LookupFailed):
            await resolver.mx("example.org")


async def test_truncated_answer_comes_over_tcp(server: DnsServer) -> None:
    server.faults["example.org"] = Fault.TRUNCATED
    assert len((await resolver_for(server).mx("example.org")).records) == 2
    assert server.asked == ["UDP MX example.org", "TCP MX example.org"]


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.SILENCE])
async def test_second_server_answers_for_a_bad_first(fault: Fault, server: DnsServer) -> None:
    async with DnsServer(ZONE, {"example.org": fault}) as bad:
        assert len((await resolver_for(bad, server).mx("example.org")).records) == 2


async def test_one_family_failing_is_no_failure(server: DnsServer) -> None:
    server.faults["AAAA four.example.org"] = Fault.SERVFAIL
    server.faults["A mx1.example.org"] = Fault.SERVFAIL
    server.faults["AAAA empty.example.org"] = Fault.SERVFAIL
    resolver = resolver_for(server)
    assert (await resolver.addresses("four.example.org")).records == ("192.0.2.4",)
    assert (await resolver.addresses("mx1.example.org")).records == ("2001:db8::1",)
    with pytest.raises(LookupFailed):
        await resolver.addresses("empty.example.org")


async def test_answers_absences_and_failures_are_remembered(server: DnsServer) -> None:
    server.faults["broken.example.org"] = Fault.SERVFAIL
    resolver = resolver_for(server)
    for _ in range(3):
        await resolver.mx("example.org")
        await resolver.mx("nowhere.example.org")
        with pytest.raises(LookupFailed):
            await resolver.mx("broken.example.org")
    assert sorted(set(server.asked)) == sorted(server.asked)
    resolver.forget()
    await resolver.mx("example.org")
    assert server.asked.count("UDP MX example.org") == 2


async def test_memory_is_bounded_in_time_and_size(server: DnsServer) -> None:
    resolver = resolver_for(server, min_ttl_seconds=0.0, max_ttl_seconds=0.0)
    await resolver.mx("example.org")
    await resolver.mx("example.org")
    assert len(server.asked) == 2
    small = resolver_for(server, max_entries=2)
    for name in ("example.org", "null.example.org", "empty.example.org", "example.org"):
        await small.mx(name)
    assert server.asked.count("UDP MX example.org") == 4


async def test_questions_under_way_are_shared(server: DnsServer) -> None:
    resolver = resolver_for(server)
    answers = await asyncio.gather(*(resolver.mx("example.org") for _ in range(50)))
    assert len({id(answer) for answer in answers}) == 1
    assert server.asked == ["UDP MX example.org"]


async def test_one_who_stops_waiting_takes_nothing_from_the_others(server: DnsServer) -> None:
    resolver = resolver_for(server)
    impatient = asyncio.ensure_future(resolver.mx("example.org"))
    patient = asyncio.ensure_future(resolver.mx("example.org"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert len((await patient).records) == 2


async def test_close_ends_waiting(server: DnsServer) -> None:
    server.faults["example.org"] = Fault.SILENCE
    resolver = resolver_for(server)
    waiting = asyncio.ensure_future(resolver.mx("example.org"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(LookupFailed, match="shutdown"):
        await waiting


async def test_dnssec_is_believed_over_loopback_only(server: DnsServer) -> None:
    server.authentic = True
    assert (await resolver_for(server).mx("example.org")).is_authentic
    assert not NetResolver(ResolverSettings((("192.0.2.53", 53),)))._trusts_ad


async def test_host_addresses_prefers_the_hosts_file(server: DnsServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.99 mx1.example.org relay # ours\n2001:db8::99\tRELAY\nnonsense relay\n")
    resolver = resolver_for(server, hosts_file=hosts)
    assert (await resolver.host_addresses("mx1.example.org")).records == ("192.0.2.99",)
    assert (await resolver.host_addresses("relay")).records == ("192.0.2.99", "2001:db8::99")
    assert (await resolver.host_addresses("four.example.org")).records == ("192.0.2.4",)
    assert (await resolver.host_addresses("localhost")).records == ("127.0.0.1", "::1")
    hosts.write_text("192.0.2.1 relay\n")
    assert (await resolver.host_addresses("relay")).records == ("192.0.2.1",)


async def test_parse_hosts_skips_what_makes_no_sense() -> None:
    assert parse_hosts("# x\n\n999.1.1.1 a\n192.0.2.1\n::1 b b. B\n") == {"b": ("::1",)}
