"""Trace fields: what we say of a client, and that it can say nothing itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.header import read_header_section
from postreeve.mail.trace import (
    Reception,
    count_fields,
    count_received,
    protocol_name,
    received_field,
    return_path_field,
)

PLAIN = Reception("mx.example.org", "client.example.com", "", "192.0.2.1", "ESMTP", "", "", "01abcdefghjkm", 0.0)


def test_received_field_plain() -> None:
    assert received_field(PLAIN) == (
        b"Received: from client.example.com ([192.0.2.1]) by mx.example.org with ESMTP\r\n"
        b"\tid 01abcdefghjkm; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
    )


def test_received_field_with_everything() -> None:
    field = received_field(
        replace(
            PLAIN,
            client_name="host.example.com",
            client_address="2001:db8::1",
            protocol="ESMTPSA",
            tls_version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            recipient=parse_mailbox("user@example.net"),
        )
    )
    assert b" ".join(field.split()) == (
        b"Received: from client.example.com (host.example.com [IPv6:2001:db8::1]) by mx.example.org with ESMTPSA "
        b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384) id 01abcdefghjkm for <user@example.net> "
        b"tls TLS_AES_256_GCM_SHA384; Thu, 01 Jan 1970 00:00:00 +0000"
    )
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))


def test_received_field_names_only_registered_ciphers_in_the_tls_clause() -> None:
    field = received_field(replace(PLAIN, tls_version="TLSv1.2", cipher="ECDHE-RSA-AES256-GCM-SHA384"))
    assert b"(using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384)" in field
    assert b" tls " not in field.replace(b"\r\n\t", b" ")


def test_received_field_names_the_priority_that_was_asked_for() -> None:
    """RFC 6710: also where it is 0, but not where nothing was said."""
    assert b" priority -3;" in b" ".join(received_field(replace(PLAIN, priority=-3)).split())
    assert b" priority 0;" in b" ".join(received_field(replace(PLAIN, priority=0)).split())
    assert b"priority" not in received_field(PLAIN)


def test_received_field_without_client() -> None:
    field = received_field(replace(PLAIN, hello="", client_address=""))
    assert field.startswith(b"Received: from unknown by mx.example.org with ESMTP")


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400), st.text(max_size=100))
def test_received_field_cannot_be_injected_into(hello: str, name: str, address: str, cipher: str) -> None:
    field = received_field(
        replace(PLAIN, hello=hello, client_name=name, client_address=address, tls_version="x", cipher=cipher)
    )
    section = read_header_section(field)
    assert section.problems == ()
    assert section.is_ascii
    assert [each.key for each in section.fields] == [b"received"]
    assert field.replace(b"\r\n\t", b" ").endswith(b"; Thu, 01 Jan 1970 00:00:00 +0000\r\n")
    assert field.count(b";") == 1
    assert field.count(b"(") == field.count(b")") <= 2
    assert all(len(line) <= 998 for line in field.split(b"\r\n"))


@pytest.mark.parametrize(
    ("extended", "tls", "auth", "smtputf8", "lmtp", "expected"),
    [
        (False, False, False, False, False, "SMTP"),
        (True, False, False, False, False, "ESMTP"),
        (True, True, False, False, False, "ESMTPS"),
        (True, False, True, False, False, "ESMTPA"),
        (True, True, True, False, False, "ESMTPSA"),
        (True, True, True, True, False, "UTF8SMTPSA"),
        (True, False, False, True, False, "UTF8SMTP"),
        (True, True, False, False, True, "LMTPS"),
        (True, False, False, True, True, "UTF8LMTP"),
    ],
)
def test_protocol_name(extended: bool, tls: bool, auth: bool, smtputf8: bool, lmtp: bool, expected: str) -> None:
    assert protocol_name(extended=extended, tls=tls, auth=auth, smtputf8=smtputf8, lmtp=lmtp) == expected


def test_return_path_field() -> None:
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(Mailbox("a b", Domain("example.com"))) == b'Return-Path: <"a b"@example.com>\r\n'


@pytest.mark.parametrize(
    ("content", "count"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"\r\nReceived: x\r\n", 0, id="body only"),
        pytest.param(b"Received: x\r\nRECEIVED: y\r\nX: Received: z\r\n\r\nReceived: w\r\n", 2, id="header only"),
        pytest.param(b"X: a\r\n Received: x\r\n\r\n", 0, id="folded"),
        pytest.param(b"Received-SPF: pass\r\n\r\n", 0, id="another field"),
        pytest.param(b"Received: x\r\n" * 60, 60, id="no body"),
    ],
)
def test_count_received(content: bytes, count: int) -> None:
    assert count_received(content) == count


def test_count_received_is_bounded() -> None:
    assert count_received(b"Received: x\r\n" * 100, max_octets=130) == 10


def test_count_fields() -> None:
    assert count_fields(b"Delivered-To: a\r\nTo: b\r\ndelivered-to: c\r\n\r\n", b"delivered-to") == 2
