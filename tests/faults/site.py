"""The server under fault: its configuration, and what is still in its queue."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from postreeve.app.accounts import ensure
from postreeve.queue.model import QueueFilter, QueueStats
from postreeve.store.shards import open_visitors
from tests.faults.ledger import ACCOUNT, DOMAINS, Client, Door, Ledger
from tests.faults.sink import MARK
from tests.lab.server import Server

PAGE: Final = 1000


def settings(port: int, **tables: Any) -> dict[str, Any]:
    """Mail for our domains goes to a sink at `port`, each domain as a destination of its own; retries come soon."""
    loopback = {"addresses": ["127.0.0.1"], "port": 0, "limits": {"connections_per_client": 0}}
    config: dict[str, Any] = {
        "listener": [
            {"name": "mx", "role": "relay", **loopback},
            {"name": "submissions", "role": "submission", "tls": "implicit", **loopback},
        ],
        "domain": [{"name": name} for name in DOMAINS],
        "route": [
            {"name": name, "domains": [name], "via": "smarthost", "host": "127.0.0.1", "port": port, "tls": "none"}
            for name in DOMAINS
        ]
        + [{"name": "rest", "domains": ["*"], "via": "smarthost", "host": "127.0.0.1", "port": port, "tls": "none"}],
        "queue": {"retry": ["1s"], "min_free": "1MiB", "warn_after": []},
        "log": {"level": "info"},
    }
    for name, table in tables.items():
        config[name] = {**config[name], **table} if isinstance(config.get(name), Mapping) else table
    return config


def add_account(server: Server) -> None:
    """Before the start: the account that clients use on 465."""
    server.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    name, password = ACCOUNT
    ensure(server.data_dir, name, password, ("*",))


def doors(server: Server) -> tuple[Door, Door]:
    """Port 25 and port 465, wherever the running server has them."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    return Door(lambda: server.port("mx")), Door(lambda: server.port("submissions"), context)


async def queue_stats(data_dir: Path) -> QueueStats:
    """What the queue files say now."""
    queue = await open_visitors(data_dir)
    try:
        return await queue.stats(time.time())
    finally:
        await queue.close()


async def queued_recipients(data_dir: Path) -> set[str]:
    """The addresses that are still to be delivered to."""
    queue = await open_visitors(data_dir)
    found: set[str] = set()
    try:
        after = 0
        while summaries := await queue.find(QueueFilter(), PAGE, after):
            for summary in summaries:
                found |= {str(one.recipient.mailbox) for one in summary.recipients if not one.state.is_final}
            after = summaries[-1].ident
    finally:
        await queue.close()
    return found


async def drain(data_dir: Path, seconds: float) -> None:
    """Until the queue is empty, or `seconds` are over: what remains is for `account` to see."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (await queue_stats(data_dir)).messages == 0:
            return
        await asyncio.sleep(0.2)


def assert_calm(log: str) -> None:
    """Nothing in the log that would alarm anybody."""
    alarming = [line for line in log.splitlines() if "level=error" in line or "Traceback" in line]
    assert not alarming, "\n".join(alarming[:20])


def make_clients(server: Server, ledger: Ledger, seed: int, count: int, by_submission: int) -> list[Client]:
    """`count` clients, the first `by_submission` of them on 465."""
    relay, submission = doors(server)
    return [
        Client(n, submission if n < by_submission else relay, ledger, random.Random(seed * 1000 + n))
        for n in range(count)
    ]


def wait_until_gone(pids: Sequence[int], seconds: float) -> None:
    """Returns when none of the processes runs any more; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"of {pids} some still run after {seconds} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """True for a process that runs or sleeps; a dead one that nobody has waited for is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def queued_idents(data_dir: Path) -> set[str]:
    """Our identifiers of all messages in the queue, whose content is read and verified."""
    queue = await open_visitors(data_dir)
    found: set[str] = set()
    try:
        for summary in await queue.find(QueueFilter(), PAGE):
            content = b"".join([piece async for piece in queue.content(summary.ident)])
            original = content[content.index(MARK) + len(MARK) :]
            found.add(original[: original.index(b"\r\n")].decode("ascii"))
    finally:
        await queue.close()
    return found


def integrity(data_dir: Path) -> list[str]:
    """What SQLite finds wrong with the queue files."""
    problems = []
    for path in sorted(data_dir.glob("queue-*.db")):
        with closing(sqlite3.connect(path)) as connection:
            problems += [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    return problems


def assert_no_traceback(log: str) -> None:
    """Trouble may be told, a surprise may not happen."""
    at = log.find("Traceback")
    assert at < 0, log[max(0, at - 1000) : at + 3000]
    assert "event=internal_error" not in log


def has_queued(data_dir: Path, ident: str) -> bool:
    """True when our message `ident` is in the queue, whole."""
    return ident in asyncio.run(queued_idents(data_dir))


def ask(server: Server, *command: str) -> dict[str, Any]:
    """What a reporting command of ours says, such as `status`."""
    line = [sys.executable, "-m", "postreeve", *command, "--json", "--config", str(server.config_file)]
    answer: dict[str, Any] = json.loads(subprocess.run(line, capture_output=True, check=False).stdout)
    return answer
