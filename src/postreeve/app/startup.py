"""What can go wrong before the server runs: said in one line, with what to do."""

from __future__ import annotations

from postreeve.mail.error import PostreeveError


class StartupError(PostreeveError):
    """The server cannot start; `hint` says what to do about it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} ({hint})" if hint else problem)
        self.problem = problem
        self.hint = hint
