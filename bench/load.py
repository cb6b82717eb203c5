"""The loads: Postfix's smtp-source and smtp-sink for plain SMTP, a small blocking client for TLS submission."""

from __future__ import annotations

import argparse
import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import BenchFailed, free_port, running

OCTETS = 4096
SESSIONS = 20


@contextmanager
def sink(base: Path) -> Iterator[tuple[int, SinkCount]]:
    """smtp-sink on a free port; the counter reads how many messages it has taken."""
    port = free_port()
    log = base / f"sink-{port}.out"
    with running(["/usr/sbin/smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{port}", "1000"], log):
        time.sleep(0.2)
        yield port, SinkCount(log)


class SinkCount:
    """Reads smtp-sink's running counter, which it writes over itself on one line."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def messages(self) -> int:
        """Messages taken so far."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 400))
            words = file.read().split()
        counts = [int(word.split(b"=")[1]) for word in words if word.startswith(b"mesg=") and word[5:].isdigit()]
        return max(counts, default=0)


def smtp_source(port: int, messages: int, keep: bool) -> float:
    """Send `messages` of 4 KB over 20 sessions; with `keep`, many per connection. Returns seconds."""
    command = ["/usr/sbin/smtp-source", "-s", str(SESSIONS), "-m", str(messages), "-l", str(OCTETS)]
    command += ["-d"] if keep else []
    command += ["-f", "sender@example.org", "-t", "recipient@example.com", f"127.0.0.1:{port}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise BenchFailed(f"smtp-source: {done.stderr.strip() or done.stdout.strip()}")
    return seconds


def tls_source(port: int, messages: int, per_connection: int) -> float:
    """Send `messages` of 4 KB through implicit TLS with AUTH PLAIN, from two processes of ten sessions. Seconds."""
    command = [sys.executable, "-m", "bench.load", str(port), str(messages // 2), str(per_connection)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise BenchFailed("the TLS client failed")
    spans = [json.loads(output) for output in outputs]
    return float(max(span["ended"] for span in spans) - min(span["started"] for span in spans))


def _content() -> bytes:
    head = b"From: <sender@example.org>\r\nTo: <recipient@example.com>\r\nSubject: bench\r\n"
    head += b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <bench@example.org>\r\n\r\n"
    line = b"X" * 78 + b"\r\n"
    return head + line * ((OCTETS - len(head)) // len(line)) + b".\r\n"


class _Session:
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=120)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain)
        self._expect(b"220")
        self.say(b"EHLO bench.test\r\n", b"250")
        credentials = base64.b64encode(b"\0bench\0bench-password")
        self.say(b"AUTH PLAIN " + credentials + b"\r\n", b"235")

    def say(self, line: bytes, code: bytes) -> None:
        self._socket.sendall(line)
        self._expect(code)

    def _expect(self, code: bytes) -> None:
        reply = b""
        while not (reply.endswith(b"\n") and reply[reply.rfind(b"\n", 0, -1) + 1 :][3:4] == b" "):
            piece = self._socket.recv(65536)
            if not piece:
                raise BenchFailed("connection closed")
            reply += piece
        if not reply.startswith(code):
            raise BenchFailed(reply.decode("ascii", "replace"))

    def close(self) -> None:
        self.say(b"QUIT\r\n", b"221")
        self._socket.close()


def _worker(port: int, messages: int, per_connection: int, context: ssl.SSLContext, failures: list[str]) -> None:
    content = _content()
    try:
        while messages > 0:
            session = _Session(port, context)
            for _ in range(min(per_connection, messages)):
                session.say(b"MAIL FROM:<sender@example.org>\r\n", b"250")
                session.say(b"RCPT TO:<recipient@example.com>\r\n", b"250")
                session.say(b"DATA\r\n", b"354")
                session.say(content, b"250")
            messages -= per_connection
            session.close()
    except (OSError, BenchFailed) as error:
        failures.append(str(error))


def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("messages", type=int)
    parser.add_argument("per_connection", type=int)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    failures: list[str] = []
    sessions = SESSIONS // 2
    arguments = (options.port, options.messages // sessions, options.per_connection, context, failures)
    threads = [threading.Thread(target=_worker, args=arguments) for _ in range(sessions)]
    started = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"started": started, "ended": time.time()}))
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(_main())
