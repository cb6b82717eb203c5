"""Explain: how often it is right on the corpus of real texts, and that it decides only where the text does."""

from collections.abc import Iterator

import pytest

from postreeve.checks.explain.reason import explain
from postreeve.checks.verdict import Confidence
from tests.checks.explain import scenario


def ids(text: str) -> list[str]:
    return [one.cause.id for one in explain(text).candidates]


@pytest.fixture
def corpus() -> Iterator[tuple[str, str, str]]:
    if not (scenario.FACTS / "failure-texts.json").exists():
        pytest.skip(f"no failure-texts.json in {scenario.FACTS}")
    return scenario.corpus()


def test_explain_is_right_on_the_corpus(corpus: Iterator[tuple[str, str, str]]) -> None:
    score = scenario.measure(corpus, scenario.accepted, explain)
    print(score)
    assert score.texts > 350
    assert score.alone >= 0.80 * score.texts, score
    assert score.listed >= 0.95 * score.texts, score
    assert score.only_wrong <= 0.01 * score.texts, score
    assert score.decided_wrong == []


def test_explain_is_right_on_what_other_clients_print() -> None:
    """Ruby, PHPMailer, Symfony Mailer, aiosmtplib, Django, Go, nodemailer, Perl, msmtp and JavaMail, texts in full.

    More of these are shared by several faults (PHP tells nothing of a certificate but that it failed), so fewer can be
    answered alone; none may be decided wrongly.
    """
    score = scenario.measure(scenario.own_texts(), scenario.accepted, explain)
    print(score)
    assert score.texts > 480
    assert score.alone >= 0.72 * score.texts, score
    assert score.listed >= 0.97 * score.texts, score
    assert score.only_wrong <= 0.02 * score.texts, score
    assert score.decided_wrong == []


AMBIGUOUS = [
    pytest.param("SMTP Error: Could not connect to SMTP host. Failed to connect to server", id="phpmailer-umbrella"),
    pytest.param("curl: (28) Operation timed out after 5000 milliseconds with 0 bytes received", id="curl-silence"),
    pytest.param("smtplib.SMTPServerDisconnected: Connection unexpectedly closed: timed out", id="python-silence"),
    pytest.param("Error: Greeting never received", id="nodemailer-silence"),
    pytest.param("smtplib.SMTPServerDisconnected: Connection unexpectedly closed", id="python-close"),
    pytest.param("EOF", id="go-close"),
    pytest.param("Error: Connection closed unexpectedly", id="nodemailer-close"),
    pytest.param("x509: certificate signed by unknown authority", id="go-authority"),
    pytest.param("PKIX path building failed: unable to find valid certification path", id="java-authority"),
    pytest.param("The certificate is NOT trusted. The certificate issuer is unknown.", id="gnutls-authority"),
    pytest.param("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", id="wrong-version"),
    pytest.param("421 4.7.0 Try again later, closing connection.", id="421-at-any-time"),
    pytest.param("454 4.7.1 Your account is suspended.", id="account-or-provider"),
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_explain_decides_nothing_where_texts_are_shared_by_causes(text: str) -> None:
    explanation = explain(text)
    assert not explanation.is_decided
    assert len(explanation.candidates) > 1
    assert all(one.confidence is not Confidence.HIGH for one in explanation.candidates)
    assert all(one.decide_by for one in explanation.candidates)


DECIDED = [
    pytest.param(
        "smtp.example.com:587 [SSL: WRONG_VERSION_NUMBER] wrong version number", "tls-to-plain", id="mode-587"
    ),
    pytest.param("Error: connect ETIMEDOUT 192.0.2.25:25", "port-25-blocked", id="blocked-25"),
    pytest.param("Greeting never received; host: 'smtp.example.com', port: 465", "plain-to-tls", id="silence-465"),
    pytest.param("Error: connect ENETUNREACH 2001:db8::25:587 - Local (:::0)", "tcp-unreachable-v6", id="ipv6"),
    pytest.param("System.Net.Mail.SmtpException: The operation has timed out. port 465", "dotnet-465", id="dotnet"),
    pytest.param("certificate is valid for mx.example.net, not 192.0.2.25", "cert-ip", id="address"),
    pytest.param("535 5.7.8 Your account has been disabled", "account-disabled", id="account"),
    pytest.param("SMTPConnectError: (421, b'4.7.0 Try again later')", "banner-421", id="421-as-greeting"),
    pytest.param("SMTPDataError: (421, b'4.3.2 Try again later')", "rate-limited", id="421-in-the-end"),
]


@pytest.mark.parametrize(("text", "cause"), DECIDED)
def test_explain_decides_where_the_text_around_says_more(text: str, cause: str) -> None:
    explanation = explain(text)
    assert explanation.is_decided
    assert explanation.candidates[0].cause.id == cause
    assert explanation.candidates[0].confidence is Confidence.HIGH


def test_explain_fills_the_fix_with_what_the_text_names() -> None:
    found = explain("Error: connect ETIMEDOUT 192.0.2.25:587")
    assert found.known["port"] == "587"
    assert "192.0.2.25:587" in explain("dial tcp 192.0.2.25:587: connect: connection refused").known["address"] + ":587"
    assert "TCP 587" in found.candidates[0].fix
    wrong = explain("smtp.example.com:587: wrong version number")
    assert "probe" in wrong.candidates[0].decide_by


PYTHON = """Traceback (most recent call last):
  File "/usr/lib/python3.11/smtplib.py", line 341, in connect
    self.sock = self._get_socket(host, port, self.timeout)
ConnectionRefusedError: [Errno 111] Connection refused

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/mail.py", line 12, in send  # 535 timed out
    raise MailFailed("could not send") from None
app.MailFailed: could not send
"""
LOGIN = """Traceback (most recent call last):
  File "/srv/app/mail.py", line 9, in <module>
    server.login(user, password)
  File "/usr/lib/python3.11/smtplib.py", line 739, in login
    (code, resp) = self.auth(
  File "/usr/lib/python3.11/smtplib.py", line 398, in getreply
    raise SMTPServerDisconnected("Connection unexpectedly closed")
smtplib.SMTPServerDisconnected: Connection unexpectedly closed
"""
JAVA = """org.springframework.mail.MailSendException: Mail server connection failed; nested exception is javax.mail.MessagingException: Could not convert socket to TLS
\tat org.springframework.mail.javamail.JavaMailSenderImpl.doSend(JavaMailSenderImpl.java:448)
Caused by: javax.mail.MessagingException: Could not convert socket to TLS
\tat com.sun.mail.smtp.SMTPTransport.startTLS(SMTPTransport.java:1880)
\t... 6 more
Caused by: javax.net.ssl.SSLHandshakeException: PKIX path validation failed
\tat sun.security.ssl.Alert.createSSLException(Alert.java:131)
Caused by: java.security.cert.CertificateExpiredException: NotAfter: Fri Nov 20 22:39:28 UTC 2026
\tat sun.security.x509.CertificateValidity.valid(CertificateValidity.java:277)
"""  # noqa: E501
NODE = """Error: Invalid login: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.
    at SMTPConnection._formatError (/srv/node_modules/nodemailer/lib/smtp-connection/index.js:790:19)
  code: 'EAUTH', responseCode: 535, command: 'AUTH LOGIN'
"""  # noqa: E501
PHP = """2026-11-24 02:00:00 Connection: opening to smtp.example.com:587, timeout=300, options=array()
2026-11-24 02:00:00 SERVER -> CLIENT: 220 smtp.example.com ESMTP
2026-11-24 02:00:00 CLIENT -> SERVER: MAIL FROM:<me@example.com>
2026-11-24 02:00:00 SERVER -> CLIENT: 530 5.7.0 Must issue a STARTTLS command first
2026-11-24 02:00:00 SMTP ERROR: MAIL FROM command failed: 530 5.7.0 Must issue a STARTTLS command first
SMTP Error: Could not connect to SMTP host.
"""
POSTFIX = """Nov 24 02:00:00 mx postfix/smtp[1]: connect to mx.example.com[2001:db8::25]:25: Network is unreachable
Nov 24 02:00:30 mx postfix/smtp[1]: connect to mx.example.com[192.0.2.25]:25: Connection timed out
Nov 24 02:00:30 mx postfix/smtp[1]: 4Xy: to=<a@example.com>, relay=none, delay=31, dsn=4.4.1, status=deferred (connect to mx.example.com[192.0.2.25]:25: Connection timed out)
"""  # noqa: E501


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(PYTHON, "tcp-refused", id="python-innermost"),
        pytest.param(LOGIN, "close-mid", id="python-frame"),
        pytest.param(JAVA, "cert-expired", id="java-caused-by"),
        pytest.param(NODE, "m365-smtpauth-disabled", id="node-error-object"),
        pytest.param(PHP, "auth-before-tls", id="phpmailer-debug"),
        pytest.param(POSTFIX, "port-25-blocked", id="postfix-log"),
    ],
)
def test_explain_finds_the_error_in_what_surrounds_it(text: str, cause: str) -> None:
    explanation = explain(text)
    assert explanation.candidates[0].cause.id == cause
    assert explanation.is_decided


@pytest.mark.parametrize("text", ["", "hello, world", "250 2.0.0 Ok: queued as 4Xy", "\x00" * 100], ids=repr)
def test_explain_knows_nothing_of_what_is_no_error(text: str) -> None:
    assert explain(text).candidates == ()


def test_explain_bears_a_huge_text() -> None:
    assert ids("x" * 5_000_000 + "\nConnection refused") == ["tcp-refused"]
