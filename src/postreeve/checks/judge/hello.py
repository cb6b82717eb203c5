"""EHLO: refused, unknown, masked by a device on the way, or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Said
from postreeve.checks.judge.case import Case, capabilities
from postreeve.checks.judge.reply import read_reply
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import ended, quoted, told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

_MASKED_BANNER: Final = re.compile(r"\*{6,}")
_MASKED_KEYWORD: Final = re.compile(r"X{7,}[A-Z]?")
"""A device that writes over a keyword keeps its length: STARTTLS has eight letters."""


def judge_hello(case: Case) -> Iterator[Verdict]:
    """Nothing when EHLO was answered with 250."""
    talk = case.main or case.farthest
    if talk is None:
        return
    greeting = talk.reply(Stage.BANNER)
    if greeting is None or greeting.code != 220:
        return
    hellos = [said for said in talk.said if said.stage is Stage.EHLO]
    refused = next((said for said in hellos if said.code != 250), None)
    if refused is None:
        return
    if not refused.code:
        yield from cut_off(case, talk, Stage.EHLO)
    elif is_masked_banner(greeting) and refused.code in (500, 502):
        yield found(case, "asa-fixup", Confidence.HIGH, Stage.EHLO, told(greeting), told(refused))
    else:
        yield from _refused(case, refused, is_over=hellos[-1].code != 250)


def _refused(case: Case, hello: Said, *, is_over: bool) -> Iterator[Verdict]:
    """EHLO was refused; `is_over`: so was HELO. A relay can do without extensions."""
    if hello.code < 400:
        line = (
            f"a reply to EHLO begins with 250 on every line (RFC 5321, section 4.2.1), this one is {quoted(hello.text)}"
        )
        yield found(case, "reply-malformed", Confidence.HIGH, Stage.EHLO, line)
        return
    if hello.code in (500, 502) and (is_over or case.asked.is_application):
        yield found(case, "ehlo-unknown", Confidence.HIGH, Stage.EHLO, told(hello))
        return
    if not is_over and not case.asked.is_application:
        return
    reading = read_reply(hello.code, hello.text, Stage.EHLO)
    if reading is None or reading.cause in ("command-refused", "reply-permanent", "policy-refused"):
        certain = Confidence.HIGH if hello.code in (501, 504) else Confidence.MEDIUM
        yield found(case, "helo-fqdn", certain, Stage.EHLO, told(hello))
        return
    name = reading.name or "the list that the reply means"
    yield found(case, reading.cause, reading.confidence, Stage.EHLO, told(hello), list=name)


def cut_off(case: Case, talk: Conversation, stage: Stage) -> Iterator[Verdict]:
    """The connection ended where a reply was due."""
    last = [told(said) for said in talk.said if said.code][-1:]
    match talk.ending:
        case Ending.CLOSED | Ending.RESET:
            yield found(case, "close-mid", Confidence.HIGH, stage, ended(talk), *last, where=stage.value.upper())
        case Ending.TIMED_OUT:
            yield found(case, "no-reply", Confidence.HIGH, stage, ended(talk), *last, where=stage.value.upper())
        case Ending.NOT_SMTP:
            heard = f"its first octets are {quoted(talk.heard)}"
            yield found(case, "reply-malformed", Confidence.HIGH, stage, ended(talk), heard)
        case _:
            return


def is_masked_banner(greeting: Said | None) -> bool:
    """True for `220 *****…`: what Cisco's inspection makes of a greeting."""
    return greeting is not None and bool(_MASKED_BANNER.search(" ".join(greeting.lines)))


def masked_keywords(hello: Said | None) -> tuple[str, ...]:
    """Keywords that something on the way has written over."""
    return tuple(line for line in capabilities(hello) if _MASKED_KEYWORD.fullmatch(line.partition(" ")[0]))
