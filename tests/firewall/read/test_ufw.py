"""ufw's files as they are on other people's machines; the real ufw writes and loads ours in tests of the renderer."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import Direction, NotUnderstood, Protocol, Rate, State, Verdict
from postreeve.firewall.packet import Packet
from postreeve.firewall.read.ufw import Texts, read, read_own
from postreeve.firewall.ruleset import pass_through

DEFAULTS = """# /etc/default/ufw
IPV6=yes
DEFAULT_INPUT_POLICY="DROP"
DEFAULT_OUTPUT_POLICY="ACCEPT"
DEFAULT_FORWARD_POLICY="DROP"
"""
USER = """*filter
:ufw-user-input - [0:0]
:ufw-user-output - [0:0]
:ufw-user-forward - [0:0]
:ufw-user-limit - [0:0]
:ufw-user-limit-accept - [0:0]
### RULES ###

### tuple ### deny any any 0.0.0.0/0 any 192.0.2.0/24 in
-A ufw-user-input -s 192.0.2.0/24 -j DROP

### tuple ### allow tcp 25 0.0.0.0/0 any 0.0.0.0/0 in comment=6d61696c
-A ufw-user-input -p tcp --dport 25 -j ACCEPT

### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --set
-A ufw-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 \
-j ufw-user-limit
-A ufw-user-input -p tcp --dport 22 -j ufw-user-limit-accept

### tuple ### allow tcp 465 0.0.0.0/0 any 198.51.100.0/24 in comment=706f7374726565766520696e2d7375622d69707634
-A ufw-user-input -p tcp --dport 465 -s 198.51.100.0/24 -j ACCEPT

### tuple ### reject tcp 465 0.0.0.0/0 any 203.0.113.0/24 in comment=706f7374726565766520696e2d7375622d69707634
-A ufw-user-input -p tcp --dport 465 -s 203.0.113.0/24 -j REJECT --reject-with tcp-reset

### END RULES ###
-A ufw-user-limit -m limit --limit 3/minute -j LOG --log-prefix "[UFW LIMIT BLOCK] "
-A ufw-user-limit -j REJECT
-A ufw-user-limit-accept -j ACCEPT
COMMIT
"""
USER6 = """*filter
:ufw6-user-input - [0:0]
### RULES ###
### END RULES ###
COMMIT
"""
TEXTS = Texts(USER, USER6, DEFAULTS)
COME = Packet(Direction.IN, Protocol.TCP, ipaddress.ip_address("203.0.113.9"), 25)
SIX = ipaddress.ip_address("2001:db8::9")
ASKED = {
    "mail": (COME, Verdict.ACCEPT),
    "denied-before": (replace(COME, peer=ipaddress.ip_address("192.0.2.9")), Verdict.DROP),
    "not-by-ipv6": (replace(COME, peer=SIX), Verdict.DROP),
    "limited": (replace(COME, port=22), Verdict.ACCEPT),
    "default": (replace(COME, port=80), Verdict.DROP),
    "loopback": (replace(COME, port=80, interface="lo"), Verdict.ACCEPT),
    "under-way": (replace(COME, port=80, state=State.ESTABLISHED), Verdict.ACCEPT),
    "ping": (replace(COME, protocol=Protocol.ICMP, port=0, icmp_type=8), Verdict.ACCEPT),
    "out": (replace(COME, direction=Direction.OUT), Verdict.ACCEPT),
}


@pytest.mark.parametrize(("packet", "verdict"), ASKED.values(), ids=ASKED)
def test_files_of_a_machine(packet: Packet, verdict: Verdict) -> None:
    assert pass_through(read(TEXTS), packet).verdict is verdict


def test_limit_is_an_excess_that_is_refused() -> None:
    (limit,) = read(TEXTS).limits
    assert (limit.rate, limit.verdict) == (Rate(5, 30), Verdict.REJECT)


def test_machine_without_ipv6_in_ufw_refuses_ipv6() -> None:
    ruleset = read(replace(TEXTS, defaults=DEFAULTS.replace("IPV6=yes", "IPV6=no")))
    asked = replace(COME, direction=Direction.OUT, peer=SIX)
    assert pass_through(ruleset, asked).verdict is Verdict.DROP
    assert pass_through(ruleset, replace(asked, interface="lo")).verdict is Verdict.ACCEPT


def test_rules_of_ours_that_somebody_changed_stay_apart() -> None:
    flows = [flow for flow in read_own(USER, USER6, DEFAULTS).flows if flow.ident.startswith("in-sub")]
    assert [(flow.ident, flow.verdict) for flow in flows] == [
        ("in-sub-ipv4", Verdict.ACCEPT),
        ("in-sub-ipv4.2", Verdict.REJECT),
    ]


BROKEN = {
    "cut-off": replace(TEXTS, user=USER[: USER.index("COMMIT")]),
    "no-defaults": replace(TEXTS, defaults=""),
    "status": replace(TEXTS, user="Status: active\n\nTo                         Action      From\n"),
    "port": replace(TEXTS, user=USER.replace("--dport 25", "--dport 70000")),
}


@pytest.mark.parametrize("texts", BROKEN.values(), ids=BROKEN)
def test_what_is_no_file_of_ufw_is_refused(texts: Texts) -> None:
    with pytest.raises(NotUnderstood):
        read(texts)


@given(st.text(max_size=60), st.integers(0, len(USER)), st.integers(0, 40))
def test_rubbish_is_refused_or_read(text: str, place: int, length: int) -> None:
    broken = USER[:place] + text + USER[place + length :]
    for call in (lambda: read(replace(TEXTS, user=broken)), lambda: read_own(broken, USER6, DEFAULTS)):
        try:
            call()
        except NotUnderstood:
            pass
