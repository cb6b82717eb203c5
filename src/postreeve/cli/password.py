"""Passwords at the command line: read where nobody looks on, or made up; never an argument, which `ps` would show."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Final

from postreeve.cli.refusal import Refused

MIN_CHARACTERS: Final = 8
MAX_OCTETS: Final = 1_024
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS: Final = 5
_GROUP_LENGTH: Final = 5


def make_password() -> str:
    """A new one of 124 bits, easy to copy by hand: `xxxxx-xxxxx-xxxxx-xxxxx-xxxxx`."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))


def read_stdin() -> str:
    """The first line of standard input. Raises Refused when it cannot be a password."""
    octets = sys.stdin.buffer.readline(MAX_OCTETS + 2)
    return _decode(octets, "standard input")


def read_file(path: Path) -> str:
    """The first line of a file. Raises Refused."""
    try:
        with path.open("rb") as file:
            octets = file.readline(MAX_OCTETS + 2)
    except OSError as problem:
        raise Refused(f"{path} cannot be read: {problem.strerror}") from None
    return _decode(octets, str(path))


def ask(prompt: str) -> str:
    """Typed at the terminal without echo. Raises Refused when there is none."""
    from getpass import getpass

    if not sys.stdin.isatty():
        raise Refused("no password was given", "give it on standard input with --password-stdin")
    return getpass(prompt)


def check_new(password: str) -> str:
    """`password` where it may be set; raises Refused otherwise."""
    if len(password) < MIN_CHARACTERS:
        raise Refused(f"the password is too short: at least {MIN_CHARACTERS} characters")
    if len(password.encode()) > MAX_OCTETS:
        raise Refused(f"the password is too long: at most {MAX_OCTETS} octets")
    return password


def _decode(octets: bytes, source: str) -> str:
    line = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise Refused(
            f"there is no password on {source}" if source == "standard input" else f"{source} has no password"
        )
    if len(line) > MAX_OCTETS:
        raise Refused(f"the password is too long: at most {MAX_OCTETS} octets")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"the password from {source} is not UTF-8") from None
    if not text.isprintable():
        raise Refused(f"the password from {source} has control characters", "no mail program could send it")
    return text
