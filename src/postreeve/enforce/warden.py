"""`bans` as two processes: one works, the other starts another when it dies. Neither needs the server to be alive.

    python -m postreeve.enforce.warden SETTINGS      with the pipe as standard input

The server starts it before it gives up the rights of root, and it ends when the last process of the server has closed
its end of the pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from postreeve.enforce.bans import BanLine, Keeper, SshPeers, serve
from postreeve.enforce.capability import has_net_admin, keep_net_admin_only
from postreeve.enforce.command import CommandFailed
from postreeve.enforce.netlink import Sets
from postreeve.enforce.place import Place
from postreeve.enforce.sockets import established_peers
from postreeve.firewall.flow import Address, Network
from postreeve.mail.error import PostreeveError

_NOBODY: Final = 65_534
_PIPE_OCTETS: Final = 262_144
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STABLE_SECONDS: Final = 60.0
_START_SECONDS: Final = 15.0


def start(protected: Iterable[Network], ssh_ports: Iterable[int], place: Place | None = None) -> BanLine | None:
    """The line to a warden of our own; None when this process has not the right that it needs, or could not
    start it: then the warden has said why on standard error.
    """
    if not has_net_admin():
        return None
    settings = {"protected": [str(one) for one in protected], "ssh_ports": sorted(set(ssh_ports))}
    reading, writing = os.pipe()
    # Enough for thousands of wishes while one batch is under way; less will do where the kernel does not give it.
    with contextlib.suppress(OSError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_OCTETS)
    words = [sys.executable, "-P", "-m", "postreeve.enforce.warden", json.dumps(settings)]
    try:
        done = subprocess.run(
            (place or Place()).command(*words),
            stdin=reading,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            timeout=_START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        done = None
    finally:
        os.close(reading)
    line = BanLine(writing)
    if done is None or done.returncode:
        line.close()
        return None
    return line


def main(arguments: list[str]) -> int:
    """Give up what is not needed, then keep one worker at work until the pipe is closed."""
    try:
        settings = _read(arguments[0])
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        sys.stderr.write(f"postreeve: the keeper of bans got settings that it does not understand: {problem}\n")
        return 2
    try:
        keep_net_admin_only(*_nobody())
    except OSError as problem:
        sys.stderr.write(f"postreeve: bans are off: CAP_NET_ADMIN is not to be had: {problem.strerror}\n")
        return 1
    if os.fork():
        # Whoever started us knows now that it works, and has no child to look after.
        os._exit(0)
    os.set_blocking(0, False)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    pause = 0.0
    while True:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _work(*settings)
            finally:
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        if os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 0:
            return 0
        # The first is replaced at once; one that cannot live is not tried all the time.
        pause = 0.0 if time.monotonic() - began > _STABLE_SECONDS else min(_LONGEST_PAUSE_SECONDS, pause * 2 + 0.01)
        time.sleep(pause)


def _work(protected: tuple[Network, ...], ssh_ports: frozenset[int]) -> int:
    try:
        keeper = Keeper(Sets(), protected, SshPeers(ssh_ports, _logged_in))
        serve(0, keeper)
    except OSError as problem:
        sys.stderr.write(f"postreeve: bans: {problem.strerror}; trying again\n")
        return 1
    return 0


def _logged_in(ports: frozenset[int]) -> frozenset[Address]:
    try:
        return established_peers(ports)
    except (CommandFailed, PostreeveError, OSError):
        return frozenset()


def _read(text: str) -> tuple[tuple[Network, ...], frozenset[int]]:
    document: dict[str, Any] = json.loads(text)
    networks = tuple(ipaddress.ip_network(one) for one in document["protected"])
    return networks, frozenset(int(port) for port in document["ssh_ports"])


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return entry.pw_uid, entry.pw_gid


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
