"""Single cases in front of the kernel: rates, and published ports behind DNAT. Prints verdicts as JSON.

unshare -n python -m tests.firewall.kernel_cases NAME
"""

from __future__ import annotations

import ipaddress
import json
import sys
from typing import Final

from postreeve.firewall.flow import (
    Container,
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    Ports,
    Protocol,
    Rate,
    State,
    Verdict,
)
from postreeve.firewall.packet import Packet
from tests.firewall.chance import PEERS
from tests.firewall.kernel import Machine, _set, load_nftables, nft, run

OFFICE: Final = {
    Family.IPV4: ipaddress.ip_network("198.51.100.0/24"),
    Family.IPV6: ipaddress.ip_network("2001:db8:51::/48"),
}
INSIDE: Final = {family: ipaddress.ip_address(PEERS[family][0]) for family in Family}
OUTSIDE: Final = {Family.IPV4: ipaddress.ip_address("10.9.8.3"), Family.IPV6: ipaddress.ip_address("fd00::1")}
BEHIND: Final = {Family.IPV4: "10.77.0.2", Family.IPV6: "fd77::2"}


def submission(family: Family, *, rate: Rate | None = None, container: Container | None = None) -> Flow:
    """Port 2587 for the office."""
    return Flow(
        f"in-{family.value}",
        Direction.IN,
        family,
        Protocol.TCP,
        Verdict.ACCEPT,
        (OFFICE[family],),
        (Ports(2587, 2587),),
        rate=rate,
        container=container,
        because="test",
    )


def come(family: Family, *, is_inside: bool = True) -> Packet:
    """A first packet to port 2587."""
    return Packet(Direction.IN, Protocol.TCP, (INSIDE if is_inside else OUTSIDE)[family], 2587)


def rates(machine: Machine) -> dict[str, list[str]]:
    """Five connections by one source where three a minute are allowed; then one by a source beyond its own network."""
    load_nftables(
        Policy("rates", tuple(submission(family, rate=Rate(3, 60)) for family in Family), Verdict.DROP, Verdict.ACCEPT),
        {},
    )
    other = {Family.IPV4: "198.51.100.8", Family.IPV6: "2001:db8:51:2::1"}
    found: dict[str, list[str]] = {}
    for family in Family:
        asked = [(come(family), 20_000 + family.value * 10 + number) for number in range(5)]
        last = Packet(Direction.IN, Protocol.TCP, ipaddress.ip_address(other[family]), 2587)
        found[family.name] = [one.value for one in machine.ask([*asked, (last, 20_009 + family.value * 10)])]
    return found


def containers(machine: Machine) -> dict[str, list[str]]:
    """For each family: the office, the world, and the office while it is banned."""
    _set("ipv4/ip_forward", 1)
    _set("ipv6/conf/all/forwarding", 1)
    nat = "table inet engine {\nchain p {\ntype nat hook prerouting priority dstnat;\n"
    for family, word, address in ((Family.IPV4, "ip", BEHIND[Family.IPV4]), (Family.IPV6, "ip6", "[fd77::2]")):
        run("ip", f"-{family.value}", "route", "add", BEHIND[family], "dev", "eth1")
        nat += f"tcp dport 2587 dnat {word} to {address}:587\n"
    nft("-f", "-", text=nat + "}\nchain f {\ntype filter hook forward priority 0; policy accept;\n}\n}\n")
    nft("-f", "-", text="add chain inet witness through { type filter hook forward priority 400; }\n")
    nft("add", "rule", "inet", "witness", "through", "jump", "note")
    bans = tuple(
        Flow(
            f"bans-{family.value}",
            Direction.IN,
            family,
            Protocol.ANY,
            Verdict.DROP,
            (),
            state=State.ANY,
            peer_set=f"bans{family.value}",
            because="test",
        )
        for family in Family
    )
    doors = tuple(submission(family, container=Container(BEHIND[family], 587, 2587)) for family in Family)
    policy = Policy("containers", (*bans, *doors), Verdict.DROP, Verdict.ACCEPT, ("bans4", "bans6"))
    found: dict[str, list[str]] = {}
    for family in Family:
        load_nftables(policy, {})
        free = machine.ask([(come(family), 21_000), (come(family, is_inside=False), 21_001)])
        banned: Network = ipaddress.ip_network(f"{INSIDE[family]}/{32 if family is Family.IPV4 else 64}", strict=False)
        load_nftables(policy, {f"bans{family.value}": (banned,)})
        found[family.name] = [one.value for one in (*free, *machine.ask([(come(family), 21_002)]))]
    return found


def main() -> None:
    """Runs one case."""
    machine = Machine(("root",))
    case = {"rates": rates, "containers": containers}[sys.argv[1]]
    json.dump(case(machine), sys.stdout)


if __name__ == "__main__":
    main()
