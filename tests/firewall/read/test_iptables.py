"""iptables-save as other people's machines print it: what is open, what is not, and what nobody can tell."""

from __future__ import annotations

import ipaddress
import subprocess
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import (
    Container,
    Direction,
    Family,
    Flow,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)
from postreeve.firewall.packet import Packet
from postreeve.firewall.read.iptables import read, read_ipset, read_own
from postreeve.firewall.render.iptables import hook, render
from postreeve.firewall.ruleset import Ruleset, pass_through

OUTSIDE, OFFICE = ipaddress.ip_address("203.0.113.9"), ipaddress.ip_address("198.51.100.7")
SIX = ipaddress.ip_address("2001:db8:9::9")
COME = Packet(Direction.IN, Protocol.TCP, OUTSIDE, 25)
LEAVE = Packet(Direction.OUT, Protocol.TCP, OUTSIDE, 25, user="postreeve")


def filter_of(*rules: str, policies: str = "DROP DROP ACCEPT", chains: tuple[str, ...] = ()) -> str:
    heads = [
        f":{name} {policy} [0:0]" for name, policy in zip(("INPUT", "FORWARD", "OUTPUT"), policies.split(), strict=True)
    ]
    return "\n".join(("*filter", *heads, *(f":{name} - [0:0]" for name in chains), *rules, "COMMIT")) + "\n"


def ask(text: str, packet: Packet) -> Verdict | None:
    return pass_through(read(text, filter_of()), packet).verdict


A, D, R = Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT
OLD = "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT"
RULES = {
    "policy": (filter_of(), COME, D),
    "policy-out": (filter_of(), LEAVE, A),
    "port": (filter_of("-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT"), COME, A),
    "other-port": (filter_of("-A INPUT -p tcp -m tcp --dport 26 -j ACCEPT"), COME, D),
    "multiport": (filter_of("-A INPUT -p tcp -m multiport --dports 20:30,465 -j ACCEPT"), COME, A),
    "not-a-port": (filter_of("-A INPUT -p tcp -m tcp ! --dport 25 -j ACCEPT"), COME, D),
    "not-these-ports": (filter_of("-A INPUT -p tcp -m multiport ! --dports 80,443 -j ACCEPT"), COME, A),
    "not-a-source": (filter_of("-A INPUT ! -s 198.51.100.0/24 -p tcp -j ACCEPT"), COME, A),
    "not-that-source": (filter_of("-A INPUT ! -s 198.51.100.0/24 -p tcp -j ACCEPT"), replace(COME, peer=OFFICE), D),
    "range": (filter_of("-A INPUT -m iprange --src-range 203.0.113.1-203.0.113.20 -j ACCEPT"), COME, A),
    "counters": (filter_of("[3:180] -A INPUT -p tcp -m tcp --dport 25 -j ACCEPT"), COME, A),
    "old-state-match": (filter_of(OLD), replace(COME, state=State.ESTABLISHED), A),
    "old-state-match-of-new": (filter_of(OLD), COME, D),
    "invalid-is-not-honest": (
        filter_of("-A INPUT -m conntrack --ctstate INVALID -j DROP", "-A INPUT -j ACCEPT"),
        COME,
        A,
    ),
    "new-without-syn": (
        filter_of("-A INPUT -p tcp ! --syn -m conntrack --ctstate NEW -j DROP", "-A INPUT -j ACCEPT"),
        COME,
        A,
    ),
    "null-scan": (
        filter_of("-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP", "-A INPUT -j ACCEPT"),
        COME,
        A,
    ),
    "loopback": (filter_of("-A INPUT -i lo -j ACCEPT"), replace(COME, interface="lo"), A),
    "not-loopback": (filter_of("-A INPUT -i lo -j ACCEPT"), COME, D),
    "loopback-addresses-from-elsewhere": (
        filter_of("-A INPUT ! -i lo -d 127.0.0.0/8 -j REJECT", "-A INPUT -p tcp --dport 25 -j ACCEPT"),
        COME,
        A,
    ),
    "order": (filter_of("-A INPUT -s 203.0.113.0/24 -j DROP", "-A INPUT -p tcp --dport 25 -j ACCEPT"), COME, D),
    "reject": (filter_of("-A INPUT -j REJECT --reject-with icmp-port-unreachable"), COME, R),
    "log-passes": (filter_of('-A INPUT -j LOG --log-prefix "in -j DROP "', "-A INPUT -j ACCEPT"), COME, A),
    "comment-with-options": (
        filter_of('-A INPUT -p tcp -m comment --comment "-j DROP --dport 9" -m tcp --dport 25 -j ACCEPT'),
        COME,
        A,
    ),
    "jump-narrows": (
        filter_of("-A INPUT -p tcp -m tcp --dport 25 -j MAIL", "-A MAIL -j ACCEPT", chains=("MAIL",)),
        replace(COME, port=26),
        D,
    ),
    "return": (
        filter_of(
            "-A INPUT -j A", "-A INPUT -j DROP", "-A A -s 203.0.113.0/24 -j RETURN", "-A A -j ACCEPT", chains=("A",)
        ),
        COME,
        D,
    ),
    "return-of-others": (
        filter_of(
            "-A INPUT -j A", "-A INPUT -j DROP", "-A A -s 203.0.113.0/24 -j RETURN", "-A A -j ACCEPT", chains=("A",)
        ),
        replace(COME, peer=OFFICE),
        A,
    ),
    "goto": (
        filter_of("-A INPUT -g A", "-A INPUT -j ACCEPT", "-A A -s 198.51.100.0/24 -j ACCEPT", chains=("A",)),
        COME,
        D,
    ),
    "excess-of-a-limit": (
        filter_of(
            "-A INPUT -p tcp -m tcp --dport 25 -m connlimit --connlimit-above 20 --connlimit-mask 32 -j REJECT",
            "-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT",
        ),
        COME,
        A,
    ),
    "global-limit": (filter_of("-A INPUT -p tcp --dport 25 -m limit --limit 3/min -j ACCEPT"), COME, None),
    "by-time": (filter_of("-A INPUT -m time --timestart 08:00:00 -j ACCEPT"), COME, None),
    "by-country": (filter_of("-A INPUT -m geoip --source-country A1 -j DROP", "-A INPUT -j ACCEPT"), COME, None),
    "doubt-about-another-port": (
        filter_of(
            "-A INPUT -p tcp --dport 80 -m string --string x --algo bm -j DROP", "-A INPUT -p tcp --dport 25 -j ACCEPT"
        ),
        COME,
        A,
    ),
    "queue": (filter_of("-A INPUT -j NFQUEUE --queue-num 0"), COME, None),
    "account": (filter_of("-A OUTPUT -p tcp --dport 25 -m owner ! --uid-owner 998 -j REJECT"), LEAVE, None),
    "out": (filter_of("-A OUTPUT -d 203.0.113.0/24 -p tcp -m tcp --dport 25 -j REJECT"), LEAVE, R),
    "gre": (filter_of("-A INPUT -p gre -j ACCEPT"), COME, D),
    "set": (filter_of("-A INPUT -m set --match-set f2b-sshd src -j DROP", "-A INPUT -j ACCEPT"), COME, A),
    "raw": (
        "*raw\n:PREROUTING ACCEPT\n-A PREROUTING -s 203.0.113.0/24 -j DROP\nCOMMIT\n" + filter_of("-A INPUT -j ACCEPT"),
        COME,
        D,
    ),
}


@pytest.mark.parametrize(("text", "packet", "verdict"), RULES.values(), ids=RULES)
def test_rules_of_other_people(text: str, packet: Packet, verdict: Verdict | None) -> None:
    assert ask(text, packet) is verdict


@pytest.mark.peer("iptables", "namespaces")
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_rules_mean_the_same_after_iptables_has_saved_them(variant: str) -> None:
    strange = {"by-country", "invalid-is-not-honest", "set"}
    texts = {name: text for name, (text, _, _) in RULES.items() if name not in strange}
    script = "".join(
        f"iptables-{variant}-restore <<'END'\n{text}END\niptables-{variant}-save\necho '#{name}'\n"
        for name, text in texts.items()
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    rest = done.stdout
    for name in texts:
        saved, _, rest = rest.partition(f"#{name}\n")
        _, packet, verdict = RULES[name]
        assert ask(saved, packet) is verdict, name


DOCKER = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o br-4f1d9e7a2b3c -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 587 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 2587 -j DNAT --to-destination 172.17.0.2:587
-A DOCKER ! -i br-4f1d9e7a2b3c -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A FORWARD -o br-4f1d9e7a2b3c -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br-4f1d9e7a2b3c -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 587 -j ACCEPT
-A DOCKER -d 172.18.0.2/32 ! -i br-4f1d9e7a2b3c -o br-4f1d9e7a2b3c -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -i br-4f1d9e7a2b3c ! -o br-4f1d9e7a2b3c -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -o br-4f1d9e7a2b3c -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL ! -s 198.51.100.0/24 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
"""
TO_CONTAINER = replace(COME, port=2587, is_published=True)


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (COME, A),
        (replace(COME, port=2587), D),
        (TO_CONTAINER, A),
        (replace(TO_CONTAINER, port=8080), D),
        (replace(TO_CONTAINER, port=8080, peer=OFFICE), A),
        (replace(TO_CONTAINER, state=State.ESTABLISHED), A),
    ],
    ids=["host", "not-the-host", "past-input", "guarded", "guarded-but-known", "under-way"],
)
def test_docker_publishes_past_input(packet: Packet, verdict: Verdict) -> None:
    ruleset = read(DOCKER, "")
    assert pass_through(ruleset, packet).verdict is verdict
    assert ruleset.published == (Container("172.17.0.2", 587, 2587), Container("172.18.0.2", 80, 8080))


@pytest.mark.peer("iptables", "ipset", "namespaces")
def test_our_guard_narrows_what_docker_publishes() -> None:
    container = Container("172.17.0.2", 587, 2587)
    office = (ipaddress.ip_network("198.51.100.0/24"),)
    flow = Flow("in-sub", Direction.IN, Family.IPV4, Protocol.TCP, A, office, (Ports(2587, 2587),), container=container)
    policy = Policy("mail.example.org", (replace(flow, because="a test"),), D, A)
    rules = hook(render(policy).ipv4, DOCKER)
    script = f"iptables-restore <<'END'\n{DOCKER}END\niptables-restore --noflush <<'END'\n{rules}END\niptables-save"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    ruleset = read(done.stdout, "")
    asked = [TO_CONTAINER, replace(TO_CONTAINER, peer=OFFICE), replace(TO_CONTAINER, port=8080, peer=OFFICE)]
    assert [pass_through(ruleset, packet).verdict for packet in asked] == [D, A, A]


def test_rule_is_quoted_where_it_decides() -> None:
    decision = pass_through(read(RULES["port"][0], ""), COME)
    assert decision.flow is not None
    assert decision.flow.quote == "-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT"
    assert decision.layer is not None
    assert decision.layer.name == "iptables filter INPUT"


def test_limits_are_told_apart() -> None:
    ruleset = read(RULES["excess-of-a-limit"][0], "")
    (limit,) = ruleset.limits
    assert (limit.rate, limit.verdict, str(limit.ports[0])) == (Rate(20, 1), R, "25")


def test_redirection_to_this_machine_is_not_read_and_said_so() -> None:
    nat = "*nat\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525\nCOMMIT\n"
    assert read(nat + filter_of(), "").unread == ("-A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525",)


def test_families_keep_their_defaults_apart() -> None:
    ruleset = read(filter_of("-A INPUT -p tcp --dport 25 -j ACCEPT"), filter_of(policies="ACCEPT ACCEPT ACCEPT"))
    asked = [replace(COME, port=port, peer=peer) for peer in (OUTSIDE, SIX) for port in (25, 80)]
    assert [pass_through(ruleset, packet).verdict for packet in asked] == [A, D, A, A]


def test_ipset_says_what_is_in_sets() -> None:
    saved = "create f2b hash:ip family inet\nadd f2b 203.0.113.9 timeout 599\ncreate postreeve-bans6 hash:net\n"
    sets = read_ipset(saved)
    assert sets == {"f2b": (ipaddress.ip_network("203.0.113.9/32"),), "bans6": ()}
    rules = filter_of("-A INPUT -m set --match-set f2b src -j DROP", "-A INPUT -j ACCEPT")
    ruleset: Ruleset = read(rules, "", ipset=saved)
    assert [pass_through(ruleset, replace(COME, peer=peer)).verdict for peer in (OUTSIDE, OFFICE)] == [D, A]


BROKEN = {
    "nothing": "",
    "something-else": "table inet filter {\n}\n",
    "json": "{}",
    "cut-off": RULES["port"][0].removesuffix("COMMIT\n"),
    "cut-in-a-word": RULES["log-passes"][0][: RULES["log-passes"][0].index(" DROP ")],
    "no-chain": "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n",
    "no-port": filter_of("-A INPUT -p tcp --dport 99999 -j ACCEPT"),
    "no-address": filter_of("-A INPUT -s 203.0.113.300/32 -j ACCEPT"),
    "round-and-round": filter_of("-A INPUT -j A", "-A A -j A", chains=("A",)),
    "listing": "Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_saved_ruleset_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read(text, "")


def test_own_chains_must_be_there() -> None:
    with pytest.raises(NotUnderstood, match="POSTREEVE-IN"):
        read_own(filter_of(), filter_of())


@given(st.text(max_size=300), st.integers(0, 2_000))
def test_rubbish_never_does_more_than_be_refused(text: str, place: int) -> None:
    for broken in (text, f"*filter\n:INPUT ACCEPT\n-A INPUT {text}\nCOMMIT\n", DOCKER[:place] + text + DOCKER[place:]):
        try:
            read(broken, "")
        except NotUnderstood:
            pass


def test_ten_thousand_rules_are_read_in_time() -> None:
    rules = [f"-A BANS -s 10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 -j DROP" for n in range(0, 90_000, 9)]
    text = filter_of("-A INPUT -j BANS", *rules, "-A BANS -j RETURN", "-A INPUT -j ACCEPT", chains=("BANS",))
    began = time.process_time()
    ruleset = read(text, "")
    assert time.process_time() - began < 2
    assert len(ruleset.layers[0].policy.flows) >= 10_000
