"""Submission fix-ups: fields before the content, or a refusal."""

import pytest

from postreeve.mail.fixup import Fixup, fix_submission, refuse_header
from postreeve.mail.header import read_header_section

WHOLE = b"From: a@example.com\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <x@example.com>\r\n\r\nhi\r\n"


def fix(content: bytes, eight_bit_body: bool = False, charset: str = "unknown-8bit") -> Fixup:
    section = read_header_section(content)
    return fix_submission(
        section,
        hostname="mx.example.org",
        ident="01abcdefghjkm",
        now=0,
        eight_bit_body=eight_bit_body,
        charset=charset,
    )


def test_fixup_leaves_a_whole_message_alone() -> None:
    assert fix(WHOLE) == Fixup()


def test_fixup_adds_date_and_message_id() -> None:
    fixup = fix(b"From: a@example.com\r\nSubject: x\r\n\r\n")
    assert fixup.fields == b"Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <01abcdefghjkm@mx.example.org>\r\n"
    assert fixup.refusal is None


def test_fixup_marks_8bit_content_and_leaves_its_label() -> None:
    labelled = WHOLE.replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n")
    assert fix(labelled, eight_bit_body=True) == Fixup(is_eight_bit=True)


@pytest.mark.parametrize("charset", ["utf-8", "unknown-8bit"])
def test_fixup_labels_8bit_text_without_mime(charset: str) -> None:
    fixup = fix(WHOLE, eight_bit_body=True, charset=charset)
    assert fixup.is_eight_bit
    assert fixup.fields.endswith(
        b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\nContent-Transfer-Encoding: 8bit\r\n"
    )


def test_fixup_marks_an_8bit_header() -> None:
    assert fix(WHOLE.replace(b"Date", "Subject: é\r\nDate".encode())).is_eight_bit


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        pytest.param(WHOLE.replace(b"From:", b"To:"), 550, "no From field", id="no From"),
        pytest.param(b"From: b@example.com\r\n" + WHOLE, 550, "more than one From", id="two From"),
        pytest.param(b"Sender: a@b\r\nSender: c@d\r\n" + WHOLE, 550, "more than one Sender", id="two Sender"),
        pytest.param(WHOLE.replace(b"From:", b"From :"), 550, "followed by a space", id="space before colon"),
        pytest.param(b" x\r\n" + WHOLE, 550, "folded", id="leading fold"),
        pytest.param(b"hello\r\n" + WHOLE, 550, "no colon", id="no colon"),
        pytest.param(b"X: a\nb: c\r\n" + WHOLE, 550, "bare CR or LF", id="bare LF"),
        pytest.param(b"X: a\x00\r\n" + WHOLE, 550, "control", id="NUL"),
        pytest.param(b"X: " + b"x" * 300_000 + b"\r\n" + WHOLE, 552, "too large", id="too large"),
        pytest.param(b"X: x\r\n" * 2_000 + WHOLE, 552, "too many", id="too many fields"),
    ],
)  # fmt: skip
def test_fixup_refuses(content: bytes, code: int, text: str) -> None:
    refusal = fix(content).refusal
    assert refusal is not None
    assert refusal.code == code
    assert text in refusal.text


def test_refuse_header_on_every_port_only_what_is_ambiguous() -> None:
    assert refuse_header(read_header_section(b" folded: x\r\n\r\n")) is not None
    assert refuse_header(read_header_section(b"nonsense\r\nSubject: \x1b$B\r\n\r\n")) is None
