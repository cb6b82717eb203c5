"""The Prometheus endpoint: GET /metrics for the whole server whichever worker answers, GET /healthz for load balancers.

It has no login: listen on loopback or on a network that only the monitoring can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from postreeve.telemetry.event import InternalError, Tell
from postreeve.telemetry.exposition import CONTENT_TYPE, render
from postreeve.telemetry.metric import Snapshot
from postreeve.web.health import find_problems

Collect = Callable[[], Awaitable[Snapshot]]
_NO_STORE: Final = {"Cache-Control": "no-store"}


def make_app(collect: Collect, tell: Tell) -> Starlette:
    """The application; `collect` gives the counts of all workers."""

    async def metrics(_: Request) -> Response:
        return Response(render(await collect()), media_type=CONTENT_TYPE, headers=_NO_STORE)

    async def health(_: Request) -> Response:
        problems = find_problems(await collect())
        text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
        return PlainTextResponse(text, 503 if problems else 200, headers=_NO_STORE)

    async def failed(request: Request, error: Exception) -> Response:
        tell(InternalError(f"GET {request.url.path[:100]}", "", "".join(traceback.format_exception(error))))
        return PlainTextResponse("internal error, see the log\n", 500, headers=_NO_STORE)

    def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Exception as error:
                return await failed(request, error)

        return answer

    return Starlette(routes=[Route("/metrics", guarded(metrics)), Route("/healthz", guarded(health))])


class _Server(uvicorn.Server):
    """uvicorn as one task among others: signals are the worker's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class MetricsServer:
    """The endpoint on one address and port."""

    __slots__ = ("_server", "_socket", "_task")

    def __init__(self, address: str, port: int, collect: Collect, tell: Tell) -> None:
        """Listens. Raises OSError when it cannot."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family, backlog=64)
        settings = uvicorn.Config(
            make_app(collect, tell),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=64,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(settings)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it got."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Answer from now on; call it in the running loop."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="metrics")

    async def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self._task, 3.0)
        self._socket.close()
