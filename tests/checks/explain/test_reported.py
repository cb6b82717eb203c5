"""Texts as users of many programs pasted them into bug reports, names and addresses replaced."""

# ruff: noqa: E501

import pytest

from postreeve.checks.explain.reason import explain
from postreeve.checks.knowledge import causes

TEXTS: list[tuple[str, set[str]]] = [
    (
        "Authentication failed, see inner exception.|   at System.Net.Security.SslStream.ForceAuthenticationAsync\n---3\nSSL Handshake failed with OpenSSL error - SSL_ERROR_SSL.\n---4\nerror:14094410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure",
        {"tls-cipher"},
    ),
    (
        'client.Connect("smtp.example.com", 587, true);\n=> IOException - error with handshake because of unexpected packet format',
        {"tls-to-plain"},
    ),
    (
        "MailKit.Security.SslHandshakeException: An error occurred while attempting to establish an SSL or TLS connection.\n\nThis usually means that the SSL certificate presented by the server is not trusted by the system for one or more of\nthe following reasons:\n\n1. The server is using a self-signed certificate which cannot be verified.\n2. The local system is missing a Root or Intermediate certificate needed to verify the server's certificate.\n3. A Certificate Authority CRL server for one or more of the certificates in the chain is temporarily unavailable.",
        {"cert-untrusted"},
    ),
    (
        "2017-11-22 21:15:39.2171 Error Error sending mail. Exception: System.IO.IOException: Unable to read data from the transport connection: A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond. ---> System.Net.Sockets.SocketException: A connection attempt failed",
        {"silent-greeting", "tcp-timeout"},
    ),
    ("Failed to check STMP: Connection error: Connection error: tls handshake eof", {"starttls-eof"}),
    (
        "2025-03-30T17:40:23.516060Z DEBUG lettre::transport::smtp::client::async_connection: << 535 5.7.8 Error: authentication failed: (reason unavailable)<CRLF>\n2025-03-30T17:40:23.516124Z ERROR app::email: Could not connect to smtp.example.org via STARTTLS either",
        {"auth-535"},
    ),
    ("Connection error: Network is unreachable (os error 101)", {"tcp-unreachable", "tcp-unreachable-v6"}),
    (
        "Smtp error: network error: peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof",
        {"close-mid", "immediate-close", "starttls-eof"},
    ),
    (
        "thread 'tokio-runtime-worker' panicked at 'Could not send email: lettre::transport::smtp::Error { kind: Network, source: Custom { kind: InvalidData, error: CorruptMessage } }', src/email_service.rs:52:19",
        {"tls-to-plain"},
    ),
    (
        "Connection error: error:1408F10B:SSL routines:ssl3_get_record:wrong version number:ssl/record/ssl3_record.c:332:",
        {"tls-to-plain"},
    ),
    (
        'Err(Io(Custom { kind: Other, error: Failure(Ssl(Error { code: ErrorCode(5), cause: Some(Io(Os { code: 104, kind: ConnectionReset, message: "Connection reset by peer" })) }, X509VerifyResult { code: 0, error: "ok" })) }))',
        {"reset", "starttls-eof"},
    ),
    (
        '** (Bamboo.SMTPAdapter.SMTPError) There was a problem sending the email through SMTP.\nThe error is :retries_exceeded\nMore detail below:\n{:network_failure, "smtp.example.com", {:error, :timeout}}',
        {"silent-greeting", "tcp-timeout"},
    ),
    ("{:network_failure, 'smtp.example.com', {:error, :econnrefused}}", {"tcp-refused"}),
    (
        'The error is :retries_exceeded\n\nMore detail below:\n\n{:missing_requirement, "smtp.example.com", :tls}',
        {"starttls-missing"},
    ),
    (
        "The error is :no_more_hosts\n\nMore detail below:\n\n{:permanent_failure, '192.0.2.141', \"501 Syntax error in parameters or arguments.\\r\\n\"}",
        {"command-refused", "helo-fqdn"},
    ),
    (
        "{:network_failure, 'smtp.example.com', {:error, {:tls_alert, 'bad record mac'}}}",
        {"starttls-eof", "tls-protocol", "tls-to-plain", "unexpected-record"},
    ),
    (
        '[2019-10-06 03:00:07] local.ERROR: Connection could not be established with host smtp.example.com [ #0] {"userId":1,"exception":"[object] (Swift_TransportException(code: 0)',
        {"cert-untrusted", "tcp-timeout", "tls-to-plain", "wpmail-php"},
    ),
    (
        "[2018-07-06 16:05:33] production.ERROR: Swift_TransportException: Connection could not be established with host mail.example.net [Connection timed out #110] in /var/www/html/vendor/swiftmailer/StreamBuffer.php:268",
        {"tcp-timeout"},
    ),
    (
        "[2021-06-20 21:25:18] production.ERROR: Swift_TransportException: Connection could not be established with host mail.example.com :stream_socket_client(): unable to connect to ssl://mail.example.com:465 (Connection timed out) in /var/www/vendor/StreamBuffer.php:261",
        {"tcp-timeout"},
    ),
    (
        "Connection could not be established with host smtp.example.com :stream_socket_client(): unable to connect to smtp.example.com:2525 (A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond. )",
        {"tcp-timeout"},
    ),
    (
        "Swift_RfcComplianceException [0] => Address in mailbox given [] does not comply with RFC 2822, 3.6.2.",
        {"bad-settings"},
    ),
    (
        '{"message": "Connection could not be established with host mail.example :stream_socket_client(): php_network_getaddresses: getaddrinfo failed: No such host is known. ",\n "exception": "Swift_TransportException"',
        {"dns-nxdomain"},
    ),
    (
        "Connection could not be established with host smtp.example.de :stream_socket_client(): php_network_getaddresses: getaddrinfo failed: Try again at /var/www/html/vendor/swiftmailer",
        {"dns-tempfail"},
    ),
    ('Connection could not be established with host 127.0.0.1 [Connection refused #111] {"userId":1}', {"tcp-refused"}),
    (
        "Swift_TransportException\nProcess could not be started [The system cannot find the path specified.]",
        {"no-sendmail"},
    ),
    (
        "OpenSSL::SSL::SSLError: SSL_connect returned=1 errno=0 state=error: certificate verify failed",
        {"cert-untrusted"},
    ),
    (
        "SSL_connect returned=1 errno=0 state=SSLv3 read server certificate B: certificate verify failed",
        {"cert-untrusted"},
    ),
    (
        "OpenSSL::SSL::SSLError (SSL_connect returned=1 errno=0 state=error:  wrong version number)\nSMTP_PORT=587",
        {"tls-to-plain"},
    ),
    (
        'Net::ReadTimeout: "Net::ReadTimeout with #<TCPSocket:(closed)>"\nSMTP_SERVER=mail.example.com\nSMTP_PORT=465',
        {"plain-to-tls"},
    ),
    (
        'lvl=eror msg="Failed to send alert notification email" logger=alerting.notifier.email error="dial tcp [2001:db8::38]:465: i/o timeout"',
        {"tcp-timeout"},
    ),
    ('Failed to send alert notification email error="dial tcp 192.0.2.11:587: i/o timeout"', {"tcp-timeout"}),
    ("err: dial tcp: i/o timeout logger=notifications", {"dns-tempfail", "tcp-timeout"}),
    ("SMTP 4xx error: transient error (451): 4.3.5 Server configuration error", {"server-local-error"}),
    ('logger=alerting.notifier.email error="tls: first record does not look like a TLS handshake"', {"tls-to-plain"}),
    (
        "System.Net.Mail.SmtpException: The SMTP server requires a secure connection or the client was not authenticated. The server response was: 5.5.1 Authentication Required. Learn more at",
        {"mail-530-auth"},
    ),
    ("Mailbox unavailable. The server response was: 5.7.1 Unable to relay", {"relay-denied"}),
    (
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [AM6EUR05FT047.eop-eur05.prod.protection.outlook.com]",
        {"recipient-unknown"},
    ),
    ("550 5.7.1 Client does not have permissions to send as this sender", {"m365-sendas"}),
    (
        "com.sun.mail.smtp.SMTPSenderFailedException: 553 5.7.1 <root@app>: Sender address rejected: not logged in",
        {"m365-sendas"},
    ),
    ("554 Email rejected per SPF policy", {"spf-fail"}),
    (
        "451 4.7.651 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
        {"rate-limited"},
    ),
    (
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1",
        {"rate-limited"},
    ),
    ("554 5.7.1 : Relay access denied", {"relay-denied"}),
    ("535 Authentication failed: Bad username / password", {"auth-535"}),
    ("550 5.7.1 Sending domain not verified; please verify your domain", {"esp-unverified"}),
    ("454 4.7.1 <user@example.net>: Relay access denied", {"relay-denied"}),
    (
        "nested exception is: javax.net.ssl.SSLException: Unsupported or unrecognized SSL message; host smtp.example.com port 25",
        {"tls-to-plain"},
    ),
    ("gnutls_handshake() failed: An unexpected TLS packet was received.", {"tls-to-plain"}),
    (
        "SMTPRecipientsRefused: {'x@example.net': (550, b'5.7.1 <x@example.net>: Recipient address rejected: Policy Rejection- Quota Exceeded')}",
        {"esp-throttle", "mailbox-full", "policy-refused", "rate-limited"},
    ),
]


@pytest.mark.parametrize(("text", "wanted"), TEXTS, ids=[text[:40] for text, _ in TEXTS])
def test_explain_puts_a_right_cause_first(text: str, wanted: set[str]) -> None:
    found = [one.cause.id for one in explain(text).candidates]
    assert found
    assert found[0] in wanted or causes()[found[0]].narrows in wanted, found
