"""Content on its way to the operator: octet for octet into a file or pipe, made harmless on a terminal."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Final

from postreeve.cli.output import clean

_HEADER_MOST: Final = 4 << 20


async def print_content(pieces: AsyncIterator[bytes]) -> None:
    """All of it."""
    rest = b""
    async for piece in pieces:
        if not sys.stdout.isatty():
            sys.stdout.buffer.write(piece)
            continue
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            _print_line(line)
    if rest:
        _print_line(rest)
    sys.stdout.buffer.flush()


async def print_header(pieces: AsyncIterator[bytes]) -> None:
    """The header section, as it was received."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if b"\r\n\r\n" in gathered or len(gathered) > _HEADER_MOST:
            break
    header, _, _ = (b"\r\n" + bytes(gathered)).partition(b"\r\n\r\n")
    await print_content(_one(header[2:] + b"\r\n" if len(header) > 2 else b""))


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def _print_line(line: bytes) -> None:
    text = line.rstrip(b"\r").decode("utf-8", "replace").replace("\t", "    ")
    sys.stdout.write(clean(text) + "\n")
