"""Progress: for people who wait at a terminal, and for nobody else."""

from __future__ import annotations

import io

import pytest

from postreeve.cli.progress import EVERY_SECONDS, FIRST_SECONDS, Progress


class Terminal(io.StringIO):
    """What was written to a screen."""

    def isatty(self) -> bool:
        return True


def test_progress_shows_what_takes_long_and_leaves_nothing_behind() -> None:
    now, screen = [0.0], Terminal()
    with Progress(lambda: now[0], screen) as progress:
        progress.tell("at once")
        assert screen.getvalue() == ""
        now[0] = FIRST_SECONDS
        progress.tell("drop: 500 messages")
        progress.tell("too soon after")
        now[0] += EVERY_SECONDS
        progress.tell("drop: 1")
    shown = screen.getvalue()
    assert shown == "\rdrop: 500 messages\rdrop: 1           \r       \r"


@pytest.mark.parametrize("seconds", [0.0, 100.0], ids=["quick", "slow"])
def test_progress_is_silent_without_a_terminal(seconds: float) -> None:
    now, file = [0.0], io.StringIO()
    with Progress(lambda: now[0], file) as progress:
        now[0] = seconds
        progress.tell("drop: 500 messages")
    assert file.getvalue() == ""
