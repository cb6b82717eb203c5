"""Real receivers on loopback: Postfix's smtp-sink and Dovecot's LMTP server."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.outbound.smtp import Connection, Connector
from postreeve.queue.outcome import Delivered, Handover, Refused, Stage
from postreeve.queue.step import PLAINTEXT, Connect, Dialogue
from tests.outbound.conftest import outgoing

pytestmark = pytest.mark.asyncio

Connectors = Callable[..., Connector]
Find = Callable[[str], Path]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not is_ready():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], is_ready: Callable[[], bool]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_until(is_ready, process)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.parametrize(
    "options", [[], ["-p"], ["-e"], ["-8"], ["-L"]], ids=["plain", "no-pipelining", "no-ehlo", "no-8bitmime", "lmtp"]
)
async def test_smtp_sink_takes_a_hundred_messages(options: list[str], connector: Connectors, peer: Find) -> None:
    program, port = peer("smtp-sink"), free_port()
    user = ["-u", pwd.getpwuid(os.getuid()).pw_name] if os.getuid() == 0 else []
    with running([str(program), *user, *options, f"127.0.0.1:{port}", "100"], lambda: answers(port)):
        dialogue = Dialogue.LMTP if "-L" in options else Dialogue.SMTP
        connection = await connector().open(Connect("localhost", "127.0.0.1", port, PLAINTEXT, dialogue=dialogue))
        assert isinstance(connection, Connection), connection
        for number in range(100):
            body = b"Subject: %d\r\n\r\n.leading dot\r\n\xc3\xa4\r\n" % number
            (outcome,) = await connection.send(outgoing(body))
            assert isinstance(outcome, Delivered), outcome
        assert connection.messages == 100
        connection.close()
        await connection.wait_closed()


DOVECOT = """
protocols = lmtp
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = no
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
mail_location = maildir:{base}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@example.org
quota_full_tempfail = yes
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {base}/users
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  chroot =
  unix_listener {base}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


@pytest.fixture
def dovecot(tmp_path_factory: pytest.TempPathFactory, peer: Find) -> Iterator[tuple[Path, int]]:
    program = peer("dovecot")
    base, port = tmp_path_factory.mktemp("d"), free_port()
    owner = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    group = subprocess.run(["id", "-gn", owner.pw_name], capture_output=True, text=True, check=True).stdout.strip()
    (base / "users").write_text("bob::::::\neve::::::\n")
    (base / "mail").mkdir()
    for path in (base, *base.parents):
        if path == Path("/tmp") or path.stat().st_uid != os.getuid():
            break
        path.chmod(0o755)
    if os.getuid() == 0:
        os.chown(base / "mail", owner.pw_uid, owner.pw_gid)
    config = base / "dovecot.conf"
    config.write_text(
        DOVECOT.format(base=base, user=owner.pw_name, group=group, uid=owner.pw_uid, gid=owner.pw_gid, port=port)
    )
    with running([str(program), "-F", "-c", str(config)], lambda: (base / "lmtp").exists() and answers(port)):
        yield base, port


@pytest.mark.parametrize("over_socket", [False, True], ids=["tcp", "socket"])
async def test_dovecot_stores_for_each_recipient(
    over_socket: bool, dovecot: tuple[Path, int], connector: Connectors
) -> None:
    base, port = dovecot
    step = Connect("localhost", "127.0.0.1", port, PLAINTEXT, dialogue=Dialogue.LMTP)
    if over_socket:
        step = replace(step, socket=str(base / "lmtp"))
    connection = await connector().open(step)
    assert isinstance(connection, Connection), (connection, (base / "log").read_text())
    people = ("bob@example.org", "nobody-here@example.org", "eve@example.org")
    content = b"Subject: test\r\n\r\n.dot\r\n..\r\nlast\r\n"
    for _ in range(2):
        bob, stranger, eve = await connection.send(outgoing(content, people))
        assert isinstance(bob, Delivered), (bob, (base / "log").read_text())
        assert bob.handover is Handover.FINAL
        assert isinstance(eve, Delivered)
        assert isinstance(stranger, Refused)
        assert stranger.stage is Stage.RCPT
        assert stranger.reply.code == 550
    connection.close()
    await connection.wait_closed()
    for user in ("bob", "eve"):
        stored = [path.read_bytes() for path in (base / "mail").glob(f"{user}*/new/*")]
        assert len(stored) == 2
        assert all(one.endswith(b"Subject: test\n\n.dot\n..\nlast\n") for one in stored)


async def test_memory_stays_flat_while_50_mb_pass(connector: Connectors, peer: Find) -> None:
    program, port = peer("smtp-sink"), free_port()
    user = ["-u", pwd.getpwuid(os.getuid()).pw_name] if os.getuid() == 0 else []
    line = b"x" * 76 + b"\r\n"
    piece = line * 840
    rounds = 50 * 1024 * 1024 // len(piece)
    peak = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal peak
        for _ in range(rounds):
            peak = max(peak, resident())
            yield piece

    with running([str(program), *user, f"127.0.0.1:{port}", "10"], lambda: answers(port)):
        connection = await connector().open(Connect("localhost", "127.0.0.1", port, PLAINTEXT))
        assert isinstance(connection, Connection)
        before = resident()
        (outcome,) = await connection.send(replace(outgoing(), content=pieces(), size_octets=rounds * len(piece)))
        connection.close()
        await connection.wait_closed()
    assert isinstance(outcome, Delivered)
    assert peak - before < 4 * 1024 * 1024


def resident() -> int:
    """Octets of memory in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
