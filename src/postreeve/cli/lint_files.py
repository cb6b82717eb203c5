"""The files of `postreeve lint`: finding them, reading them without loss, and writing them back in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
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


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was found and not read."""

    path: Path
    because: str


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


def read(path: Path, *, is_named: bool) -> Text | Skipped:
    """The text of a file. One that is binary or too long is skipped where it was only found; named, it is NoFile."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_OCTETS:
            return _refuse(path, "not a regular file or longer than 1 MiB", is_named)
        octets = path.read_bytes()
    except OSError as problem:
        return _refuse(path, problem.strerror or "cannot be read", is_named)
    if b"\0" in octets[:8192]:
        return _refuse(path, "binary, not a settings file", is_named)
    mark = b"\xef\xbb\xbf" if octets.startswith(b"\xef\xbb\xbf") else b""
    octets = octets[len(mark) :]
    try:
        return Text(path, octets.decode("utf-8"), "utf-8", mark)
    except UnicodeDecodeError:
        return Text(path, octets.decode("latin-1"), "latin-1", mark)


def _refuse(path: Path, why: str, is_named: bool) -> Skipped:
    if is_named:
        raise NoFile(f"{path}: {why}")
    return Skipped(path, why)


def write(given: Text, text: str) -> Path:
    """Put another text in a file's place, in one step and with its mode and owner; returns the backup.

    Raises NoFile, and leaves everything as it was, when the file is read-only, has changed since it was read, or
    cannot be written.
    """
    path = given.path.resolve()
    try:
        status = path.stat()
        if not status.st_mode & stat.S_IWUSR:
            raise NoFile(f"{given.path}: read-only, not corrected")
        if path.read_bytes() != given.mark + given.text.encode(given.encoding):
            raise NoFile(f"{given.path}: changed in the meantime, not corrected; run it again")
        backup = _free_name(path)
        shutil.copy2(path, backup)
        _replace(path, given.mark + text.encode(given.encoding), status)
    except OSError as problem:
        raise NoFile(f"{given.path}: not corrected: {problem.strerror or 'cannot be written'}") from None
    except UnicodeEncodeError:
        raise NoFile(f"{given.path}: not corrected: its encoding lacks a character of the correction") from None
    return backup


def _free_name(path: Path) -> Path:
    """`FILE~`, or where that is another file already, `FILE.~2~` and so on."""
    names = (path.name + "~", *(f"{path.name}.~{number}~" for number in range(2, 100)))
    free = next((name for name in names if not path.with_name(name).exists()), None)
    if free is None:
        raise NoFile(f"{path}: there are too many backups of it already")
    return path.with_name(free)


def _replace(path: Path, octets: bytes, status: os.stat_result) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(PermissionError):
            os.chown(name, status.st_uid, status.st_gid)
        os.chmod(name, stat.S_IMODE(status.st_mode))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
