"""firewalld's XML as it is on other people's machines; the real daemon loads ours in tests of the renderer."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import Direction, NotUnderstood, Protocol, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import Packet
from postreeve.firewall.read.firewalld import read, read_own
from postreeve.firewall.render.firewalld import fit, render
from postreeve.firewall.ruleset import pass_through
from tests.firewall.test_intent import DIRECT

PUBLIC = """<?xml version="1.0" encoding="utf-8"?>
<zone>
  <short>Public</short>
  <service name="ssh"/>
  <service name="smtp"/>
  <port port="8000-8010" protocol="tcp"/>
  <rule family="ipv4"><source address="203.0.113.0/25"/><port port="25" protocol="tcp"/><drop/></rule>
  <rule priority="-5" family="ipv4"><source address="203.0.113.7"/><port port="25" protocol="tcp"/><accept/></rule>
  <rule><service name="imaps"/><accept><limit value="5/m"/></accept></rule>
  <forward/>
</zone>
"""
OFFICE = '<zone target="ACCEPT"><source address="198.51.100.0/24"/></zone>'
INSIDE = '<zone target="DROP"><interface name="eth1"/><service name="house-made"/></zone>'
HOUSE = '<service><port port="4000" protocol="tcp"/><port port="4000" protocol="udp"/></service>'
FILES = {
    "zones/public.xml": PUBLIC,
    "zones/office.xml": OFFICE,
    "zones/inside.xml": INSIDE,
    "services/house-made.xml": HOUSE,
}
COME = Packet(Direction.IN, Protocol.TCP, ipaddress.ip_address("203.0.113.200"), 25)
ASKED = {
    "service": (COME, Verdict.ACCEPT),
    "service-by-ipv6": (replace(COME, peer=ipaddress.ip_address("2001:db8::9")), Verdict.ACCEPT),
    "refusal-before-accept": (replace(COME, peer=ipaddress.ip_address("203.0.113.9")), Verdict.DROP),
    "priority-before-refusal": (replace(COME, peer=ipaddress.ip_address("203.0.113.7")), Verdict.ACCEPT),
    "range": (replace(COME, port=8005), Verdict.ACCEPT),
    "smtp-is-no-submission": (replace(COME, port=587), Verdict.REJECT),
    "target-default-lets-ping": (replace(COME, protocol=Protocol.ICMP, port=0, icmp_type=8), Verdict.ACCEPT),
    "limit-cannot-be-told": (replace(COME, port=993), None),
    "source-zone": (replace(COME, peer=ipaddress.ip_address("198.51.100.9"), port=9125), Verdict.ACCEPT),
    "interface-zone": (replace(COME, interface="eth1"), Verdict.DROP),
    "own-service": (replace(COME, interface="eth1", port=4000), Verdict.ACCEPT),
    "under-way": (replace(COME, port=587, state=State.ESTABLISHED), Verdict.ACCEPT),
    "out": (replace(COME, direction=Direction.OUT), Verdict.ACCEPT),
}


@pytest.mark.parametrize(("packet", "verdict"), ASKED.values(), ids=ASKED)
def test_zones_of_a_machine(packet: Packet, verdict: Verdict | None) -> None:
    assert pass_through(read(FILES), packet).verdict is verdict


def test_default_zone_that_is_not_there_is_undecidable() -> None:
    assert pass_through(read(FILES, default_zone="home"), COME).verdict is None


def test_direct_rules_are_unread() -> None:
    assert read({**FILES, "direct.xml": "<direct/>"}).unread == ("direct.xml",)


def test_rules_of_ours_that_somebody_changed_stay_apart() -> None:
    files = dict(render(fit(make_policy(DIRECT)).policy).xml)
    path = "policies/postreeve-out.xml"
    accept = '<port port="443" protocol="tcp"/>\n    <accept/>'
    files[path] = files[path].replace(accept, accept.replace("<accept/>", "<drop/>"), 1)
    web = [flow for flow in read_own(files).flows if flow.ident.startswith("out-web-ipv4")]
    assert [(flow.ident, flow.verdict) for flow in web] == [
        ("out-web-ipv4", Verdict.ACCEPT),
        ("out-web-ipv4.2", Verdict.DROP),
    ]


@given(st.sampled_from(sorted(FILES)), st.text(max_size=40), st.integers(0, 900), st.integers(0, 40))
def test_rubbish_is_refused_or_read(path: str, text: str, place: int, length: int) -> None:
    whole = FILES[path]
    try:
        read({**FILES, path: whole[:place] + text + whole[place + length :]})
    except NotUnderstood:
        pass
