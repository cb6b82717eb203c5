"""What iptables says to packets, in a network namespace of its own, of either variant; and what it saves.

unshare -n python -m tests.firewall.iptables_kernel VARIANT SEED POLICIES PACKETS
"""

from __future__ import annotations

import json
import pwd
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from postreeve.firewall.flow import Network, Policy
from postreeve.firewall.packet import decide
from postreeve.firewall.read.iptables import read, read_own
from postreeve.firewall.render.iptables import SET_PREFIX, hook, render
from postreeve.firewall.ruleset import pass_through
from tests.firewall.chance import draw_packets, draw_policy
from tests.firewall.dress import dress, plain
from tests.firewall.kernel import Machine, effect, nft, run

ACCOUNTS = {str(one.pw_uid): one.pw_name for one in pwd.getpwall()}
_FORGET = "".join(f"flush set inet witness {name}\n" for name in ("ports", "idents", "idents6", "resets", "errors"))
_FIRST_IDENT = 10_000
tally: Counter[str] = Counter()
Sets = Mapping[str, tuple[Network, ...]]


class Iptables:
    """One variant: nft or legacy."""

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def save(self, tool: str) -> str:
        return run(f"{tool}-{self.variant}-save")

    def load(self, policy: Policy, sets: Sets) -> None:
        """As `apply` would, with the sets empty before."""
        files = render(policy)
        run("ipset", "-exist", "restore", text=files.ipset)
        for name in policy.sets:
            run("ipset", "flush", SET_PREFIX + name)
        elements = [f"add {SET_PREFIX}{name} {one}\n" for name, networks in sets.items() for one in networks]
        run("ipset", "-exist", "restore", text="".join(elements))
        for tool, text in (("iptables", files.ipv4), ("ip6tables", files.ipv6)):
            run(f"{tool}-{self.variant}-restore", "--noflush", text=hook(text, self.save(tool)))


def compare(tables: Iptables, machine: Machine, chance: random.Random, policies: int, packets: int) -> list[str]:
    """Every disagreement between the evaluator, the kernel, and the evaluator about what was saved."""
    found = []
    for _ in range(policies):
        policy, sets = draw_policy(chance, users=machine.users)
        nft("-f", "-", text=_FORGET)
        tables.load(policy, sets)
        drawn = draw_packets(chance, policy, sets, packets, users=machine.users)
        asked = [(packet, _FIRST_IDENT + number) for number, packet in enumerate(drawn)]
        asked += [(one.packet, one.ident) for one in chance.sample(machine.connections, 6)]
        ruleset = read(tables.save("iptables"), tables.save("ip6tables"), run("ipset", "save"), ACCOUNTS)
        for (packet, _), said in zip(asked, machine.ask(asked), strict=True):
            meant = effect(decide(policy, packet, sets).verdict, packet)
            back = effect(pass_through(ruleset, packet).verdict, packet)
            tally[said.value] += 1
            if not said is meant is back:
                found.append(f"{packet}: kernel {said}, evaluator {meant}, read back {back}: {policy} with {sets}")
    return found


def round_trips(tables: Iptables, chance: random.Random, count: int) -> list[str]:
    """Policies that come back from the real iptables-save otherwise than they went in, or change when loaded again."""
    found = []
    for _ in range(count):
        policy, sets = draw_policy(chance, users=("root", "nobody", "daemon"))
        policy = dress(chance, policy)
        tables.load(policy, sets)
        saved = tables.save("iptables"), tables.save("ip6tables")
        again = replace(read_own(*saved, accounts=ACCOUNTS), name="")
        if again != plain(policy):
            found.append(f"{plain(policy)}\ncame back as\n{again}")
        read(*saved, accounts=ACCOUNTS)
        tables.load(policy, sets)
        if _rules(saved) != _rules((tables.save("iptables"), tables.save("ip6tables"))):
            found.append(f"loading twice changed something: {policy}")
    return found


def _rules(saved: tuple[str, str]) -> list[str]:
    return [line.partition(" [")[0] for text in saved for line in text.splitlines() if not line.startswith("#")]


def main() -> None:
    """Prints the disagreements as JSON."""
    variant = sys.argv[1]
    seed, policies, packets = (int(word) for word in sys.argv[2:5])
    began = time.monotonic()
    tables = Iptables(variant)
    if packets == 0:
        found = round_trips(tables, random.Random(seed), policies)
    else:
        machine = Machine(("root", "nobody", "daemon"))
        found = compare(tables, machine, random.Random(seed), policies, packets)
    json.dump({"disagreements": found, "seconds": time.monotonic() - began, "verdicts": tally}, sys.stdout)


if __name__ == "__main__":
    main()
