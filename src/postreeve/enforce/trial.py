"""A host and everybody else, in two namespaces that end with this process: rules are loaded, connections are dialled.

    python -m postreeve.enforce.trial      JSON in, JSON out; see `rehearse`

The first process becomes the host; its child is everybody else, with all their addresses on one wire.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PATIENCE_SECONDS: Final = 1.5
_AT_ONCE: Final = 400
_Row = tuple[int, str, str, str, int, str]
"""Number, direction, protocol, peer, port, user."""


class _Failed(Exception):
    pass


def main() -> int:
    """Read the document, answer with one word for each case."""
    document: dict[str, Any] = json.load(sys.stdin)
    rows = [(number, *case) for number, case in enumerate(document["cases"])]
    answers = ["unknown"] * len(rows)
    try:
        _unshare()
        with _everybody_else(document, rows) as there:
            for words, text in document["loads"]:
                _run(words, text)
            servers = _serve({(row[2], row[4], "::") for row in rows if row[1] == "in"})
            there.ask({"dial": [row for row in rows if row[1] == "in"], "host": document["host"]})
            _echo_until(servers, there.answers)
            _note(answers, there.read())
            for reading, pid in [_as_user(user, rows) for user in sorted({row[5] for row in rows if row[1] == "out"})]:
                _note(answers, _collect(reading, pid))
    except (_Failed, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(json.dumps(answers))
    return 0


def _note(answers: list[str], said: Sequence[tuple[int, str]]) -> None:
    for number, word in said:
        answers[number] = word


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"a network namespace: {os.strerror(ctypes.get_errno())}")


def _run(words: list[str], text: str = "") -> None:
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise _Failed(f"{words[0]}: {problem}") from None
    if done.returncode:
        raise _Failed(f"{words[0]}: {done.stderr.strip() or 'it failed'}")


class _There:
    """The child."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions = questions
        self.answers = answers

    def ask(self, question: dict[str, Any]) -> None:
        _write(self._questions, question)

    def read(self) -> list[tuple[int, str]]:
        return [(int(number), str(word)) for number, word in _read(self.answers)]


@contextlib.contextmanager
def _everybody_else(document: dict[str, Any], rows: list[_Row]) -> Iterator[_There]:
    questions_in, questions_out = os.pipe()
    answers_in, answers_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(questions_out)
            os.close(answers_in)
            _be_everybody(document, rows, questions_in, answers_out)
            status = 0
        except (_Failed, OSError, EOFError) as problem:
            sys.stderr.write(f"{problem}\n")
        finally:
            os._exit(status)
    os.close(questions_in)
    os.close(answers_out)
    there = _There(questions_out, answers_in)
    try:
        there.read()  # it has a namespace
        device = document["device"]
        _run(["ip", "link", "add", device, "type", "veth", "peer", "name", "others", "netns", str(pid)])
        _configure(device, document["host"])
        there.ask({})
        there.read()  # it is ready
        yield there
    except EOFError:
        raise _Failed("the other side of the rehearsal ended early") from None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(questions_out)
        os.close(answers_in)


def _configure(device: str, addresses: Sequence[str]) -> None:
    for name in ("all", "default", device):
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "w") as file:
            file.write("0")
    lines = ["link set lo up", f"link set {device} up"]
    for address in addresses:
        is_six = ":" in address
        lines.append(f"address add {address}/{128 if is_six else 32} dev {device}{' nodad' if is_six else ''}")
    _run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
    for family in ("-4", "-6"):
        # A machine may be without IPv6 altogether.
        with contextlib.suppress(_Failed):
            _run(["ip", family, "route", "add", "default", "dev", device])


def _be_everybody(document: dict[str, Any], rows: list[_Row], questions: int, answers: int) -> None:
    _unshare()
    _write(answers, [])
    _read(questions)
    _configure("others", document["peers"])
    # A datagram is answered from the address that it was sent to.
    servers = _serve({(row[2], row[4], "::" if row[2] == "tcp" else row[3]) for row in rows if row[1] == "out"})
    _write(answers, [])
    asked = _read(questions)
    four, six = asked["host"]
    jobs = [
        (number, protocol, six if ":" in peer else four, port, peer)
        for number, _, protocol, peer, port, _ in asked["dial"]
    ]
    _write(answers, _dial(jobs))
    _echo_until(servers, -1)


def _serve(wanted: set[tuple[str, int, str]]) -> list[socket.socket]:
    found = []
    for protocol, port, address in sorted(wanted):
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        if address == "::":
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.setblocking(False)
        if protocol == "tcp":
            server.listen(1024)
        found.append(server)
    return found


def _echo_until(servers: list[socket.socket], end: int) -> None:
    """Datagrams are sent back; connections are the kernel's to accept. Returns when `end` can be read."""
    poll = select.poll()
    datagrams = {one.fileno(): one for one in servers if one.type == socket.SOCK_DGRAM}
    for number in (*datagrams, *([end] if end >= 0 else [])):
        poll.register(number, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            if number == end:
                return
            with contextlib.suppress(OSError):
                data, source = datagrams[number].recvfrom(64)
                datagrams[number].sendto(data, source)


def _as_user(user: str, rows: list[_Row]) -> tuple[int, int]:
    """Dial in a process of that account: where to read what it found, and its id."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if user != "root":
                entry = pwd.getpwnam(user)
                os.setgroups([])
                os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
                os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            mine = [row for row in rows if row[1] == "out" and row[5] == user]
            _write(writing, _dial([(number, protocol, peer, port, "") for number, _, protocol, peer, port, _ in mine]))
            status = 0
        except KeyError:
            _write(writing, [])  # no such account here: not known
        finally:
            os._exit(status)
    os.close(writing)
    return reading, pid


def _collect(reading: int, pid: int) -> list[tuple[int, str]]:
    try:
        return [(int(number), str(word)) for number, word in _read(reading)]
    except EOFError:
        raise _Failed("dialling as another account failed") from None
    finally:
        os.close(reading)
        os.waitpid(pid, 0)


def _dial(jobs: list[tuple[int, str, str, int, str]]) -> list[tuple[int, str]]:
    """Number, protocol, address, port, source → number and word; many at the same time."""
    found: list[tuple[int, str]] = []
    for start in range(0, len(jobs), _AT_ONCE):
        found += _dial_some(jobs[start : start + _AT_ONCE])
    return found


def _dial_some(jobs: list[tuple[int, str, str, int, str]]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    waiting: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    for number, protocol, address, port, source in jobs:
        is_stream = protocol == "tcp"
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            if source:
                sock.bind((source, 0))
            code = sock.connect_ex((address, port))
            if not is_stream and code == 0:
                sock.send(b"?")
        except OSError as problem:
            code = problem.errno or errno.EINVAL
        if code not in (0, errno.EINPROGRESS):
            found.append((number, _word(code)))
            sock.close()
            continue
        waiting[sock.fileno()] = (number, sock)
        poll.register(sock, select.POLLOUT if is_stream else select.POLLIN)
    end = time.monotonic() + _PATIENCE_SECONDS
    while waiting and (left := end - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            number, sock = waiting.pop(descriptor)
            poll.unregister(descriptor)
            found.append((number, _word(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))))
            sock.close()
    for number, sock in waiting.values():
        found.append((number, "silent"))
        sock.close()
    return found


def _word(code: int) -> str:
    if code == 0:
        return "open"
    if code in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EACCES, errno.ENETUNREACH):
        return "reset"
    # The kernel tells at once of a datagram that was dropped on its way out; nobody else hears anything.
    return "silent" if code in (errno.EPERM, errno.ETIMEDOUT) else "unknown"


def _write(descriptor: int, document: Any) -> None:
    data = json.dumps(document).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor: int) -> Any:
    found = bytearray()
    while not found.endswith(b"\n"):
        piece = os.read(descriptor, 65_536)
        if not piece:
            raise EOFError
        found += piece
    return json.loads(found)


if __name__ == "__main__":
    sys.exit(main())
