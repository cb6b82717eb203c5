"""The control socket: one line in, one line out."""

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from postreeve.app.control import Answer, ControlServer, ask, ask_all, socket_path


async def echo(request: Mapping[str, object]) -> Answer:
    return {"seen": dict(request)}


async def slow(_: Mapping[str, object]) -> Answer:
    await asyncio.Event().wait()
    return {}


def run_with(directory: Path, *workers: int) -> "tuple[ControlServer, ...]":
    return tuple(ControlServer(socket_path(directory, worker), {"echo": echo, "slow": slow}) for worker in workers)


@pytest.mark.asyncio
async def test_control_answers_each_worker(tmp_path: Path) -> None:
    servers = run_with(tmp_path, 0, 1, 10)
    for server in servers:
        await server.start()
    answers = await ask_all(tmp_path, {"do": "echo", "x": 1})
    for server in servers:
        await server.close()
    assert answers == {worker: {"ok": True, "seen": {"do": "echo", "x": 1}} for worker in (0, 1, 10)}
    assert os.listdir(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "line",
    [b"\n", b"no json\n", b"[]\n", b'{"do": "dance"}\n', b'{"do": ["echo"]}\n', b"\xff\n", b"x" * 100_000 + b"\n"],
)
async def test_control_survives_nonsense(tmp_path: Path, line: bytes) -> None:
    (server,) = run_with(tmp_path, 0)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(socket_path(tmp_path, 0))
    writer.write(line)
    answered = await reader.readline()
    writer.close()
    assert answered == b"" or json.loads(answered)["ok"] is False
    assert (await ask(socket_path(tmp_path, 0), {"do": "echo"})) is not None
    await server.close()


@pytest.mark.asyncio
async def test_control_belongs_to_its_account_alone(tmp_path: Path) -> None:
    (server,) = run_with(tmp_path, 0)
    await server.start()
    assert socket_path(tmp_path, 0).stat().st_mode & 0o777 == 0o600
    await server.close()


@pytest.mark.asyncio
async def test_control_replaces_the_socket_of_a_dead_worker(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(tmp_path, 0)))
    assert await ask(socket_path(tmp_path, 0), {"do": "echo"}) is None
    (server,) = run_with(tmp_path, 0)
    await server.start()
    assert await ask(socket_path(tmp_path, 0), {"do": "echo"}) is not None
    await server.close()


@pytest.mark.asyncio
async def test_control_works_in_a_directory_with_a_long_name(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    (server,) = run_with(directory, 0)
    await server.start()
    assert await ask_all(directory, {"do": "echo"}) == {0: {"ok": True, "seen": {"do": "echo"}}}
    await server.close()


@pytest.mark.asyncio
async def test_control_asks_no_longer_than_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postreeve.app.control._ASK_SECONDS", 0.05)
    monkeypatch.setattr("postreeve.app.control._REPLY_SECONDS", 0.05)
    (server,) = run_with(tmp_path, 0)
    await server.start()
    assert await ask(socket_path(tmp_path, 0), {"do": "slow"}) is None
    await server.close()
    assert await ask(Path(os.devnull), {"do": "echo"}) is None
