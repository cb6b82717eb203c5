"""The files of `postreeve lint`: finding them, reading them without loss, and writing them back in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_OCTETS: Final = 1_048_576
_LEFT_OUT: Final = frozenset({
    ".git", ".hg", ".svn", "node_modules", "vendor", "bower_components", "__pycache__", ".venv", "venv", ".tox",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", "dist", "build", "target", ".next", ".nuxt", ".terraform",
    ".gradle", ".idea",
})  # fmt: skip
_BINARY: Final = (
    ".png", ".jpg", ".jpeg", ".gif", ".ico", ".pdf", ".zip", ".gz", ".xz", ".bz2", ".jar", ".war", ".class", ".so",
    ".exe", ".dll", ".pyc", ".woff", ".woff2", ".ttf", ".eot", ".mp4", ".mp3", ".webp", ".svg", ".map", ".lock",
    ".sqlite", ".db", ".min.js", ".css", "~", ".bak",
)  # fmt: skip


class NoFile(Exception):
    """A file that was named and cannot be linted; the text is for people."""


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text and how it is encoded: encoding it again gives the same octets."""

    path: Path
    text: str
    encoding: str
    mark: bytes


def find(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file to read, and whether it was named itself. Raises NoFile for a path that is not there."""
    for path in paths:
        if path.is_dir():
            yield from ((one, False) for one in _below(path))
        elif path.exists():
            yield path, True
        else:
            raise NoFile(f"{path}: no such file or directory")


def _below(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(names):
            if not name.endswith(_BINARY):
                yield Path(folder, name)


def read(path: Path, *, is_named: bool) -> Text | None:
    """The text of a file; None for one that is binary or too long and was only found. Raises NoFile."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_OCTETS:
            _refuse(path, "not a regular file or longer than 1 MiB", is_named)
            return None
        octets = path.read_bytes()
    except OSError as problem:
        _refuse(path, problem.strerror or "cannot be read", is_named)
        return None
    if b"\0" in octets[:8192]:
        _refuse(path, "binary, not a settings file", is_named)
        return None
    mark = b"\xef\xbb\xbf" if octets.startswith(b"\xef\xbb\xbf") else b""
    octets = octets[len(mark) :]
    try:
        return Text(path, octets.decode("utf-8"), "utf-8", mark)
    except UnicodeDecodeError:
        return Text(path, octets.decode("latin-1"), "latin-1", mark)


def _refuse(path: Path, why: str, is_named: bool) -> None:
    if is_named:
        raise NoFile(f"{path}: {why}")


def write(given: Text, text: str) -> Path:
    """Put another text in a file's place, in one step and with its mode; returns the backup. Raises OSError."""
    path = given.path.resolve()
    backup = path.with_name(path.name + "~")
    shutil.copy2(path, backup)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(given.mark + text.encode(given.encoding))
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return backup
