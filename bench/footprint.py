"""Memory and start-up of postreeve alone: idle sessions, a 50-MB message, a million queued messages, `--version`."""

from __future__ import annotations

import asyncio
import resource
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import server as subject
from bench.certificate import make_certificate
from bench.load import sink, smtp_source
from bench.process import BenchFailed, memory_kib
from bench.server import PostreeveServer, postreeve

IDLE_SESSIONS = 10_000
LARGE_OCTETS = 50_000_000
QUEUED = 1_000_000


def idle_sessions(base: Path) -> dict[str, float]:
    """KiB per idle session (EHLO said), server side, all processes together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sessions = min(IDLE_SESSIONS, hard - 200)
    base.mkdir()
    with sink(base) as (port, _), postreeve(base / "postreeve", port, True, *make_certificate(base)) as server:
        smtp_source(server.relay_port, 2000, keep=True)
        before = memory_kib(server.pid)
        connections = []
        for number in range(sessions):
            client = socket.socket()
            client.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
            client.connect(("127.0.0.1", server.relay_port))
            connections.append(client)
        for client in connections:
            _expect(client, b"220")
            client.sendall(b"EHLO idle.test\r\n")
        for client in connections:
            _expect(client, b"250")
        after = memory_kib(server.pid)
        for client in connections:
            client.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {
        "sessions": sessions,
        "kib_each": round((after - before) / sessions, 1),
        "mib_before": round(before / 1024, 1),
    }


def _expect(client: socket.socket, code: bytes) -> None:
    client.settimeout(60)
    if not client.recv(4096).startswith(code):
        raise BenchFailed(f"expected {code!r}")


def large_message(base: Path) -> dict[str, float]:
    """MiB that memory rises while a 50-MB message is accepted and relayed."""
    base.mkdir()
    with sink(base) as (port, count), postreeve(base / "postreeve", port, False, *make_certificate(base)) as server:
        smtp_source(server.relay_port, 2000, keep=True)
        time.sleep(1)
        before = peak = memory_kib(server.pid)
        sent = count.messages()
        sender = threading.Thread(target=_send_large, args=(server.relay_port,))
        sender.start()
        ends = time.monotonic() + 120
        while count.messages() == sent and time.monotonic() < ends:
            peak = max(peak, memory_kib(server.pid))
            time.sleep(0.01)
        sender.join()
        if count.messages() == sent:
            raise BenchFailed("the large message did not arrive")
    return {"mib_before": round(before / 1024, 1), "mib_rise": round((peak - before) / 1024, 1)}


def _send_large(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
        _expect(client, b"220")
        for line in (b"EHLO a.test", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>", b"DATA"):
            client.sendall(line + b"\r\n")
            _expect(client, b"354" if line == b"DATA" else b"250")
        line = b"X" * 76 + b"\r\n"
        client.sendall(b"Subject: large\r\n\r\n")
        block = line * 1000
        for _ in range(LARGE_OCTETS // len(block)):
            client.sendall(block)
        client.sendall(b".\r\n")
        _expect(client, b"250")


def million(base: Path) -> dict[str, float]:
    """Start-up and relay speed with a million deferred messages, against an empty queue."""
    base.mkdir()
    tls = make_certificate(base)
    result: dict[str, float] = {"queued": QUEUED}
    for name, queued in (("empty", 0), ("full", QUEUED)):
        with sink(base) as (port, count):
            with postreeve(base / name, port, False, *tls) as server:
                data = server.data
            if queued:
                asyncio.run(_fill(data, queued))
            rates = []
            with postreeve(base / name, port, False, *tls) as server:
                result[f"ready_seconds_{name}"] = round(server.ready_seconds, 2)
                for _ in range(3):
                    rates.append(_relay_rate(server, count.messages, 10_000))
                result[f"relay_{name}"] = round(statistics.median(rates), 1)
    result["ratio"] = round(result["relay_full"] / result["relay_empty"], 3)
    return result


def _relay_rate(server: PostreeveServer, arrived: Callable[[], int], messages: int) -> float:
    before, started = arrived(), time.perf_counter()
    smtp_source(server.relay_port, messages, keep=True)
    while arrived() - before < messages:
        if time.perf_counter() - started > 300:
            raise BenchFailed("the relay stands still")
        time.sleep(0.02)
    return messages / (time.perf_counter() - started)


async def _fill(data: Path, messages: int) -> None:
    """Queue messages through the store itself, due tomorrow, spread over 1,000 destinations and all shards."""
    from bench.fill import fill

    await fill(data, messages)


def version(base: Path) -> dict[str, float]:
    """Milliseconds of `postreeve --version` as a whole process, median of 15."""
    program = Path(subject.interpreter).with_name("postreeve")
    times = []
    for _ in range(15):
        started = time.perf_counter()
        subprocess.run([program, "--version"], check=True, capture_output=True)
        times.append((time.perf_counter() - started) * 1000)
    return {"milliseconds": round(statistics.median(times), 1)}


CASES: dict[str, Callable[[Path], dict[str, float]]] = {
    "idle_sessions": idle_sessions,
    "large_message": large_message,
    "million": million,
    "version": version,
}
