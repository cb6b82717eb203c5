"""What `explain` and `explain-log` are given: text from the command line, standard input or a file, bounded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Final

MOST_OCTETS: Final = 1 << 20
"""Of a text that is explained: the end is kept, where the error is."""
_MOST_READ: Final = 1 << 28
_CHUNK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_CONTROLS: Final = bytes({*range(32), 127} - set(b"\t\n\r\x1b"))


class Unusable(Exception):
    """What was given cannot be explained; the words say why and what to do. Exit status 2."""


def read_text(words: list[str], file: Path | None) -> tuple[str, str]:
    """The text, and a note where not all of it was read. Raises Unusable."""
    if file is not None and words:
        raise Unusable("give a text or --file, not both")
    if file is not None:
        with open_file(file) as stream:
            data, note = _tail(stream, str(file))
    elif words and words != ["-"]:
        data, note = " ".join(words).encode("utf-8", "replace"), ""
    elif not words and sys.stdin.isatty():
        raise Unusable("no text: postreeve explain 'the error text', or pipe it in, or --file FILE")
    else:
        data, note = _tail(sys.stdin.buffer, "standard input")
    if data.startswith(_GZIP):
        raise Unusable("this is compressed: postreeve explain-log reads whole logs, compressed ones too")
    if is_binary(data):
        raise Unusable("this is not text: it holds binary data")
    text = decode(data)
    if not text.strip():
        raise Unusable("the text is empty")
    return text, note


def open_file(path: Path) -> BinaryIO:
    """The file, for reading. Raises Unusable."""
    try:
        if path.is_dir():
            raise Unusable(f"{path}: a folder, not a file")
        return path.open("rb")
    except OSError as problem:
        raise Unusable(f"{path}: {(problem.strerror or 'cannot be read').lower()}") from None


def is_binary(data: bytes) -> bool:
    """No text in any encoding that logs are written in (UTF-16 has a byte order mark here)."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    sample = data[:65_536]
    return len(sample) - len(sample.translate(None, _CONTROLS)) > len(sample) // 20


def decode(data: bytes) -> str:
    """UTF-8, UTF-16 with its mark, otherwise Windows' Latin letters; never fails."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _tail(stream: BinaryIO, name: str) -> tuple[bytes, str]:
    kept, total = b"", 0
    while total < _MOST_READ and (chunk := stream.read(_CHUNK)):
        total += len(chunk)
        kept = (kept + chunk)[-MOST_OCTETS:]
    if total <= MOST_OCTETS:
        return kept, ""
    return kept, f"{name} is long: only the last {MOST_OCTETS >> 20} MiB read was used; explain-log reads whole logs"
