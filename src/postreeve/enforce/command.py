"""Running the machine's own programs: bounded in time, with what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.enforce.place import Place
from postreeve.mail.error import PostreeveError

PATIENCE_SECONDS: Final = 20.0
_MAX_SAID: Final = 600
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failure(Enum):
    """How a command failed."""

    MISSING = "missing"
    SLOW = "slow"
    """It was ended after its time; whether it did its work is not known."""
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    """It ran, and said no."""


class CommandFailed(PostreeveError):
    """A program of the machine did not do its part. `said` are its own words, bounded."""

    def __init__(self, program: str, failure: Failure, said: str) -> None:
        super().__init__(f"{program}: {_in_words(failure, said)}")
        self.program = program
        self.failure = failure
        self.said = said


def _in_words(failure: Failure, said: str) -> str:
    match failure:
        case Failure.MISSING:
            return "there is no such program"
        case Failure.SLOW:
            return f"it did not finish in time{f': {said}' if said else ''}"
        case Failure.FORBIDDEN:
            return f"it needs the rights of root: {said}"
        case Failure.REFUSED:
            return said or "it failed and did not say why"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program answered."""

    status: int
    out: str
    err: str


def attempt(place: Place, *words: str, text: str = "", timeout_seconds: float = PATIENCE_SECONDS) -> Ran:
    """Run a command at `place`; a bad status is an answer. Raises CommandFailed when it is missing or too slow."""
    environment = {"PATH": os.environ.get("PATH", "") + ":" + _PATH, "LC_ALL": "C", "LANG": "C"}
    try:
        done = subprocess.run(
            place.command(*words),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(words[0], Failure.SLOW, f"after {timeout_seconds:g} seconds") from None
    except FileNotFoundError:
        raise CommandFailed(words[0], Failure.MISSING, "") from None
    except PermissionError as problem:
        raise CommandFailed(words[0], Failure.FORBIDDEN, problem.strerror or "") from None
    if place.within and done.returncode == 255 and f'exec of "{words[0]}" failed: No such file' in done.stderr:
        raise CommandFailed(words[0], Failure.MISSING, "")
    return Ran(done.returncode, done.stdout, done.stderr)


def run(place: Place, *words: str, text: str = "", timeout_seconds: float = PATIENCE_SECONDS) -> str:
    """What a command prints. Raises CommandFailed unless it succeeds."""
    done = attempt(place, *words, text=text, timeout_seconds=timeout_seconds)
    if done.status:
        said = shorten(done.err or done.out)
        is_forbidden = "Operation not permitted" in said or "Permission denied" in said or "need to be root" in said
        raise CommandFailed(words[0], Failure.FORBIDDEN if is_forbidden else Failure.REFUSED, said)
    return done.out


def shorten(text: str) -> str:
    """A program's words as one line, without what could steer a terminal."""
    line = " ".join(text.split())
    line = "".join(one if one.isprintable() else "?" for one in line)
    return line if len(line) <= _MAX_SAID else line[:_MAX_SAID] + "…"


def has(place: Place, program: str) -> bool:
    """True when the program is there."""
    return attempt(place, "sh", "-c", 'command -v "$1" >/dev/null', "sh", program).status == 0
