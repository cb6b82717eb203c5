"""Which controls are dialled, and what they hear."""

from __future__ import annotations

import asyncio

import pytest

from postreeve.checks.path import ControlRole, DialOutcome
from postreeve.ports.known_good import KNOWN_GOOD, parse_known_good
from postreeve.probes.control import OTHER_PORTS, choose_known_good, control, read_banner
from postreeve.probes.dial import dial
from postreeve.probes.request import Request


@pytest.mark.asyncio
async def test_control_of_loopback_stays_on_loopback() -> None:
    request = Request(timeout_seconds=1, has_own_known_good=True)
    made = await control("localhost", "127.0.0.1", 2599, frozenset({25}), request, "")
    assert {one.role for one in made} == {ControlRole.OTHER_PORT}
    assert [one.dial.port for one in made] == [port for port in OTHER_PORTS if port != 25]
    assert {one.dial.address for one in made} == {"127.0.0.1"}


def test_known_good_are_two_of_the_same_port_and_two_of_others() -> None:
    chosen = choose_known_good(KNOWN_GOOD, 587, 4)
    assert [one.port for one in chosen[:2]] == [587, 587]
    assert len({one.host for one in chosen[:2]}) == 2
    assert [one.port for one in chosen[2:]] == [443, 25]


def test_known_good_of_the_other_family_are_left_out() -> None:
    known = parse_known_good("192.0.2.1:25 [2001:db8::1]:25 mx.example.net:25 [2001:db8::1]:587")
    assert [one.host for one in choose_known_good(known, 25, 6)] == ["2001:db8::1", "mx.example.net", "2001:db8::1"]
    assert [one.host for one in choose_known_good(known, 25, 4)] == ["192.0.2.1", "mx.example.net"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("said", "banner"),
    [
        (b"220 mx.example.net ESMTP\r\n", "220 mx.example.net ESMTP"),
        (b"220-one\r\n220 two\r\n", "220-one"),
        (b"", ""),
        (b"\x1b[2J\xff\x00\n", r"\x1b[2Jÿ\x00"),
        (b"x" * 5_000, "x" * 512),
        (b"220 no end", "220 no end"),
    ],
)
async def test_banner_is_the_first_line_made_harmless(said: bytes, banner: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    dialled = await dial("127.0.0.1", server.sockets[0].getsockname()[1], timeout_seconds=1)
    assert dialled.dial.outcome is DialOutcome.OPEN
    assert await read_banner(dialled, 1.0) == banner
    assert dialled.socket is not None
    assert dialled.socket.fileno() == -1
    server.close()
