"""A kind of settings file put together from its parts: which files it may be, what its settings mean, how they change.

The rules of one program (its defaults, what its options do together) stand once, whatever notation its settings are
written in: `grafana.ini` and `GF_SMTP_HOST=` are two forms of one program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, rewrite
from postreeve.clientconfig.program.slip import strays
from postreeve.clientconfig.settings import Edit, Server, SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Entry, Source


@dataclass(frozen=True, slots=True)
class Form:
    """One notation of a program's settings: `is_mine` by path and text, `scan` finds the groups in it."""

    is_mine: Callable[[str, str], bool]
    scan: Callable[[Source], Iterable[Group]]
    notation: Notation
    of_variables: Callable[[Source, Sequence[Entry]], Iterable[Group]] | None = None
    """For variables of the environment: the groups among some that stand elsewhere, in a container's manifest say."""


@dataclass(frozen=True, slots=True)
class Program:
    """Implements `Kind`.

    `settle` gives the settings that a group amounts to, without kind and file, or None when it has none in use;
    `change` the changes that fulfil a wish, under the program's own names, or None when it has no way to.
    """

    name: str
    title: str
    modes: frozenset[TlsMode]
    forms: tuple[Form, ...]
    settle: Callable[[Group], SubmissionSettings | None]
    change: Callable[[Group, Wanted], Changes | None]
    show: Callable[[Server], str]
    known: frozenset[str] = frozenset()
    """Every name that the program has for a setting of mail, where one that is none of them is a slip."""

    def recognises(self, file: str, text: str) -> bool:
        """True when this file is of this program and has mail settings in it."""
        return any(form.is_mine(file, text) for form in self.forms) and bool(self.read(file, text))

    def read(self, file: str, text: str) -> tuple[SubmissionSettings, ...]:
        """Every set of mail settings in it, in order."""
        found = self._found(file, text)
        return tuple(settings for settings, _group, _form in found) if found else ()

    def correct(self, text: str, settings: SubmissionSettings, wanted: Wanted) -> tuple[Edit, ...] | None:
        """The edits that make it so, or None when it cannot be written."""
        for found, group, form in self._found(settings.file, text):
            if found.line == settings.line:
                changes = self.change(group, wanted)
                return None if changes is None else rewrite(group, changes, form.notation)
        return None

    def snippet(self, server: Server) -> str:
        """Correct settings for this server."""
        return self.show(server)

    def _found(self, file: str, text: str) -> list[tuple[SubmissionSettings, Group, Form]]:
        found: list[tuple[SubmissionSettings, Group, Form]] = []
        for form in self.forms:
            if form.is_mine(file, text):
                break
        else:
            return found
        for group in form.scan(Source(text)):
            settings = self.settle(group)
            if settings is None:
                continue
            unknown = settings.unknown
            if self.known:
                unknown += strays(group, self.known, form.notation.spell)
            found.append((replace(settings, kind=self.name, file=file, unknown=unknown), group, form))
        return found


def fulfil(
    wanted: Wanted,
    *,
    host: str = "",
    port: str = "",
    username: str = "",
    sender: str = "",
    timeout_seconds: str = "",
) -> dict[str, Wish] | None:
    """The changes for what one setting each decides; None when something is wanted that has no setting."""
    changes: dict[str, Wish] = {}
    wishes: tuple[tuple[str, Wish | None], ...] = (
        (host, wanted.host),
        (port, wanted.port),
        (username, wanted.username),
        (sender, wanted.sender),
        (timeout_seconds, None if wanted.timeout_seconds is None else int(wanted.timeout_seconds)),
    )
    for name, wish in wishes:
        if wish is None:
            continue
        if not name:
            return None
        changes[name] = wish
    return changes


@lru_cache(maxsize=64)
def basename(file: str) -> str:
    """The last part of a path, whichever slash it uses."""
    return file.replace("\\", "/").rpartition("/")[2].lower()


def settings_of(group: Group, **fields: object) -> SubmissionSettings:
    """The settings of a group; `Program` fills in kind and file."""
    return SubmissionSettings(kind="", file="", line=group.line, **fields)  # type: ignore[arg-type]
