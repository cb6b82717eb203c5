"""From the configuration to what the server needs of the network: who may connect, and the ways out."""

from __future__ import annotations

import ipaddress

import pytest

from postreeve.config.firewall import Found, Hop, hops, make_exposure
from postreeve.config.loader import load
from postreeve.config.model import Config
from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Reach
from postreeve.firewall.flow import WORLD, PolicyError, Rate
from postreeve.firewall.intent import make_policy

EVERYBODY = tuple(WORLD.values())
BASE = """
hostname = "mail.example.org"
data_dir = "/var/lib/postreeve"
[tls]
certificate = "c.pem"
key = "k.pem"
[[listener]]
port = 25
role = "relay"
[[listener]]
port = 465
role = "submission"
[metrics]
listen = "192.0.2.1:9125"
[[domain]]
name = "example.org"
[[route]]
domains = ["example.org"]
via = "maildir"
"""
MX = '[[route]]\ndomains = ["*"]\nvia = "mx"\n'
SMART = '[[route]]\ndomains = ["*"]\nvia = "smarthost"\nhost = "smtp.example.net"\n'
FALLBACK = MX + '[route.fallback]\nhost = "smtp.example.net"\n'
HUB = ipaddress.ip_address("203.0.113.25")
FOUND = Found({"smtp.example.net": (HUB,)})


def config(*parts: str, base: str = BASE) -> Config:
    loaded = load(base + "".join(parts))
    assert isinstance(loaded, Config), loaded
    return loaded


def exposed(*parts: str, found: Found = FOUND, base: str = BASE) -> Exposure:
    made = make_exposure(config(*parts, base=base), found)
    make_policy(made)
    return made


def door(exposure: Exposure, port: int) -> Entrance | None:
    return next((one for one in exposure.entrances if one.port == port), None)


def test_mx_is_open_to_the_world_and_metrics_to_nobody() -> None:
    exposure = exposed(MX)
    relay, submission = door(exposure, 25), door(exposure, 465)
    assert relay is not None
    assert (relay.purpose, relay.peers, relay.rate) == (Purpose.RELAY, EVERYBODY, None)
    assert submission is not None
    assert (submission.purpose, submission.peers) == (Purpose.SUBMISSION, EVERYBODY)
    assert door(exposure, 9125) is None
    assert (exposure.is_direct, exposure.smarthosts, exposure.user) == (True, (), "postreeve")


def test_submission_is_limited_to_networks_and_by_rate_but_port_25_is_not() -> None:
    exposure = exposed(MX, '[firewall]\nsubmission_from = ["192.0.2.0/24"]\nconnections_per_minute = 30\n')
    relay, submission = door(exposure, 25), door(exposure, 465)
    assert submission is not None
    assert (submission.peers, submission.rate) == ((ipaddress.ip_network("192.0.2.0/24"),), Rate(30, 60))
    assert relay is not None
    assert (relay.peers, relay.rate) == (EVERYBODY, None)


def test_relay_without_domains_is_for_the_networks_that_may_relay() -> None:
    base = BASE.replace('[[domain]]\nname = "example.org"\n', '[relay]\nnetworks = ["198.51.100.0/24"]\n')
    base = base.replace('[[route]]\ndomains = ["example.org"]\nvia = "maildir"\n', "")
    relay = door(exposed(MX, base=base), 25)
    assert relay is not None
    assert relay.peers == (ipaddress.ip_network("198.51.100.0/24"),)


def test_listener_of_loopback_needs_no_entrance() -> None:
    base = BASE.replace("port = 25\n", 'port = 25\naddresses = ["127.0.0.1", "::1"]\n')
    assert door(exposed(MX, base=base), 25) is None


@pytest.mark.parametrize(
    ("bound", "families"),
    [
        pytest.param(None, (True, True), id="unknown"),
        pytest.param(frozenset({(4, 25)}), (True, False), id="ipv4-only"),
        pytest.param(frozenset({(6, 25)}), (False, True), id="ipv6-only"),
        pytest.param(frozenset({(4, 80)}), (True, True), id="not-running"),
    ],
)
def test_port_is_opened_for_the_families_that_are_bound(
    bound: frozenset[tuple[int, int]] | None, families: tuple[bool, bool]
) -> None:
    relay = door(exposed(MX, found=Found(bound=bound)), 25)
    assert relay is not None
    assert (relay.is_bound_ipv4, relay.is_bound_ipv6) == families


@pytest.mark.parametrize(
    ("route", "is_direct", "port"),
    [
        pytest.param(SMART, False, 587, id="smarthost"),
        pytest.param(SMART + "port = 2525\n", False, 2525, id="own-port"),
        pytest.param(SMART + 'tls = "implicit"\n', False, 465, id="implicit"),
        pytest.param(FALLBACK, True, 465, id="fallback"),
    ],
)
def test_ways_out_are_those_of_the_routes(route: str, is_direct: bool, port: int) -> None:
    exposure = exposed(route)
    assert hops(config(route)) == (Hop("smtp.example.net", port),)
    assert exposure.is_direct is is_direct
    host = exposure.smarthosts[0]
    assert (host.port, host.addresses, host.resolved_from) == (
        port,
        (ipaddress.ip_network("203.0.113.25/32"),),
        "smtp.example.net",
    )


def test_smarthost_without_address_is_an_error_and_never_a_wider_rule() -> None:
    with pytest.raises(PolicyError, match=r"smtp\.example\.net has no address"):
        make_exposure(config(SMART), Found())


def test_port_that_changes_at_every_start_is_an_error() -> None:
    with pytest.raises(PolicyError, match="port 0"):
        make_exposure(config(MX, base=BASE.replace("port = 25", "port = 0")), FOUND)


def test_who_is_logged_in_stays_in_even_when_ssh_is_for_nobody() -> None:
    here = ipaddress.ip_address("198.51.100.7")
    found = Found(administrators=(here,), ssh_ports=frozenset({22}))
    exposure = exposed(MX, "[firewall]\nssh_from = []\n", found=found)
    assert door(exposure, 22) is None
    assert exposure.administrators == (ipaddress.ip_network(here),)


def test_ssh_port_that_is_not_the_one_in_use_is_an_error() -> None:
    found = Found(administrators=(HUB,), ssh_ports=frozenset({2222}))
    with pytest.raises(PolicyError, match="2222"):
        make_exposure(config(MX), found)


@pytest.mark.parametrize(
    ("text", "system", "resolvers"),
    [
        pytest.param("", ("192.0.2.53",), ("192.0.2.53/32",), id="of-the-system"),
        pytest.param("", ("127.0.0.53",), (), id="own-resolver-asks-the-world"),
        pytest.param('[dns]\nservers = ["192.0.2.54"]\n', ("192.0.2.53",), ("192.0.2.54/32",), id="configured"),
    ],
)
def test_resolvers(text: str, system: tuple[str, ...], resolvers: tuple[str, ...]) -> None:
    found = Found(resolvers=tuple(ipaddress.ip_address(one) for one in system))
    assert tuple(map(str, exposed(MX, text, found=found).resolvers)) == resolvers


def test_extra_entrances_containers_and_switches() -> None:
    text = """
[firewall]
reach = "mail"
bans = false
[[firewall.extra]]
port = 80
allow_from = "world"
because = "certificates"
[[firewall.container]]
published = 2587
address = "172.17.0.2"
port = 587
allow_from = ["198.51.100.0/24"]
because = "webmail"
"""
    exposure = exposed(MX, text)
    assert (exposure.reach, exposure.has_bans) == (Reach.MAIL, False)
    extra, container = door(exposure, 80), door(exposure, 2587)
    assert extra is not None
    assert (extra.peers, extra.because) == (EVERYBODY, "certificates")
    assert container is not None
    assert container.container is not None
    assert (container.container.address, container.container.port) == ("172.17.0.2", 587)


PUBLISHED = """
[[firewall.container]]
published = 2587
address = "{address}"
port = 587
allow_from = "world"
because = "webmail"
"""


def test_container_of_both_families_has_a_table_for_each() -> None:
    text = PUBLISHED.format(address="172.17.0.2") + PUBLISHED.format(address="2001:db8::2")
    doors = [one for one in exposed(MX, text).entrances if one.port == 2587]
    assert [(one.peers, one.container.address if one.container else "") for one in doors] == [
        (EVERYBODY[:1], "172.17.0.2"),
        (EVERYBODY[1:], "2001:db8::2"),
    ]


FOUR_ONLY = """
[[firewall.container]]
published = 2587
address = "172.17.0.2"
port = 587
because = "x"
allow_from = ["2001:db8::/32"]
"""
WRONG = {
    "word": ('[firewall]\nssh_from = "all"\n', 'must be "world" or a list'),
    "host-bits": ('[firewall]\nssh_from = ["192.0.2.1/24"]\n', "host bits"),
    "no-network": ('[firewall]\nsubmission_from = ["office"]\n', "is no network"),
    "nobody-submits": ("[firewall]\nsubmission_from = []\n", "nobody could submit"),
    "unknown": ("[firewall]\nssh_form = []\n", "unknown setting"),
    "reach": ('[firewall]\nreach = "all"\n', "none of strict, mail"),
    "no-reason": ('[[firewall.extra]]\nport = 80\nallow_from = "world"\n', "is missing"),
    "empty-reason": ('[[firewall.extra]]\nport = 80\nallow_from = "world"\nbecause = ""\n', "at least 1"),
    "nobody": ('[[firewall.extra]]\nport = 80\nallow_from = []\nbecause = "x"\n', "nobody is listed"),
    "taken": ('[[firewall.extra]]\nport = 25\nallow_from = "world"\nbecause = "x"\n', "belongs to the listener"),
    "ssh-twice": ('[[firewall.extra]]\nport = 22\nallow_from = "world"\nbecause = "x"\n', "belongs to SSH"),
    "published-twice": (
        PUBLISHED.format(address="172.17.0.2") + PUBLISHED.format(address="172.17.0.3"),
        "another table",
    ),
    "published-listener": (PUBLISHED.format(address="172.17.0.2").replace("2587", "25"), "belongs to the listener"),
    "family": (FOUR_ONLY, "no network of IPv4"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_mistake_in_the_table_is_one_clear_problem(text: str, said: str) -> None:
    problems = load(BASE + MX + text)
    assert not isinstance(problems, Config)
    assert [said in f"{one.problem} {one.hint}" for one in problems] == [True], problems
