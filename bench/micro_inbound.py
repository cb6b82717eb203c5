"""What one accepted message costs the inbound side: sockets, core, session, policy, Received; the store left out.

    python -m bench.micro_inbound [--messages 20000] [--clients 20] [--shape plain|pipelined|connection|tls]
                                  [--profile] [--smtp-source] [--json FILE]

The store takes everything and keeps nothing. The clients run in processes of their own; the figures are the CPU time
of the serving process per message, its own and the kernel's on its behalf. The kernel's part depends on the load:
waking a client that sleeps on an idle core is most of the price of a send. `--smtp-source` drives it with Postfix's own
load generator.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import uvloop

from bench.certificate import make_certificate
from postreeve.inbound.counter import SharedCounters
from postreeve.inbound.listener import Listener
from postreeve.inbound.service import Services
from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.ident import IdentSource
from postreeve.policy.settings import LimitSettings, ListenerSettings, LocalDomain, PolicySettings, Role
from postreeve.queue.model import Claim, NewMessage
from postreeve.queue.route import Router
from postreeve.queue.settings import Mx, RouteSettings
from postreeve.smtp.settings import TlsOffer
from postreeve.store.face import LeaseTerms, Spool
from postreeve.store.memory import MemoryStore

HEADER = b"From: <a@example.com>\r\nTo: <b@example.org>\r\nSubject: bench\r\nMessage-ID: <1@example.com>\r\n\r\n"
LINE = b"The quick brown fox jumps over the lazy dog, again and again, all day.\r\n"
CONTENT = HEADER + LINE * 55 + b".\r\n"
MAIL, RCPT, DATA = b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n"


class Nowhere(MemoryStore):
    """Takes messages and forgets them."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0
        self._source = IdentSource(0)

    def new_ident(self, now: float) -> int:
        return self._source.next(now)

    async def accept(
        self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
    ) -> tuple[Claim, ...]:
        self.accepted += 1
        return ()


def client(port: int, messages: int, shape: str) -> None:
    """One client: one message after the other."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def connect() -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = context.wrap_socket(raw) if shape == "tls" else raw
        stream.recv(1024)
        stream.sendall(b"EHLO client.example.com\r\n")
        stream.recv(4096)
        return stream

    stream = connect()
    for number in range(messages):
        if shape == "connection" and number:
            stream.sendall(b"QUIT\r\n")
            stream.recv(1024)
            stream.close()
            stream = connect()
        if shape == "pipelined":
            stream.sendall(MAIL + RCPT + DATA)
            while b"354" not in stream.recv(4096):
                pass
        else:
            for command in (MAIL, RCPT, DATA):
                stream.sendall(command)
                stream.recv(1024)
        stream.sendall(CONTENT)
        answer = stream.recv(1024)
        if not answer.startswith(b"250"):
            raise SystemExit(f"refused: {answer!r}")
    stream.close()


def spawn_clients(port: int, arguments: argparse.Namespace) -> list[int]:
    """Client processes, two of them, each with its share of threads' worth of connections in turn."""
    if arguments.smtp_source:
        program = shutil.which("smtp-source", path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            raise SystemExit("smtp-source is missing: apt-get install postfix")
        keep = [] if arguments.shape == "connection" else ["-d"]
        command = [program, "-s", str(arguments.clients), "-l", "4096", "-m", str(arguments.messages), *keep]
        command += ["-f", "a@example.com", "-t", "b@example.org", f"127.0.0.1:{port}"]
        return [subprocess.Popen(command).pid]
    share = arguments.messages // arguments.clients
    children = []
    for _ in range(arguments.clients):
        child = os.fork()
        if child == 0:
            client(port, share, arguments.shape)
            os._exit(0)
        children.append(child)
    return children


async def serve(arguments: argparse.Namespace, listening: socket.socket, directory: Path) -> dict[str, object]:
    """Serve until the clients are done; the figures."""
    implicit = arguments.shape == "tls"
    context = None
    if implicit:
        certificate, key = make_certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    store = Nowhere()
    services = Services(
        policy=PolicySettings(
            "mail.example.org", Mailbox("postmaster", Domain("example.org")), (LocalDomain("example.org"),)
        ),
        store=store,
        route=Router([RouteSettings("all", ("*",), Mx())]).route,
        tell=lambda event: None,
        counters=SharedCounters(),
        tls_context=lambda: context,
        logins=None,
    )
    limits = LimitSettings(max_messages_per_session=10**9, connections_per_client=0)
    settings = ListenerSettings(
        "mx", 25, Role.RELAY, TlsOffer.IMPLICIT if implicit else TlsOffer.STARTTLS, limits=limits
    )
    listener = Listener(settings, [listening], services)
    port = listening.getsockname()[1]
    children = spawn_clients(port, arguments)
    listener.start()
    profile = cProfile.Profile()
    if arguments.profile:
        profile.enable()
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    while children:
        await asyncio.sleep(0.02)
        children = [child for child in children if os.waitpid(child, os.WNOHANG)[0] == 0]  # noqa: ASYNC222
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    if arguments.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    await listener.drain(5.0)
    each = 1e6 / max(store.accepted, 1)
    return {
        "shape": arguments.shape,
        "driver": "smtp-source" if arguments.smtp_source else "sockets",
        "clients": arguments.clients,
        "messages": store.accepted,
        "per_second": round(store.accepted / seconds),
        "user_microseconds": round((after.ru_utime - before.ru_utime) * each, 1),
        "system_microseconds": round((after.ru_stime - before.ru_stime) * each, 1),
    }


def main() -> None:
    """Measure as asked and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--shape", choices=("plain", "pipelined", "connection", "tls"), default="plain")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--smtp-source", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with tempfile.TemporaryDirectory() as directory:
        figures = uvloop.run(serve(arguments, listening, Path(directory)))
    print(json.dumps(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
