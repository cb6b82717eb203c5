"""Applies all rules to a file's settings, and puts their corrections together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from postreeve.checks.finding import Level
from postreeve.checks.settings import postfix, security, server
from postreeve.checks.settings.subject import Problem, Subject
from postreeve.clientconfig.edit import apply_edits, merge_edits
from postreeve.clientconfig.kind import read_all
from postreeve.clientconfig.settings import Edit, Kind, SubmissionSettings, Wanted

_RULES: Final[tuple[Callable[[Subject], Iterator[Problem]], ...]] = (
    server.host,
    server.port_number,
    server.port_of_provider,
    server.port_25,
    security.port_and_mode,
    security.plaintext,
    security.verification,
    server.user_form,
    server.sender,
    security.secret,
    security.misspelt,
    security.contradictions,
    postfix.brackets,
    security.timeout,
)
_MOST_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class Linted:
    """One file: what was read in it, what is wrong, and the text with all that can be corrected corrected."""

    file: str
    settings: tuple[SubmissionSettings, ...]
    problems: tuple[Problem, ...]
    corrected: str
    """The same as the text where there is nothing to correct."""


def lint_text(file: str, text: str, kind: Kind | None = None) -> Linted:
    """Every finding of a file, by line. `kind` reads it as that and nothing else."""
    found = read_all(file, text, kind)
    subjects = [Subject(each, settings, text) for each, settings in found]
    problems = [one for subject in subjects for one in _judge(subject)]
    if not problems:
        return Linted(file, tuple(settings for _, settings in found), (), text)
    problems.sort(key=lambda one: (one.line, one.finding.check))
    return Linted(file, tuple(settings for _, settings in found), tuple(problems), _corrected(file, text, kind))


def _judge(subject: Subject) -> list[Problem]:
    return [one for each in _RULES for one in each(subject)]


def _corrected(file: str, text: str, kind: Kind | None) -> str:
    """The text after corrections, each round on what the one before left, until nothing changes."""
    for _ in range(_MOST_ROUNDS):
        edits = merge_edits(*(_edits(Subject(each, settings, text)) for each, settings in read_all(file, text, kind)))
        if not edits:
            return text
        try:
            text = apply_edits(text, edits)
        except ValueError:
            return text
    return text


def _edits(subject: Subject) -> tuple[Edit, ...]:
    """The corrections of one set of settings: all wishes in one, or those that can be written."""
    problems = [one for one in _judge(subject) if one.finding.level is not Level.NOTE]
    direct = tuple(edit for one in problems for edit in one.edits)
    wishes = [one.wanted for one in problems if one.wanted is not None]
    made = _written(subject, wishes)
    return merge_edits(direct, made)


def _written(subject: Subject, wishes: list[Wanted]) -> tuple[Edit, ...]:
    if not wishes:
        return ()
    edits = subject.kind.correct(subject.text, subject.settings, _together(wishes))
    if edits is not None:
        return edits
    for wish in wishes:
        edits = subject.kind.correct(subject.text, subject.settings, wish)
        if edits is not None:
            return edits
    return ()


def _together(wishes: Iterable[Wanted]) -> Wanted:
    """All wishes in one; of two for the same field, the first."""
    made: dict[str, object] = {}
    for wish in wishes:
        for each in fields(wish):
            value = getattr(wish, each.name)
            if value is not None:
                made.setdefault(each.name, value)
    return Wanted(**made)  # type: ignore[arg-type]
