"""What submission repairs (RFC 6409, section 8): fields put before the content; the content itself is never touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.mail.date import format_date
from postreeve.mail.header import HeaderProblem, HeaderSection
from postreeve.mail.reply import Reply

_AMBIGUOUS: Final = (HeaderProblem.LEADING_FOLD, HeaderProblem.BARE_NEWLINE)
_SINGLE: Final = (b"from", b"sender", b"date", b"message-id")


@dataclass(frozen=True, slots=True)
class Fixup:
    """What to do with a submitted message: refuse it, or put `fields` before its content and treat it as described."""

    fields: bytes = b""
    """Whole field lines, CRLF at the end of each; stands below `Received:`."""
    is_eight_bit: bool = False
    """The content needs 8BITMIME on its way, whatever BODY said."""
    refusal: Reply | None = None


def fix_submission(
    section: HeaderSection,
    *,
    hostname: str,
    ident: str,
    now: float,
    eight_bit_body: bool = False,
    charset: str = "unknown-8bit",
) -> Fixup:
    """Fix up one submitted message.

    `eight_bit_body` says whether the body has octets over 127; `charset` is then what an unlabelled body is labelled
    with: "utf-8" where the caller knows it to be that. The Message-ID is `ident` at `hostname`: never repeat `ident`.
    """
    refusal = refuse_header(section) or _refuse_fields(section)
    if refusal is not None:
        return Fixup(refusal=refusal)
    fields = b""
    if not section.has(b"date"):
        fields += f"Date: {format_date(now)}\r\n".encode("ascii")
    if not section.has(b"message-id"):
        fields += f"Message-ID: <{ident}@{hostname}>\r\n".encode("ascii")
    if eight_bit_body and not (section.has(b"mime-version") or section.has(b"content-type")):
        # RFC 1428, section 3: 8-bit text of which nothing is known is labelled, not altered.
        fields += (
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n"
        ).encode("ascii")
    return Fixup(fields, eight_bit_body or not section.is_ascii)


def refuse_header(section: HeaderSection) -> Reply | None:
    """The refusal of a header section that two readers would read differently, or None; for every port.

    A folded first line would become part of the field put before it.
    """
    for problem in section.problems:
        if problem in _AMBIGUOUS:
            return Reply(550, "5.6.0", problem.value)
        if problem in (HeaderProblem.TOO_LARGE, HeaderProblem.TOO_MANY_FIELDS):
            return Reply(552, "5.3.4", problem.value)
    return None


def _refuse_fields(section: HeaderSection) -> Reply | None:
    if section.problems:
        return Reply(550, "5.6.0", section.problems[0].value)
    if not section.has(b"from"):
        return Reply(550, "5.6.0", "the message has no From field")
    for key in _SINGLE:
        if len(section.all(key)) > 1:
            return Reply(550, "5.6.0", f"the message has more than one {key.decode('ascii').title()} field")
    return None
