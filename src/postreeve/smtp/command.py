"""Command lines: from octets to a verb and its argument.

command = verb [ SP argument ] CRLF          RFC 5321, section 4.1.1 (verbs in any case, trailing space tolerated)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from postreeve.mail.reply import Reply
from postreeve.smtp.order import Verb

_VERBS: Final[dict[str, Verb]] = {verb.value: verb for verb in Verb if verb is not Verb.UNKNOWN}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAMEABLE: Final = re.compile("[A-Za-z][A-Za-z0-9-]{0,15}")

NOT_TEXT: Final = Reply(501, "5.5.2", "control characters and octets that are no UTF-8 have no place in a command")


class Command(NamedTuple):
    """One command line: `name` is the verb as it may be shown and logged, upper case, "" where none can be read."""

    verb: Verb
    argument: str
    name: str


def parse_command(line: bytes) -> Command | Reply:
    """The command on `line` (without its CRLF), or the reply that refuses the whole line.

    Control characters, DEL and malformed UTF-8 anywhere in a line refuse it before any part of it is believed.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return NOT_TEXT
    if not text.isprintable() and _CONTROL.search(text):
        return NOT_TEXT
    word, _, argument = text.partition(" ")
    # Folding the case of other letters makes ASCII of some: the long s becomes an S.
    verb = _VERBS.get(word) or (_VERBS.get(word.upper()) if word.isascii() else None)
    if verb is None:
        return Command(Verb.UNKNOWN, argument, word.upper() if _NAMEABLE.fullmatch(word) else "")
    return Command(verb, argument.strip(" "), verb)
