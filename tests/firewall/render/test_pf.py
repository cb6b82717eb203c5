"""pf: compared with files that people have read, since no program of the tests' systems reads pf."""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

import pytest

from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
    Container,
    Direction,
    Family,
    Flow,
    Policy,
    PolicyError,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)
from postreeve.firewall.render.pf import render
from tests.firewall.anypolicy import mail_policy

GOLDEN = pathlib.Path(__file__).parent / "golden"
HERE = Flow(
    "in-a",
    Direction.IN,
    Family.IPV4,
    Protocol.TCP,
    Verdict.ACCEPT,
    (WORLD[Family.IPV4],),
    (Ports(25, 25), Ports(1_000, 1_010)),
    because="a test",
)


def policy_of(*flows: Flow) -> Policy:
    return Policy("mail.example.org", flows, Verdict.DROP, Verdict.REJECT)


def test_pf_of_a_mail_server_is_what_was_read_and_found_right() -> None:
    text = render(mail_policy(None)[0])
    golden = GOLDEN / "mail.pf"
    if os.environ.get("POSTREEVE_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


LINES = {
    "ports": (HERE, 'pass in quick inet proto tcp from any to any port { 25, 1000:1010 } keep state label "in-a"'),
    "rate": (
        replace(HERE, rate=Rate(30, 60), ports=()),
        'pass in quick inet proto tcp from any to any keep state (max-src-conn-rate 30/60) label "in-a"',
    ),
    "refusal": (
        replace(HERE, verdict=Verdict.REJECT, ports=()),
        'block return in quick inet proto tcp from any to any label "in-a"',
    ),
    "account": (
        replace(HERE, direction=Direction.OUT, user="postreeve", ports=(Ports(25, 25),)),
        'pass out quick inet proto tcp from any to any port { 25 } user postreeve keep state label "in-a"',
    ),
    "loopback": (
        replace(HERE, protocol=Protocol.ANY, ports=(), state=State.ANY, interface="lo"),
        'pass in quick on lo0 inet from any to any keep state label "in-a"',
    ),
    "types": (
        replace(
            HERE,
            family=Family.IPV6,
            peers=(WORLD[Family.IPV6],),
            protocol=Protocol.ICMP,
            ports=(),
            icmp_types=(2, 135),
            state=State.ANY,
        ),
        'pass in quick inet6 proto icmp6 from any to any icmp6-type { 2, 135 } keep state label "in-a"',
    ),
}


@pytest.mark.parametrize(("flow", "line"), LINES.values(), ids=LINES)
def test_pf_says_a_flow_in_one_line(flow: Flow, line: str) -> None:
    lines = render(policy_of(flow)).splitlines()
    assert lines[-3:] == [
        line,
        'block drop in quick all label "in-rest"',
        'block return out quick all label "out-rest"',
    ]


NOT_SAID = {
    "published": replace(HERE, ports=(Ports(2_587, 2_587),), container=Container("172.17.0.2", 587, 2_587)),
    "under-way": replace(HERE, state=State.ESTABLISHED),
    "refused-under-way": replace(HERE, state=State.ANY, verdict=Verdict.DROP),
    "refused-up-to-a-rate": replace(HERE, rate=Rate(1, 1), verdict=Verdict.DROP),
    "account-of-ping": replace(HERE, direction=Direction.OUT, protocol=Protocol.ICMP, ports=(), user="a"),
}


@pytest.mark.parametrize("flow", NOT_SAID.values(), ids=NOT_SAID)
def test_pf_names_the_flow_that_it_cannot_express(flow: Flow) -> None:
    with pytest.raises(CannotExpress) as caught:
        render(policy_of(flow))
    assert (caught.value.target, caught.value.flow) == ("pf", "in-a")


def test_pf_keeps_a_reason_on_its_line() -> None:
    lines = render(policy_of(replace(HERE, because="one\npass all"))).splitlines()
    assert "# in-a: one pass all" in lines
    with pytest.raises(PolicyError):
        render(replace(policy_of(HERE), name="a\npass all"))
