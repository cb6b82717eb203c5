"""Which protocol a server really speaks, from the first octets that came from it.

The other side of `smtp.sniff`, which names what a client begins. A port that times out in a mail program is often a
port where something else lives: a server of another protocol waits for its client, or greets in its own words.
"""

from __future__ import annotations

import re
from typing import Final

from postreeve.smtp import sniff as client_side

WORDS: Final[dict[str, str]] = {
    "smtp": "SMTP",
    "imap": "IMAP",
    "pop3": "POP3",
    "http": "HTTP",
    "ssh": "SSH",
    "ftp": "FTP",
    "nntp": "NNTP",
    "sieve": "ManageSieve",
    "tls": "TLS",
    "tls-alert": "a TLS alert",
    "telnet": "Telnet",
    "mysql": "MySQL",
    "redis": "Redis",
    "rdp": "Remote Desktop",
    "vnc": "VNC",
    "rsync": "rsync",
    "xmpp": "XMPP",
    "irc": "IRC",
    "amqp": "AMQP",
    "memcached": "memcached",
    "proxy": "the PROXY protocol",
    "socks": "SOCKS",
}
"""What `sniff` may say, in words."""

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x16\x03", "tls"),
    (b"\x15\x03", "tls-alert"),  # RFC 8446, section 5.1: an alert record
    (b"* OK", "imap"),
    (b"* PREAUTH", "imap"),
    (b"* BYE", "imap"),
    (b"+OK", "pop3"),
    (b"HTTP/", "http"),
    (b"<!DOCTYPE", "http"),
    (b"<html", "http"),
    (b"SSH-", "ssh"),
    (b"@RSYNCD:", "rsync"),
    (b"RFB 0", "vnc"),
    (b"AMQP", "amqp"),
    (b"<?xml", "xmpp"),
    (b"<stream:", "xmpp"),
    (b'"IMPLEMENTATION"', "sieve"),
    (b"-NOAUTH", "redis"),
    (b"-DENIED Redis", "redis"),
    (b"-ERR unknown command", "redis"),
    (b"-ERR wrong number", "redis"),
    (b"-ERR", "pop3"),
    (b"ERROR\r\n", "memcached"),
)
_TELNET: Final = (b"\xff\xfb", b"\xff\xfc", b"\xff\xfd", b"\xff\xfe")  # IAC and WILL, WON'T, DO, DON'T
_REPLY: Final = re.compile(rb"[2-5][0-9]{2}(?:[ \r\n-]|$)")
_FTP: Final = re.compile(rb"(?:^|[\s(\[-])(?:pure-|pro|vs)?ftpd?(?:[\s)\]/.,]|$)|filezilla", re.IGNORECASE)
_MAIL: Final = re.compile(rb"\bE?SMTP\b|\bmail\b", re.IGNORECASE)


def sniff(first: bytes) -> str:
    """The protocol whose server begins with `first`, a key of WORDS; "" for silence and for what nobody knows."""
    for signature, name in _SIGNATURES:
        if first.startswith(signature):
            return name
    if first.startswith(_TELNET):
        return "telnet"
    if first[3:5] == b"\x00\x0a" or first[3:5] == b"\x00\xff":  # a MySQL packet: handshake version 10, or an error
        return "mysql"
    if _REPLY.match(first):
        return _among_replies(first)
    if first.startswith(b":") and b" NOTICE " in first[:200]:
        return "irc"
    return client_side.sniff(first) or ""


def _among_replies(first: bytes) -> str:
    """SMTP, FTP and NNTP all greet with three digits: 220 is SMTP unless it says otherwise."""
    words = first[4:].partition(b"\n")[0]
    if first[:3] in (b"200", b"201"):
        return "nntp"
    # The first word may be a host's name ("ftp.example.com ESMTP"): what it does counts, not what it is called.
    _, _, after = words.partition(b" ")
    if _FTP.search(after if b"." in words.partition(b" ")[0] else words) and not _MAIL.search(words):
        return "ftp"
    return "smtp"


def describe(first: bytes) -> str:
    """The same in words: "nothing" for silence, "something unknown" for what nobody knows."""
    if not first:
        return "nothing"
    return WORDS.get(sniff(first), "something unknown")
