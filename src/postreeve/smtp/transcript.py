"""The dialogue of a connection, kept for the story of a message: bounded, without content, without credentials."""

from __future__ import annotations

from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp.reply_reader import clean

MAX_ENTRIES: Final = 400
MAX_CHARACTERS: Final = 16_384

Entry = bytes | Reply | str
"""What we sent, what came, a note of ours."""


class Transcript:
    """Collects references while the dialogue runs and makes text only when somebody asks."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """One more; silently none once there are too many."""
        if len(self._entries) < MAX_ENTRIES:
            self._entries.append(entry)

    def begin_message(self, *, is_first: bool) -> None:
        """A new message's story begins; a later one does not repeat how the connection was opened."""
        if not is_first:
            self._entries = ["connection reused"]

    def text(self) -> str:
        """Lines beginning with C: (we), S: (they) or * (a note)."""
        lines: list[str] = []
        for entry in self._entries:
            match entry:
                case bytes():
                    lines += [f"C: {clean(line)}" for line in entry.rstrip(b"\r\n").split(b"\r\n")]
                case Reply():
                    lines += _reply_lines(entry)
                case str():
                    lines.append(f"* {entry}")
            if len(lines) > MAX_ENTRIES:
                break
        text = "\n".join(lines)
        return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "\n* cut"


def _reply_lines(reply: Reply) -> list[str]:
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    *earlier, last = reply.text.split("\n")
    return [f"S: {reply.code}-{enhanced}{line}" for line in earlier] + [f"S: {reply.code} {enhanced}{last}".rstrip()]
