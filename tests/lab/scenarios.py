"""What can go wrong, one scenario each: how the server behaves, how the client comes, and the causes that are true.

`causes` begins with the cause that the lab planted; a second one is there where no client could tell the two apart.
The names are those of the corpus of error texts where it has the same scenario.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.checks.facts import Intent
from tests.lab.misbehaving import Manner, Reply
from tests.lab.sink import Close, Drip, Exactly, Flood, Hang, Reset, Say

PLAIN, STARTTLS, IMPLICIT, AUTO = Intent.PLAIN, Intent.STARTTLS, Intent.IMPLICIT, Intent.AUTO


@dataclass(frozen=True)
class Scenario:
    """One server and one client. `causes` is ("ok",) for a healthy one."""

    causes: tuple[str, ...]
    manner: Manner
    intent: Intent = STARTTLS
    has_login: bool = False
    mail_from: str | None = None
    recipient: str = ""
    has_message: bool = False
    message_octets: int = 0
    host: str = "mail.example.com"


def _scene(cause: str, intent: Intent = STARTTLS, **manner: object) -> Scenario:
    return Scenario(tuple(cause.split("|")), Manner(**manner), intent)  # type: ignore[arg-type]


def _greets(cause: str, greeting: Reply, intent: Intent = PLAIN) -> Scenario:
    return Scenario(tuple(cause.split("|")), Manner(greeting=greeting), intent)


def _chain(cause: str, name: str, chain: str) -> dict[str, Scenario]:
    return {
        f"starttls_{name}": Scenario((cause,), Manner(tls=chain), STARTTLS),
        f"implicit_{name}": Scenario((cause,), Manner(tls=chain, is_implicit=True), IMPLICIT),
    }


def _auth(cause: str, reply: Reply, offers: bytes = b"250-AUTH PLAIN LOGIN\r\n") -> Scenario:
    return Scenario(tuple(cause.split("|")), Manner(replies={"AUTH": reply}, tls_auth=offers), has_login=True)


def _at(cause: str, verb: str, reply: Reply, *, intent: Intent = PLAIN, has_message: bool = False) -> Scenario:
    manner = Manner(replies={verb: reply})
    causes = tuple(cause.split("|"))
    return Scenario(causes, manner, intent, mail_from="me@example.com", recipient="you@example.net",
                    has_message=has_message or verb in ("DATA", "."))  # fmt: skip


_MASKED_EHLO = b"250-mail.example.com\r\n250-PIPELINING\r\n250-XXXXXXXA\r\n250 8BITMIME\r\n"
_STRIPPED_EHLO = b"250-mail.example.com\r\n250-PIPELINING\r\n250-XXXXXXXX\r\n250 8BITMIME\r\n"
_BARE_EHLO = b"250-mail.example.com\r\n250 8BITMIME\r\n"

BANNERS: Final = {
    "silent_no_banner": _greets("silent-greeting", Hang()),
    "silent server [implicit TLS client]": _greets("silent-greeting", Hang(), IMPLICIT),
    "immediate_close": _greets("immediate-close", Close()),
    "immediate close [implicit TLS client]": _greets("immediate-close", Close(), IMPLICIT),
    "immediate_rst": _greets("reset", Reset()),
    "immediate rst [implicit TLS client]": _greets("reset", Reset(), IMPLICIT),
    "banner_554": _greets("banner-554", b"554 5.7.1 No SMTP service here\r\n"),
    "banner_554_dnsbl": _greets(
        "dnsbl", b"554 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org\r\n"
    ),
    "banner_554_ptr": _greets("ptr-missing", b"554 5.7.1 no reverse DNS for your address\r\n"),
    "banner_421": _greets("banner-421", b"421 4.7.0 mail.example.com Error: too many connections from 192.0.2.1\r\n"),
    "banner_450": _greets("greylist", b"450 4.3.2 greylisted, come back in five minutes\r\n"),
    "banner_ssh": _greets("banner-not-smtp", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "banner_imap": _greets("banner-not-smtp", b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready.\r\n"),
    "banner_pop3": _greets("banner-not-smtp", b"+OK ready.\r\n"),
    "banner_http400": _greets("banner-not-smtp", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "banner_ssh[implicit TLS client]": _greets("banner-not-smtp", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", IMPLICIT),
    "banner_imap[implicit TLS client]": _greets("banner-not-smtp", b"* OK [CAPABILITY IMAP4rev1] ready.\r\n", IMPLICIT),
    "banner_pop3[implicit TLS client]": _greets("banner-not-smtp", b"+OK ready.\r\n", IMPLICIT),
    "banner_http400[implicit TLS client]": _greets(
        "banner-not-smtp", (Exactly(5), Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()), IMPLICIT
    ),
    "http_waits_for_request": _greets(
        "banner-not-smtp", (Exactly(5), Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()), STARTTLS
    ),
    "banner_vnc": _greets("banner-not-smtp", b"RFB 003.008\n"),
    "banner_garbage": _greets("banner-not-smtp", b"\x00\x01\x02\xfe\xff hello?\r\n"),
    "banner_never_ends": _greets("reply-malformed", Flood(b"220-still greeting\r\n", 100_000)),
    "banner_half": _greets("reply-malformed", (Say(b"220 mail.exa"), Hang())),
    "imaps": _scene("banner-not-smtp", IMPLICIT, is_implicit=True, greeting=b"* OK [CAPABILITY IMAP4rev1] ready\r\n"),
    "slow_banner_6s": Scenario(("slow-banner",), Manner(greeting_seconds=5.2), PLAIN),
    "tarpit": Scenario(("tarpit",), Manner(greeting_seconds=1.1, reply_seconds=1.1), PLAIN, mail_from="me@example.com",
                       recipient="you@example.net"),
    "proxy_protocol_expected": _greets("silent-greeting", (Exactly(6), Close())),
    "plaintext client -> implicit TLS port": _scene("plain-to-tls", PLAIN, is_implicit=True),
    "STARTTLS client -> implicit TLS port": _scene("plain-to-tls", STARTTLS, is_implicit=True),
    "tls_alert_to_plaintext": _greets("plain-to-tls", b"\x15\x03\x01\x00\x02\x02\x46"),
    "implicit TLS client -> STARTTLS/plaintext port (wrong version number)": _scene("tls-to-plain", IMPLICIT),
    "implicit TLS client -> plaintext port": _scene("tls-to-plain", IMPLICIT, tls=""),
    "implicit TLS client -> slow STARTTLS port": _scene("tls-to-plain", IMPLICIT, greeting_seconds=0.6),
}  # fmt: skip

HELLOS: Final = {
    "helo_rejected_504": _scene("helo-fqdn", PLAIN, replies={
        "EHLO": b"504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname\r\n",
        "HELO": b"504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname\r\n"}),
    "helo_syntax_501": _scene("helo-fqdn", PLAIN, replies={
        "EHLO": b"501 Syntactically invalid EHLO argument(s)\r\n",
        "HELO": b"501 Syntactically invalid HELO argument(s)\r\n"}),
    "helo_dns_450": _scene("helo-fqdn", PLAIN, replies={
        "EHLO": b"450 4.7.1 <app>: Helo command rejected: Host not found\r\n"}),
    "helo_only": _scene("ehlo-unknown", STARTTLS, replies={"EHLO": b"502 5.5.1 command not implemented\r\n"}),
    "close_after_ehlo": _scene("close-mid", PLAIN, replies={"EHLO": Close()}),
    "reset_after_ehlo": _scene("close-mid", PLAIN, replies={"EHLO": Reset()}),
    "hang_after_ehlo": _scene("no-reply", PLAIN, replies={"EHLO": Hang()}),
    "ehlo_421": _scene("rate-limited", PLAIN, replies={"EHLO": b"421 4.7.0 Too many sessions, try again later\r\n"}),
    "asa_fixup": _scene("asa-fixup", STARTTLS, greeting=b"220 " + b"*" * 60 + b"\r\n", replies={
        "EHLO": _MASKED_EHLO, "STARTTLS": b"500 5.5.1 command unrecognized\r\n"}),
    "asa_fixup_helo_only": _scene("asa-fixup", STARTTLS, greeting=b"220 " + b"*" * 60 + b"2******\r\n", replies={
        "EHLO": b"502 5.5.1 command unrecognized: \"XXXX\"\r\n"}),
    "starttls_not_offered": _scene("starttls-missing", STARTTLS, tls=""),
    "starttls_stripped_masked": _scene("starttls-stripped", STARTTLS, replies={
        "EHLO": _STRIPPED_EHLO, "STARTTLS": b"500 5.5.1 command unrecognized\r\n"}),
    "starttls_stripped_demanded": Scenario(("starttls-stripped",), Manner(tls="", replies={
        "MAIL": b"530 5.7.0 Must issue a STARTTLS command first\r\n"}), AUTO, mail_from="me@example.com"),
    "ehlo_mixed_codes": _scene("reply-malformed", PLAIN, replies={
        "EHLO": b"250-mail.example.com\r\n350 8BITMIME\r\n"}),
    "ehlo_garbage": _scene("reply-malformed", PLAIN, replies={"EHLO": b"what do you want?\r\n"}),
    "ehlo_never_ends": _scene("reply-malformed", PLAIN, replies={"EHLO": Flood(b"250-X\r\n", 100_000)}),
}  # fmt: skip

_READY = Say(b"220 2.0.0 Ready\r\n")

HANDSHAKES: Final = {
    "starttls_454": _scene("starttls-454", replies={
        "STARTTLS": b"454 4.7.0 TLS not available due to local problem\r\n"}),
    "starttls_502": _scene("starttls-refused", replies={"STARTTLS": b"502 5.5.1 Error: command not implemented\r\n"}),
    "starttls_then_close": _scene("starttls-eof", replies={"STARTTLS": (_READY, Exactly(9), Close())}),
    "starttls_then_reset": _scene("starttls-eof", replies={"STARTTLS": (_READY, Exactly(9), Reset())}),
    "starttls_closed": _scene("starttls-eof", replies={"STARTTLS": Close()}),
    "starttls_then_hang": _scene("tls-timeout", replies={"STARTTLS": (_READY, Hang())}),
    "starttls_then_text": _scene("unexpected-record", replies={
        "STARTTLS": (_READY, Exactly(9), Say(b"500 5.5.2 what is this\r\n"), Hang())}),
    "starttls_injected": _scene("starttls-injected", injected=b"250 2.1.0 Ok\r\n"),
    "starttls_tls10_only": _scene("tls-protocol", tls="TLS 1.0"),
    "implicit_tls10_only": _scene("tls-protocol", IMPLICIT, tls="TLS 1.0", is_implicit=True),
    "starttls_tls11_only": _scene("tls-protocol", tls="TLS 1.1"),
    "implicit_tls11_only": _scene("tls-protocol", IMPLICIT, tls="TLS 1.1", is_implicit=True),
    "starttls_no_shared_cipher": _scene("tls-cipher", tls="old cipher"),
    "implicit_no_shared_cipher": _scene("tls-cipher", IMPLICIT, tls="old cipher", is_implicit=True),
    "starttls_dh1024": _scene("tls-dh", tls="DH 1024"),
    "implicit_dh1024": _scene("tls-dh", IMPLICIT, tls="DH 1024", is_implicit=True),
    "starttls_mtls_required": _scene("mtls", tls="client certificate"),
    "implicit_mtls_required": _scene("mtls", IMPLICIT, tls="client certificate", is_implicit=True),
    "starttls_mtls_required_1.2": _scene("mtls", tls="client certificate 1.2"),
    "starttls_unknown_name": _scene("sni-unrecognized", tls="unknown name"),
    "implicit_unknown_name": _scene("sni-unrecognized", IMPLICIT, tls="unknown name", is_implicit=True),
    "starttls_internal_error": _scene("tls-alert", tls="internal error"),
    "implicit_internal_error": _scene("tls-alert", IMPLICIT, tls="internal error", is_implicit=True),
}  # fmt: skip

CERTIFICATES: Final = {
    **_chain("cert-selfsigned", "selfsigned", "self-signed"),
    **_chain("cert-expired", "expired", "expired"),
    **_chain("cert-hostname", "wronghost", "wrong name"),
    **_chain("cert-missing-intermediate", "missing_intermediate", "no intermediate, said where"),
    **_chain("cert-chain-root", "root_in_chain_untrusted", "private root sent"),
    **_chain("cert-notyet", "notyet", "not yet valid"),
    **_chain("cert-cn-only", "cnonly", "common name only"),
    **_chain("cert-weak", "weakkey1024", "weak key"),
    **_chain("cert-purpose", "clientonly_eku", "client usage"),
    **_chain("cert-weak", "sha1", "SHA-1"),
    **_chain("cert-expired", "issuer_expired", "issuer expired"),
    **_chain("cert-untrusted", "forged", "forged"),
    **_chain("cert-revoked", "revoked", "revoked"),
    "host given as IP, cert has only DNS names": Scenario(("cert-ip",), Manner(), STARTTLS, host="127.0.0.1"),
    **_chain("cert-hostname", "wrong_by_name", "chosen wrongly"),
    "private_root_not_sent": _scene("cert-private-root", tls="private root not sent"),
}

LOGINS: Final = {
    "auth_not_offered": Scenario(("auth-not-offered",), Manner(tls_auth=b""), has_login=True),
    "auth_only_after_tls[client plain+auth]": Scenario(("auth-before-tls",), Manner(), PLAIN, has_login=True),
    "auth_plaintext_offered": Scenario(("auth-in-clear",), Manner(clear_auth=True), PLAIN, has_login=True),
    "auth_535_578": _auth("auth-535", b"535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6\r\n"),
    "auth_535_german": _auth("auth-535", b"535 Anmeldung fehlgeschlagen\r\n"),
    "auth_534_579": _auth(
        "auth-534-app-password", b"534-5.7.9 Application-specific password required. For more information, go to\r\n"
        b"534 5.7.9 https://support.example.com/?p=InvalidSecondFactor\r\n"),
    "xoauth2_only": _auth("oauth-only", b"504 5.7.4 no\r\n", b"250-AUTH XOAUTH2 OAUTHBEARER\r\n"),
    "ntlm_only": _auth("auth-no-mech", b"504 5.7.4 no\r\n", b"250-AUTH NTLM GSSAPI\r\n"),
    "auth_504_mechanism": _auth("auth-no-mech", b"504 5.7.4 Unrecognized authentication type\r\n"),
    "auth_account_disabled": _auth("account-disabled", b"535 5.7.8 Your account has been disabled\r\n"),
    "auth_account_locked": _auth("account-disabled", b"535 5.7.0 User account is locked after failed attempts\r\n"),
    "o365_535_5.7.139": _auth(
        "m365-smtpauth-disabled",
        b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.\r\n"),
    "auth_454": _auth("auth-454", b"454 4.7.0 Temporary authentication failure: Connection lost\r\n"),
    "auth_454_rate": _auth("auth-454", b"454 4.7.0 Too many login attempts, please try again later\r\n"),
    "auth_525": _auth("brevo-525", b"525 5.7.1 Unauthorized IP address\r\n"),
    "auth_538": _auth("auth-before-tls", b"538 5.7.11 Encryption required for requested authentication mechanism\r\n"),
    "auth_421": _auth("rate-limited", b"421 4.7.0 Too many auth failures, try again later\r\n"),
    "close_in_auth": _auth("close-mid", Close()),
    "hang_in_auth": _auth("no-reply", Hang()),
    "close_in_auth_continuation": Scenario(
        ("close-mid",), Manner(tls_auth=b"250-AUTH LOGIN\r\n", replies={"AUTH": b"334 VXNlcm5hbWU6\r\n",
                                                                        "AUTH answer": Close()}), has_login=True),
}  # fmt: skip

ENVELOPES: Final = {
    "mail_530_auth_required": _at("mail-530-auth", "MAIL", b"530 5.7.1 Authentication required\r\n"),
    "mail_530_starttls": _at("auth-before-tls", "MAIL", b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
    "mail_530_5757": _at("m365-57-57", "MAIL", b"530 5.7.57 Client not authenticated to send mail\r\n"),
    "mail_553_sender": _at("sender-rejected", "MAIL", b"553 5.1.8 <me@example.com>: Sender address rejected\r\n"),
    "mail_553_owned": _at(
        "m365-sendas", "MAIL", b"553 5.7.1 <me@example.com>: Sender address rejected: not owned by user bob\r\n"),
    "mail_552_size": _at("size", "MAIL", b"552 5.3.4 Message size exceeds fixed limit\r\n"),
    "mail_size_known": Scenario(("size",), Manner(), STARTTLS, mail_from="me@example.com", message_octets=99_000_000),
    "mail_452_space": _at("server-local-error", "MAIL", b"452 4.3.1 Insufficient system storage\r\n"),
    "mail_450_domain": _at("sender-rejected", "MAIL", b"450 4.1.8 Sender address rejected: Domain not found\r\n"),
    "mail_550_spf": _at("spf-fail", "MAIL", b"550 5.7.23 SPF validation failed\r\n"),
    "mail_550_ptr": _at("ptr-missing", "MAIL", b"550 5.7.25 The IP address does not have a PTR record\r\n"),
    "mail_421": _at("rate-limited", "MAIL", b"421 4.7.0 Try again later, closing connection\r\n"),
    "mail_utf8": Scenario(("smtputf8",), Manner(), STARTTLS, mail_from="j\u00f6rg@example.com"),
    "close_at_mail": _at("close-mid", "MAIL", Close()),
    "hang_at_mail": _at("no-reply", "MAIL", Hang()),
    "rcpt_554_relay_denied": _at("relay-denied", "RCPT", b"554 5.7.1 <you@example.net>: Relay access denied\r\n"),
    "rcpt_550_exim_relay": _at("relay-denied", "RCPT", b"550 relay not permitted\r\n"),
    "rcpt_554_dnsbl": _at(
        "dnsbl", "RCPT", b"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org\r\n"),
    "rcpt_550_s3150": _at(
        "dnsbl", "RCPT", b"550 5.7.1 messages from [192.0.2.1] weren't sent. part of their network is on "
        b"our block list (S3150).\r\n"),
    "rcpt_open_resolver": _at(
        "dnsbl-open-resolver", "RCPT", b"554 5.7.1 blocked using zen.spamhaus.org; Error: open resolver\r\n"),
    "rcpt_450_greylist": _at(
        "greylist", "RCPT", b"450 4.2.0 <you@example.net>: Recipient address rejected: Greylisted\r\n"),
    "rcpt_451_later": _at("greylist", "RCPT", b"451 4.7.1 Please try again later\r\n"),
    "rcpt_550_unknown": _at("recipient-unknown", "RCPT", b"550 5.1.1 <you@example.net>: User unknown\r\n"),
    "rcpt_552_full": _at("mailbox-full", "RCPT", b"552 5.2.2 The mailbox is over quota\r\n"),
    "rcpt_helo_deferred": _at(
        "helo-fqdn", "RCPT", b"504 5.5.2 <app>: Helo command rejected: need fully-qualified hostname\r\n"),
    "rcpt_421": _at("rate-limited", "RCPT", b"421 4.7.28 Unusual rate of mail\r\n"),
    "rcpt_556_null_mx": _at("null-mx", "RCPT", b"556 5.1.10 Recipient address has null MX\r\n"),
    "close_at_rcpt": _at("close-mid", "RCPT", Close()),
    "data_552_size": _at("size", ".", b"552 5.3.4 Message size exceeds fixed limit\r\n"),
    "data_550_sendas": _at("m365-sendas", ".", b"554 5.2.252 SendAsDenied; a not allowed to send as b\r\n"),
    "final_550_dmarc": _at(
        "dmarc-5726", ".", b"550-5.7.26 Unauthenticated email from example.com is not accepted due to\r\n"
        b"550 5.7.26 domain's DMARC policy.\r\n"),
    "final_550_57515": _at("outlook-57515", ".", b"550 5.7.515 Access denied, sending domain example.com\r\n"),
    "final_554_ses": _at("esp-unverified", ".", b"554 Message rejected: Email address is not verified.\r\n"),
    "final_454_throttle": _at(
        "esp-throttle", ".", b"454 Throttling failure: Maximum sending rate exceeded.\r\n"),
    "final_550_57708": _at("m365-57708", ".", b"550 5.7.708 Service unavailable. Access denied\r\n"),
    "final_554_spam": _at("spam-content", ".", b"554 5.7.1 Message rejected as spam\r\n"),
    "final_550_bare_lf": _at("message-malformed", ".", b"550 5.6.11 bare LF received\r\n"),
    "data_421": _at("rate-limited", "DATA", b"421 4.3.2 System shutting down, too many connections\r\n"),
    "close_at_data": _at("close-mid", "DATA", Close()),
    "close_after_data": _at("close-mid", ".", Close()),
    "reset_after_data": _at("close-mid", ".", Reset()),
}  # fmt: skip

HEALTHY: Final = {
    "starttls_good": Scenario(("ok",), Manner(), STARTTLS, has_login=True, mail_from="me@example.com",
                              recipient="you@example.net", has_message=True),
    "implicit_good": Scenario(("ok",), Manner(is_implicit=True), IMPLICIT, has_login=True, mail_from="me@example.com",
                              recipient="you@example.net", has_message=True),
    "starttls_good_auto": _scene("ok", AUTO),
    "implicit_good_auto": _scene("ok", AUTO, is_implicit=True),
    "plain_good": _scene("ok", PLAIN, tls=""),
    "plain_good_auto": _scene("ok", AUTO, tls=""),
    "tls12_good": _scene("ok", tls="TLS 1.2"),
    "other_default_good": _scene("ok", tls="chosen by name"),
    "wildcard_good": _scene("ok", tls="wildcard"),
    "root_sent_good": _scene("ok", tls="root sent too"),
    "reordered_good": _scene("ok", tls="reordered"),
    "multiline_banner_good": _scene("ok", greeting=b"220-mail.example.com ESMTP\r\n220-no spam\r\n220 please\r\n"),
    "dripping_banner_good": _scene("ok", greeting=Drip(b"220 mail.example.com ESMTP\r\n")),
    "bare_lf_good": _scene("ok", PLAIN, greeting=b"220 mail.example.com ESMTP\n"),
    "banner_two_seconds_good": _scene("ok", AUTO, greeting_seconds=1.0),
    "wants_login_good": _scene("ok", replies={"MAIL": b"530 5.7.0 Authentication required\r\n"}),
    "closes_without_bye_good": _scene("ok", replies={"QUIT": Close()}),
}  # fmt: skip

SCENARIOS: Final[dict[str, Scenario]] = {
    **BANNERS, **HELLOS, **HANDSHAKES, **CERTIFICATES, **LOGINS, **ENVELOPES, **HEALTHY,
}  # fmt: skip
