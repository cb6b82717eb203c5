"""The commands that change the machine, run in a namespace on a configuration of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.pair import Pair

CONFIG = """
hostname = "mail.example.org"
data_dir = "{directory}/data"
user = ""
[[listener]]
port = 25
role = "relay"
tls = "none"
[[domain]]
name = "example.org"
[[route]]
domains = ["example.org"]
via = "maildir"
[[route]]
domains = ["*"]
via = "mx"
[dns]
servers = ["198.51.100.7"]
[doctor]
known_good = []
[firewall]
ssh_from = ["192.0.2.77", "2001:db8::77"]
{further}
"""


def write_config(directory: Path, further: str = "") -> Path:
    """Ready to use; `further` are lines of [firewall] and tables behind it."""
    path = directory / "postreeve.toml"
    path.write_text(CONFIG.format(directory=directory, further=further))
    return path


def words_of(pair: Pair, directory: Path, command: str, *options: str) -> list[str]:
    """What to run."""
    words = [*pair.within, sys.executable, "-m", "postreeve", "firewall", command, "--root", str(directory)]
    if command in ("apply", "verify"):
        words += ["--config", str(directory / "postreeve.toml")]
    return [*words, *options]


def run(
    pair: Pair, directory: Path, command: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    return subprocess.run(
        words_of(pair, directory, command, *options),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
        env=_clean() | environment,
    )


def run_json(pair: Pair, directory: Path, command: str, *options: str, expect: int = 0, **environment: str) -> Any:
    """The document that it prints."""
    done = run(pair, directory, command, *options, "--json", **environment)
    assert done.returncode == expect, done.stdout + done.stderr
    return json.loads(done.stdout)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "POSTREEVE"))}
