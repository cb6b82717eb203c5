"""The telling parts of a text: the root of a traceback, the refusing line of a dialogue, the failing lines of a log.

A text that somebody pastes holds code, frames and banners beside the error. What is decided is decided by the part
that comes first here; the whole text comes last.
"""

from __future__ import annotations

import re
from typing import Final

MOST_CHARACTERS: Final = 200_000
"""Of a text that is looked at: the end counts, since the error of a log is there."""

_PYTHON: Final = re.compile(
    r"^(?:[\w.]+\.)?(?:[A-Z]\w*(?:Error|Exception|Disconnected|Refused|timeout|herror)\b|"
    r"(?:socket|smtplib|ssl|aiosmtplib|builtins)\.[\w.]+)(?::.*)?"
    r"(?:\n(?![ \t]|Traceback|\n|During|The above).*){0,4}",
    re.MULTILINE,
)
_JAVA: Final = re.compile(
    r"^(?:\s*(?:Caused by|nested exception is):?\s*\n?|\s*Next Exception:\s*)"
    r"(.+(?:\n(?!\s+at |\s*Caused|\s*\.\.\. |\s*nested).+){0,3})",
    re.MULTILINE | re.IGNORECASE,
)
_JAVA_HEAD: Final = re.compile(
    r"^(?:Exception in thread \"[^\"]*\" )?((?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b.*)", re.MULTILINE
)
_DIALOGUE: Final = re.compile(
    r"^.*(?:SERVER -> CLIENT:|<\*\*|<~\*|<-\*|\bS:|\bDEBUG SMTP:|\breply:|<<<?|\[SERVER\]|response:?)"
    r"\s*b?['\"]?([45]\d\d[ -].*)$",
    re.MULTILINE,
)
_COMPLAINT: Final = re.compile(
    r"^.*(?:SMTP ERROR:|SMTP Error:|Connection failed\. Error|\*\*\* (?!Rem)|SMTP NOTICE:).*(?:\nerror:.*)*$",
    re.MULTILINE,
)
_FAILING_LOG: Final = re.compile(
    r"^.*(?:status=(?:deferred|bounced|undeliverable)|\bNOQUEUE: reject|reject: |"
    r"\bwarning: |\bfatal: |\berror: | \*\* | == | defer \().*$",
    re.MULTILINE,
)
_SYSLOG: Final = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)", re.MULTILINE
)


def segments(text: str) -> tuple[str, ...]:
    """The parts of `text` from the most to the least telling, without repetition, at most 24; the last is all of it."""
    parts: list[str] = []
    if "Traceback (most recent call last)" in text:
        raised = [one[0] for one in _PYTHON.finditer(text)]
        # A mail library's own exception says more than the socket's below it; any other wrapper says less.
        parts += reversed([one for one in raised if "SMTP" in one.partition(":")[0]])
        parts += raised
    if "\tat " in text or "Caused by" in text or "nested exception" in text or "\n  at " in text:
        parts += [one[1] for one in reversed(list(_JAVA.finditer(text)))]
        parts += _JAVA_HEAD.findall(text)
    parts += reversed(_DIALOGUE.findall(text))
    if text.count("\n") > 1:
        parts += _COMPLAINT.findall(text)
        if _SYSLOG.search(text):
            parts += reversed(_FAILING_LOG.findall(text))
    return (*tuple(dict.fromkeys(one.strip() for one in parts if one.strip()))[:23], text)
