"""What the kernel says to packets, in a network namespace of its own: the judge of the evaluator and of renderers.

    unshare -n python -m tests.firewall.kernel SEED POLICIES PACKETS

Both ends of two veth pairs are in one namespace: a packet that is put on `wire0` comes in by `eth0`, with whatever
source it says. A table `witness` hangs around the rules under test: behind them it notes what was accepted and drops
it, so that no program answers; before all others it notes the resets and errors that the rules themselves send.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import pwd
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from postreeve.firewall.flow import Address, Direction, Family, Network, Policy, Protocol, State, Verdict, canonical
from postreeve.firewall.packet import Packet, decide
from postreeve.firewall.read.nftables import read, read_own
from postreeve.firewall.render.nftables import render
from postreeve.firewall.ruleset import pass_through
from tests.firewall.chance import ERRORS, LOOPBACK, PEERS, SECOND, draw_packets, draw_policy
from tests.firewall.wire import ACK, SYN, build

HOST: Final[Mapping[Family, Address]] = {
    Family.IPV4: ipaddress.ip_address("192.0.2.1"),
    Family.IPV6: ipaddress.ip_address("2001:db8::1"),
}
_WITNESS: Final = """
table inet witness {
  set ports { type inet_service; size 65535; flags dynamic,timeout; timeout 1h; }
  set idents { typeof icmp id; size 65535; flags dynamic,timeout; timeout 1h; }
  set idents6 { typeof icmpv6 id; size 65535; flags dynamic,timeout; timeout 1h; }
  set resets { type inet_service; size 65535; flags dynamic,timeout; timeout 1h; }
  set errors { typeof icmp id; size 65535; flags dynamic,timeout; timeout 1h; }
  chain note {
    meta l4proto { tcp, udp } update @ports { th sport } drop
    meta l4proto icmp update @idents { @th,32,16 } drop
    meta l4proto ipv6-icmp update @idents6 { @th,32,16 } drop
  }
  chain came {
    type filter hook input priority 400;
    ct state new,established,related,untracked,invalid jump note;
  }
  chain went {
    type filter hook postrouting priority 400;
    ct state new,established,related,untracked,invalid jump note;
  }
  chain answers {
    type filter hook output priority -400;
    tcp flags & rst == rst update @resets { th dport } drop
    icmp type destination-unreachable icmp code 13 @th,136,8 1 update @errors { @th,256,16 } drop
    icmp type destination-unreachable icmp code 13 update @errors { @th,224,16 } drop
    icmpv6 type destination-unreachable icmpv6 code 1 @th,112,8 58 update @errors { @th,416,16 } drop
    icmpv6 type destination-unreachable icmpv6 code 1 update @errors { @th,384,16 } drop
  }
}
"""
_FORGET: Final = "".join(
    f"flush set inet witness {name}\n" for name in ("ports", "idents", "idents6", "resets", "errors")
)
_NO_SETUID_FIXUP: Final = 4
_PR_SET_SECUREBITS: Final = 28
_FIRST_IDENT, _FIRST_POOLED = 10_000, 30_000
ACCOUNTS: Final = {one.pw_uid: one.pw_name for one in pwd.getpwall()}
tally: Counter[str] = Counter()
"""How often the kernel said what."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One that is under way before the rules come: its next packet, and the identifier that it carries."""

    packet: Packet
    ident: int


class Machine:
    """The namespace that this process is in; `load` takes what nft takes."""

    def __init__(self, users: tuple[str, ...]) -> None:
        self.users = users
        self._set_up()
        self._wires = {name: _wire(name) for name in ("wire0", "wire1", "lo")}
        self._hardware = {name: bytes.fromhex(_link(name).replace(":", "")) for name in ("eth0", "eth1", "lo")}
        self._senders = dict(_senders(users))
        self.connections = list(self._connect())
        nft("-f", "-", text=_WITNESS)

    def _set_up(self) -> None:
        for number in (0, 1):
            run("ip", "link", "add", f"eth{number}", "type", "veth", "peer", "name", f"wire{number}")
        for name in ("lo", "eth0", "eth1", "wire0", "wire1"):
            for path, value in (("ipv6/conf/{}/accept_dad", 0), ("ipv6/conf/{}/accept_ra", 0)):
                _set(path.format(name), value)
            run("ip", "link", "set", name, "up")
        for name in ("all", "lo", "eth0", "eth1"):
            for what, value in (("rp_filter", 0), ("accept_local", 1), ("route_localnet", 1)):
                _set(f"ipv4/conf/{name}/{what}", value)
        _set("ipv4/icmp_ratelimit", 0)
        _set("ipv4/icmp_ratemask", 0)
        _set("ipv6/icmp/ratelimit", 0)
        run("ip", "address", "add", f"{HOST[Family.IPV4]}/32", "dev", "eth0")
        run("ip", "-6", "address", "add", f"{HOST[Family.IPV6]}/128", "dev", "eth0", "nodad")
        for family in Family:
            run("ip", f"-{family.value}", "route", "add", "default", "dev", "eth0")
            run("ip", f"-{family.value}", "route", "add", str(SECOND[family]), "dev", "eth1")

    def _connect(self) -> Iterator[Connection]:
        """Connections of both directions, made while nothing is filtered; only the host's resets are kept from it."""
        rules = "table inet setup { chain o { type filter hook output priority -400; tcp flags & rst == rst drop; }\n"
        rules += "chain i { type filter hook input priority 0; ct state new accept; }\n}\n"
        nft("-f", "-", text=rules)
        _set("netfilter/nf_conntrack_tcp_be_liberal", 1)
        number = _FIRST_POOLED
        for family in Family:
            for peer in PEERS[family][:4]:
                for protocol, port in (
                    (Protocol.TCP, 25),
                    (Protocol.TCP, 1000),
                    (Protocol.UDP, 53),
                    (Protocol.ICMP, 0),
                ):
                    for direction in Direction:
                        yield self._begin(direction, protocol, ipaddress.ip_address(peer), port, number)
                        number += 1
        # The witness looks at states, so tracking goes on when this table goes.
        nft(
            "-f",
            "-",
            text="table inet keep { chain i { type filter hook input priority 500; ct state new accept; }\n}\n",
        )
        nft("delete", "table", "inet", "setup")

    def _begin(self, direction: Direction, protocol: Protocol, peer: Address, port: int, ident: int) -> Connection:
        family = Family(peer.version)
        interface = "eth1" if peer in SECOND[family] else "eth0"
        back = Direction.OUT if direction is Direction.IN else Direction.IN
        echo, answer = (8, 0) if family is Family.IPV4 else (128, 129)
        first = Packet(direction, protocol, peer, port, echo if protocol is Protocol.ICMP else 0, State.NEW, interface)
        self.send(first, ident)
        if protocol is Protocol.ICMP:
            reply = Packet(back, protocol, peer, 0, answer, State.ESTABLISHED, interface)
            self.send(reply, ident)
            return Connection(reply, ident)
        reply = Packet(back, protocol, peer, ident, 0, State.NEW, interface)
        self.send(reply, port, flags=SYN | ACK)
        return Connection(Packet(direction, protocol, peer, port, 0, State.ESTABLISHED, interface), ident)

    def send(self, packet: Packet, ident: int, *, flags: int | None = None) -> None:
        """As the peer or as a program of this machine would."""
        own = ipaddress.ip_address(LOOPBACK[packet.family]) if packet.interface == "lo" else HOST[packet.family]
        ends = (packet.peer, own) if packet.direction is Direction.IN else (own, packet.peer)
        if flags is None:
            flags = ACK if packet.state is State.ESTABLISHED else SYN
        octets = build(packet.protocol, *ends, (ident, packet.port), flags=flags, icmp_type=packet.icmp_type)
        if packet.direction is Direction.OUT:
            sender = self._senders[packet.user, packet.family]
            # The witness drops what the rules accept, a rule with an answer says EPERM: neither is an error here.
            with contextlib.suppress(PermissionError, ConnectionRefusedError, OSError):
                sender.sendto(octets, (str(packet.peer), 0))
            return
        device = packet.interface.replace("eth", "wire")
        kind = b"\x08\x00" if packet.family is Family.IPV4 else b"\x86\xdd"
        self._wires[device].send(self._hardware[packet.interface] + bytes(6) + kind + octets)

    def ask(self, packets: list[tuple[Packet, int]]) -> list[Verdict]:
        """What becomes of each, by the rules that are loaded; identifiers must differ."""
        for packet, ident in packets:
            self.send(packet, ident)
        accepted, answered = witnessed()
        return [
            Verdict.ACCEPT if ident in accepted else Verdict.REJECT if ident in answered else Verdict.DROP
            for _, ident in packets
        ]


def witnessed() -> tuple[set[int], set[int]]:
    """The identifiers of what was accepted, and of what got an answer."""
    listed = json.loads(nft("-j", "list", "table", "inet", "witness"))["nftables"]
    found: dict[str, set[int]] = {}
    for item in listed:
        if "set" in item:
            elements = item["set"].get("elem", [])
            found[item["set"]["name"]] = {_number(one["elem"]["val"]) for one in elements}
    return found["ports"] | found["idents"] | found["idents6"], found["resets"] | found["errors"]


def _number(value: Any) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)


def run(*words: str, text: str = "") -> str:
    done = subprocess.run(words, input=text, text=True, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def nft(*words: str, text: str = "") -> str:
    return run("nft", *words, text=text)


def _set(path: str, value: int) -> None:
    Path("/proc/sys/net", path).write_text(str(value))


def _link(name: str) -> str:
    return str(json.loads(run("ip", "-j", "link", "show", name))[0]["address"])


def _wire(name: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind((name, 0))
    return wire


def _senders(users: tuple[str, ...]) -> Iterator[tuple[tuple[str, Family], socket.socket]]:
    """Raw sockets that belong to each account; a privilege is kept for the moment of making them."""
    ctypes.CDLL(None).prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
    for user in users:
        number = pwd.getpwnam(user).pw_uid
        if number:
            os.seteuid(number)
        for family, kind in ((Family.IPV4, socket.AF_INET), (Family.IPV6, socket.AF_INET6)):
            yield (user, family), socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
        if number:
            os.seteuid(0)


def fill(sets: Mapping[str, tuple[Network, ...]]) -> str:
    """The elements of named sets, as nft takes them."""
    return "".join(
        f"add element inet postreeve {name} {{ {one.network_address if one.version == 4 else one} }}\n"
        for name, networks in sets.items()
        for one in networks
    )


def effect(verdict: Verdict | None, packet: Packet) -> Verdict | None:
    """An error about an error is never sent (RFC 1122, section 3.2.2; RFC 4443, section 2.4): refusing it is silent."""
    is_error = packet.protocol is Protocol.ICMP and packet.icmp_type in ERRORS[packet.family]
    return Verdict.DROP if verdict is Verdict.REJECT and is_error else verdict


def compare(
    machine: Machine,
    chance: random.Random,
    policies: int,
    packets: int,
    load: Callable[[Policy, Mapping[str, tuple[Network, ...]]], None],
) -> list[str]:
    """Every disagreement between the evaluator and the kernel."""
    found: list[str] = []
    tally.clear()
    for _ in range(policies):
        policy, sets = draw_policy(chance, users=machine.users)
        load(policy, sets)
        asked = [
            (packet, _FIRST_IDENT + number)
            for number, packet in enumerate(draw_packets(chance, policy, sets, packets, users=machine.users))
        ]
        asked += [(one.packet, one.ident) for one in chance.sample(machine.connections, 6)]
        said = machine.ask(asked)
        meant = [effect(decide(policy, packet, sets).verdict, packet) for packet, _ in asked]
        tally.update(one.value for one in said)
        found += read_back(policy, asked, meant)
        if said != meant:
            time.sleep(0.1)
            accepted, answered = witnessed()
            for (packet, ident), here, there in zip(asked, meant, said, strict=True):
                if here is not there:
                    late = f"accepted={ident in accepted} answered={ident in answered}"
                    found.append(f"{packet}: kernel {there}, evaluator {here} ({late}) in {policy} with {sets}")
    return found


def read_back(policy: Policy, asked: list[tuple[Packet, int]], meant: list[Verdict | None]) -> Iterator[str]:
    """What is wrong with the rules as they are read from the kernel."""
    listed = nft("-j", "list", "table", "inet", "postreeve")
    wanted = canonical(policy)
    flows = tuple(replace(flow, because="", without="") for flow in wanted.flows)
    read_policy = read_own(listed, ACCOUNTS)
    if read_policy != replace(wanted, name=read_policy.name, flows=flows):
        yield f"read back as {read_policy} instead of {wanted}"
    ruleset = read(listed, ACCOUNTS)
    for (packet, _), verdict in zip(asked, meant, strict=True):
        if effect(pass_through(ruleset, packet).verdict, packet) is not verdict:
            yield f"{packet}: {verdict}, read from the kernel otherwise: {ruleset}"


def load_nftables(policy: Policy, sets: Mapping[str, tuple[Network, ...]]) -> None:
    """As `apply` would, with the sets empty before."""
    clear = "add table inet postreeve\ndelete table inet postreeve\n"
    nft("-f", "-", text=clear + _FORGET + render(policy) + fill(sets))


def main() -> None:
    """Prints the disagreements as JSON."""
    seed, policies, packets = (int(word) for word in sys.argv[1:4])
    users = ("root", "nobody", "daemon") if sys.argv[4:] == ["accounts"] else ("root",)
    began = time.monotonic()
    machine = Machine(users)
    found = compare(machine, random.Random(seed), policies, packets, load_nftables)
    json.dump({"disagreements": found, "seconds": time.monotonic() - began, "verdicts": tally}, sys.stdout)


if __name__ == "__main__":
    main()
