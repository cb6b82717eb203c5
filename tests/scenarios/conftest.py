"""What the scenarios share: an account, and a calm log at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postreeve.app.accounts import ensure
from tests.lab.server import Server

USERNAME, PASSWORD = "alice", "correct horse battery"
ALARMS = ("event=internal_error", "Traceback", "event=store_trouble", "event=worker_exited")


def make_server(directory: Path, config: Mapping[str, Any] | None = None, **more: Any) -> Server:
    """A server, not yet started, with the account alice, who may send as anybody."""
    server = Server(directory, config, **more)
    server.data_dir.mkdir(mode=0o700, parents=True)
    ensure(server.data_dir, USERNAME, PASSWORD, ("*",))
    return server


def assert_calm(server: Server) -> None:
    """Whatever the peers did, it was no bug of ours."""
    alarms = [line for line in server.log().splitlines() if any(alarm in line for alarm in ALARMS)]
    assert not alarms, alarms[:3]
