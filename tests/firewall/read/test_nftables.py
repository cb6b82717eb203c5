"""Rulesets as `nft -j list ruleset` shows them: our own table exactly, other people's as far as it can be known."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import subprocess
from dataclasses import replace

import pytest

from postreeve.firewall.exposure import Entrance, Exposure, Purpose
from postreeve.firewall.flow import Container, Direction, NotUnderstood, Protocol, Rate, State, Verdict, canonical
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import Packet
from postreeve.firewall.read.nftables import read, read_own
from postreeve.firewall.render.nftables import render
from postreeve.firewall.ruleset import Hook, pass_through

pytestmark = pytest.mark.peer("nft")
FOUR, SIX = ipaddress.ip_address("198.51.100.7"), ipaddress.ip_address("2001:db8:51::7")
OTHER = ipaddress.ip_address("203.0.113.9")


def listed(text: str, before: str = "") -> str:
    """How nft lists a file that was loaded in a namespace of its own."""
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = f"{before} nft -f - && nft -j list ruleset"
    done = subprocess.run([*command, "sh", "-c", script], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def chain(*rules: str, hook: str = "input", policy: str = "drop", more: str = "") -> str:
    body = "\n".join(rules)
    return (
        f"table inet f {{\n{more}\nchain c {{\ntype filter hook {hook} priority 0; policy {policy};\n{body}\n}}\n}}\n"
    )


def come(port: int = 25, peer: object = FOUR, **more: object) -> Packet:
    return Packet(Direction.IN, Protocol.TCP, peer, port, **more)  # type: ignore[arg-type]


PING = Packet(Direction.IN, Protocol.ICMP, FOUR, icmp_type=8)
A, D, U = Verdict.ACCEPT, Verdict.DROP, None
RULES = {
    "named-ports": ("tcp dport { smtp, submission } accept", come(587), A),
    "range": ("tcp dport 1-1024 accept", come(1024), A),
    "beyond-the-range": ("tcp dport 1-1024 accept", come(1025), D),
    "address-range": ("ip saddr 198.51.100.1-198.51.100.9 accept", come(), A),
    "every-port-but": ("tcp dport != 25 accept", come(26), A),
    "not-that-port": ("tcp dport != 25 accept", come(25), D),
    "other-family": ("ip saddr 0.0.0.0/0 accept", come(peer=SIX), D),
    "ip-protocol": ("ip protocol tcp accept", come(), A),
    "nexthdr": ("ip6 nexthdr tcp accept", come(peer=SIX), A),
    "both-icmps": ("meta l4proto { icmp, ipv6-icmp } accept", PING, A),
    "unnamed-protocol": ("meta l4proto sctp accept", come(), D),
    "syn": ("tcp flags syn / fin,syn,rst,ack accept", come(), A),
    "syn-under-way": ("tcp flags syn / fin,syn,rst,ack accept", come(state=State.ESTABLISHED), D),
    "invalid-never-comes": ("ct state invalid drop\naccept", come(), A),
    "map": ("tcp dport vmap { 25 : accept, 26 : drop }", come(), A),
    "map-of-two": ("iifname . tcp dport vmap { eth0 . 25 : accept }", come(), A),
    "map-of-two-elsewhere": ("iifname . tcp dport vmap { eth0 . 25 : accept }", come(interface="eth1"), D),
    "reverse-path": ("fib saddr . iif oif missing drop\naccept", come(), A),
    "routing-header": ("rt type 0 drop\naccept", come(peer=SIX), A),
    "broadcast": ("meta pkttype broadcast drop\naccept", come(), A),
    "log-goes-on": ('log prefix "x" counter\naccept', come(), A),
    "no-verdict": ("tcp dport 25 counter\n", come(), D),
    "limit-kept": ("tcp dport 25 limit rate 5/second accept", come(), A),
    "limit-exceeded": ("tcp dport 25 limit rate 5/second accept", come(within_rate=False), D),
    "over-the-limit-only": ("tcp dport 25 ct count over 3 reject\naccept", come(), A),
    "mark": ("meta mark 1 accept", come(), U),
    "source-port": ("tcp sport 1024-65535 accept", come(), U),
    "own-address": ("ip daddr 192.0.2.1 tcp dport 25 accept", come(), U),
    "own-address-other-port": ("ip daddr 192.0.2.1 tcp dport 25 accept", come(26), D),
    "interface-pattern": ('iifname "eth*" accept', come(), U),
    "every-interface-but": ("iif != lo drop\naccept", come(), U),
    "every-interface-but-after-it": ("iif lo accept\niif != lo tcp dport 25 accept", come(), A),
    "foreign-loopback": ("iif lo accept\niif != lo ip daddr 127.0.0.0/8 drop\naccept", come(), A),
    "quota": ("quota over 10 mbytes drop\naccept", come(), U),
}


@pytest.mark.parametrize(("rules", "packet", "verdict"), RULES.values(), ids=RULES)
def test_rule_of_others_is_read(rules: str, packet: Packet, verdict: Verdict | None) -> None:
    assert pass_through(read(listed(chain(rules))), packet).verdict is verdict


def test_return_from_a_chain_goes_on_behind_the_jump() -> None:
    inner = "chain k {\nip saddr 198.51.100.0/24 return\ndrop\n}"
    ruleset = read(listed(chain("tcp dport 25 jump k", "accept", more=inner)))
    assert [pass_through(ruleset, come(peer=one)).verdict for one in (FOUR, OTHER)] == [A, D]


def test_accept_is_final_in_its_own_chain_only() -> None:
    text = chain("tcp dport 25 accept") + chain("tcp dport 465 accept").replace("inet f", "inet g")
    decision = pass_through(read(listed(text)), come(25))
    assert decision.verdict is D
    assert decision.layer is not None
    assert decision.layer.name == "inet g c"


def test_layers_stand_in_the_order_of_packets() -> None:
    raw = "table ip r {\nchain p {\ntype filter hook prerouting priority 300;\n}\n}\n"
    ruleset = read(listed(chain("accept") + raw))
    assert [layer.name for layer in ruleset.of(Hook.IN)] == ["ip r p", "inet f c"]


def test_table_of_one_family_says_nothing_about_the_other() -> None:
    ruleset = read(listed(chain("tcp dport 25 accept").replace("inet", "ip")))
    assert [pass_through(ruleset, come(26, peer=one)).verdict for one in (FOUR, SIX)] == [D, A]


def test_what_iptables_made_is_undecidable_where_nft_hides_it() -> None:
    before = "iptables-nft -A INPUT -p tcp -m multiport --dports 465,587 -j ACCEPT; iptables-nft -A INPUT -j DROP;"
    ruleset = read(listed("", before))
    assert [pass_through(ruleset, come(port)).verdict for port in (25, 587)] == [None, None]
    flow = ruleset.of(Hook.IN)[0].policy.flows[0]
    assert "multiport" in flow.unknown
    assert "xt match multiport" in flow.quote


def test_published_ports_and_limits_are_listed() -> None:
    nat = "table inet n {\nchain p {\ntype nat hook prerouting priority -100;\n"
    nat += "tcp dport 2587 dnat ip to 172.17.0.2:587\ntcp dport 25 dnat ip6 to fd00::2\n}\n}\n"
    ruleset = read(listed(chain("tcp dport 25 ct count over 10 reject", policy="accept") + nat))
    assert ruleset.published == (Container("172.17.0.2", 587, 2587), Container("fd00::2", 25, 25))
    assert {(flow.verdict, flow.rate) for flow in ruleset.limits} == {(Verdict.REJECT, Rate(10, 1))}


def test_set_that_changes_keeps_its_name_and_its_content_is_told() -> None:
    sets = "set bad { type ipv4_addr; flags timeout; elements = { 203.0.113.9 timeout 1h }; }"
    ruleset = read(listed(chain("ip saddr @bad drop", "accept", more=sets)))
    assert ruleset.sets == {"inet f bad": (ipaddress.ip_network("203.0.113.9/32"),)}
    assert [pass_through(ruleset, come(peer=one)).verdict for one in (FOUR, OTHER)] == [A, D]


WORLD = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
EXPOSURE = Exposure(
    "mail.example.org",
    (
        Entrance("relay-25", 25, Purpose.RELAY, WORLD, "mail", "none"),
        Entrance("submission", 587, Purpose.SUBMISSION, WORLD[:1], "users", "none", rate=Rate(30, 3600)),
        Entrance("box", 2587, Purpose.OTHER, WORLD, "box", "none", container=Container("192.0.2.99", 587, 2587)),
    ),
    True,
    (),
    "root",
)


def test_own_table_is_read_back_exactly() -> None:
    policy = make_policy(EXPOSURE)
    found = read_own(listed(render(policy)), {0: "root"})
    flows = tuple(replace(flow, because="", without="") for flow in canonical(policy).flows)
    assert found == replace(canonical(policy), name=found.name, flows=flows)


def test_rule_added_to_the_own_table_by_hand_is_seen() -> None:
    policy = make_policy(EXPOSURE)
    found = read_own(listed(render(policy) + "insert rule inet postreeve input tcp dport 2525 accept\n"), {0: "root"})
    assert len(found.flows) == len(policy.flows) + 2
    assert found.flows[0].quote == "inet postreeve input: tcp dport 2525 accept"


WHOLE = json.dumps({"nftables": [{"metainfo": {}}, {"table": {"family": "inet", "name": "x"}}]})
JUMP = {"rule": {"family": "inet", "table": "x", "chain": "c", "expr": [{"jump": {"target": "c"}}]}}
BASE = {"chain": {"family": "inet", "table": "x", "name": "c", "type": "filter", "hook": "input", "policy": "drop"}}
BAD = {
    "empty": "",
    "cut-off": WHOLE[:-3],
    "text-listing": "table inet x {\n}\n",
    "a-list": "[]",
    "other-json": '{"Rules": []}',
    "not-objects": '{"nftables": [1]}',
    "chain-without-table": json.dumps({"nftables": [BASE]}),
    "goes-round": json.dumps({"nftables": [{"table": {"family": "inet", "name": "x"}}, BASE, JUMP]}),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read(text)


JUNK = (None, 7, -1, "x", "", [], {}, [1], {"a": 1}, True, "@nope", {"set": []}, {"range": [1]}, 10**30, "*")


def places(node: object, place: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place, *(one for key, value in inner for one in places(value, (*place, key)))]


@pytest.mark.parametrize("seed", range(5))
def test_damaged_listing_is_refused_or_undecidable_and_never_a_crash(seed: int) -> None:
    chance = random.Random(seed)
    rules = ("ip saddr @bad drop", "tcp dport vmap { 25 : accept }", "tcp dport 25 ct count over 3 reject", "accept")
    sets = "set bad { type ipv4_addr; flags timeout; elements = { 203.0.113.9 timeout 1h }; }"
    nat = "table inet n {\nchain p {\ntype nat hook prerouting priority -100;\n"
    nat += "tcp dport 26 dnat ip to 192.0.2.9:25\n}\n}\n"
    whole = listed(chain(*rules, more=sets) + nat + chain("accept", hook="forward").replace("inet f", "inet g"))
    everywhere = [place for place in places(json.loads(whole)) if place]
    for _ in range(200):
        data = json.loads(whole)
        *way, last = chance.choice(everywhere)
        node = data
        for key in way:
            node = node[key]
        node[last] = chance.choice(JUNK)
        try:
            ruleset = read(json.dumps(data))
        except NotUnderstood:
            continue
        pass_through(ruleset, come())


def test_rule_of_an_unknown_form_is_undecidable() -> None:
    rule = {"rule": {"family": "inet", "table": "x", "chain": "c", "expr": [{"match": 7}, {"accept": None}]}}
    text = json.dumps({"nftables": [{"table": {"family": "inet", "name": "x"}}, BASE, rule]})
    assert pass_through(read(text), come()).verdict is None
