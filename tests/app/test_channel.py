"""Packets between the supervisor and a worker."""

import os
import socket

import pytest

from postreeve.app.channel import Channel


def test_channel_carries_packets_texts_and_sockets_apart() -> None:
    one, other = Channel.pair()
    text = "é" * 400_000
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert one.send({"do": "first"}, text, [listening])
        assert one.send({"do": "second"})
        packet, received, sockets = other.receive() or ({}, "", [])
        assert (packet, received) == ({"do": "first"}, text)
        assert [one.getsockname() for one in sockets] == [listening.getsockname()]
        assert not os.get_inheritable(sockets[0].fileno())
        sockets[0].close()
    assert other.receive() == ({"do": "second"}, "", [])
    with pytest.raises(BlockingIOError):
        other.receive()
    one.close()
    assert other.receive() is None
    assert other.send({"do": "nothing"}) is False
    other.close()


def test_channel_does_not_block_when_the_other_side_does_not_read() -> None:
    one, other = Channel.pair()
    assert not all(one.send({"do": "x" * 1000}) for _ in range(10_000))
    one.close()
    other.close()
