"""How far a command has come, for whoever waits at a terminal: one line that is rewritten, and gone at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

FIRST_SECONDS: Final = 1.0
"""What is done by then needs no progress."""
EVERY_SECONDS: Final = 0.2


class Progress:
    """`with Progress() as progress: … progress.tell("…")`. Silent where standard error is no terminal."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._due = clock() + FIRST_SECONDS
        self._is_shown = self._stream.isatty()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def tell(self, text: str) -> None:
        """Show `text` if there was time for it."""
        if not self._is_shown or self._clock() < self._due:
            return
        self._due = self._clock() + EVERY_SECONDS
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Leave the line empty, before something else is written."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0
