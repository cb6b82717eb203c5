"""Listening sockets of this very machine, and of a /proc made up for the test."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from postreeve.probes.machine.sockets import family_of, listening


def test_listening_finds_a_socket_and_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as two:
        found = listening(frozenset({os.getpid()}))
        for address, listener in (("127.0.0.1", one), ("::1", two)):
            (bound,) = [each for each in found if (each.address, each.port) == (address, listener.getsockname()[1])]
            assert (bound.pid, bound.is_ours) == (os.getpid(), True)
            assert bound.program
            assert bound.user


@pytest.mark.parametrize(("is_v6only", "versions"), [(False, {4, 6}), (True, {6})], ids=["dual", "ipv6-only"])
def test_listening_asks_whether_a_socket_takes_both_families(is_v6only: bool, versions: set[int]) -> None:
    with socket.socket(socket.AF_INET6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_v6only)
        one.bind(("::", 0))
        one.listen()
        (bound,) = [each for each in listening(frozenset()) if each.port == one.getsockname()[1]]
        assert (bound.address, set(bound.versions)) == ("::", versions)


def test_listening_knows_others_from_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        (bound,) = [each for each in listening(frozenset()) if each.port == port]
    assert (bound.pid, bound.is_ours) == (os.getpid(), False)


def test_family_has_children_and_grandchildren(tmp_path: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} 0 0")
    assert family_of(10, tmp_path) == {10, 11, 12}


def test_listening_survives_a_proc_that_says_little(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("sl local rem st\n half a line\n")
    assert listening(frozenset(), tmp_path) == ()
