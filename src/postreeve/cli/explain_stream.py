"""A log as chunks of whole lines: compressed or not, cut off or not, in any encoding, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from postreeve.cli.explain_input import Unusable, is_binary

CHUNK_OCTETS: Final = 4 << 20
_COMPRESSED_OCTETS: Final = 256 << 10
_GZIP: Final = b"\x1f\x8b"
_WITH_GZIP_HEADER: Final = 31


def read_chunks(stream: BinaryIO, name: str) -> Iterator[tuple[bytes, str]]:
    """Chunks of whole lines, and a note with the last where the log could not be read to its end. Raises Unusable.

    A line longer than a chunk is cut: no log has such lines.
    """
    head = stream.read(_COMPRESSED_OCTETS)
    pieces = _decompressed(stream, head, name) if head.startswith(_GZIP) else _plain(stream, head)
    encoding, rest, is_first = "", b"", True
    for piece, note in pieces:
        if is_first and piece:
            is_first = False
            if is_binary(piece):
                raise Unusable(f"{name}: not a log, it holds binary data")
            encoding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(piece[:2], "")
        data = rest + (piece.decode(encoding, "replace").encode() if encoding else piece)
        cut = data.rfind(b"\n") + 1 or (len(data) if len(data) > CHUNK_OCTETS else 0)
        if cut or note:
            yield data[:cut], note
        rest = data[cut:]
    if rest:
        yield rest, ""


def _plain(stream: BinaryIO, head: bytes) -> Iterator[tuple[bytes, str]]:
    yield head, ""
    while data := stream.read(CHUNK_OCTETS):
        yield data, ""


def _decompressed(stream: BinaryIO, head: bytes, name: str) -> Iterator[tuple[bytes, str]]:
    """Every member of a gzip file, as far as it is whole."""
    unpack = zlib.decompressobj(_WITH_GZIP_HEADER)
    data, even = head, b""
    while data:
        try:
            made = unpack.decompress(data, CHUNK_OCTETS)
        except zlib.error:
            yield even, f"{name}: damaged, read as far as possible"
            return
        # UTF-16 must not be cut inside a character.
        made = even + made
        whole = len(made) & ~1
        even = made[whole:]
        yield made[:whole], ""
        data = unpack.unconsumed_tail
        if unpack.eof:
            data = unpack.unused_data or stream.read(_COMPRESSED_OCTETS)
            if not data.startswith(_GZIP[:1]):
                break
            unpack = zlib.decompressobj(_WITH_GZIP_HEADER)
        elif not data:
            data = stream.read(_COMPRESSED_OCTETS)
    yield even, "" if unpack.eof else f"{name}: cut off, read as far as possible"
