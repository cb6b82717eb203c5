"""Two hosts made of namespaces, on one wire with both families: one is protected, the other is everybody else.

    with Pair() as pair:
        pair.do(pair.host, "nft", "list", "ruleset")
        pair.dial(HOST_4, 25, source=ADMIN_4)

Everybody else has as many addresses as are asked for, so that they can be told apart by their sources.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self, TypeVar

from tests.lab.network import NoNamespaces, enter, ip

T = TypeVar("T")
HOST_4, HOST_6 = "192.0.2.1", "2001:db8::1"
ADMIN_4, ADMIN_6 = "192.0.2.77", "2001:db8::77"
CLIENT_4, CLIENT_6 = "198.51.100.7", "2001:db8:1::7"
_COUNTER: Final = itertools.count()


class Pair:
    """`host` - `peer`."""

    def __init__(self, *further: str) -> None:
        tag = f"pr{os.getpid()}x{next(_COUNTER)}"
        self.host, self.peer = f"{tag}h", f"{tag}p"
        self._addresses = (ADMIN_4, ADMIN_6, CLIENT_4, CLIENT_6, *further)

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.host, self.peer):
            with contextlib.suppress(NoNamespaces):
                ip("netns", "delete", name)

    def _set_up(self) -> None:
        for name in (self.host, self.peer):
            ip("netns", "add", name)
            self.do(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", self.host, "type", "veth", "peer", "name", "eth0", "netns", self.peer)
        for name, addresses in ((self.host, (HOST_4, HOST_6)), (self.peer, self._addresses)):
            ip("-n", name, "link", "set", "eth0", "up")
            for address in addresses:
                words = ("dev", "eth0", "nodad") if ":" in address else ("dev", "eth0")
                ip("-n", name, "address", "add", f"{address}/{128 if ':' in address else 32}", *words)
            for family in ("-4", "-6"):
                ip("-n", name, family, "route", "add", "default", "dev", "eth0")

    @property
    def within(self) -> tuple[str, ...]:
        """The words that run a command on the host."""
        return ("ip", "netns", "exec", self.host)

    def do(self, name: str, *command: str, text: str = "") -> str:
        """Run a command there."""
        import subprocess

        words = ["ip", "netns", "exec", name, *command]
        done = subprocess.run(words, input=text, text=True, capture_output=True, timeout=30, check=False)
        if done.returncode:
            raise NoNamespaces(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def inside(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns in a thread of that namespace."""
        box: list[tuple[T | None, BaseException | None]] = []

        def call() -> None:
            try:
                enter(name)
                box.append((work(), None))
            except BaseException as problem:
                box.append((None, problem))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        result, problem = box[0]
        if problem is not None:
            raise problem
        return result  # type: ignore[return-value]

    def connect(
        self, address: str, port: int, source: str = "", *, within: str = "", timeout: float = 1.0
    ) -> socket.socket:
        """A connection from the peer to the host, or the other way with `within`."""

        def work() -> socket.socket:
            return socket.create_connection((address, port), timeout, (source, 0) if source else None)

        return self.inside(within or self.peer, work)

    def dial(self, address: str, port: int, source: str = "", *, within: str = "", timeout: float = 0.7) -> str:
        """open, reset, silent, or the name of another error."""
        try:
            self.connect(address, port, source, within=within, timeout=timeout).close()
        except TimeoutError:
            return "silent"
        except ConnectionRefusedError:
            return "reset"
        except OSError as problem:
            return errno.errorcode.get(problem.errno or 0, str(problem))
        return "open"

    @contextlib.contextmanager
    def listen(self, name: str, ports: Sequence[int]) -> Iterator[None]:
        """Servers that echo what they are sent."""
        listeners = self.inside(name, lambda: [one for port in ports for one in _listeners(port)])
        threads = [threading.Thread(target=_echo, args=(one,), daemon=True) for one in listeners]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for one in listeners:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            for thread in threads:
                thread.join(5)


def _listeners(port: int) -> Iterator[socket.socket]:
    """One for each family, as the server has them."""
    yield socket.create_server(("0.0.0.0", port))
    yield socket.create_server(("::", port), family=socket.AF_INET6)


def _echo(listener: socket.socket) -> None:
    def answer(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(4096):
                sock.sendall(data)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def is_alive(sock: socket.socket) -> bool:
    """The other side still echoes."""
    sock.settimeout(1.0)
    try:
        sock.sendall(b"?")
        return sock.recv(1) == b"?"
    except OSError:
        return False


@contextlib.contextmanager
def pair_or_skip(*further: str) -> Iterator[Pair]:
    """Skips visibly where no namespaces can be made."""
    import pytest

    pair = Pair(*further)
    try:
        pair.__enter__()
    except NoNamespaces as problem:
        pytest.skip(f"no namespaces here: {problem}")
    try:
        yield pair
    finally:
        pair.__exit__()
