"""Content in pieces; apart from their users because what is compiled has no asynchronous generators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

PIECE_OCTETS: Final = 262_144
"""Content above this goes out in pieces of it, so that a slow peer is noticed and memory stays flat."""


async def rejoin(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`first` again before the rest."""
    yield first
    async for piece in rest:
        yield piece


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    """Content in pieces of PIECE_OCTETS."""
    for start in range(0, len(content), PIECE_OCTETS):
        yield content[start : start + PIECE_OCTETS]
