"""Who answers: the first octets, and how long they took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Opening, Said
from postreeve.checks.facts import Intent
from postreeve.checks.judge.case import IMPLICIT_PORTS, Case
from postreeve.checks.judge.interception import is_proven
from postreeve.checks.judge.reply import read_reply
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import ended, quoted, shaken, told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict
from postreeve.ports.sniff import WORDS

SLOW_SECONDS: Final = 5.0
"""Many libraries and monitors give up after five seconds; RFC 5321, section 4.5.3.2.1, asks for five minutes."""
_PATIENT_SECONDS: Final = 20.0
"""Servers that make strangers wait for the greeting do so for 5 to 15 seconds."""
_AT_ONCE_SECONDS: Final = 2.0
"""Who hangs up later than this has waited for something."""
FOREIGN: Final = {key: words for key, words in WORDS.items() if key not in ("smtp", "tls", "tls-alert")}
"""What `Conversation.protocol` may say that is not ours."""


def judge_banner(case: Case) -> Iterator[Verdict]:
    """Nothing when the server greeted as SMTP does in the mode that the client means to use."""
    foreign = next((one for one in case.conversations if one.protocol in FOREIGN and not _is_smtp(one)), None)
    if foreign is not None:
        yield _foreign(case, foreign)
        return
    talk = case.main or case.farthest
    if talk is None or talk.opening is Opening.TLS:
        return
    greeting = _greeting(talk)
    if greeting is None:
        yield from _no_greeting(case, talk)
    elif greeting.code != 220:
        yield _refused(case, talk, greeting)


def judge_pace(case: Case) -> Iterator[Verdict]:
    """A server that works and is slow: programs give up before it answers."""
    talk = case.main
    if talk is None or not case.asked.is_application:
        return
    replies = [said for said in talk.said if said.code]
    slow = [said for said in replies if said.seconds >= SLOW_SECONDS]
    whole = sum(said.seconds for said in replies)
    dragging = [said for said in replies if said.seconds >= 1.0]
    if len(slow) >= 2 or (len(dragging) >= 3 and len(dragging) * 2 > len(replies)):
        total = f"{len(replies)} replies took {whole:.1f} s together"
        yield found(case, "tarpit", Confidence.HIGH, Stage.BANNER, total, *(told(said) for said in dragging[:4]))
    elif slow and slow[0].stage is Stage.BANNER:
        quick = f"everything after it took {whole - slow[0].seconds:.1f} s"
        yield found(case, "slow-banner", Confidence.HIGH, Stage.BANNER, told(slow[0]), quick)


def _foreign(case: Case, talk: Conversation) -> Verdict:
    name = FOREIGN[talk.protocol]
    heard = talk.heard or (talk.tls.heard if talk.tls is not None else "")
    inside = " inside TLS" if talk.tls is not None and talk.tls.version else ""
    line = f"the port speaks {name}{inside}: its first octets are {quoted(heard)}"
    return found(case, "banner-not-smtp", Confidence.HIGH, Stage.BANNER, line, protocol=name)


def _no_greeting(case: Case, talk: Conversation) -> Iterator[Verdict]:
    implicit = case.speaks_implicit_tls
    if implicit is not None and implicit.tls is not None:
        if case.mode is not Intent.AUTO:
            lines = (ended(talk), shaken(implicit.tls))
            # RFC 8314 has no TLS from the first octet on port 25: a proxy that opens TLS on the way does that.
            is_odd = case.endpoint.port == 25 and not is_proven(case)
            certain = Confidence.MEDIUM if is_odd else Confidence.HIGH
            maybe = "no server does that on port 25: a proxy on the way may have answered (transparent-proxy)"
            yield found(case, "plain-to-tls", certain, Stage.BANNER, *lines, maybe if is_odd else "")
        return
    if talk.protocol in ("tls", "tls-alert"):
        line = f"in the clear it answers with a TLS record: {quoted(talk.heard)}"
        yield found(case, "plain-to-tls", Confidence.HIGH, Stage.BANNER, line)
        return
    others = [ended(one) for one in case.conversations if one is not talk]
    if talk.heard and talk.ending is not Ending.RESET:
        if talk.heard.startswith(("220", "421", "554")):
            line = f"the greeting never became a whole reply: {quoted(talk.heard)}"
            yield found(case, "reply-malformed", Confidence.HIGH, Stage.BANNER, line, ended(talk))
        else:
            line = f"what came is no protocol that we know: {quoted(talk.heard)}"
            yield found(case, "banner-not-smtp", Confidence.HIGH, Stage.BANNER, line, protocol="no SMTP")
        return
    match talk.ending:
        case Ending.CLOSED if _waited_long(talk) and not others:
            maybe = "it may wait for a ClientHello (implicit TLS) or for another protocol: nothing else was tried"
            cause = "plain-to-tls" if case.endpoint.port in IMPLICIT_PORTS else "silent-greeting"
            yield found(case, cause, Confidence.MEDIUM, Stage.BANNER, ended(talk), _waited(talk), maybe)
        case Ending.CLOSED:
            yield found(case, "immediate-close", Confidence.HIGH, Stage.BANNER, ended(talk), *others)
        case Ending.RESET:
            yield found(case, "reset", Confidence.HIGH, Stage.BANNER, ended(talk), *others)
        case Ending.TIMED_OUT:
            yield silence(case, ended(talk), *others)
        case Ending.NOT_SMTP:
            line = f"what came is no protocol that we know: {quoted(talk.heard)}"
            yield found(case, "banner-not-smtp", Confidence.HIGH, Stage.BANNER, line, protocol="no SMTP")
        case _:
            return


def silence(case: Case, *evidence: str) -> Verdict:
    """Nothing ever came. Sure only after a wait that outlasts greet delays: a short one rules out no slow server."""
    clear = [said.seconds for one in case.opened(Opening.CLEAR) for said in one.said if said.stage is Stage.BANNER]
    longest = max(clear, default=0.0)
    certain = Confidence.HIGH if longest >= _PATIENT_SECONDS else Confidence.MEDIUM
    more = "" if certain is Confidence.HIGH else f"a slow server is not ruled out: --timeout {2 * _PATIENT_SECONDS:.0f}"
    return found(
        case, "silent-greeting", certain, Stage.BANNER, *evidence, f"waited {longest:.0f} s for a greeting", more
    )


def _waited_long(talk: Conversation) -> bool:
    return max((said.seconds for said in talk.said), default=0.0) >= _AT_ONCE_SECONDS


def _waited(talk: Conversation) -> str:
    waited = max((said.seconds for said in talk.said), default=0.0)
    return f"we waited {waited:.0f} s for a greeting" if waited else "no octet came"


def _refused(case: Case, talk: Conversation, greeting: Said) -> Verdict:
    text = greeting.text
    if greeting.code == 421:
        return found(case, "banner-421", Confidence.HIGH, Stage.BANNER, told(greeting))
    reading = read_reply(greeting.code, text, Stage.BANNER)
    if reading is not None and reading.cause not in ("reply-permanent", "reply-temporary", "policy-refused"):
        name = reading.name or "the list that the reply means"
        return found(case, reading.cause, reading.confidence, Stage.BANNER, told(greeting), list=name)
    if greeting.code >= 500:
        return found(case, "banner-554", Confidence.HIGH, Stage.BANNER, told(greeting))
    if greeting.code >= 400:
        return found(case, "banner-421", Confidence.MEDIUM, Stage.BANNER, told(greeting))
    line = f"a greeting must begin with 220 (RFC 5321, section 4.2), this one is {quoted(text)}"
    return found(case, "reply-malformed", Confidence.HIGH, Stage.BANNER, line, ended(talk))


def _is_smtp(talk: Conversation) -> bool:
    """True when it said or took something that only SMTP has."""
    hello = talk.reply(Stage.EHLO)
    return hello is not None and 200 <= hello.code < 300


def _greeting(talk: Conversation) -> Said | None:
    said = talk.reply(Stage.BANNER)
    return said if said is not None and said.code else None
