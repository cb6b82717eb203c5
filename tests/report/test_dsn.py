"""DSNs as an independent reader sees them, and as an attacker would like them."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import (
    BodyType,
    Envelope,
    EnvelopeRecipient,
    MailParameters,
    OriginalRecipient,
    RecipientParameters,
    Return,
)
from postreeve.report.dsn import Dsn, Original, make_dsn
from postreeve.report.fact import DsnAction, DsnSettings, RecipientReport
from postreeve.report.mime import is_text

SETTINGS = DsnSettings("mx.example.org")
SENDER = Mailbox("sender", Domain("example.com"))
CONTENT = b"From: sender@example.com\r\nMessage-ID: <x1@example.com>\r\nSubject: hello\r\n\r\nThe body.\r\n"
ORIGINAL = Original(Envelope(SENDER, ()), CONTENT, True, 1_800_000_000.0, "client.example.com")


def recipient(text: str = "user@example.net", orcpt: OriginalRecipient | None = None) -> EnvelopeRecipient:
    mailbox = parse_mailbox(text)
    assert mailbox is not None
    return EnvelopeRecipient(mailbox, RecipientParameters(orcpt=orcpt))


FAILED = RecipientReport(
    recipient(), DsnAction.FAILED, "5.1.1", "550 5.1.1 No such user here", "mx.example.net", 1_800_000_100.0
)
DELAYED = RecipientReport(
    recipient("other@example.net"), DsnAction.DELAYED, "4.4.1", "timed out", retry_until=1_800_400_000.0
)


def make(original: Original = ORIGINAL, *reports: RecipientReport, settings: DsnSettings = SETTINGS) -> Dsn:
    return make_dsn(settings, original, reports or (FAILED,), ident="01abcdefghjkm", now=1_800_000_200.0)


def read(dsn: Dsn) -> tuple[Message, list[Any]]:
    message = message_from_bytes(dsn.content, policy=policy.compat32)
    assert message.defects == []
    parts = message.get_payload()
    assert isinstance(parts, list)
    return message, parts


def original_with(content: bytes = CONTENT, is_whole: bool = True, **parameters: Any) -> Original:
    return replace(
        ORIGINAL, envelope=Envelope(SENDER, (), MailParameters(**parameters)), content=content, is_whole=is_whole
    )


def test_dsn_header() -> None:
    dsn = make()
    message, parts = read(dsn)
    assert message["From"] == "Mail Delivery System <postmaster@mx.example.org>"
    assert message["To"] == "<sender@example.com>"
    assert message["Subject"] == "Your message could not be delivered"
    assert message["Message-ID"] == "<01abcdefghjkm@mx.example.org>"
    assert message["In-Reply-To"] == message["References"] == "<x1@example.com>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"] == "Fri, 15 Jan 2027 08:03:20 +0000"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in parts] == ["text/plain", "message/delivery-status", "message/rfc822"]
    assert (dsn.recipient, dsn.body, dsn.smtputf8) == (SENDER, BodyType.SEVEN_BIT, False)


def test_dsn_status_fields() -> None:
    original = original_with(envid="QQ314159")
    orcpt = OriginalRecipient("rfc822", "first@example.net")
    report = replace(FAILED, recipient=recipient(orcpt=orcpt), log_id="01zzz")
    _, parts = read(make(original, report, DELAYED))
    whole, first, second = parts[1].get_payload()
    assert dict(whole.items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mx.example.org",
        "Received-From-MTA": "dns; client.example.com",
        "Arrival-Date": "Fri, 15 Jan 2027 08:00:00 +0000",
    }
    assert dict(first.items()) == {
        "Original-Recipient": "rfc822; first@example.net",
        "Final-Recipient": "rfc822; user@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": "Fri, 15 Jan 2027 08:01:40 +0000",
        "Final-Log-ID": "01zzz",
    }
    assert dict(second.items()) == {
        "Final-Recipient": "rfc822; other@example.net",
        "Action": "delayed",
        "Status": "4.4.1",
        "Diagnostic-Code": "x-postreeve; timed out",
        "Will-Retry-Until": "Tue, 19 Jan 2027 23:06:40 +0000",
    }


def test_dsn_text_is_for_people() -> None:
    message, parts = read(make(ORIGINAL, DELAYED, FAILED))
    assert message["Subject"] == "Your message could not be delivered"
    text = parts[0].get_payload(decode=True).decode()
    assert "could not be delivered to:" in text
    assert "user@example.net" in text
    assert "There is no such mailbox." in text
    assert "The server mx.example.net said:" in text
    assert "550 5.1.1 No such user here" in text
    assert "We try until Tue, 19 Jan 2027" in text
    assert all(len(line) <= 78 for line in text.splitlines())


@pytest.mark.parametrize(
    ("action", "status", "subject", "text"),
    [
        (DsnAction.DELAYED, "4.4.1", "Your message is delayed", "you need not send it again"),
        (DsnAction.DELIVERED, "2.1.5", "Your message was delivered", "was delivered to:"),
        (DsnAction.RELAYED, "2.1.5", "Your message was passed on", "passed on"),
        (DsnAction.EXPANDED, "2.1.5", "Your message was sent on to a list", "members"),
    ],
)
def test_dsn_of_other_actions(action: DsnAction, status: str, subject: str, text: str) -> None:
    message, parts = read(make(ORIGINAL, RecipientReport(recipient(), action, status)))
    assert message["Subject"] == subject
    assert text in parts[0].get_payload()
    assert parts[1].get_payload()[1]["Action"] == action.value
    assert parts[1].get_payload()[1]["Status"] == status
    assert parts[2].get_content_type() == "text/rfc822-headers"
    assert parts[2].get_payload() == CONTENT.decode().partition("\r\n\r\n")[0] + "\r\n"


@pytest.mark.parametrize(
    ("action", "given_status", "expected"),
    [
        (DsnAction.FAILED, "5.7.1", "5.7.1"),
        (DsnAction.FAILED, "4.4.7", "4.4.7"),
        (DsnAction.FAILED, "2.0.0", "5.0.0"),
        (DsnAction.FAILED, "", "5.0.0"),
        (DsnAction.FAILED, "5.1.1\r\nX: y", "5.0.0"),
        (DsnAction.DELAYED, "5.1.1", "4.0.0"),
        (DsnAction.RELAYED, "garbage", "2.0.0"),
    ],
)
def test_dsn_status_fits_its_action(action: DsnAction, given_status: str, expected: str) -> None:
    _, parts = read(make(ORIGINAL, RecipientReport(recipient(), action, given_status)))
    assert parts[1].get_payload()[1]["Status"] == expected


@pytest.mark.parametrize(
    ("original", "media_type"),
    [
        pytest.param(original_with(), "message/rfc822", id="small, no RET"),
        pytest.param(original_with(ret=Return.FULL), "message/rfc822", id="RET=FULL"),
        pytest.param(original_with(ret=Return.HEADERS), "text/rfc822-headers", id="RET=HDRS"),
        pytest.param(original_with(CONTENT + b"x\r\n" * 20_000), "text/rfc822-headers", id="over the cap"),
        pytest.param(original_with(is_whole=False), "text/rfc822-headers", id="only a head at hand"),
        pytest.param(original_with(CONTENT + b"x" * 2_000), "text/rfc822-headers", id="long line"),
        pytest.param(original_with(CONTENT + b"\x00"), "text/rfc822-headers", id="NUL"),
        pytest.param(original_with(CONTENT + b"a\nb"), "text/rfc822-headers", id="bare LF"),
    ],
)
def test_dsn_returns_what_ret_and_the_cap_allow(original: Original, media_type: str) -> None:
    dsn = make(original)
    _, parts = read(dsn)
    assert parts[2].get_content_type() == media_type
    if media_type == "message/rfc822":
        assert CONTENT in dsn.content
    else:
        assert b"The body." not in dsn.content
        assert (
            parts[2].get_payload() == "From: sender@example.com\r\nMessage-ID: <x1@example.com>\r\nSubject: hello\r\n"
        )


def test_dsn_is_bounded_by_the_header_too() -> None:
    original = original_with(b"X: " + b"x" * 60 + b"\r\n" + b"Y: y\r\n" * 20_000 + b"\r\nbody")
    dsn = make(original)
    assert len(dsn.content) < SETTINGS.max_returned_octets + 5_000
    assert len(make(original_with(b"X" * 200_000)).content) < 5_000


def test_dsn_with_8bit_content_says_so() -> None:
    dsn = make(original_with(CONTENT + b"\xe9\r\n", body=BodyType.EIGHT_BIT_MIME))
    message, parts = read(dsn)
    assert message["Content-Transfer-Encoding"] == parts[2]["Content-Transfer-Encoding"] == "8bit"
    assert (dsn.body, dsn.smtputf8) == (BodyType.EIGHT_BIT_MIME, False)


def test_dsn_encodes_an_8bit_header_where_it_cannot_be_labelled() -> None:
    content = "Subject: dürst\r\n\r\n".encode()
    dsn = make(original_with(content, ret=Return.HEADERS))
    _, parts = read(dsn)
    assert dsn.content.isascii()
    assert parts[2]["Content-Transfer-Encoding"] == "quoted-printable"
    assert parts[2].get_payload(decode=True) == "Subject: dürst\r\n".encode()


def test_dsn_for_internationalised_mail() -> None:
    original = replace(
        original_with("Subject: dürst\r\n\r\nx\r\n".encode(), smtputf8=True),
        envelope=Envelope(Mailbox("пример", Domain("example.com")), (), MailParameters(smtputf8=True)),
    )
    report = replace(
        FAILED,
        recipient=recipient("dürst@example.net", OriginalRecipient("utf-8", "dürst@example.net")),
        diagnostic="550 5.1.1 niemand heißt so",
    )
    dsn = make(original, report)
    assert (dsn.body, dsn.smtputf8) == (BodyType.EIGHT_BIT_MIME, True)
    assert "\r\nTo: <пример@example.com>\r\n".encode() in dsn.content
    message, parts = read(dsn)
    assert message["Content-Transfer-Encoding"] == parts[1]["Content-Transfer-Encoding"] == "8bit"
    status = dsn.content.partition(b"message/global-delivery-status")[2]
    assert "Final-Recipient: utf-8; dürst@example.net\r\n".encode() in status
    assert "Original-Recipient: utf-8; dürst@example.net\r\n".encode() in status
    assert "niemand heißt so\r\n".encode() in status
    assert b"Content-Type: message/global\r\n" in dsn.content
    headers_only = make(replace(original, is_whole=False), report)
    assert b"Content-Type: message/global-headers\r\n" in headers_only.content


def test_dsn_calls_nothing_internationalised_that_is_no_utf8() -> None:
    original = original_with(b"Subject: d\xfcrst\r\n\r\nx\r\n", smtputf8=True)
    assert b"Content-Type: message/rfc822\r\n" in make(original).content
    assert b"Content-Type: text/rfc822-headers\r\n" in make(replace(original, is_whole=False)).content


def test_dsn_leaves_out_an_original_recipient_too_long_to_quote() -> None:
    report = replace(FAILED, recipient=recipient(orcpt=OriginalRecipient("rfc822", "a" * 800)))
    assert b"Original-Recipient" not in make(ORIGINAL, report).content


def test_dsn_without_smtputf8_writes_utf8_addresses_in_ascii() -> None:
    report = replace(FAILED, recipient=recipient("dürst@example.net", OriginalRecipient("utf-8", "a+dürst@x")))
    dsn = make(ORIGINAL, report)
    _, parts = read(dsn)
    assert dsn.content.isascii()
    fields = parts[1].get_payload()[1]
    assert fields["Final-Recipient"] == "utf-8; d\\x{FC}rst@example.net"
    assert fields["Original-Recipient"] == "utf-8; a\\x{2B}d\\x{FC}rst@x"
    assert "dürst@example.net" in parts[0].get_payload(decode=True).decode()


def test_dsn_boundary_is_in_no_part() -> None:
    hostile = CONTENT + b"".join(b"\r\n--=_01abcdefghjkm_%d_\r\n" % number for number in range(20))
    _, parts = read(make(original_with(hostile)))
    assert len(parts) == 3
    assert parts[2].get_content_type() == "message/rfc822"


@pytest.mark.parametrize("message_id", [b"<a b@x>", b"<x\r\n Bcc: y>", b"x@y", b"<\xff@x>", b"<" + b"x" * 400 + b">"])
def test_dsn_repeats_only_a_harmless_message_id(message_id: bytes) -> None:
    message, _ = read(make(original_with(b"Message-ID: " + message_id + b"\r\n\r\n")))
    assert message["References"] is None
    assert message["Bcc"] is None


def test_dsn_is_never_made_for_nobody_or_nothing() -> None:
    with pytest.raises(ValueError):
        make(replace(ORIGINAL, envelope=Envelope(None, ())))
    with pytest.raises(ValueError):
        make_dsn(SETTINGS, ORIGINAL, (), ident="1", now=0.0)


HOSTILE = st.text(max_size=1_500) | st.lists(
    st.sampled_from(["\r\n", "\n", "\r", " ", "\t", "X-Injected: y", "\x00", "\u2028", "é", "\udcff", "--", "a" * 300])
).map("".join)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.booleans())
def test_dsn_cannot_be_injected_into(reply: str, host: str, envid: str, orcpt: str, smtputf8: bool) -> None:
    orcpt_type = "utf-8" if smtputf8 else "rfc822"
    address = orcpt.encode("utf-8", "replace").decode()
    report = replace(
        FAILED,
        recipient=recipient(orcpt=OriginalRecipient(orcpt_type, address)),
        diagnostic=reply,
        remote_host=host,
        log_id=envid,
        status=reply,
    )
    original = replace(original_with(smtputf8=smtputf8, envid=envid), received_from=host)
    dsn = make(original, report, DELAYED)
    assert is_text(dsn.content)
    assert dsn.content.isascii() == (dsn.body is BodyType.SEVEN_BIT)
    message, parts = read(dsn)
    assert len(parts) == 3
    assert len(message.keys()) == 11
    status = dsn.content.partition(b"delivery-status\r\nContent-Description: Delivery report\r\n")[2]
    status = status.partition(b"\r\n\r\n")[2].partition(b"\r\n--=_")[0]
    groups = [group.split(b"\r\n") for group in status.removesuffix(b"\r\n").split(b"\r\n\r\n")]
    assert len(groups) == 3
    names = {line.partition(b":")[0] for group in groups for line in group if not line.startswith(b" ")}
    assert names <= {
        b"Original-Envelope-Id", b"Reporting-MTA", b"Received-From-MTA", b"Arrival-Date", b"Original-Recipient",
        b"Final-Recipient", b"Action", b"Status", b"Remote-MTA", b"Diagnostic-Code", b"Last-Attempt-Date",
        b"Final-Log-ID", b"Will-Retry-Until",
    }  # fmt: skip


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: CONTENT + tail))
def test_dsn_carries_any_content(content: bytes) -> None:
    dsn = make(original_with(content))
    assert is_text(dsn.content)
    assert dsn.content.isascii() == (dsn.body is BodyType.SEVEN_BIT)
    if b"message/rfc822" in dsn.content.partition(b"Undelivered message")[0]:
        assert b"\r\n\r\n" + content + b"\r\n--=_" in dsn.content


def test_dsn_returns_the_odd_messages(suites: Path) -> None:
    files = [path for path in sorted((suites / "messages").rglob("*")) if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for smtputf8 in (False, True):
            dsn = make(original_with(content, smtputf8=smtputf8))
            assert is_text(dsn.content)
            assert dsn.content.isascii() == (dsn.body is BodyType.SEVEN_BIT)
            assert len(dsn.content) <= SETTINGS.max_returned_octets + 10_000
            outer = dsn.content.split(b"\r\n--=_01abcdefghjkm_")
            assert len(outer) == 5, path.name
            if is_text(content) and len(content) <= SETTINGS.max_returned_octets:
                assert outer[3].endswith(b"\r\n\r\n" + content), path.name
