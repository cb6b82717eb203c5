"""Applying edits to a text."""

from __future__ import annotations

from collections.abc import Iterable

from postreeve.clientconfig.settings import Edit


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits, each of which speaks of the text before any of them.

    Edits may come in any order; insertions at one place stay in the order given. Raises ValueError where two overlap
    or one lies outside the text: then nothing may be written.
    """
    parts: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < done or edit.end < edit.start or edit.end > len(text):
            raise ValueError("edits overlap or lie outside the text")
        parts += (text[done : edit.start], edit.text)
        done = edit.end
    parts.append(text[done:])
    return "".join(parts)


def merge_edits(*groups: Iterable[Edit]) -> tuple[Edit, ...]:
    """All edits of several corrections in order; of those that say the same, one; of those that overlap, the first."""
    chosen: list[Edit] = []
    for edit in dict.fromkeys(edit for group in groups for edit in group):
        if all(_are_apart(edit, other) for other in chosen):
            chosen.append(edit)
    return tuple(sorted(chosen, key=lambda edit: (edit.start, edit.end)))


def _are_apart(one: Edit, other: Edit) -> bool:
    return one.end <= other.start or other.end <= one.start
