"""From the server's needs to flows: what must be open, what must not, and what must be an error."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Reach, Smarthost
from postreeve.firewall.flow import Direction, Network, PolicyError, Protocol, Rate, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import Packet, decide


def net(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


WORLD = net("0.0.0.0/0", "::/0")
OFFICE = net("198.51.100.0/24", "2001:db8:51::/48")
FOUR, SIX = ipaddress.ip_address("203.0.113.9"), ipaddress.ip_address("2001:db8:9::9")
INSIDE = ipaddress.ip_address("198.51.100.7")

MX = Entrance("relay-25", 25, Purpose.RELAY, WORLD, "mail for example.org", "no mail comes in")
SUBMISSIONS = Entrance(
    "submissions", 465, Purpose.SUBMISSION, OFFICE, "people of the office", "nobody can send", rate=Rate(30, 60)
)
DIRECT = Exposure("mail.example.org", (MX, SUBMISSIONS), True, (), "postreeve", administrators=net("192.0.2.77/32"))
SMART = replace(
    DIRECT, is_direct=False, smarthosts=(Smarthost("provider", 465, net("203.0.113.25/32"), "smtp.example.net"),)
)


def come(port: int, peer: object = FOUR, **more: object) -> Packet:
    return Packet(Direction.IN, Protocol.TCP, peer, port, **more)  # type: ignore[arg-type]


def leave(port: int, peer: object = FOUR, user: str = "www-data", protocol: Protocol = Protocol.TCP) -> Packet:
    return Packet(Direction.OUT, protocol, peer, port, user=user)  # type: ignore[arg-type]


HUB = ipaddress.ip_address("203.0.113.25")
ADMIN = ipaddress.ip_address("192.0.2.77")
TABLE = {
    "mail-from-the-world": (DIRECT, come(25), Verdict.ACCEPT),
    "mail-from-the-world-by-ipv6": (DIRECT, come(25, SIX), Verdict.ACCEPT),
    "submission-from-the-office": (DIRECT, come(465, INSIDE), Verdict.ACCEPT),
    "submission-from-elsewhere": (DIRECT, come(465), Verdict.DROP),
    "submission-beyond-the-rate": (DIRECT, come(465, INSIDE, within_rate=False), Verdict.DROP),
    "mail-is-never-limited": (DIRECT, come(25, within_rate=False), Verdict.ACCEPT),
    "ssh-of-whoever-is-here": (DIRECT, come(22, ADMIN), Verdict.ACCEPT),
    "ssh-of-others": (DIRECT, come(22), Verdict.DROP),
    "metrics": (DIRECT, come(9125), Verdict.DROP),
    "loopback": (DIRECT, come(9125, ipaddress.ip_address("127.0.0.1"), interface="lo"), Verdict.ACCEPT),
    "under-way": (DIRECT, come(50_000, state=State.ESTABLISHED), Verdict.ACCEPT),
    "mx-by-us": (DIRECT, leave(25, user="postreeve"), Verdict.ACCEPT),
    "mx-by-a-web-application": (DIRECT, leave(25), Verdict.REJECT),
    "mx-where-there-is-a-smarthost": (SMART, leave(25, user="postreeve"), Verdict.REJECT),
    "smarthost-by-us": (SMART, leave(465, HUB, "postreeve"), Verdict.ACCEPT),
    "smarthost-by-others": (SMART, leave(465, HUB), Verdict.REJECT),
    "smarthost-elsewhere": (SMART, leave(465, user="postreeve"), Verdict.REJECT),
    "dns-udp": (DIRECT, leave(53, protocol=Protocol.UDP), Verdict.ACCEPT),
    "dns-tcp": (DIRECT, leave(53), Verdict.ACCEPT),
    "https": (DIRECT, leave(443, SIX), Verdict.ACCEPT),
    "ntp": (DIRECT, leave(123, protocol=Protocol.UDP), Verdict.ACCEPT),
    "anything-else-out": (DIRECT, leave(6667), Verdict.REJECT),
    "anything-else-out-when-only-mail-counts": (replace(DIRECT, reach=Reach.MAIL), leave(6667), Verdict.ACCEPT),
    "spam-out-when-only-mail-counts": (replace(DIRECT, reach=Reach.MAIL), leave(587), Verdict.REJECT),
    "listener-of-ipv4-only": (
        replace(DIRECT, entrances=(replace(MX, is_bound_ipv6=False),)),
        come(25, SIX),
        Verdict.DROP,
    ),
    "resolver-elsewhere": (replace(DIRECT, resolvers=net("192.0.2.53/32")), leave(53), Verdict.REJECT),
    "neighbours": (
        DIRECT,
        Packet(Direction.IN, Protocol.ICMP, ipaddress.ip_address("fe80::1"), icmp_type=135),
        Verdict.ACCEPT,
    ),
    "packet-too-big": (DIRECT, Packet(Direction.IN, Protocol.ICMP, SIX, icmp_type=2), Verdict.ACCEPT),
    "redirects": (DIRECT, Packet(Direction.IN, Protocol.ICMP, FOUR, icmp_type=5), Verdict.DROP),
}


@pytest.mark.parametrize(("exposure", "packet", "verdict"), TABLE.values(), ids=TABLE)
def test_policy_decides(exposure: Exposure, packet: Packet, verdict: Verdict) -> None:
    assert decide(make_policy(exposure), packet).verdict is verdict


def test_banned_address_is_cut_off_even_in_the_middle() -> None:
    policy = make_policy(DIRECT)
    for packet in (come(25), come(25, state=State.ESTABLISHED)):
        decision = decide(policy, packet, {"bans4": net("203.0.113.9/32")})
        assert decision.verdict is Verdict.DROP
        assert decision.flow is not None
        assert decision.flow.peer_set == "bans4"


def test_loopback_cannot_be_banned() -> None:
    packet = come(25, ipaddress.ip_address("127.0.0.1"), interface="lo")
    assert decide(make_policy(DIRECT), packet, {"bans4": net("127.0.0.0/8")}).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("exposure", "said"),
    [
        pytest.param(replace(DIRECT, entrances=(replace(MX, peers=()),)), "peers are empty", id="no-peers"),
        pytest.param(
            replace(SMART, smarthosts=(Smarthost("p", 465, (), "x.example"),)), "x.example has no", id="no-host"
        ),
        pytest.param(replace(DIRECT, has_ipv4=False, has_ipv6=False), "without IPv4", id="no-family"),
        pytest.param(replace(DIRECT, user="post reeve; drop"), "account", id="strange-account"),
        pytest.param(replace(DIRECT, entrances=(MX, MX)), "two flows", id="twice"),
        pytest.param(replace(DIRECT, entrances=(replace(MX, port=70_000),)), "no range", id="port"),
    ],
)
def test_what_makes_no_sense_is_an_error_and_never_a_wider_rule(exposure: Exposure, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        make_policy(exposure)


def test_server_that_only_receives_lets_no_mail_out() -> None:
    policy = make_policy(replace(DIRECT, is_direct=False))
    assert decide(policy, leave(25, user="postreeve")).verdict is Verdict.REJECT
    assert decide(policy, come(25)).verdict is Verdict.ACCEPT


def test_every_flow_says_why_and_what_breaks_without_it() -> None:
    for exposure in (DIRECT, SMART):
        assert all(flow.because and flow.without for flow in make_policy(exposure).flows)


def test_same_needs_make_the_same_policy() -> None:
    turned = replace(SUBMISSIONS, peers=tuple(reversed(OFFICE)))
    assert make_policy(replace(DIRECT, entrances=(MX, turned))) == make_policy(DIRECT)
