"""The mail that tells the postmaster what has changed on this machine, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postreeve.mail.date import format_date
from postreeve.report.mime import quote_printable


@dataclass(frozen=True, slots=True)
class Item:
    """One finding as it stands in the mail."""

    level: str
    title: str
    subject: str
    because: tuple[str, ...]
    fix: str


def make_summary(
    appeared: Sequence[Item],
    gone: Sequence[Item],
    still: Sequence[Item],
    *,
    hostname: str,
    recipient: str,
    ident: str,
    now: float,
) -> bytes:
    """The content, header and body, with CRLF line ends; RFC 5322, and RFC 3834 so that nobody answers it."""
    lines = [f"The self-check of {hostname} has changed.", ""]
    for title, items in (("New", appeared), ("No longer so", gone), ("Still so", still)):
        if items:
            lines += [f"{title}:", ""]
            for item in items:
                lines += _tell(item, is_short=items is not appeared)
            lines.append("")
    lines += ["Look again with: postreeve doctor", ""]
    subject = f"{hostname}: {_headline(appeared, gone)}"
    header = (
        f"Date: {format_date(now)}\r\n"
        f"From: Mail server {hostname} <{recipient}>\r\n"
        f"To: <{recipient}>\r\n"
        f"Subject: {subject}\r\n"
        f"Message-ID: <doctor.{ident}@{hostname}>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
    )
    body = quote_printable("\r\n".join(_clean(line) for line in lines).encode())
    return header.encode("ascii", "replace") + body


def _headline(appeared: Sequence[Item], gone: Sequence[Item]) -> str:
    if not appeared:
        return "fine again" if len(gone) == 1 else f"{len(gone)} findings are no longer so"
    if len(appeared) == 1:
        return f"{appeared[0].level}: {appeared[0].title}"
    return f"{len(appeared)} new findings"


def _tell(item: Item, *, is_short: bool) -> list[str]:
    about = f": {item.subject}" if item.subject else ""
    lines = [f"  {item.level}: {item.title}{about}"]
    if not is_short:
        lines += [f"      {line}" for line in item.because]
        first, *more = item.fix.split("\n")
        lines += [f"      fix: {first}", *(f"           {line}" for line in more)]
    return lines


def _clean(line: str) -> str:
    """What peers said is among it: no control characters."""
    return "".join(one if one.isprintable() else " " for one in line)
