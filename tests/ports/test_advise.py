"""The choice of a port."""

from typing import Any

import pytest

from postreeve.ports import network, provider
from postreeve.ports.advise import Client, Grade, advise, describe, grade
from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.service import Mode

MECHANISMS = ("PLAIN", "LOGIN")


def tls(port: int, mode: Mode | None = None, address: str = "192.0.2.25", **changes: Any) -> Measured:
    """A port where all is well."""
    given: dict[str, Any] = {
        "host": "mail.example.com",
        "address": address,
        "port": port,
        "reach": Reach.OPEN,
        "connect_seconds": 0.02,
        "protocol": "smtp",
        "mode": mode or (Mode.IMPLICIT if port in (465, 2465) else Mode.STARTTLS),
        "tls_version": "TLSv1.3",
        "is_trusted": True,
        "is_name_right": True,
        "auth_after": MECHANISMS,
    }
    return Measured(**given | changes)


def untrusted(port: int, **changes: Any) -> Measured:
    return tls(port, is_trusted=False, certificate_problem="certificate has expired", **changes)


def plain(port: int, address: str = "192.0.2.25", **changes: Any) -> Measured:
    bare: dict[str, Any] = {"tls_version": "", "is_trusted": None, "is_name_right": None, "auth_after": ()}
    return tls(port, Mode.PLAIN, address, auth_before=MECHANISMS, **bare | changes)


def closed(port: int, reach: Reach = Reach.TIMED_OUT, address: str = "192.0.2.25") -> Measured:
    return Measured("mail.example.com", address, port, reach, 4.0)


def flawed(port: int, flaw: Flaw, **changes: Any) -> Measured:
    return tls(port, flaw=flaw, tls_version="", is_trusted=None, is_name_right=None, **changes)


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        pytest.param([tls(587), tls(465), tls(25), tls(2525)], 465, id="all-work"),
        pytest.param([tls(587), closed(465), tls(25), tls(2525)], 587, id="no-465"),
        pytest.param([closed(587), closed(465), tls(2525), tls(25)], 2525, id="custom-before-25"),
        pytest.param([closed(587), closed(465), tls(2587), tls(2465)], 2465, id="custom-implicit-first"),
        pytest.param([untrusted(465), tls(587)], 587, id="unverified-loses"),
        pytest.param([tls(465, is_name_right=False), tls(587)], 587, id="wrong-name-loses"),
        pytest.param([plain(587), tls(2525)], 2525, id="plaintext-never-wins"),
        pytest.param([plain(587), tls(25)], 25, id="plaintext-not-even-against-25"),
        pytest.param([tls(465, auth_after=()), tls(587)], 587, id="no-login-loses"),
        pytest.param([flawed(465, Flaw.SILENT), tls(587)], 587, id="silent-loses"),
        pytest.param([tls(465), closed(465, address="2001:db8::25"), tls(587), tls(587, address="2001:db8::25")], 587,
                     id="half-dead-loses"),
        pytest.param([tls(465), closed(465, Reach.NO_ROUTE, "2001:db8::25"), tls(587)], 465, id="no-ipv6-here-is-fine"),
        pytest.param([tls(587, Mode.IMPLICIT)], 587, id="against-convention-still-works"),
        pytest.param([tls(4321), tls(4320, Mode.IMPLICIT)], 4320, id="unknown-ports-implicit-first"),
        pytest.param([plain(1025, "127.0.0.1")], 1025, id="plaintext-on-loopback"),
        pytest.param([plain(1025, "127.0.0.1"), tls(1026, address="127.0.0.1")], 1026, id="tls-on-loopback-first"),
        pytest.param([plain(587)], None, id="only-plaintext"),
        pytest.param([untrusted(465), untrusted(587)], None, id="only-unverified"),
        pytest.param([closed(465), closed(587)], None, id="nothing-open"),
        pytest.param([], None, id="nothing-measured"),
    ],
)  # fmt: skip
def test_advise_chooses(measured: list[Measured], chosen: int | None) -> None:
    advice = advise(measured)
    assert (advice.choice and advice.choice.port) == chosen
    assert {one.port for one in advice.ranking} == {one.port for one in measured}
    for one in advice.ranking:
        assert bool(one.lost) != (one.port == chosen), f"{one.port}: {one.lost!r}"
        assert one.because


def test_advise_orders_by_rfc_8314_section_3() -> None:
    advice = advise([tls(port) for port in (25, 2525, 587, 2587, 465, 2465)])
    assert [one.port for one in advice.ranking] == [465, 587, 2465, 2587, 2525, 25]
    assert "RFC 8314, section 3.3" in advice.reason


@pytest.mark.parametrize(
    ("loser", "why"),
    [
        pytest.param(tls(587), "begins in the clear", id="starttls"),
        pytest.param(tls(2525), "custom port", id="custom"),
        pytest.param(tls(25), "from server to server", id="relay"),
        pytest.param(untrusted(587), "certificate has expired", id="expired"),
        pytest.param(plain(587), "readable on the way", id="plaintext"),
        pytest.param(tls(587, auth_after=()), "offers no login", id="no-login"),
        pytest.param(closed(587), "a firewall drops it", id="dropped"),
        pytest.param(closed(587, Reach.REFUSED), "nothing listens there", id="refused"),
        pytest.param(flawed(587, Flaw.NOT_SMTP, protocol="ssh"), "speaks SSH, not SMTP", id="ssh"),
        pytest.param(flawed(587, Flaw.TLS_FAILED, flaw_detail="no protocols available"), "handshake", id="handshake"),
        pytest.param(flawed(587, Flaw.BUSY, flaw_detail="421 too many"), "421 too many", id="busy"),
    ],
)
def test_advise_says_why_each_loser_lost(loser: Measured, why: str) -> None:
    advice = advise([tls(465), loser])
    assert [one.port for one in advice.ranking] == [465, loser.port]
    assert why in advice.ranking[1].lost


def test_advise_names_the_port_that_lacks_least() -> None:
    advice = advise([closed(465), untrusted(587), plain(2525), flawed(25, Flaw.REJECTED)])
    assert advice.choice is None
    assert advice.nearest is not None
    assert advice.nearest.port == 587
    assert [one.grade for one in advice.ranking] == [Grade.UNVERIFIED, Grade.PLAIN, Grade.USELESS, Grade.CLOSED]


def test_advise_heeds_what_the_library_can_do() -> None:
    dotnet = Client("System.Net.Mail", frozenset({Mode.STARTTLS, Mode.PLAIN}))
    advice = advise([tls(465), tls(587)], client=dotnet)
    assert advice.choice is not None
    assert advice.choice.port == 587
    assert advice.ranking[1].lost == "System.Net.Mail cannot do TLS from the first octet"


def test_advise_warns_of_a_library_that_cannot_demand_starttls() -> None:
    forum = Client("Discourse", falls_back=True)
    assert any("takes STARTTLS out" in line for line in advise([tls(587)], client=forum).warnings)
    assert advise([tls(465)], client=forum).warnings == ()


@pytest.mark.parametrize(
    "relay",
    [
        pytest.param(tls(25), id="verified"),
        pytest.param(untrusted(25), id="unverified"),
        pytest.param(plain(25), id="plaintext"),
    ],
)
def test_advise_sends_servers_to_port_25(relay: Measured) -> None:
    advice = advise([tls(465), tls(587), relay], client=Client("a mail server", is_server=True))
    assert advice.choice is not None
    assert advice.choice.port == 25
    assert all("with a login" in one.lost for one in advice.ranking[1:])


def test_advise_follows_the_providers_own_rules() -> None:
    microsoft = provider.by_host("smtp.office365.com")
    advice = advise([closed(465), tls(587), tls(2525), tls(25)], provider=microsoft)
    assert advice.choice is not None
    assert advice.choice.port == 587
    assert any("OAuth 2 only" in line for line in advice.warnings)
    by_port = {one.port: one for one in advice.ranking}
    assert "Microsoft 365 does not serve it" in by_port[465].because
    assert "does not name it" in by_port[2525].lost


def test_advise_names_the_network_that_blocks() -> None:
    advice = advise([closed(465), tls(587)], network=network.by_id("hetzner-cloud"))
    assert any("likely Hetzner Cloud blocks it" in line for line in advice.ranking[1].because)
    assert "Console, Limits" in advice.ranking[1].lost


def test_advise_warns_of_what_the_choice_lacks() -> None:
    advice = advise([tls(587, Mode.IMPLICIT)])
    assert any("against convention" in line for line in advice.warnings)
    advice = advise([tls(25)])
    assert any("port 25 is for servers" in line for line in advice.warnings)


def test_describe_tells_addresses_apart() -> None:
    advice = advise([tls(465), closed(465, address="2001:db8::25")])
    assert len(advice.ranking[0].because) == 2
    assert advice.ranking[0].because[1].startswith("2001:db8::25: ")


@pytest.mark.parametrize("reach", list(Reach))
def test_describe_has_words_for_every_reach(reach: Reach) -> None:
    one = closed(465, reach)
    assert describe(one)
    assert grade(one) is (Grade.USELESS if reach is Reach.OPEN else Grade.CLOSED)


@pytest.mark.parametrize("flaw", list(Flaw))
def test_describe_has_words_for_every_flaw(flaw: Flaw) -> None:
    assert describe(flawed(465, flaw))
