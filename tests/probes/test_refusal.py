"""Our own firewall's RST is told from everybody else's, by real packet filters."""

from __future__ import annotations

import pytest

from postreeve.checks.path import Dial, DialOutcome, Icmp
from postreeve.probes.dial import dial
from postreeve.probes.refusal import is_refused_here
from tests.lab.network import HERE_4, HERE_6, SERVER_4, SERVER_6, Internet

in_namespaces = pytest.mark.peer("namespaces", "ip", "nft")


def ask(internet: Internet, target: str) -> tuple[DialOutcome, bool]:
    async def call() -> tuple[DialOutcome, bool]:
        made = (await dial(target, 25, timeout_seconds=1)).dial
        return made.outcome, await is_refused_here(made)

    return internet.run(call)


@in_namespaces
@pytest.mark.parametrize("target", [SERVER_4, SERVER_6])
def test_refusal_by_our_own_firewall_is_told_from_one_further_on(internet: Internet, target: str) -> None:
    assert ask(internet, target) == (DialOutcome.REFUSED, False)
    internet.firewall(internet.router, "prerouting", "tcp dport 25 reject with tcp reset")
    assert ask(internet, target) == (DialOutcome.REFUSED, False)
    internet.do(internet.router, "nft", "flush", "ruleset")
    internet.firewall(internet.here, "output", "tcp dport 25 reject with tcp reset")
    assert ask(internet, target) == (DialOutcome.REFUSED, True)


@in_namespaces
@pytest.mark.parametrize("target", [HERE_4, HERE_6, "127.0.0.1"])
def test_refusal_by_a_closed_port_of_this_machine_is_none_of_the_firewall(internet: Internet, target: str) -> None:
    assert ask(internet, target) == (DialOutcome.REFUSED, False)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "made",
    [
        Dial("192.0.2.7", 25, DialOutcome.TIMED_OUT, 1.0, "192.0.2.1"),
        Dial("192.0.2.7", 25, DialOutcome.REFUSED, 1.0, "192.0.2.1", icmp=Icmp(3, 3, "192.0.2.9")),
        Dial("127.0.0.1", 25, DialOutcome.REFUSED, 1.0, "127.0.0.1"),
    ],
    ids=["no refusal", "ICMP says who it was", "loopback"],
)
async def test_refusal_is_not_looked_into_where_it_is_clear(made: Dial) -> None:
    assert not await is_refused_here(made)
