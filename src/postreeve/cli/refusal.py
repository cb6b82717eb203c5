"""What a command says when it cannot do what was asked: one line, with what to do about it."""

from __future__ import annotations

from postreeve.mail.error import PostreeveError


class Refused(PostreeveError):
    """A problem of an ordinary day: exit status 1. `hint` says what to do next."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} ({hint})" if hint else problem)
        self.problem = problem
        self.hint = hint
