"""postreeve itself, as a real process with a configuration file like any operator's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import free_port, running, wait_for_port

PASSWORD = "bench-password"  # a test credential

interpreter = sys.executable
"""The Python that runs postreeve: `--python` names that of another environment."""

_CONFIG = """
hostname = "bench.test"
data_dir = "{data}"
user = ""
workers = "auto"

[tls]
certificate = "{certificate}"
key = "{key}"

[[listener]]
name = "relay"
addresses = ["127.0.0.1"]
port = {relay}
role = "relay"

[[listener]]
name = "submissions"
addresses = ["127.0.0.1"]
port = {submissions}
role = "submission"
tls = "implicit"

[limits]
connections_per_client = 20000
connections = 20000
max_messages_per_session = 1000000
max_message = "100MiB"

[relay]
networks = ["127.0.0.0/8"]

[[route]]
name = "next"
domains = ["*"]
{route}

[log]
file = "{log}"
"""


@dataclass(frozen=True, slots=True)
class PostreeveServer:
    """A running postreeve."""

    relay_port: int
    submissions_port: int
    pid: int
    data: Path
    ready_seconds: float


@contextmanager
def postreeve(base: Path, sink_port: int, hold: bool, certificate: Path, key: Path) -> Iterator[PostreeveServer]:
    """Run postreeve under `base` (which may hold a queue already)."""
    base.mkdir(parents=True, exist_ok=True)
    data = base / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    relay, submissions = free_port(), free_port()
    route = 'via = "hold"' if hold else f'via = "smarthost"\nhost = "127.0.0.1"\nport = {sink_port}\ntls = "none"'
    config = base / "postreeve.toml"
    config.write_text(
        _CONFIG.format(
            data=data,
            certificate=certificate,
            key=key,
            relay=relay,
            submissions=submissions,
            route=route,
            log=base / "postreeve.log",
        )
    )
    _command("user", "add", "bench", "--send-as", "*", "--password-stdin", "--config", str(config), stdin=PASSWORD)
    command = [interpreter, "-m", "postreeve", "serve", "--config", str(config)]
    with running(command, base / "postreeve.out") as process:
        ready = wait_for_port(relay, 60, process)
        yield PostreeveServer(relay, submissions, process.pid, data, ready)


def describe() -> str:
    """What is measured: the version, and whether its core is compiled."""
    return subprocess.run(
        [interpreter, "-m", "postreeve", "--version", "--verbose"], capture_output=True, text=True, check=True
    ).stdout.replace("\n", "  ")


def _command(*arguments: str, stdin: str) -> None:
    done = subprocess.run(
        [interpreter, "-m", "postreeve", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "exists" not in done.stderr + done.stdout:
        raise SystemExit(f"postreeve {' '.join(arguments)}: {done.stderr or done.stdout}")
