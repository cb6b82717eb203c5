"""A data directory as a server leaves it behind, and commands run against it as an operator would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from postreeve import cli
from postreeve.mail.ident import to_text
from postreeve.queue.model import NewMessage
from postreeve.store.sqlite import SqliteStore

CONFIG = """
hostname = "mail.example.org"
data_dir = "data"
user = ""

[[listener]]
name = "mx"
addresses = ["127.0.0.1"]
port = 2525
role = "relay"
tls = "none"

[[route]]
name = "out"
domains = ["*"]
via = "mx"
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """The output with all white space alike, for looking into tables."""
        return " ".join(self.out.split())


@dataclass(slots=True)
class Desk:
    """An operator with a configuration file."""

    config: Path
    capture: pytest.CaptureFixture[str]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.config.parent / "data"

    def run(self, *words: str) -> Done:
        """The command in this process, with --config."""
        self.capture.readouterr()
        arguments = [*words, "--config", str(self.config)]
        status = cli._run(cli._program([words[0]]), arguments)
        captured = self.capture.readouterr()
        assert "Traceback" not in captured.err
        return Done(status, captured.out, captured.err)

    def with_store(self, work: Callable[[SqliteStore], Coroutine[Any, Any, None]], node: int = 0) -> None:
        """`work` with the store of one worker, as its owner, which is closed again."""

        async def run() -> None:
            store = SqliteStore(self.data, node)
            await store.open()
            try:
                await work(store)
            finally:
                await store.close()

        asyncio.run(run())

    def accept(self, *messages: NewMessage, node: int = 0) -> list[str]:
        """Put messages into a queue file; returns their IDs."""

        async def work(store: SqliteStore) -> None:
            for message in messages:
                await store.accept(message)

        self.with_store(work, node)
        return [to_text(message.ident) for message in messages]


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A configuration and an empty data directory."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    config = tmp_path / "postreeve.toml"
    config.write_text(CONFIG)
    (tmp_path / "data").mkdir(mode=0o700)
    return Desk(config, capsys)
