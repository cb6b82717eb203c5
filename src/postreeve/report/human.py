"""The part for people: what happened to which address, why, and what they can do, without knowing what SMTP is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postreeve.mail.date import format_date
from postreeve.report.fact import DsnAction, RecipientReport
from postreeve.report.status import MAX_DIAGNOSTIC, clean, status_of

_WIDTH: Final = 76
_INDENT: Final = "    "

_SUBJECTS: Final = {
    DsnAction.FAILED: "Your message could not be delivered",
    DsnAction.DELAYED: "Your message is delayed",
    DsnAction.DELIVERED: "Your message was delivered",
    DsnAction.RELAYED: "Your message was passed on",
    DsnAction.EXPANDED: "Your message was sent on to a list",
}
_OPENINGS: Final = {
    DsnAction.FAILED: "Your message could not be delivered to:",
    DsnAction.DELAYED: (
        "Your message could not yet be delivered to the following. We keep trying; you need not send it again:"
    ),
    DsnAction.DELIVERED: "As you asked to be told: your message was delivered to:",
    DsnAction.RELAYED: ("As you asked to be told: your message was passed on, to servers that may not tell more, for:"),
    DsnAction.EXPANDED: "As you asked to be told: your message was sent on to the members of:",
}
# RFC 3463: by subject and detail; the longest prefix counts.
_MEANINGS: Final = {
    "1.1": "There is no such mailbox. Check the spelling of the address.",
    "1.2": "The part after the @ takes no mail: it does not exist. Check its spelling.",
    "1.3": "The address is not written correctly. Check its spelling.",
    "1.6": "The mailbox has moved and left no new address.",
    "1.10": "The domain after the @ takes no mail at all.",
    "2.1": "The mailbox is switched off. Its owner can be told by other means only.",
    "2.2": "The mailbox is full. Try again when its owner has made room.",
    "2.3": "The message is too large for this mailbox. Send less, or a link.",
    "3.4": "The message is too large for the receiving server. Send less, or a link.",
    "4.1": "The receiving server could not be reached, or did not answer.",
    "4.4": "Where to deliver could not be found out. The domain after the @ may be set up wrongly.",
    "4.6": "The message went round in circles. The receiving domain is set up wrongly.",
    "4.7": "The receiving server could not be won over in the time that we try.",
    "6.7": "The receiving server cannot take such an internationalised address.",
    "7": "The receiving server does not want the message. Its reason stands below; only its operator can change that.",
}


def subject_of(reports: Sequence[RecipientReport]) -> str:
    """One line for the Subject field: the gravest news first."""
    actions = {report.action for report in reports}
    return next(_SUBJECTS[action] for action in DsnAction if action in actions)


def write_text(
    reports: Sequence[RecipientReport], *, hostname: str, arrived_at: float, message_id: str, is_returned_whole: bool
) -> str:
    """The text, lines ended with CRLF and wrapped; it may hold other characters than US-ASCII."""
    lines = [f"This is the mail server {hostname}.", ""]
    for action in DsnAction:
        chosen = [report for report in reports if report.action is action]
        if chosen:
            lines += [*_wrap(_OPENINGS[action], ""), ""]
            for report in chosen:
                lines += [*_describe(report), ""]
    about = f"It concerns the message that reached us on {format_date(arrived_at)}"
    lines += _wrap(about + (f" with the identifier {message_id}." if message_id else "."), "")
    rest = "The message is" if is_returned_whole else "The beginning of the message (its header) is"
    lines += [*_wrap(f"{rest} attached, and a report for programs to read.", ""), ""]
    return "\r\n".join(lines)


def _describe(report: RecipientReport) -> list[str]:
    lines = [f"  {clean(str(report.recipient.mailbox))}"]
    original = report.recipient.parameters.orcpt
    if original is not None and original.address.lower() != str(report.recipient.mailbox).lower():
        lines += _wrap(f"(you wrote to {clean(original.address)})", _INDENT)
    if report.action in (DsnAction.FAILED, DsnAction.DELAYED):
        meaning = meaning_of(status_of(report))
        if meaning:
            lines += _wrap(meaning, _INDENT)
    diagnostic = clean(report.diagnostic)[:MAX_DIAGNOSTIC]
    if diagnostic and report.remote_host:
        lines += _wrap(f"The server {clean(report.remote_host)[:255]} said:", _INDENT)
    if diagnostic:
        lines += _wrap(diagnostic, _INDENT)
    if report.retry_until is not None and report.action is DsnAction.DELAYED:
        lines += _wrap(f"We try until {format_date(report.retry_until)}.", _INDENT)
    return lines


def meaning_of(status: str) -> str:
    """What an enhanced status code means in plain words; "" where there is nothing to say beyond the reply."""
    _, _, rest = status.partition(".")
    return _MEANINGS.get(rest) or _MEANINGS.get(rest.partition(".")[0], "")


def _wrap(text: str, indent: str) -> list[str]:
    lines, line = [], indent
    for word in text.split(" "):
        if len(line) + len(word) + 1 > _WIDTH and line.strip():
            lines.append(line)
            line = indent
        line += word if line == indent else " " + word
    return [*lines, line]
