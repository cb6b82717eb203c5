"""From what was named to the places to connect to, over a DNS server of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from postreeve.checks.facts import Intent, Lookup, TargetKind
from postreeve.probes.autoconfig import Suggested, parse_autoconfig
from postreeve.probes.lookup import Asker
from postreeve.probes.names import Found, find_places
from postreeve.probes.request import Request
from postreeve.probes.script import Login
from postreeve.probes.target import parse_target
from tests.lab.dns_server import DnsServer, Fault, Zone

pytestmark = pytest.mark.asyncio
A, B, SIX = "192.0.2.7", "192.0.2.8", "2001:db8::7"
ADDRESSES: Zone = {"mx1.example.net": {"A": [A], "AAAA": [SIX]}, "mx2.example.net": {"A": [B]}}


async def find(text: str, zone: Zone, faults: Mapping[str, Fault] | None = None, **options: object) -> Found:
    async with DnsServer(zone, faults or {}) as server:
        given: dict[str, object] = {"timeout_seconds": 1.0, "may_autoconfigure": False, **options}
        request = Request(servers=(("127.0.0.1", server.port),), **given)  # type: ignore[arg-type]
        return await find_places(parse_target(text), request)


def lookups(found: Found, kind: str) -> list[Lookup]:
    return [one for one in found.names.lookups if one.kind == kind]


async def test_names_ask_nothing_for_an_address() -> None:
    found = await find("192.0.2.7:25", {})
    assert found.names.lookups == ()
    assert [(one.host, one.addresses) for one in found.places] == [(A, (A,))]


async def test_names_give_the_addresses_of_a_host_ipv6_first() -> None:
    found = await find("mx1.example.net:25", ADDRESSES)
    assert found.kind is TargetKind.HOST
    assert found.places[0].addresses == (SIX, A) == found.names.addresses
    assert found.names.host == "mx1.example.net"


async def test_names_follow_an_alias() -> None:
    zone = {**ADDRESSES, "smtp.example.org": {"CNAME": ["mx2.example.net."]}}
    found = await find("smtp.example.org:587", zone)
    assert found.places[0].addresses == (B,)
    assert [one.records for one in lookups(found, "CNAME")] == [("mx2.example.net",)]


@pytest.mark.parametrize("text", ["jane@example.org", "mx:example.org", "example.org"])
async def test_names_follow_mx_records_by_preference(text: str) -> None:
    zone = {**ADDRESSES, "example.org": {"MX": ["20 mx2.example.net.", "10 mx1.example.net."], "A": ["192.0.2.99"]}}
    found = await find(text, zone)
    assert found.kind is TargetKind.MAIL_DOMAIN
    places = [(one.host, one.preference, one.addresses) for one in found.places]
    assert places == [("mx1.example.net", 10, (SIX, A)), ("mx2.example.net", 20, (B,))]
    assert lookups(found, "MX")[0].records == ("10 mx1.example.net", "20 mx2.example.net")


@pytest.mark.parametrize("text", ["mail.example.org", "example.org:587", "host:example.org"])
async def test_names_take_a_host_for_a_host_though_it_has_mx_records(text: str) -> None:
    rows = {"MX": ["10 mx1.example.net."], "A": [B]}
    found = await find(text, {**ADDRESSES, "mail.example.org": rows, "example.org": rows})
    assert found.kind is TargetKind.HOST
    assert found.places[0].addresses == (B,)


async def test_names_know_the_null_mx() -> None:
    found = await find("mx:example.org", {"example.org": {"MX": ["0 ."]}})
    assert found.places == ()
    assert lookups(found, "MX")[0].records == ("0 .",)


async def test_names_take_the_domain_itself_without_mx_records() -> None:
    found = await find("mx:example.org", {"example.org": {"A": [B]}})
    assert [(one.host, one.addresses) for one in found.places] == [("example.org", (B,))]


async def test_names_tell_that_a_name_does_not_exist() -> None:
    found = await find("smtp.example.org:587", {"example.org": {"A": [A]}})
    assert [one.absence for one in lookups(found, "A")] == ["NXDOMAIN"]
    assert found.places[0].addresses == ()


async def test_names_suggest_what_was_meant() -> None:
    found = await find("smtp.gmial.com:587", {"example.org": {"A": [A]}})
    assert found.names.suggestion == "smtp.gmail.com"


async def test_names_tell_a_failure_of_the_name_server_from_absence() -> None:
    found = await find("mx1.example.net:25", ADDRESSES, {"mx1.example.net": Fault.SERVFAIL})
    assert {one.failure for one in lookups(found, "A")} == {"SERVFAIL"}
    assert [one.is_checking_disabled for one in lookups(found, "A")] == [False, True]


class _Bogus(asyncio.DatagramProtocol):
    """A validating resolver for a zone with a wrong signature: SERVFAIL, unless checking is disabled."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        if question.flags & dns.flags.CD:
            answer.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "A", A))
        else:
            answer.set_rcode(dns.rcode.SERVFAIL)
        self._transport.sendto(answer.to_wire(), addr)


async def test_names_tell_a_wrong_signature_from_a_broken_name_server() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Bogus, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    request = Request(servers=(("127.0.0.1", port),), timeout_seconds=1.0, family=4)
    found = await find_places(parse_target("mx1.example.net:25"), request)
    transport.close()
    assert [(one.is_checking_disabled, one.failure, one.records) for one in lookups(found, "A")] == [
        (False, "SERVFAIL", ()),
        (True, "", (A,)),
    ]
    assert found.places[0].addresses == ()


async def test_names_tell_a_silent_name_server() -> None:
    found = await find("mx1.example.net:25", ADDRESSES, {"mx1.example.net": Fault.SILENCE}, timeout_seconds=0.3)
    assert {one.failure for one in lookups(found, "A")} == {"time-out"}


async def test_names_show_what_another_resolver_says() -> None:
    async with DnsServer({"mx1.example.net": {"A": [B]}}) as other:
        found = await find("mx1.example.net:25", ADDRESSES, second_servers=(("127.0.0.1", other.port),))
    seen = {one.server: one.records for one in lookups(found, "A")}
    assert len(seen) == 2
    assert seen[f"127.0.0.1#{other.port}"] == (B,)
    assert found.places[0].addresses == (SIX, A)


@pytest.mark.parametrize(("family", "addresses"), [(4, (A,)), (6, (SIX,))])
async def test_names_keep_to_the_wanted_family(family: int, addresses: tuple[str, ...]) -> None:
    found = await find("mx1.example.net:25", ADDRESSES, family=family)
    assert found.places[0].addresses == addresses


async def test_names_follow_srv_records_of_a_submission_domain() -> None:
    zone = {
        **ADDRESSES,
        "_submissions._tcp.example.org": {"SRV": ["0 1 465 mx1.example.net."]},
        "_submission._tcp.example.org": {"SRV": ["10 1 587 mx2.example.net.", "5 1 588 mx1.example.net."]},
    }
    found = await find("submission:example.org", zone)
    assert [(one.host, one.port, one.intent, one.preference) for one in found.places] == [
        ("mx1.example.net", 465, Intent.IMPLICIT, 0),
        ("mx1.example.net", 588, Intent.STARTTLS, 5),
        ("mx2.example.net", 587, Intent.STARTTLS, 10),
    ]
    assert found.names.host == "mx1.example.net"


async def test_names_take_a_mail_domain_with_a_login_for_one_to_hand_mail_in() -> None:
    zone = {
        **ADDRESSES,
        "example.org": {"MX": ["10 mx2.example.net."]},
        "_submissions._tcp.example.org": {"SRV": ["0 1 465 mx1.example.net."]},
    }
    found = await find("example.org", zone, login=Login("jane@example.org", "secret"))
    assert found.kind is TargetKind.SUBMISSION_DOMAIN
    assert [(one.host, one.port) for one in found.places] == [("mx1.example.net", 465)]


async def test_names_know_that_a_service_is_decidedly_not_there() -> None:
    zone = {"_submission._tcp.example.org": {"SRV": ["0 0 0 ."]}}
    assert (await find("submission:example.org", zone)).places == ()


async def test_names_fall_back_on_what_is_known_of_a_provider() -> None:
    found = await find("submission:gmail.com", {"smtp.gmail.com": {"A": [A]}})
    assert [(one.host, one.port, one.intent) for one in found.places] == [
        ("smtp.gmail.com", 465, Intent.IMPLICIT),
        ("smtp.gmail.com", 587, Intent.STARTTLS),
    ]


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "..", "", "x." * 200])
async def test_lookup_of_what_is_no_name_finds_nothing(name: str) -> None:
    async with DnsServer({}) as server:
        answer = await Asker((("127.0.0.1", server.port),), 1.0).ask(name, "A")
    assert answer.records == ()


async def test_lookup_of_garbage_is_a_failure() -> None:
    async with DnsServer(ADDRESSES, {"mx1.example.net": Fault.GARBAGE}) as server:
        answer = await Asker((("127.0.0.1", server.port),), 0.4).ask("mx1.example.net", "A")
    assert answer.failure
    assert answer.seconds < 1.0


AUTOCONFIG = b"""<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="example.org">
<incomingServer type="imap"><hostname>imap.example.org</hostname>
<port>993</port><socketType>SSL</socketType></incomingServer>
<outgoingServer type="smtp"><hostname> SMTP.example.org </hostname>
<port>465</port><socketType>SSL</socketType></outgoingServer>
<outgoingServer type="smtp"><hostname>smtp.example.org</hostname>
<port>587</port><socketType>STARTTLS</socketType></outgoingServer>
<outgoingServer type="smtp"><hostname>smtp.example.org</hostname>
<port>99999</port><socketType>SSL</socketType></outgoingServer>
<outgoingServer type="exchange"><hostname>ex.example.org</hostname>
<port>443</port><socketType>SSL</socketType></outgoingServer>
</emailProvider></clientConfig>"""


async def test_autoconfig_gives_the_outgoing_servers() -> None:
    assert parse_autoconfig(AUTOCONFIG) == (
        Suggested("smtp.example.org", 465, Intent.IMPLICIT),
        Suggested("smtp.example.org", 587, Intent.STARTTLS),
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"<html><body>not here</body>", b"\xff\xfe", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]>' + AUTOCONFIG[21:]],
)
async def test_autoconfig_that_is_none_gives_nothing(data: bytes) -> None:
    assert parse_autoconfig(data) == ()
