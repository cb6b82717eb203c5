"""The answer of `postreeve explain`: apart from the command, so that it needs no command-line library to be given.

Importing one takes longer than everything else here; `quickly` reads the plain forms of the command itself.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from postreeve.checks.explain.reason import explain as reason
from postreeve.checks.knowledge.catalogue import causes, fill
from postreeve.cli.explain_input import Unusable, read_text
from postreeve.cli.output import clean, print_json, say

if TYPE_CHECKING:
    from postreeve.checks.cause import Cause
    from postreeve.checks.explain.explanation import Candidate, Explanation

_SURE: Final = {"high": "certain", "medium": "likely", "low": "possible"}
_WIDEST: Final = 100


def quickly(arguments: list[str]) -> int | None:
    """The exit status of `explain` with these arguments; None: options that the command itself must read."""
    as_json, list_all, words = False, False, []
    for at, word in enumerate(arguments):
        match word:
            case "--json":
                as_json = True
            case "--list":
                list_all = True
            case "--":
                words += arguments[at + 1 :]
                break
            case _ if word.startswith("-") and word != "-":
                return None
            case _:
                words.append(word)
    return answer(words, None, list_all=list_all, as_json=as_json)


def answer(words: list[str], file: Path | None, *, list_all: bool, as_json: bool) -> int:
    """Prints what was asked for; the exit status."""
    if list_all:
        _list(as_json)
        return 0
    try:
        given, note = read_text(words, file)
    except Unusable as problem:
        sys.stderr.write(f"postreeve explain: {clean(str(problem))}\n")
        return 2
    if note:
        sys.stderr.write(f"postreeve explain: {clean(note)}\n")
    found = reason(given)
    if as_json:
        print_json(document(found))
    else:
        _print(found)
    return 0 if found.candidates else 1


def document(found: Explanation) -> dict[str, Any]:
    """An explanation for programs."""
    return {
        "decided": found.is_decided,
        "causes": [
            {
                "id": one.cause.id,
                "confidence": one.confidence.value,
                "stage": one.cause.stage.value,
                "title": one.cause.title,
                "cause": one.cause.cause,
                "fix": one.fix,
                "decide_by": one.decide_by,
            }
            for one in found.candidates
        ],
        "less_likely": [one.cause.id for one in found.hints],
        "matched": found.matched,
        "known": found.known,
        "library": found.library,
    }


def describe(cause: Cause) -> dict[str, Any]:
    """An entry of the catalogue for programs."""
    return {
        "id": cause.id,
        "stage": cause.stage.value,
        "title": cause.title,
        "cause": cause.cause,
        "fix": fill(cause.fix, {}),
        "decide_by": fill(cause.decide_by, {}),
        "narrows": cause.narrows,
        "references": list(cause.references),
    }


def _list(as_json: bool) -> None:
    if as_json:
        print_json([describe(one) for one in causes().values()])
        return
    width = max(len(one) for one in causes())
    for one in causes().values():
        say(f"{one.id:<{width}}  {one.stage.value:<6}  {one.title}")


def _print(found: Explanation) -> None:
    if not found.candidates:
        say("Nothing is known of this text. What to do next:")
        _item("give more of it: the lines around it, or the whole log to postreeve explain-log FILE")
        _item("ask the server itself: postreeve probe HOST:PORT")
        return
    first = found.candidates[0]
    if found.is_decided:
        say(f"{clean(first.cause.title)}  [{first.cause.id}]")
    else:
        count = len(found.candidates)
        say(
            "The text does not decide; most likely:"
            if count == 1
            else f"The text does not decide: {count} possible causes."
        )
    say(f'Recognised: "{clean(_short(found.matched))}"{_seen(found)}')
    if found.is_decided:
        _detail(first, "")
        _hint(found)
        return
    for place, one in enumerate(found.candidates, 1):
        say()
        say(f"{place}. {clean(one.cause.title)}  [{one.cause.id}], {_SURE[one.confidence.value]}")
        _detail(one, "   ")
    _hint(found)


def _hint(found: Explanation) -> None:
    if found.hints:
        say()
        say("Seen with the same text, but less likely: " + ", ".join(one.cause.id for one in found.hints))


def _detail(one: Candidate, indent: str) -> None:
    for label, words in (("why", one.cause.cause), ("fix", one.fix), ("decided by", one.decide_by)):
        _item(words, indent, f"{label}: ")


def _item(words: str, indent: str = "", label: str = "- ") -> None:
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    head = f"{indent}{label}"
    lines = textwrap.wrap(
        clean(words), max(40, width), initial_indent=head, subsequent_indent=indent + "  ", break_on_hyphens=False
    )
    say("\n".join(lines))


def _seen(found: Explanation) -> str:
    known = found.known
    server = known.get("host") or known.get("address", "")
    place = f"{server}:{known['port']}" if server and "port" in known else server or known.get("port", "")
    words = [clean(one) for one in (found.library, place) if one]
    return f" ({', '.join(words)})" if words else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:117] + "…"
