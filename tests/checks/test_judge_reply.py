"""What a refusal means: the words of many servers, and words that look alike and mean something else."""

from __future__ import annotations

import pytest

from postreeve.checks.judge.reply import list_name, read_reply
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence

AUTH, MAIL, RCPT, DATA, EHLO = Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.EHLO

READINGS: tuple[tuple[Stage, str, str], ...] = (
    (AUTH, "535 5.7.8 Error: authentication failed:", "auth-535"),
    (AUTH, "535 Authentication Credentials Invalid", "auth-535"),
    (AUTH, "535-5.7.8 Username and Password not accepted. BadCredentials", "auth-535"),
    (AUTH, "535 5.7.0 Login incorrect", "auth-535"),
    (AUTH, "535 Incorrect authentication data", "auth-535"),
    (AUTH, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "m365-smtpauth-disabled"),
    (AUTH, "550 5.7.30 Basic authentication is not supported for Client Submission.", "m365-smtpauth-disabled"),
    (AUTH, "534-5.7.14 Please log in via your web browser and then try again.", "auth-534-app-password"),
    (AUTH, "535 Login fail. Please enter your authorization code to login.", "auth-534-app-password"),
    (AUTH, "535 5.7.8 You must use an app password", "auth-534-app-password"),
    (AUTH, "535 5.7.1 Your mailbox has been suspended", "account-disabled"),
    (AUTH, "525 5.7.13 User Account Disabled", "account-disabled"),
    (AUTH, "525 5.7.1 Unauthorized IP address", "brevo-525"),
    (AUTH, "503 5.5.1 Error: authentication not enabled", "auth-not-offered"),
    (AUTH, "502 5.5.1 command not implemented", "auth-not-offered"),
    (AUTH, "534 5.7.9 This account requires OAuth", "oauth-only"),
    (AUTH, "454 4.7.0 Temporary authentication failure", "auth-454"),
    (AUTH, "421 4.7.0 Too many errors", "rate-limited"),
    (MAIL, "530 5.7.0 Authentication Required.", "mail-530-auth"),
    (MAIL, "550 5.7.1 Client was not authenticated", "mail-530-auth"),
    (MAIL, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail", "m365-57-57"),
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first. ab12 - gsmtp", "auth-before-tls"),
    (MAIL, "501 mail from address must be same as authorization user.", "m365-sendas"),
    (MAIL, "553 5.7.1 <a@example.com>: Sender address rejected: not owned by user b", "m365-sendas"),
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", "size"),
    (MAIL, "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade", "tls-protocol"),
    (RCPT, "554 5.7.1 <u@example.net>: Relay access denied", "relay-denied"),
    (RCPT, "454 4.7.1 <u@example.net>: Relay access denied", "relay-denied"),
    (RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "relay-denied"),
    (RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts", "relay-denied"),
    (RCPT, "450 4.7.1 Greylisting in action, please come back later", "greylist"),
    (RCPT, "451 4.7.500 Server busy. Please try again later", "greylist"),
    (RCPT, "550 5.1.1 The email account that you tried to reach does not exist.", "recipient-unknown"),
    (RCPT, "550 No such user here", "recipient-unknown"),
    (RCPT, "550 Invalid recipient: <u@example.net>", "recipient-unknown"),
    (RCPT, "550 5.7.25 the sending IP does not match its PTR record", "ptr-missing"),
    (RCPT, "450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "ptr-missing"),
    (RCPT, "450 4.7.1 <app>: Helo command rejected: Host not found", "helo-fqdn"),
    (RCPT, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "dnsbl"),
    (RCPT, "452 4.2.2 The recipient's mailbox is over quota", "mailbox-full"),
    (DATA, "550-5.7.26 blocked because the sender is unauthenticated. Authenticate with SPF or DKIM.", "dmarc-5726"),
    (DATA, "550 5.7.515 Access denied, sending domain example.com", "outlook-57515"),
    (DATA, "550 The from address does not match a verified Sender Identity.", "esp-unverified"),
    (DATA, "550 5.4.5 Daily user sending limit exceeded.", "esp-throttle"),
    (DATA, "552 Message is too long.", "size"),
    (EHLO, "501 Syntactically invalid HELO argument(s)", "helo-fqdn"),
)


@pytest.mark.parametrize(("stage", "text", "cause"), READINGS, ids=[text[:40] for _, text, _ in READINGS])
def test_reply_means_what_it_says(stage: Stage, text: str, cause: str) -> None:
    reading = read_reply(int(text[:3]), text, stage)
    assert reading is not None
    assert reading.cause == cause


MISLEADING: tuple[tuple[Stage, str, str], ...] = (
    (RCPT, "550 5.7.1 sender address is on our customer's blacklist", "dnsbl"),
    (MAIL, "503 5.5.1 Send HELO/EHLO first", "helo-fqdn"),
    (RCPT, "554 5.7.1 <u@example.net>: Recipient address rejected: Access denied", "recipient-unknown"),
    (RCPT, "421 closing", "rate-limited"),
    (RCPT, "550 refused", "policy-refused"),
    (DATA, "554 5.0.0 no", "reply-permanent"),
    (DATA, "451 4.0.0 no", "reply-temporary"),
)


@pytest.mark.parametrize(("stage", "text", "cause"), MISLEADING, ids=[text[:40] for _, text, _ in MISLEADING])
def test_reply_that_does_not_decide_is_never_read_with_high_confidence(stage: Stage, text: str, cause: str) -> None:
    reading = read_reply(int(text[:3]), text, stage)
    assert reading is not None
    assert reading.cause != cause or reading.confidence is not Confidence.HIGH


@pytest.mark.parametrize("code", [220, 235, 250, 251, 334, 354])
def test_reply_that_is_positive_has_no_cause(code: int) -> None:
    assert read_reply(code, f"{code} relay denied", RCPT) is None


def test_list_name_is_the_lists_own() -> None:
    assert list_name("554 blocked using zen.spamhaus.org; https://www.spamhaus.org/") == "zen.spamhaus.org"
    assert list_name("550 part of their network is on our block list (S3150).") == "Microsoft (Outlook.com)"
    assert list_name("550 no") == ""
