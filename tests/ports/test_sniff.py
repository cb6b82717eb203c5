"""Which protocol a server speaks."""

import random

import pytest

from postreeve.ports.sniff import WORDS, describe, sniff


@pytest.mark.parametrize(
    ("first", "name"),
    [
        pytest.param(b"220 mail.example.com ESMTP Postfix\r\n", "smtp", id="smtp"),
        pytest.param(b"220-mail.example.com ESMTP\r\n220 ready\r\n", "smtp", id="smtp-many-lines"),
        pytest.param(b"220 ", "smtp", id="smtp-bare"),
        pytest.param(b"421 4.7.0 try later\r\n", "smtp", id="smtp-busy"),
        pytest.param(b"554 5.7.1 no\r\n", "smtp", id="smtp-rejects"),
        pytest.param(b"220 **************\r\n", "smtp", id="smtp-masked"),
        pytest.param(b"220 ftp.example.com ESMTP\r\n", "smtp", id="smtp-named-ftp"),
        pytest.param(b"220 mailftp ESMTP FTP-notify\r\n", "smtp", id="smtp-mentions-ftp"),
        pytest.param(b"220 (vsFTPd 3.0.3)\r\n", "ftp", id="vsftpd"),
        pytest.param(b"220 ProFTPD Server (Debian) [192.0.2.1]\r\n", "ftp", id="proftpd"),
        pytest.param(b"220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n", "ftp", id="pure-ftpd"),
        pytest.param(b"220 Microsoft FTP Service\r\n", "ftp", id="iis-ftp"),
        pytest.param(b"220 files.example.com FTP server ready.\r\n", "ftp", id="bsd-ftpd"),
        pytest.param(b"200 news.example.com ready, posting allowed\r\n", "nntp", id="nntp"),
        pytest.param(b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", "imap", id="imap"),
        pytest.param(b"+OK Dovecot ready.\r\n", "pop3", id="pop3"),
        pytest.param(b"-ERR no\r\n", "pop3", id="pop3-refuses"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "http", id="http"),
        pytest.param(b"<html><body>400", "http", id="http-0.9"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", "ssh", id="ssh"),
        pytest.param(b"\x16\x03\x03\x00\x7a\x02", "tls", id="tls-handshake"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", "tls-alert", id="tls-alert"),
        pytest.param(b"J\x00\x00\x00\x0a8.0.36\x00", "mysql", id="mysql"),
        pytest.param(b"-ERR unknown command 'EHLO'\r\n", "redis", id="redis"),
        pytest.param(b"RFB 003.008\n", "vnc", id="vnc"),
        pytest.param(b"\x03\x00\x00\x13\x0e\xd0", "rdp", id="rdp"),
        pytest.param(b"\xff\xfd\x18\xff\xfd\x20", "telnet", id="telnet"),
        pytest.param(b'"IMPLEMENTATION" "Dovecot Pigeonhole"\r\n', "sieve", id="sieve"),
        pytest.param(b"@RSYNCD: 31.0\n", "rsync", id="rsync"),
        pytest.param(b"ERROR\r\n", "memcached", id="memcached"),
        pytest.param(b":irc.example.net NOTICE * :***\r\n", "irc", id="irc"),
        pytest.param(b"", "", id="silence"),
        pytest.param(b"hello\r\n", "", id="unknown"),
        pytest.param(b"22", "", id="too-little"),
        pytest.param(b"2200 no reply", "", id="four-digits"),
    ],
)
def test_sniff_names_the_protocol(first: bytes, name: str) -> None:
    assert sniff(first) == name


def test_describe_puts_it_in_words() -> None:
    assert describe(b"") == "nothing"
    assert describe(b"hello") == "something unknown"
    assert describe(b"* OK ready") == "IMAP"


def test_sniff_takes_any_octets() -> None:
    chance = random.Random(25)
    for _ in range(2_000):
        first = chance.randbytes(chance.randrange(60))
        assert sniff(first) in ("", *WORDS)
