"""Long lines for people: folded at a terminal, left whole in a pipe, where programs search them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Final

from postreeve.cli.output import say

_NARROWEST: Final = 60
_WIDEST: Final = 100


def say_folded(line: str, indent: int) -> None:
    """One line, clean already; where it does not fit the terminal its further lines begin at column `indent`."""
    if not sys.stdout.isatty():
        say(line)
        return
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    depth = len(line) - len(line.lstrip())
    folded = textwrap.wrap(
        line[depth:],
        width,
        initial_indent=" " * depth,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    for one in folded or [""]:
        say(one)
