"""What most programs have in common: plain keys for host, port, user …, and one or two that make the TLS mode.

Scanners give entries the names of this module (`host`, `port`, `user`, `password`, `from`, `timeout`, `hello`,
`mechanism`, `verify`, `unverified`) and their own for the rest. A name that begins with `?` is a key that looks like
one of the program's and is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes, Wish
from postreeve.clientconfig.program.program import fulfil, settings_of
from postreeve.clientconfig.program.slip import slip_of
from postreeve.clientconfig.settings import SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, renamed

Names = Mapping[str, str]
ModeChanges = Mapping[TlsMode, Mapping[str, Wish]]
"""What makes a mode; a name that begins with `~` is changed where it is there and never added."""


def outline(
    group: Group, mode: Value[TlsMode] | None, *, default_port: int | None = None, unit: float = 1.0, **more: Any
) -> SubmissionSettings:
    """The settings of a group whose entries have the names of this module; `more` are fields that differ."""
    fields: dict[str, Any] = {
        "host": group.text("host"),
        "port": group.number("port", default_port),
        "mode": mode,
        "username": group.text("user"),
        "password": group.text("password"),
        "mechanism": group.text("mechanism"),
        "sender": group.text("from"),
        "verifies_certificate": verification(group),
        "timeout_seconds": group.seconds("timeout", unit),
        "hello_name": group.text("hello"),
        "unknown": strangers(group),
    }
    return settings_of(group, **(fields | more))


def verification(group: Group) -> Value[bool] | None:
    """Whether certificates are verified, by `verify` and `unverified`; None where neither says so."""
    for name, answer in (("verify", True), ("unverified", False)):
        said = group.is_yes(name)
        if said is not None:
            return group.decides(said is answer, name)
    return None


def strangers(group: Group) -> tuple[Value[str], ...]:
    """The keys named `?…`, each with the key that was probably meant (not one that is there as well)."""
    return tuple(
        Value(entry.key[1:], group.source.written(entry.key_span).strip("\"'`:"), entry.key_span)
        for entry in group.entries
        if entry.key.startswith("?")
    )


def named(entries: Iterable[Entry], names: Names, prefixes: tuple[str, ...] = ()) -> list[Entry]:
    """The entries under the names that `names` (keys in lower case) gives them; all others are left out.

    A key with one of the prefixes (lower case) that is a slip away from a known one becomes `?` and the known one.
    """
    kept: list[Entry] = []
    given = list(entries)
    there = {entry.key.lower() for entry in given}
    for entry in given:
        lowered = entry.key.lower()
        name = names.get(lowered)
        if name is not None:
            kept.append(renamed(entry, name))
        elif lowered.startswith(prefixes or ("\0",)):
            meant = slip_of(lowered, names)
            if meant and meant not in there:
                kept.append(renamed(entry, "?" + (meant.upper() if entry.key.isupper() else meant)))
    return kept


def amend(group: Group, wanted: Wanted, modes: ModeChanges, *, unit: float = 1.0) -> Changes | None:
    """The changes that fulfil a wish for a group whose entries have the names of this module."""
    changes = fulfil(wanted, host="host", port="port", username="user", sender="from", timeout_seconds="timeout")
    if changes is None:
        return None
    if wanted.timeout_seconds is not None:
        changes["timeout"] = round(wanted.timeout_seconds / unit)
    if wanted.mode is not None:
        if wanted.mode not in modes:
            return None
        for name, wish in modes[wanted.mode].items():
            if not name.startswith("~"):
                changes[name] = wish
            elif name[1:] in group.last:
                changes[name[1:]] = wish
    if wanted.verifies_certificate is not None:
        there = [name for name in ("verify", "unverified") if name in group.last]
        if not there:
            return None
        changes[there[0]] = wanted.verifies_certificate is (there[0] == "verify")
    return changes
