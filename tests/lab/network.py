"""A small internet of namespaces: this machine, a router, and a server two hops away, over IPv4 and IPv6.

    with Internet() as net:
        net.firewall(net.router, "forward", "tcp dport 25 drop")
        fact = net.run(lambda: dial(SERVER_4, 25, timeout_seconds=2))

`run` has a coroutine made and awaited inside `here`: in a thread of its own, since a network namespace belongs to a
thread. `serve` keeps a TCP server going in any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Self, TypeVar

from tests.lab.waiting import until

T = TypeVar("T")
HERE_4, HERE_6 = "192.0.2.2", "2001:db8:1::2"
ROUTER_4, ROUTER_6 = "192.0.2.1", "2001:db8:1::1"
SERVER_4, SERVER_6 = "198.51.100.2", "2001:db8:2::2"
GOOD_4, GOOD_6 = "198.51.100.3", "2001:db8:2::3"
"""More addresses of `server`: hosts that work when the one in question does not."""
_CLONE_NEWNET: Final = 0x40000000
_COUNTER = itertools.count()


class NoNamespaces(Exception):
    """They cannot be made or joined here."""


def ip(*words: str) -> str:
    """Run ip(8)."""
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise NoNamespaces(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def enter(name: str) -> None:
    """Move the calling thread into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            raise NoNamespaces(os.strerror(ctypes.get_errno()))


class Internet:
    """`here` - `router` - `server`."""

    def __init__(self) -> None:
        tag = f"pp{os.getpid()}x{next(_COUNTER)}"
        self.here, self.router, self.server = f"{tag}a", f"{tag}b", f"{tag}c"

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.here, self.router, self.server):
            with contextlib.suppress(NoNamespaces):
                ip("netns", "delete", name)

    def _set_up(self) -> None:
        for name in (self.here, self.router, self.server):
            ip("netns", "add", name)
            self.do(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
            ip("-n", name, "link", "set", "lo", "up")
        self._join(self.here, f"{HERE_4}/24", f"{HERE_6}/64", self.router, f"{ROUTER_4}/24", f"{ROUTER_6}/64", "net0")
        sides = ("198.51.100.1/24", "2001:db8:2::1/64", self.server, f"{SERVER_4}/24", f"{SERVER_6}/64")
        self._join(self.router, *sides, "net1")
        for name, four, six in ((self.here, ROUTER_4, ROUTER_6), (self.server, "198.51.100.1", "2001:db8:2::1")):
            ip("-n", name, "route", "add", "default", "via", four)
            ip("-n", name, "-6", "route", "add", "default", "via", six)
        ip("-n", self.server, "address", "add", f"{GOOD_4}/24", "dev", "net1")
        ip("-n", self.server, "address", "add", f"{GOOD_6}/64", "dev", "net1", "nodad")
        unlimited = ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0", "net.ipv4.icmp_msgs_per_sec=100000")
        self.do(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", *unlimited)

        for address in (SERVER_4, SERVER_6):
            assert until(lambda address=address: self.run(lambda: _is_there(address)), f"the way to {address}")

    def _join(self, one: str, four: str, six: str, other: str, other_four: str, other_six: str, link: str) -> None:
        ip("link", "add", link, "netns", one, "type", "veth", "peer", "name", link, "netns", other)
        for name, addresses in ((one, (four, six)), (other, (other_four, other_six))):
            ip("-n", name, "address", "add", addresses[0], "dev", link)
            ip("-n", name, "address", "add", addresses[1], "dev", link, "nodad")
        for name in (one, other):
            ip("-n", name, "link", "set", link, "up")

    def do(self, name: str, *command: str, text: str = "") -> str:
        """Run a command there."""
        words = ["ip", "netns", "exec", name, *command]
        done = subprocess.run(words, input=text, text=True, capture_output=True, timeout=20, check=False)
        if done.returncode:
            raise NoNamespaces(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def firewall(self, name: str, hook: str, *rules: str, kind: str = "filter", family: str = "inet") -> None:
        """Rules of nftables in that namespace, instead of those before."""
        priority = {"nat": "dstnat"}.get(kind, "0") if hook == "prerouting" else "0"
        chain = f"chain {hook} {{\ntype {kind} hook {hook} priority {priority};\n" + "\n".join(rules) + "\n}\n"
        self.do(name, "nft", "-f", "-", text=f"flush ruleset\ntable {family} test {{\n{chain}}}\n")

    def run(self, make: Callable[[], Awaitable[T]], within: str = "") -> T:
        """What the coroutine made by `make` returns when it runs in `within` (by default `here`)."""
        box: list[Any] = []

        def work() -> None:
            async def call() -> T:
                return await make()

            try:
                enter(within or self.here)
                box.append((asyncio.run(call()), None))
            except BaseException as problem:
                box.append((None, problem))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        result, problem = box[0]
        if problem is not None:
            raise problem
        return result  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def serve(self, name: str, port: int, talk: Callable[[socket.socket], None], address: str = "::") -> Iterator[None]:
        """`talk` has every connection to this port, in a thread of its own; it may raise OSError."""
        ready, listeners = threading.Event(), []

        def answer(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                sock.settimeout(10)
                talk(sock)

        def work() -> None:
            enter(name)
            listener = socket.create_server((address, port), family=socket.AF_INET6, dualstack_ipv6=True)
            listeners.append(listener)
            ready.set()
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listeners[0].shutdown(socket.SHUT_RDWR)
            listeners[0].close()
            thread.join(5)


async def _is_there(address: str) -> bool:
    """A closed port answers: neighbours know each other."""
    try:
        async with asyncio.timeout(0.5):
            _, writer = await asyncio.open_connection(address, 9)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    writer.close()
    return True


def greet(banner: bytes | None = None) -> Callable[[socket.socket], None]:
    """A server that greets, by default with its address, answers every command with a plain 250, QUIT with 221."""

    def talk(sock: socket.socket) -> None:
        own = f"220 [{sock.getsockname()[0]}] ESMTP\r\n".encode()
        sock.sendall(own if banner is None else banner)
        with sock.makefile("rb") as lines:
            for line in lines:
                is_quit = line[:4].upper() == b"QUIT"
                sock.sendall(b"221 bye\r\n" if is_quit else b"250 mx.example.net\r\n")
                if is_quit:
                    return

    return talk
