"""Every kind: snippets read back, readers are total, corrections are what was wanted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.checks.finding import Level
from postreeve.checks.settings.lint import lint_text
from postreeve.clientconfig.edit import apply_edits, merge_edits
from postreeve.clientconfig.kind import KINDS, kind_named, read_all, recognise
from postreeve.clientconfig.settings import Edit, Kind, Server, TlsMode, Wanted

_CORPUS = Path(__file__).parent / "corpus"
_FILES = sorted(path for path in _CORPUS.glob("*/*/**/*") if path.is_file() and path.name != "expected")
_MINE = {
    "django": "settings.py", "flask-mail": "config.py", "fastapi-mail": "mail.py", "rails": "production.rb",
    "nodemailer": "mailer.js", "symfony": ".env", "laravel": "config/mail.php", "laravel-env": ".env",
    "django-env": ".env", "django-url": ".env", "spring": "application.properties", "phpmailer": "mail.php",
    "wordpress": "wp-config.php", "go": "mail.go", "appsettings": "appsettings.json", "web-config": "web.config",
    "compose": "compose.yaml",
    "kubernetes": "mail.yaml", "env": ".env", "smtplib": "send.py", "javamail": "Mail.java", "smtpclient": "Mail.cs",
    "mailkit": "Mail.cs",
}  # fmt: skip
_SENDERLESS = ("symfony", "django-url", "smtplib", "smtpclient", "mailkit")
_SERVERS = [
    Server("smtp.example.com", 465, TlsMode.IMPLICIT, "user@example.com", "from@example.com"),
    Server("mail.example.org", 587, TlsMode.STARTTLS, "app+x@example.org", "app@example.org"),
]


@pytest.mark.parametrize("server", _SERVERS, ids=lambda server: server.mode.value)
@pytest.mark.parametrize("name", sorted(_MINE))
def test_snippet_reads_back_to_the_same_settings_and_is_clean(name: str, server: Server) -> None:
    kind = kind_named(name)
    assert kind is not None
    if server.mode not in kind.modes:
        pytest.skip(f"{name} cannot do {server.mode.value}")
    text = kind.snippet(server)
    ((found, read),) = read_all(_MINE[name], text)
    assert found is kind
    assert (read.host and read.host.value) == server.host
    assert (read.port and read.port.value) == server.port
    assert (read.mode and read.mode.value) is server.mode
    assert (read.username and read.username.value) == server.username
    assert name in _SENDERLESS or (read.sender and read.sender.value) == server.sender
    assert read.contradictions == read.unknown == ()
    assert lint_text(_MINE[name], text).problems == ()


@pytest.mark.parametrize("name", sorted(_MINE))
def test_correct_moves_between_the_modes_of_a_kind(name: str) -> None:
    kind = kind_named(name)
    assert kind is not None
    for server in _SERVERS:
        for other in _SERVERS:
            if (
                other is server
                or server.mode not in kind.modes
                or other.mode not in kind.modes
                or name in ("go", "smtplib")
            ):
                continue
            text = kind.snippet(server)
            (settings_,) = kind.read(_MINE[name], text)
            edits = kind.correct(text, settings_, Wanted(host=other.host, port=other.port, mode=other.mode))
            assert edits is not None
            (after,) = kind.read(_MINE[name], apply_edits(text, edits))
            assert (after.host and after.host.value) == other.host
            assert (after.port and after.port.value) == other.port
            assert (after.mode and after.mode.value) is other.mode


@pytest.mark.parametrize("name", ["rails", "nodemailer", "django", "phpmailer", "laravel", "spring"])
def test_correct_sets_all_that_is_wanted_at_once(name: str) -> None:
    kind = kind_named(name)
    assert kind is not None
    text = kind.snippet(_SERVERS[0])
    (before,) = kind.read(_MINE[name], text)
    edits = kind.correct(text, before, Wanted(host="h.example.net", port=587, username="u2", mode=TlsMode.STARTTLS))
    assert edits is not None
    (after,) = kind.read(_MINE[name], apply_edits(text, edits))
    assert (after.username and after.username.value) == "u2"
    assert (after.host and after.host.value) == "h.example.net"


def test_apply_edits_refuses_what_overlaps_or_lies_outside() -> None:
    assert apply_edits("abc", [Edit(3, 3, "d"), Edit(0, 1, "x"), Edit(3, 3, "e")]) == "xbcde"
    for edits in ([Edit(0, 2, ""), Edit(1, 3, "")], [Edit(2, 9, "")], [Edit(2, 1, "")]):
        with pytest.raises(ValueError, match="overlap"):
            apply_edits("abc", edits)


def test_merge_edits_keeps_the_first_of_those_that_overlap() -> None:
    first, second = Edit(0, 2, "x"), Edit(1, 3, "y")
    assert merge_edits([first, first], [second, Edit(3, 3, "z")]) == (first, Edit(3, 3, "z"))


def _check(kind: Kind, file: str, text: str) -> None:
    for read in kind.read(file, text):
        assert read.line >= 1
        for value in (read.host, read.port, read.mode, read.username, read.password, read.sender):
            if value is not None and value.span is not None:
                assert 0 <= value.span.start <= value.span.end <= len(text)
        edits = kind.correct(text, read, Wanted(port=587, mode=TlsMode.STARTTLS))
        if edits is not None:
            apply_edits(text, edits)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.relative_to(_CORPUS).as_posix())
def test_readers_are_total_on_truncated_and_damaged_files(path: Path) -> None:
    text = path.read_bytes().decode()
    for end in range(0, len(text), max(1, len(text) // 12)):
        for damaged in (text[:end], text[end:], text[:end] + "'" + text[end:], text[:end] + "{\x00" + text[end:]):
            for kind in recognise(str(path), damaged):
                _check(kind, str(path), damaged)
            lint_text(str(path), damaged)


_WORDS = [
    "EMAIL_HOST",
    "MAIL_HOST",
    "SMTP_HOST",
    "MAIL_SERVER",
    "=",
    ":",
    "=>",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ";",
    "smtp.example.com",
    "587",
    "true",
    "false",
    "env(",
    "spring.mail.host",
    "createTransport",
    "smtp_settings",
    "host:",
    "port:",
    "auth",
    "$mail->Host",
    "define(",
    "<smtp",
    "<network",
    "data:",
    "#",
    "//",
    "/*",
    "é",
    "MAILER_DSN=smtp://a:b@c",
    "mailers",
    "services:",
    "environment:",
    "-",
    "kind:",
    "apiVersion",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_MINE.values())), st.lists(st.sampled_from(_WORDS), max_size=40))
def test_readers_are_total_on_any_words(file: str, words: list[str]) -> None:
    for text in (" ".join(words), "".join(words), "\n".join(words)):
        for kind in KINDS:
            _check(kind, file, text)


def test_readers_are_quick_on_a_long_file() -> None:
    pieces = [path.read_bytes().decode() for path in _FILES]
    for file in sorted(set(_MINE.values())):
        text = "\n".join(piece for path, piece in zip(_FILES, pieces, strict=True) if path.suffix == Path(file).suffix)
        text = (text * (60_000 // max(len(text), 1) + 1))[:60_000]
        begun = time.process_time()
        read_all(file, text)
        assert time.process_time() - begun < 4, file


def test_lint_levels_are_never_worse_than_those_of_the_rules() -> None:
    from postreeve.checks.settings.rule import BY_ID

    order = [Level.NOTE, Level.WARNING, Level.ERROR]
    for path in _FILES:
        for one in lint_text(str(path), path.read_bytes().decode()).problems:
            assert order.index(one.finding.level) <= order.index(BY_ID[one.finding.check].level)
