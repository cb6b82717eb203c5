"""A thread with a connection that only reads (or only checkpoints): nothing it does makes the writer wait."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from postreeve.store.face import StoreError, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs functions of its connection, one after another. The thread begins with the first of them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]] | None]
        self._calls = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_closed = False

    async def run(self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call(connection, …)` in the thread; sqlite3's errors come as StoreError."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        if not self._thread.is_alive():
            self._thread.start()
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((lambda connection: call(connection, *args, **kwargs), future))
        return await future

    async def close(self) -> None:
        """Finish what was asked for and end the thread."""
        self._is_closed = True
        if self._thread.is_alive():
            self._calls.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (item := self._calls.get()) is not None:
            call, future = item
            try:
                connection = connection or self._connect()
                self._tell(future, call(connection), None)
            except sqlite3.Error as error:
                self._tell(future, None, StoreError(f"the queue file cannot be read: {error}"))
            except BaseException as error:
                self._tell(future, None, error)
        if connection is not None:
            connection.close()

    def _tell(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, future, result, error)
        except RuntimeError:
            pass  # the loop is gone: nobody waits any more


def _resolve(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
