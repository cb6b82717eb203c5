"""What a text says beside its error: the port, the address, the library, the TLS mode, the command under way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LIBRARIES: Final = (
    ("PHPMailer", ("phpmailer", "smtp error: ", "server -> client")),
    ("WordPress", ("wp_mail", "wp-content", "wp_mail_failed")),
    ("Symfony Mailer", ("symfony\\component\\mailer", "symfony\\component\\mailer", "transportexception")),
    ("Swift Mailer", ("swift_transport", "swift_")),
    ("nodemailer", ("nodemailer", "command: 'conn'", "smtpconnection", "responsecode", "esocket", "command:conn")),
    ("Node", ("node:internal", "at tlssocket", "at tcpconnectwrap", "syscall: '", "deps/openssl")),
    ("aiosmtplib", ("aiosmtplib",)),
    ("Django", ("django/core/mail", "django.core.mail")),
    ("smtplib", ("smtplib", "traceback (most recent", "_ssl.c:", "socket.gaierror")),
    ("JavaMail", ("javax.mail", "jakarta.mail", "com.sun.mail", "org.eclipse.angus", "springframework.mail", "java.")),
    ("MailKit", ("mailkit",)),
    (".NET", ("system.net", "system.io", "smtpexception")),
    ("Ruby", ("net::", "net/smtp", "openssl::ssl", "actionmailer", "errno::")),
    ("Go", ("dial tcp", "x509:", "*net.operror", "textproto", "goroutine ")),
    ("Rust", ("lettre", "rustls", "invalidcontenttype")),
    ("Perl", ("io::socket", "net::smtp", ".pm line")),
    ("Elixir", ("gen_smtp", "bamboo", "swoosh", "{:error", "{error,")),
    ("curl", ("curl:",)),
    ("swaks", ("<** ", "*** ", "=== trying")),
    ("msmtp", ("msmtp:",)),
    ("Postfix", ("postfix/", "status=deferred", "status=bounced", "dsn=")),
    ("Exim", ("exim", " => ", " == ", " ** ")),
)
_PORTS: Final = re.compile(
    r"(?:(?<=[\w\])])[:,] ?|(?:\b|_)port['\"]?(?: ?[:=]>? ?| |\()['\"]?|:{3}0:)"
    r"(25|465|587|2525|2587|2465|1025|110|143|993|995|22|80|443)\b(?!\.\d)",
    re.IGNORECASE,
)
_SUBMISSION: Final = re.compile(r"(?:smtps?|ssl|tls)://(?:[^\s@/]+@)?(?P<host>[\w.-]+)(?::(?P<port>\d+))?")
_NAMED: Final = re.compile(
    r"(?<![\w.@/-])(?P<host>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}|localhost)"
    r"(?:\[[0-9a-f.:]+\])?(?:[:,] ?|['\"], *port: ?| port )(?P<port>25|465|587|2525|2587|2465|1025)\b(?!\.\d)",
    re.IGNORECASE,
)
_IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4})?(?=[\]\s:,)]|$)", re.IGNORECASE)
_IPV4: Final = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IMPLICIT: Final = re.compile(
    r"smtp_ssl|(?<!start)ssl://|smtps://|secure['\"]?: ?true|smtpsecure ?= ?['\"]ssl|smtp\.ssl\.enable ?= ?true|"
    r"email_use_ssl ?= ?true|sslonconnect|smtps\b.*\btransport|-tlsc\b|tls_starttls off|use_tls=true|_ssl_wrap|"
    r"in _get_socket\n\s+new_socket = self\.context\.wrap_socket|SMTPSSLTransport",
    re.IGNORECASE,
)
_STARTTLS: Final = re.compile(
    r"in starttls\b|starttls\.enable ?= ?true|requiretls|secure['\"]?: ?false|smtpsecure ?= ?['\"]tls|"
    r"email_use_tls ?= ?true|securesocketoptions\.starttls|tls_starttls on|-starttls\b|mail\.smtp\.starttls|"
    r"smtptransport\.starttls|enablessl ?= ?true",
    re.IGNORECASE,
)
_COMMANDS: Final = (
    (re.compile(r"in (?:login|auth\w*)\n|smtptransport\.authenticate|in auth_\w+", re.IGNORECASE), "auth"),
    (re.compile(r"in mail\n|smtptransport\.mailfrom", re.IGNORECASE), "mail"),
    (re.compile(r"in rcpt\n|smtptransport\.rcptto", re.IGNORECASE), "rcpt"),
    (re.compile(r"in data\n|smtptransport\.finishdata|end of data", re.IGNORECASE), "data"),
    (
        re.compile(r"in starttls\n.*in (?:docmd|getreply)|smtptransport\.starttls", re.IGNORECASE | re.DOTALL),
        "starttls",
    ),
    (re.compile(r"in e?helo(?:_or_helo_if_needed)?\n|smtptransport\.e?helo", re.IGNORECASE), "ehlo"),
    (re.compile(r"in connect\n.*in getreply|smtptransport\.openserver", re.IGNORECASE | re.DOTALL), "conn"),
)


@dataclass(frozen=True, slots=True)
class Context:
    """Empty or 0 where the text says nothing, or contradicts itself."""

    lower: str = ""
    port: int = 0
    host: str = ""
    address: str = ""
    library: str = ""
    mode: str = ""
    """implicit or starttls."""
    command: str = ""
    """conn, ehlo, starttls, auth, mail, rcpt or data."""

    @property
    def family(self) -> int:
        """4 or 6 of the address, 0 for unknown."""
        return 0 if not self.address else 6 if ":" in self.address else 4

    @property
    def is_loopback(self) -> bool:
        """The other end is this machine."""
        return self.address.startswith("127.") or self.address == "::1" or self.host in ("localhost", "localhost.")


def read_context(text: str, known: dict[str, str]) -> Context:
    """`known` is what the matched pattern caught: it counts more than what stands elsewhere."""
    lower = text.lower()
    url = _SUBMISSION.search(text) or _only_named(text)
    host = known.get("host", "") or (url["host"] if url else "")
    port = _number(known.get("port", "")) or (_number(url["port"] or "") if url else 0) or _only_port(text)
    address = known.get("address", "").strip("[]") or (host if is_address(host) else "") or _only_address(text)
    library = next((name for name, marks in _LIBRARIES if any(mark in lower for mark in marks)), "")
    mode = "implicit" if _IMPLICIT.search(text) else "starttls" if _STARTTLS.search(text) else ""
    command = next((name for pattern, name in _COMMANDS if pattern.search(text)), "")
    return Context(lower, port, host, address, library, mode, command)


def is_address(text: str) -> bool:
    """An IP address, brackets allowed."""
    bare = text.strip("[]")
    return bool(_IPV4.fullmatch(bare)) or (bare.count(":") >= 2 and bool(re.fullmatch(r"[0-9a-fA-F:.%\w]+", bare)))


def _only_named(text: str) -> re.Match[str] | None:
    found = {one["host"].lower(): one for one in _NAMED.finditer(text)}
    return next(iter(found.values())) if len(found) == 1 else None


def _only_port(text: str) -> int:
    found = {int(one) for one in _PORTS.findall(text)}
    return found.pop() if len(found) == 1 else 0


def _only_address(text: str) -> str:
    found = {*_IPV4.findall(text), *(one[0] for one in _IPV6.finditer(text))} - {"0.0.0.0", "::"}
    return found.pop() if len(found) == 1 else ""


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 6 else 0
