"""What people paste as a target, and what it comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.checks.facts import Intent, TargetKind
from postreeve.probes.target import NoTarget, Target, parse_target

HOST, MX, SUBMISSION = TargetKind.HOST, TargetKind.MAIL_DOMAIN, TargetKind.SUBMISSION_DOMAIN


@pytest.mark.parametrize(
    ("text", "kind", "name", "port", "is_bare"),
    [
        ("smtp.example.com", HOST, "smtp.example.com", None, True),
        (" SMTP.Example.COM. ", HOST, "smtp.example.com", None, True),
        ('"smtp.example.com"', HOST, "smtp.example.com", None, True),
        ("smtp.example.com:587", HOST, "smtp.example.com", 587, False),
        ("smtp.example.com 465", HOST, "smtp.example.com", 465, False),
        ("mail_server:1025", HOST, "mail_server", 1025, False),
        ("localhost:1025", HOST, "localhost", 1025, False),
        ("192.0.2.7", HOST, "192.0.2.7", None, False),
        ("192.0.2.7:25", HOST, "192.0.2.7", 25, False),
        ("2001:DB8::7", HOST, "2001:db8::7", None, False),
        ("[2001:db8::7]:465", HOST, "2001:db8::7", 465, False),
        ("[2001:db8::7]", HOST, "2001:db8::7", None, False),
        ("[192.0.2.7]:25", HOST, "192.0.2.7", 25, False),
        ("[smtp.example.com]:587", HOST, "smtp.example.com", 587, False),
        ("::ffff:192.0.2.7", HOST, "192.0.2.7", None, False),
        ("fe80::1%eth0", HOST, "fe80::1%eth0", None, False),
        ("münchen.example", HOST, "xn--mnchen-3ya.example", None, True),
        ("jane@example.com", MX, "example.com", None, False),
        ("<jane@example.com>", MX, "example.com", None, False),
        ("jane@smtp.example.com:587", HOST, "smtp.example.com", 587, False),
        ("mx:example.com", MX, "example.com", None, False),
        ("submission:example.com", SUBMISSION, "example.com", None, False),
        ("submission:jane@example.com", SUBMISSION, "example.com", None, False),
        ("host:example.com", HOST, "example.com", None, False),
        ("submission:587", HOST, "submission", 587, False),
        ("https://mail.example.com/roundcube?x=1", HOST, "mail.example.com", None, True),
    ],
)
def test_target_is_understood(text: str, kind: TargetKind, name: str, port: int | None, is_bare: bool) -> None:
    target = parse_target(text)
    assert (target.kind, target.name, target.port, target.is_name_bare) == (kind, name, port, is_bare)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("smtp://jane@h.example:587", Target("", HOST, "h.example", 587, Intent.AUTO, "jane")),
        (
            "smtps://jane%40example.com:geheim@h.example",
            Target("", HOST, "h.example", 465, Intent.IMPLICIT, "jane@example.com", True),
        ),
        ("ssl://h.example:465/", Target("", HOST, "h.example", 465, Intent.IMPLICIT)),
        ("tls://h.example:587", Target("", HOST, "h.example", 587, Intent.STARTTLS)),
        ("submission://h.example", Target("", HOST, "h.example", 587, Intent.STARTTLS)),
        ("smtp://u:ge:he@im@[2001:db8::7]:25?timeout=3", Target("", HOST, "2001:db8::7", 25, Intent.AUTO, "u", True)),
    ],
)
def test_target_takes_what_it_can_from_a_connection_string(text: str, wanted: Target) -> None:
    target = parse_target(text)
    assert (target.name, target.port, target.intent, target.username, target.has_password) == (
        wanted.name,
        wanted.port,
        wanted.intent,
        wanted.username,
        wanted.has_password,
    )
    assert "geheim" not in repr(target)
    assert "he@im" not in repr(target)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to probe"),
        ("   ", "nothing to probe"),
        ("a b c", "a name has no spaces"),
        ("smtp.example.com:", "lacks the port"),
        ("smtp.example.com:smtp", "no port"),
        ("smtp.example.com:0", "no port"),
        ("smtp.example.com:65536", "no port"),
        ("smtp.example.com:٥٨٧", "no port"),
        ("192.0.2.300", "looks like an IPv4 address but is none"),
        ("2001:db8:::7", "looks like an IPv6 address but is none"),
        ("[2001:db8::7", "closing bracket"),
        ("smtp..example.com", "empty label"),
        ("a" * 64 + ".example", "63"),
        ("x" * 2000, "too long"),
        ("smtp.example.com\x1b[2J", "control characters"),
        ("smtp://", "there is no name in it"),
        ("smtp://jane:geheim@:587", "there is no name in it"),
        ("submission:192.0.2.7", "wants a domain"),
        ("\x00", "control characters"),
    ],
)
def test_target_that_is_none_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(NoTarget, match=words) as caught:
        parse_target(text)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    assert "geheim" not in message


@given(st.text(max_size=60) | st.text("smtp:/@[].%0159ab -", max_size=40))
def test_target_of_any_text_is_one_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except NoTarget as refused:
        message = str(refused)
    else:
        message = ""
        assert target.name
        assert target.port is None or 1 <= target.port <= 65_535
    assert message.isprintable()
