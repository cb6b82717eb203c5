"""What the doctor's probes are told: the configuration, and what the server says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from postreeve.checks.machine import QueueState
from postreeve.config.model import Config


@dataclass(frozen=True, slots=True)
class Running:
    """What is known from the server's own mouth; gathered by whoever can talk to it."""

    process: int = 0
    version: str = ""
    problems: tuple[str, ...] = ()
    queue: QueueState | None = None
    logins_failed: int = 0
    logins_succeeded: int = 0
    misplaced_credentials: int = 0
    ports: tuple[tuple[str, str, int], ...] = ()
    """Listener, address and port as they were really bound: a configured port 0 takes any."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look at. `known_good` are (host, port) that answer from any network which lets mail out.

    With `is_outward` false nothing is asked of anybody but this machine and its name servers.
    """

    config: Config
    config_path: Path
    running: Running = Running()
    known_good: tuple[tuple[str, int], ...] = ()
    block_lists: tuple[str, ...] = ()
    is_outward: bool = True
    ca_file: Path | None = None
    timeout_seconds: float = 5.0
