"""A worker's control socket: one JSON line in, one JSON line out, for the tools and for the worker that serves metrics.

    {"do": "status"}            → {"ok": true, …}
    {"do": "metrics"}           → {"ok": true, "snapshot": {…}}
    {"do": "wake"}              → {"ok": true}: look at the queue now

The socket belongs to the server's account alone (mode 0600).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

_MAX_LINE_OCTETS: Final = 65_536
_REPLY_SECONDS: Final = 5.0
_ASK_SECONDS: Final = 2.0

Answer = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Awaitable[Answer]]


def socket_path(run: Path, worker: int) -> Path:
    """Where the control socket of a worker is."""
    return run / f"worker-{worker}.sock"


class ControlServer:
    """Answers requests by the word in `do`. One request per connection."""

    __slots__ = ("_handlers", "_path", "_server")

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen. A socket left behind by a dead worker is replaced."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        _bind(listening, self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_MAX_LINE_OCTETS)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                answer = await self._answer(await reader.readline())
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass  # a tool that went away
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "problem": "the request is no JSON"}
        handler = self._handlers.get(str(request.get("do"))) if isinstance(request, dict) else None
        if handler is None:
            return {"ok": False, "problem": f"unknown request; known: {', '.join(sorted(self._handlers))}"}
        return {"ok": True, **await handler(request)}


def _bind(listening: socket.socket, path: Path) -> None:
    """Bind with mode 0600 from the start. A path may have 107 octets only: a long one is reached by its directory."""
    mask = os.umask(0o177)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening.bind(_short(path, directory))
    finally:
        os.close(directory)
        os.umask(mask)


def _short(path: Path, directory: int) -> str:
    return str(path) if len(os.fsencode(path)) <= 100 else f"/proc/self/fd/{directory}/{path.name}"


async def ask(path: Path, request: Mapping[str, Any]) -> Answer | None:
    """One worker's answer; None when it does not answer in time."""
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                reader, writer = await asyncio.open_unix_connection(_short(path, directory), limit=2**24)
            finally:
                os.close(directory)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (TimeoutError, OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


async def ask_all(run: Path, request: Mapping[str, Any]) -> dict[int, Answer]:
    """The answers of all workers that answer, by index."""
    names = [name for name in os.listdir(run) if name.startswith("worker-") and name.endswith(".sock")]
    paths = {int(name.removeprefix("worker-").removesuffix(".sock")): run / name for name in sorted(names)}
    answers = await asyncio.gather(*(ask(path, request) for path in paths.values()))
    return {index: answer for index, answer in zip(paths, answers, strict=True) if answer is not None}
