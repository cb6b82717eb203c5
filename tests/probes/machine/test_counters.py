"""Rules that drop what comes to our ports: as nft shows them, and in a namespace with a real ruleset."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from postreeve.probes.machine.counters import find_counters, read_counters
from tests.lab.network import SERVER_4, Internet, NoNamespaces

PORTS, OUTGOING = frozenset({25, 465, 587}), frozenset({25})


def rule(*expressions: dict[str, Any], chain: str = "input") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": chain, "handle": 4, "expr": list(expressions)}}


def dport(right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": right}}


COUNTED = {"counter": {"packets": 7, "bytes": 420}}
IDLE = {"counter": {"packets": 0, "bytes": 0}}
DROP: dict[str, Any] = {"drop": None}
SOURCE = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "192.0.2.9"}}
BANNED = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@banned"}}


@pytest.mark.parametrize(
    ("expressions", "ports"),
    [
        pytest.param((dport(25), COUNTED, DROP), [25], id="one"),
        pytest.param((dport({"set": [25, 110, 587]}), COUNTED, DROP), [25, 587], id="set"),
        pytest.param((dport({"range": [400, 500]}), COUNTED, DROP), [465], id="range"),
        pytest.param((dport({"set": [{"range": [1, 30]}, 465]}), COUNTED, {"reject": {}}), [25, 465], id="mixed"),
        pytest.param((dport(25), IDLE, DROP), [], id="idle"),
        pytest.param((dport(25), DROP), [], id="uncounted"),
        pytest.param((dport(25), COUNTED, {"accept": None}), [], id="accept"),
        pytest.param((dport(80), COUNTED, DROP), [], id="other-port"),
        pytest.param((SOURCE, dport(25), COUNTED, DROP), [], id="one-peer"),
        pytest.param((BANNED, dport(25), COUNTED, DROP), [], id="ban-set"),
        pytest.param((dport(25), {"limit": {"rate": 5}}, COUNTED, DROP), [], id="limit"),
        pytest.param((dport(25), {"xt": None}, COUNTED, DROP), [], id="hidden"),
        pytest.param((COUNTED, DROP), [], id="everything"),
    ],
)
def test_counters_tell_rules_against_our_ports(expressions: tuple[dict[str, Any], ...], ports: list[int]) -> None:
    found = list(find_counters({"nftables": [rule(*expressions)]}, PORTS, OUTGOING))
    assert [one.port for one in found] == ports
    assert all(one.packets == 7 and not one.is_outgoing for one in found)


@pytest.mark.parametrize("document", [None, [], {}, {"nftables": [1, {"rule": 5}, {"rule": {"expr": [1]}}]}], ids=str)
def test_counters_survive_what_is_no_ruleset(document: Any) -> None:
    assert list(find_counters(document, PORTS, OUTGOING)) == []


@pytest.mark.peer("nft")
def test_counters_of_a_real_ruleset() -> None:
    try:
        net = Internet()
        with net:
            net.firewall(net.here, "output", f"ip daddr {SERVER_4} counter; tcp dport 25 counter drop")

            async def look() -> Any:
                with socket.socket() as one:
                    one.setblocking(False)
                    one.connect_ex((SERVER_4, 25))
                    await asyncio.sleep(0.05)
                    return await read_counters(PORTS, OUTGOING)

            counters, problem = net.run(look)
    except NoNamespaces as why:
        pytest.skip(f"network namespaces cannot be made: {why}")
    assert problem == ""
    (counter,) = counters
    assert (counter.port, counter.is_outgoing) == (25, True)
    assert counter.packets >= 1
