"""The running server as the tools see it: is it there, what does it say of itself, wake it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from postreeve.app.control import Answer, ask, ask_all, socket_path
from postreeve.app.lock import holder_of

RUN = "run"


def is_running(data_dir: Path) -> bool:
    """True when a server works with this data directory."""
    return holder_of(data_dir) is not None


def read_facts(data_dir: Path) -> dict[str, Any]:
    """What the server wrote about itself when it was ready: pid, version, listeners …; empty when there is nothing."""
    try:
        facts = json.loads((data_dir / RUN / "server.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def ask_workers(data_dir: Path, request: dict[str, Any]) -> dict[int, Answer]:
    """The answers of all workers that answer, by index."""
    return asyncio.run(ask_all(data_dir / RUN, request))


def tell_change(data_dir: Path, change: str, recipients: int, where: str) -> bool:
    """Wake the workers after an operator's change, which one of them logs and counts; False when none runs."""
    if not is_running(data_dir):
        return False
    report = {"do": "wake", "change": change, "recipients": recipients, "filter": where}

    async def tell() -> bool:
        woken = await ask_all(data_dir / RUN, {"do": "wake"})
        if woken:
            await ask(socket_path(data_dir / RUN, min(woken)), report)
        return bool(woken)

    return asyncio.run(tell())
