"""Other people's nftables by chance: chains that jump, go to and return, maps, sets, several base chains per hook.

    unshare -n python -m tests.firewall.kernel_foreign SEED RULESETS PACKETS

The reader says of every packet what the kernel does with it, or that it cannot tell. Prints disagreements as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from typing import Final

from postreeve.firewall.flow import Direction, Family, Verdict
from postreeve.firewall.packet import Packet, decide
from postreeve.firewall.read.nftables import read
from postreeve.firewall.ruleset import Ruleset, pass_through
from tests.firewall.chance import NETWORKS, PORTS, QUERIES, TYPES, draw_packet
from tests.firewall.kernel import _FIRST_IDENT, _FORGET, ACCOUNTS, Machine, effect, nft, witnessed

_CHAINS: Final = 4
_REJECT: Final = "reject with icmpx type admin-prohibited"


def draw_ruleset(chance: random.Random) -> str:
    """A file for nft with one table `foreign`."""
    lines = [
        "set hosts { type ipv4_addr; flags interval; elements = { 198.51.100.0/25, 203.0.113.20-203.0.113.30 }; }",
        "set hosts6 { type ipv6_addr; flags interval; elements = { 2001:db8:51:1::/64 }; }",
        "set doors { type inet_service; flags interval; elements = { 22-25, 465 }; }",
    ]
    hooks = chance.choices(["input", "input", "output", "output", "prerouting", "postrouting"], k=3)
    for direction in Direction:
        for number in reversed(range(_CHAINS)):
            rules = [f"  {_rule(chance, number + 1, direction)}" for _ in range(chance.randint(0, 4))]
            lines += [f"chain {direction.value}{number} {{", *rules, "}"]
    for number, hook in enumerate(hooks):
        direction = Direction.IN if hook in ("input", "prerouting") else Direction.OUT
        priority = chance.choice([-150, -1, 0, 10]) + number
        policy = chance.choice(["accept", "accept", "drop"])
        head = f"type filter hook {hook} priority {priority}; policy {policy};"
        rules = [f"  {_rule(chance, 0, direction)}" for _ in range(chance.randint(1, 5))]
        lines += [f"chain base{number} {{", f"  {head}", *rules, "}"]
    if {"prerouting", "postrouting"} & set(hooks):
        lines = [line.replace(_REJECT, "drop") for line in lines]
    return "table inet foreign {\n" + "\n".join(lines) + "\n}\n"


def _rule(chance: random.Random, first: int, direction: Direction) -> str:
    """At most one match of a kind: nft refuses what contradicts itself."""
    family = chance.choice(list(Family))
    kinds = chance.sample([_place, _traffic, _state], chance.choice((0, 1, 1, 2, 2)))
    matches = [kind(chance, direction, family) for kind in kinds]
    if not matches and chance.random() < 0.4:
        return _map(chance, first, direction)
    return " ".join([*matches, chance.choice(["", "counter"]), _verdict(chance, first, direction)])


def _verdict(chance: random.Random, first: int, direction: Direction) -> str:
    ways = ["accept", "accept", "drop", _REJECT, "return"]
    for number in range(first, _CHAINS):
        ways += [f"jump {direction.value}{number}", f"goto {direction.value}{number}"]
    return chance.choice(ways)


def _map(chance: random.Random, first: int, direction: Direction) -> str:
    parts = [
        f"{port} : {_verdict(chance, first, direction).replace(_REJECT, 'drop')}" for port in chance.sample(PORTS, 2)
    ]
    return chance.choice(
        [
            f"tcp dport vmap {{ {', '.join(parts)} }}",
            f"meta nfproto vmap {{ ipv4 : {_verdict(chance, first, direction).replace(_REJECT, 'drop')} }}",
            "ct state vmap { established : accept, related : accept, invalid : drop }",
        ]
    )


def _traffic(chance: random.Random, _direction: Direction, family: Family) -> str:
    port, upper = sorted(chance.sample(PORTS, 2))
    negation = chance.choice(["", "", "!= "])
    return chance.choice(
        [
            f"tcp dport {negation}{{ {port}, {upper} }}",
            f"tcp dport {negation}{port}-{upper}",
            f"tcp dport > {port}",
            f"tcp dport {negation}@doors",
            f"meta l4proto {{ tcp, udp }} th dport {port}",
            f"udp dport {negation}{port}",
            f"meta l4proto {negation}{chance.choice(['tcp', 'udp', '{ tcp, udp }', 'sctp'])}",
            f"{'ip protocol' if family is Family.IPV4 else 'ip6 nexthdr'} tcp",
            f"{'icmp' if family is Family.IPV4 else 'icmpv6'} type {negation}{chance.choice(TYPES[family])}",
            "tcp flags & (fin|syn|rst|ack) == syn",
            "tcp flags & (fin|syn|rst|ack) != syn",
        ]
    )


def _state(chance: random.Random, _direction: Direction, _family: Family) -> str:
    return chance.choice(
        ["ct state established,related", "ct state new", "ct state != invalid", "ct state != established"]
    )


def _place(chance: random.Random, direction: Direction, family: Family) -> str:
    side = "saddr" if direction is Direction.IN else "daddr"
    word = "ip" if family is Family.IPV4 else "ip6"
    networks = chance.sample(NETWORKS[family][1:], 2)
    negation = chance.choice(["", "", "!= "])
    choices = [
        f"{word} {side} {negation}{networks[0]}",
        f"{word} {side} {negation}{{ {networks[0]} }}",
        f"{word} {side} {negation}@hosts{'' if word == 'ip' else '6'}",
        f"meta nfproto ipv{family.value}",
    ]
    if direction is Direction.IN:
        choices += [
            'iifname { "eth0", "lo" }',
            "iif lo",
            "fib daddr type local",
            "ip daddr 224.0.0.251" if word == "ip" else "ip6 daddr ff02::fb",
        ]
    else:
        choices += ['oifname "eth1"', "meta skuid 0"]
    return chance.choice(choices)


def is_known(packet: Packet) -> bool:
    """Tracked as the model has it."""
    return packet.protocol.value != "icmp" or packet.icmp_type in QUERIES[packet.family]


def is_only_how(ruleset: Ruleset, packet: Packet, said: Verdict) -> bool:
    """True when the packet is refused as foretold, but an earlier layer that could not be read may have done it."""
    unsure = any(decide(layer.policy, packet, ruleset.sets).verdict is None for layer in ruleset.layers)
    return unsure and said is not Verdict.ACCEPT and pass_through(ruleset, packet).verdict is not Verdict.ACCEPT


def main() -> None:
    """Prints the disagreements, and how often the reader could tell."""
    seed, rulesets, packets = (int(word) for word in sys.argv[1:4])
    chance, machine = random.Random(seed), Machine(("root",))
    found: list[str] = []
    tally: Counter[str] = Counter()
    for _ in range(rulesets):
        text = draw_ruleset(chance)
        nft("-f", "-", text="add table inet foreign\ndelete table inet foreign\n" + _FORGET + text)
        ruleset = read(nft("-j", "list", "table", "inet", "foreign"), ACCOUNTS)
        asked = [(draw_packet(chance), _FIRST_IDENT + number) for number in range(packets)]
        asked = [one for one in asked if is_known(one[0])]
        asked += [(one.packet, one.ident) for one in chance.sample(machine.connections, 4)]
        for (packet, ident), said in zip(asked, machine.ask(asked), strict=True):
            decision = pass_through(ruleset, packet)
            meant = effect(decision.verdict, packet)
            tally["undecided" if meant is None else said.value] += 1
            if meant is not None and meant is not said and not is_only_how(ruleset, packet, said):
                time.sleep(0.05)
                late = [ident in one for one in witnessed()]
                found.append(f"{packet}: kernel {said} {late}, reader {meant} by {decision.flow}\n{text}")
    json.dump({"disagreements": found, "verdicts": tally}, sys.stdout)


if __name__ == "__main__":
    main()
