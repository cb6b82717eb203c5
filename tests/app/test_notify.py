"""systemd: sockets taken over, states told."""

import fcntl
import os
import signal
import smtplib
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.lab.server import Server

TAKE_OVER = """\
import os, sys
numbers = [int(one) for one in sys.argv[1].split(",")]
for place, number in enumerate(numbers):
    os.dup2(number, 3 + place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def listening(address: str = "127.0.0.1") -> socket.socket:
    """A socket as systemd would pass it, with a number that the others do not overwrite."""
    one = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    moved = socket.socket(fileno=fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 50))
    one.close()
    return moved


def server_with(tmp_path: Path, sockets: list[socket.socket], ports: list[int]) -> Server:
    listeners = [
        {"name": f"mx-{place}", "role": "relay", "addresses": ["127.0.0.1"], "port": port}
        for place, port in enumerate(ports)
    ]
    numbers = [one.fileno() for one in sockets]
    wrapper = (sys.executable, "-c", TAKE_OVER, ",".join(map(str, numbers)))
    return Server(tmp_path, {"listener": listeners}, workers=2, wrapper=wrapper, pass_fds=numbers)


def test_sockets_of_systemd_are_taken_over(tmp_path: Path) -> None:
    passed = [listening(), listening()]
    ports = [one.getsockname()[1] for one in passed]
    waiting = socket.create_connection(("127.0.0.1", ports[0]), 10)
    with server_with(tmp_path, passed, [*ports, 0]) as server:
        # It connected before the server began: it waited instead of being refused.
        assert waiting.recv(512).startswith(b"220 ")
        waiting.close()
        for port in (*ports, server.port("mx-2")):
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                assert client.noop()[0] == 250
        assert b"LISTEN_FDS" not in Path(f"/proc/{server.worker_pids()[0]}/environ").read_bytes().split(b"\0")
    for one in passed:
        # Still bound: the next start goes on with it.
        assert one.getsockname()[1] in ports
        one.close()


def test_socket_of_systemd_without_a_listener_is_refused(tmp_path: Path) -> None:
    passed = [listening(), listening()]
    server = server_with(tmp_path, passed, [passed[0].getsockname()[1]])
    with pytest.raises(AssertionError, match=r"systemd passed a socket for 127\.0\.0\.1 port"):
        server.start()
    for one in passed:
        one.close()


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_states_are_told_to_systemd(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@postreeve-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if is_abstract else address)
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"}
        with Server(tmp_path, env=env) as server:
            pid = server.facts()["pid"]
            assert f"MAINPID={pid}" in _hear(manager, "READY=1")
            _hear(manager, "WATCHDOG=1")
            _hear(manager, "WATCHDOG=1")
            server.signal(signal.SIGHUP)
            now = time.monotonic_ns() // 1000
            reloading = _hear(manager, "RELOADING=1")
            told = next(line for line in reloading if line.startswith("MONOTONIC_USEC="))
            assert abs(int(told.partition("=")[2]) - now) < 20_000_000
            _hear(manager, "READY=1")
            server.signal(signal.SIGTERM)
            _hear(manager, "STOPPING=1")
            assert server.process is not None
            assert server.process.wait(35) == 0


@pytest.mark.slow
def test_watchdog_is_not_fed_when_a_worker_hangs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        with Server(tmp_path, env=env) as server:
            _hear(manager, "WATCHDOG=1")
            (worker,) = server.worker_pids()
            os.kill(worker, signal.SIGSTOP)
            try:
                manager.settimeout(5)
                assert _falls_silent(manager, 60)
            finally:
                os.kill(worker, signal.SIGCONT)


def _falls_silent(manager: socket.socket, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            manager.recv(4096)
        except TimeoutError:
            return True
    return False


def _hear(manager: socket.socket, word: str) -> list[str]:
    """The lines of the next datagram that has `word`."""
    for _ in range(1000):
        lines = manager.recv(4096).decode().splitlines()
        if word in lines:
            return lines
    raise AssertionError(f"{word} was not told")
