"""iptables in the way of a container: who may come by a published port, and that bans count there, for real."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

import pytest

from postreeve.firewall.flow import Container, Direction, Family, Flow, Policy, Ports, Protocol, State, Verdict
from postreeve.firewall.render.iptables import hook, render
from tests.lab.network import HERE_4, HERE_6, ROUTER_4, ROUTER_6, SERVER_4, SERVER_6, Internet, greet

pytestmark = [pytest.mark.peer("iptables", "ipset", "ip", "nft", "namespaces")]
PUBLISHED = 2587
DIALLED = {Family.IPV4: ROUTER_4, Family.IPV6: ROUTER_6}
BEHIND = {Family.IPV4: SERVER_4, Family.IPV6: SERVER_6}
SOURCE = {Family.IPV4: HERE_4, Family.IPV6: HERE_6}
TOOLS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
BANNED = {Family.IPV4: f"{HERE_4}/32", Family.IPV6: "2001:db8:1::/64"}


def policy_for(family: Family, peer: str) -> Policy:
    """Bans, then one published port for one network."""
    bans = f"bans{family.value}"
    ban = Flow(
        f"bans-ipv{family.value}",
        Direction.IN,
        family,
        Protocol.ANY,
        Verdict.DROP,
        (),
        state=State.ANY,
        peer_set=bans,
        because="a test",
    )
    come = Flow(
        f"submission-ipv{family.value}",
        Direction.IN,
        family,
        Protocol.TCP,
        Verdict.ACCEPT,
        (ipaddress.ip_network(peer),),
        (Ports(PUBLISHED, PUBLISHED),),
        container=Container(BEHIND[family], 587, PUBLISHED),
        because="a test",
    )
    return Policy("mail.example.org", (ban, come), Verdict.DROP, Verdict.ACCEPT, (bans,))


@pytest.fixture(scope="module", params=["nft", "legacy"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Internet, str]]:
    with Internet() as net, net.serve(net.server, 587, greet()):
        for family, tool in TOOLS.items():
            target = BEHIND[family] if family is Family.IPV4 else f"[{BEHIND[family]}]"
            rule = f"-t nat -A PREROUTING -p tcp --dport {PUBLISHED} -j DNAT --to-destination {target}:587"
            net.do(net.router, f"{tool}-{request.param}", *rule.split())
        yield net, request.param


def load(net: Internet, variant: str, policy: Policy) -> None:
    files = render(policy)
    net.do(net.router, "ipset", "-exist", "restore", text=files.ipset)
    for name in policy.sets:
        net.do(net.router, "ipset", "flush", f"postreeve-{name}")
    for tool, text in (("iptables", files.ipv4), ("ip6tables", files.ipv6)):
        saved = net.do(net.router, f"{tool}-{variant}-save")
        net.do(net.router, f"{tool}-{variant}-restore", "--noflush", text=hook(text, saved))


def is_open(net: Internet, family: Family) -> bool:
    async def dial() -> bool:
        try:
            async with asyncio.timeout(1.2):
                reader, writer = await asyncio.open_connection(DIALLED[family], PUBLISHED)
                said = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        return said.startswith(b"220")

    return net.run(dial)


@pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
def test_published_port_is_for_whom_it_is_meant(place: tuple[Internet, str], family: Family) -> None:
    net, variant = place
    source = f"{SOURCE[family]}/{32 if family is Family.IPV4 else 128}"
    elsewhere = "203.0.113.0/24" if family is Family.IPV4 else "2001:db8:99::/48"
    load(net, variant, policy_for(family, source))
    assert is_open(net, family)
    load(net, variant, policy_for(family, elsewhere))
    assert not is_open(net, family)
    load(net, variant, policy_for(family, source))
    assert is_open(net, family)
    net.do(net.router, "ipset", "add", f"postreeve-bans{family.value}", BANNED[family], "timeout", "60")
    assert not is_open(net, family)
    net.do(net.router, "ipset", "del", f"postreeve-bans{family.value}", BANNED[family])
    assert is_open(net, family)
