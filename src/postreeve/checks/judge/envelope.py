"""MAIL, RCPT and DATA: refusals, read by their words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Said
from postreeve.checks.judge.case import Case, capabilities
from postreeve.checks.judge.hello import cut_off, is_masked_banner
from postreeve.checks.judge.reply import Reading, read_reply
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

_STAGES: Final = (Stage.MAIL, Stage.RCPT, Stage.DATA)


def judge_envelope(case: Case) -> Iterator[Verdict]:
    """The first of MAIL, RCPT and DATA that was refused or cut off."""
    talk = case.main
    if talk is None:
        return
    for stage in _STAGES:
        refused = next(
            (said for said in talk.said if said.stage is stage and (said.code >= 400 or not said.code)), None
        )
        if refused is None:
            continue
        if not refused.code:
            yield from cut_off(case, talk, stage)
        else:
            yield from _refused(case, talk, refused, stage)
        return
    asked = f"{case.asked.mail_from}{case.asked.recipient}"
    if talk.ended_at is Stage.MAIL and talk.ending is Ending.QUIT and not asked.isascii():
        line = f"{asked!r} is not US-ASCII and EHLO offers no SMTPUTF8 (RFC 6531, section 3.2)"
        yield found(case, "smtputf8", Confidence.HIGH, Stage.MAIL, line)
        return
    yield from _too_big(case, talk)


def _refused(case: Case, talk: Conversation, said: Said, stage: Stage) -> Iterator[Verdict]:
    reading = read_reply(said.code, said.text, stage)
    if reading is None:
        return
    cause, lines = reading.cause, [told(said)]
    certain = _certainty(reading, talk)
    if cause == "auth-before-tls" and said.is_in_tls:
        lines.append("it was said inside TLS: a proxy before the server ends TLS, and the server does not know")
        certain = Confidence.MEDIUM
    if cause in ("mail-530-auth", "relay-denied") and not case.asked.has_credentials:
        lines.append("no credentials were given to the probe")
    if talk.reply(Stage.AUTH) is not None and cause in ("relay-denied", "mail-530-auth"):
        lines.append("though the login before it was accepted")
    if is_masked_banner(talk.reply(Stage.BANNER)):
        lines.append("its greeting is masked: a device on the way edits the conversation")
    yield found(case, cause, certain, stage, *lines, **_blanks(case, reading))


def _certainty(reading: Reading, talk: Conversation) -> Confidence:
    if reading.confidence is Confidence.HIGH and talk.ending is Ending.RESET:
        return Confidence.MEDIUM
    return reading.confidence


def _blanks(case: Case, reading: Reading) -> dict[str, str]:
    return {
        "list": reading.name or "the list that the reply means",
        "sender": case.asked.mail_from,
        "recipient": case.asked.recipient,
        "domain": case.asked.mail_from.rpartition("@")[2],
    }


def _too_big(case: Case, talk: Conversation) -> Iterator[Verdict]:
    """The message is larger than EHLO's SIZE (RFC 1870, section 4): no need to send it to know."""
    limit = size_limit(talk.reply(Stage.EHLO))
    if limit and case.asked.message_octets > limit:
        line = f"the message has {case.asked.message_octets} octets, EHLO says SIZE {limit}"
        yield found(case, "size", Confidence.HIGH, Stage.MAIL, line)


def size_limit(hello: Said | None) -> int:
    """The SIZE of an EHLO reply; 0 for none or no limit."""
    for line in capabilities(hello):
        keyword, _, value = line.partition(" ")
        if keyword == "SIZE" and value.isdigit():
            return int(value)
    return 0
