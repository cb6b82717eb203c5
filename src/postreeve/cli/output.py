"""What commands print: text for people, made harmless for terminals, or one JSON document for programs.

Much of what is shown was said by strangers (replies, addresses, header fields), so nothing that could steer a terminal
goes out as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE: Final = 10_000
"""Columns where nobody has a screen: nothing is cut for a pipe or a file."""


def console() -> Console:
    """Standard output; colour only on a terminal, and never with NO_COLOR."""
    from rich.console import Console

    return Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, highlight=False, markup=False, emoji=False
    )


def clean(text: str) -> str:
    """`text` with its control characters, line ends included, in harmless notation."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def clean_lines(text: str) -> list[str]:
    """The lines of `text`, each harmless."""
    return [clean(line.replace("\t", "    ")) for line in text.split("\n")]


def print_json(document: Any) -> None:
    """One JSON document in US-ASCII."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), cut: str = "") -> Table:
    """Aligned columns; those in `right` to the right, `cut` shortened first where the screen is narrow."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        is_cut = name == cut
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=12 if is_cut else None,
            ratio=1 if is_cut and sys.stdout.isatty() else None,
        )
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def say(text: str = "") -> None:
    """One line for people."""
    sys.stdout.write(text + "\n")


def plural(count: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
