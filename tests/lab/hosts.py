"""Six hosts made of namespaces on one wire, dual stack: the server with a container behind it, and who it deals with.

    with Hosts() as hosts:
        hosts.dial_all([Dial("client", "root", "tcp", HERE["server"][0], 25)])

The server publishes ports of its container as engines do: DNAT before routing, masquerading behind it. Peers are far
from each other (a /64 each), so that bans of one are no bans of another.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from tests.lab.network import NoNamespaces, enter, ip

ADDRESSES: Final[Mapping[str, tuple[str, str]]] = {
    "server": ("192.0.2.1", "2001:db8::1"),
    "client": ("198.51.100.7", "2001:db8:1::7"),
    "attacker": ("203.0.113.66", "2001:db8:bad::66"),
    "smarthost": ("203.0.113.25", "2001:db8:25::25"),
    "mx": ("203.0.113.5", "2001:db8:5::5"),
}
PATIENCE_SECONDS: Final = 2.5
"""Of IPv6 the kernel hears of its own refusal at the second SYN only, after a second."""
CONTAINER: Final = ("192.0.2.130", "2001:db8:c::2")
_GATEWAY: Final = ("192.0.2.129", "2001:db8:c::1")
_COUNTER: Final = itertools.count()

_ECHO: Final = """
import json, os, select, socket, sys
poll, by_number = select.poll(), {}
for kind, port in json.loads(sys.argv[1]):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        if kind == "tcp":
            one.listen(100)
        poll.register(one, select.POLLIN)
        by_number[one.fileno()] = ("listen" if kind == "tcp" else "udp", one)
print("ready", flush=True)
poll.register(0, select.POLLIN)
while True:
    for number, _ in poll.poll():
        if number == 0:
            sys.exit(0)
        kind, one = by_number[number]
        try:
            if kind == "listen":
                sock, _ = one.accept()
                by_number[sock.fileno()] = ("tcp", sock)
                poll.register(sock, select.POLLIN)
            elif kind == "udp":
                data, source = one.recvfrom(64)
                one.sendto(data, source)
            else:
                data = one.recv(4096)
                one.sendall(data)
                if not data:
                    raise OSError
        except OSError:
            if kind == "tcp":
                poll.unregister(number)
                del by_number[number]
                one.close()
"""
_DIAL: Final = """
import asyncio, errno, json, socket, sys

async def one(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(float(sys.argv[2])):
                await loop.sock_connect(sock, (address, port))
                await loop.sock_sendall(sock, b"?")
                return "open" if await loop.sock_recv(sock, 1) == b"?" else "closed"
        except TimeoutError:
            return "silent"
        except OSError as problem:
            refused = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.ECONNRESET)
            return "refused" if problem.errno in refused else errno.errorcode.get(problem.errno, str(problem))

async def main():
    print(json.dumps(await asyncio.gather(*(one(*job) for job in json.loads(sys.argv[1])))))

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Dial:
    """A connection that is tried: by whom, from which host, to where. A server of the lab echoes there, or nobody."""

    host: str
    user: str
    protocol: str
    address: str
    port: int


class Hosts:
    """All of them; `within(name)` are the words that run a command on one."""

    def __init__(self) -> None:
        self._tag = f"ph{os.getpid()}x{next(_COUNTER)}"
        self._names = ("wire", *ADDRESSES, "container")

    def within(self, name: str) -> tuple[str, ...]:
        """The words that run a command there."""
        return ("ip", "netns", "exec", self._tag + name)

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            with contextlib.suppress(NoNamespaces):
                ip("netns", "delete", self._tag + name)

    def _set_up(self) -> None:
        for name in self._names:
            ip("netns", "add", self._tag + name)
            self.do(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        self._batch("wire", ["link set lo up", "link add wire type bridge", "link set wire up"])
        for name, (four, six) in ADDRESSES.items():
            self._batch("wire", [f"link add to-{name} type veth peer name eth0 netns {self._tag}{name}"])
            self._batch("wire", [f"link set to-{name} master wire up"])
            lines = ["link set lo up", "link set eth0 up", f"address add {four}/32 dev eth0"]
            self._batch(name, [*lines, f"address add {six}/128 dev eth0 nodad", "route add default dev eth0"])
            self._batch(name, ["route add default dev eth0"], "-6")
        self._set_up_container()

    def _set_up_container(self) -> None:
        self._batch("server", [f"link add ctr0 type veth peer name eth0 netns {self._tag}container"])
        for name, device, (four, six) in (("server", "ctr0", _GATEWAY), ("container", "eth0", CONTAINER)):
            lines = [f"link set {device} up", f"address add {four}/30 dev {device}", "link set lo up"]
            self._batch(name, [*lines, f"address add {six}/64 dev {device} nodad"])
        self._batch("container", [f"route add default via {_GATEWAY[0]}", f"-6 route add default via {_GATEWAY[1]}"])
        self.do("server", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def _batch(self, name: str, lines: Sequence[str], family: str = "") -> None:
        plain = [one for one in lines if not one.startswith("-6 ")]
        self.do(name, "ip", *([family] if family else []), "-batch", "-", text="\n".join(plain) + "\n")
        for one in lines:
            if one.startswith("-6 "):
                self.do(name, "ip", *one.split())

    def publish(self, ports: Mapping[int, int]) -> None:
        """Ports of the server → ports of the container, as a container engine does it, in tables of its own."""
        rules = []
        for family, word, (address, behind) in (
            ("ip", "ip", (CONTAINER[0], f"{_GATEWAY[0]}/30")),
            ("ip6", "ip6", (CONTAINER[1], "2001:db8:c::/64")),
        ):
            goal = f"[{address}]" if family == "ip6" else address
            to = "\n".join(
                f'iifname != "ctr0" fib daddr type local tcp dport {published} dnat to {goal}:{port}'
                for published, port in ports.items()
            )
            rules.append(
                f"table {family} engine {{\n"
                f"chain prerouting {{ type nat hook prerouting priority dstnat; {to}\n}}\n"
                f"chain postrouting {{ type nat hook postrouting priority srcnat; "
                f'{word} saddr {behind} oifname != "ctr0" masquerade\n}}\n}}\n'
            )
        self.do("server", "nft", "-f", "-", text="".join(rules))

    def do(self, name: str, *command: str, text: str = "") -> str:
        """Run a command there. Raises NoNamespaces when it fails."""
        done = subprocess.run(
            [*self.within(name), *command], input=text, text=True, capture_output=True, timeout=30, check=False
        )
        if done.returncode:
            raise NoNamespaces(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def connect(self, name: str, address: str, port: int) -> socket.socket:
        """A connection from that host."""
        box: list[socket.socket | BaseException] = []

        def work() -> None:
            try:
                enter(self._tag + name)
                box.append(socket.create_connection((address, port), 5))
            except BaseException as problem:
                box.append(problem)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(box[0], BaseException):
            raise box[0]
        return box[0]

    @contextlib.contextmanager
    def listening(self, wanted: Mapping[str, Iterable[tuple[str, int]]]) -> Iterator[None]:
        """Servers that echo: by host, (protocol, port)."""
        with contextlib.ExitStack() as stack:
            for name, ports in wanted.items():
                words = [*self.within(name), sys.executable, "-S", "-c", _ECHO, json.dumps(list(ports))]
                process = stack.enter_context(
                    subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                )
                assert process.stdin is not None
                stack.callback(process.stdin.close)
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            yield

    def dial_all(self, wanted: Iterable[Dial], patience_seconds: float = PATIENCE_SECONDS) -> dict[Dial, str]:
        """What comes of each: open (and echoed), refused, silent, or the name of an error."""
        groups: dict[tuple[str, str], list[Dial]] = {}
        for one in wanted:
            groups.setdefault((one.host, one.user), []).append(one)
        running = []
        for (host, user), dials in groups.items():
            who = () if user == "root" else ("setpriv", f"--reuid={user}", "--clear-groups")
            jobs = json.dumps([(one.protocol, one.address, one.port) for one in dials])
            words = [*self.within(host), *who, sys.executable, "-S", "-c", _DIAL, jobs, str(patience_seconds)]
            running.append((dials, subprocess.Popen(words, stdout=subprocess.PIPE, text=True)))
        found: dict[Dial, str] = {}
        for dials, process in running:
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, dials
            found.update(zip(dials, json.loads(said), strict=True))
        return found


@contextlib.contextmanager
def hosts_or_skip() -> Iterator[Hosts]:
    """Skips visibly where no namespaces can be made."""
    import pytest

    hosts = Hosts()
    try:
        hosts.__enter__()
    except NoNamespaces as problem:
        pytest.skip(f"no namespaces here: {problem}")
    try:
        yield hosts
    finally:
        hosts.__exit__()
