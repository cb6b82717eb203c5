"""Delivery into a local Maildir: written to tmp, synced, moved to new, and the directory synced.

A file name once returned names a message that survives a crash. Nothing of an address becomes a path unchecked: a
template's `{local}` and `{domain}` are filled in with names that stay inside their directory.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from itertools import count
from pathlib import Path
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.mail.error import PostreeveError
from postreeve.mail.reply import Reply
from postreeve.queue.outcome import Delivered, Handover, LocalKind, LocalProblem, Outcome

_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=@.")
_MAX_NAME_OCTETS: Final = 200

_number = count()
_number_lock = threading.Lock()


class MaildirWriter:
    """Deposits messages. One per process and path template is enough; safe to use from several tasks."""

    __slots__ = ("_clock", "_executor", "_host")

    def __init__(self, clock: Callable[[], float], executor: Executor | None = None) -> None:
        """`clock` gives POSIX seconds; `executor` runs the writing, the loop's own by default."""
        self._clock = clock
        self._executor = executor
        self._host = socket.gethostname().replace("/", "\\057").replace(":", "\\072") or "localhost"

    async def deposit(
        self,
        template: str,
        recipients: Sequence[Mailbox],
        reverse_path: Mailbox | None,
        content: bytes | AsyncIterator[bytes],
    ) -> list[Outcome]:
        """One copy per recipient, each on stable storage when its outcome is Delivered.

        RFC 5321, section 4.4: final delivery puts the reverse-path into Return-Path.
        """
        run = asyncio.get_running_loop().run_in_executor
        sender = "" if reverse_path is None else str(reverse_path)
        copies = [_Copy(template, recipient, sender, self._unique_name()) for recipient in recipients]

        lock = threading.Lock()

        def each(do: Callable[[_Copy], None]) -> None:
            with lock:
                for copy in copies:
                    copy.attempt(do)

        def discard() -> None:
            with lock:
                for copy in copies:
                    copy.discard()

        def all_at_once(whole: bytes) -> None:
            each(_Copy.open)
            each(lambda copy: copy.write(whole))
            each(_Copy.finish)

        try:
            if isinstance(content, bytes):
                await run(self._executor, all_at_once, content)
            else:
                await run(self._executor, each, _Copy.open)
                async for piece in content:
                    await run(self._executor, each, lambda copy, piece=piece: copy.write(piece))
                await run(self._executor, each, _Copy.finish)
        except PostreeveError as error:
            return [LocalProblem(LocalKind.STORE, str(error)[:500])] * len(copies)
        finally:
            if any(copy.is_open for copy in copies):
                # Not awaited: after a cancellation a thread may still be writing, and the lock makes this wait for it.
                run(self._executor, discard)
        return [copy.outcome or LocalProblem(LocalKind.BUG, "not written") for copy in copies]

    def _unique_name(self) -> str:
        now = self._clock()
        with _number_lock:
            number = next(_number)
        return f"{int(now)}.M{int(now % 1 * 1_000_000)}P{os.getpid()}Q{number}R{os.urandom(4).hex()}.{self._host}"


class _Copy:
    """One recipient's file on its way from tmp to new; `outcome` is set when it has arrived, or cannot."""

    __slots__ = ("_descriptor", "_directory", "_head", "_held", "_name", "_recipient", "_template", "outcome")

    def __init__(self, template: str, recipient: Mailbox, sender: str, name: str) -> None:
        self.outcome: Outcome | None = None
        self._template = template
        self._recipient = recipient
        self._name = name
        self._head = f"Return-Path: <{sender}>\r\nDelivered-To: {recipient}\r\n".encode("utf-8", "replace")
        self._held = b""
        self._directory = Path()
        self._descriptor = -1

    def attempt(self, do: Callable[[_Copy], None]) -> None:
        """Do the next thing, unless it has come to an end already; errors become the outcome."""
        if self.outcome is not None:
            return
        try:
            do(self)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = LocalKind.DISK_FULL if full else LocalKind.DISK
            self.outcome = LocalProblem(kind, f"{error.filename or self._directory}: {error.strerror or error}"[:500])
        except ValueError as error:
            self.outcome = LocalProblem(LocalKind.NO_ROUTE, str(error)[:500])

    def open(self) -> None:
        """Create the file in tmp, and the Maildir if there is none."""
        self._directory = maildir_path(self._template, self._recipient)
        if not (self._directory / "new").is_dir():
            make_maildir(self._directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._temporary, flags, 0o600)
        self.write(self._head)

    def write(self, piece: bytes) -> None:
        """Append; files of a Maildir have lines that end in LF, as every reader of one expects."""
        piece = self._held + piece
        self._held = b""
        if piece.endswith(b"\r"):
            piece, self._held = piece[:-1], b"\r"
        view = memoryview(piece.replace(b"\r\n", b"\n"))
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self) -> None:
        """Make it durable and visible."""
        if self._held:
            os.write(self._descriptor, self._held)
        os.fsync(self._descriptor)
        self._close()
        os.rename(self._temporary, self._directory / "new" / self._name)
        _sync_directory(self._directory / "new")
        self.outcome = Delivered(Reply(250, "2.0.0", f"stored as {self._name}"), Handover.FINAL)

    @property
    def is_open(self) -> bool:
        """True while there is something to discard."""
        return self._descriptor >= 0

    def discard(self) -> None:
        """Close, and leave nothing in tmp if it did not arrive; nothing more is done afterwards."""
        if not self.is_open:
            return
        self._close()
        self._temporary.unlink(missing_ok=True)
        self.outcome = self.outcome or LocalProblem(LocalKind.DISK, "interrupted")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    @property
    def _temporary(self) -> Path:
        return self._directory / "tmp" / self._name


def make_maildir(directory: Path) -> None:
    """Create tmp, new and cur, and make their existence durable up to the first directory that was there."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    for part in ("tmp", "new", "cur"):
        (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_directory(directory)
    for path in made:
        _sync_directory(path.parent)


def maildir_path(template: str, recipient: Mailbox) -> Path:
    """The Maildir of `recipient`. Raises ValueError when the template cannot be filled in."""
    domain = recipient.domain.ascii
    if "/" in domain or domain.startswith("."):
        raise ValueError(f"domain {domain!r} cannot be part of a path")
    filled = template.replace("{domain}", safe_name(domain)).replace("{local}", safe_name(recipient.local))
    return Path(filled)


def safe_name(text: str) -> str:
    """`text` as one component of a path: two different texts never give the same one, and none leads elsewhere.

    Everything but plain letters, digits and a few signs is written as %XX; so is a leading dot.
    """
    name = "".join(one if one in _SAFE else _percent(one) for one in text)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > _MAX_NAME_OCTETS:
        raise ValueError("the address has no usable file name")
    return name


def _percent(character: str) -> str:
    return "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
