"""Delivery into Maildirs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postreeve.mail.address import Mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.error import PostreeveError
from postreeve.outbound.maildir import MaildirWriter, maildir_path, safe_name
from postreeve.queue.outcome import Delivered, Handover, LocalKind, LocalProblem
from tests.outbound.conftest import mailbox

CONTENT = b"Subject: x\r\n\r\nhello\r\n.\r\n"


def template(directory: Path) -> str:
    return f"{directory}/{{domain}}/{{local}}"


def found(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("*/*/new/*"))]


@pytest.mark.asyncio
async def test_deposit_writes_one_copy_per_recipient(tmp_path: Path) -> None:
    writer = MaildirWriter(lambda: 1_700_000_000.5)
    people = [mailbox("bob@example.org"), mailbox("eve@example.org")]
    outcomes = await writer.deposit(template(tmp_path), people, mailbox("alice@example.net"), CONTENT)
    assert all(isinstance(one, Delivered) and one.handover is Handover.FINAL for one in outcomes)
    assert found(tmp_path) == [
        b"Return-Path: <alice@example.net>\nDelivered-To: " + who + b"\nSubject: x\n\nhello\n.\n"
        for who in (b"bob@example.org", b"eve@example.org")
    ]
    assert os.listdir(tmp_path / "example.org/bob/tmp") == []
    (first,) = map((tmp_path / "example.org/bob/new").joinpath, os.listdir(tmp_path / "example.org/bob/new"))
    assert first.name.startswith("1700000000.M500000P")
    assert first.stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_deposit_takes_content_in_pieces(size: int, tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(CONTENT), size):
            yield CONTENT[start : start + size]

    writer = MaildirWriter(lambda: 0.0)
    (outcome,) = await writer.deposit(template(tmp_path), [mailbox("bob@example.org")], None, pieces())
    assert isinstance(outcome, Delivered)
    assert found(tmp_path) == [b"Return-Path: <>\nDelivered-To: bob@example.org\nSubject: x\n\nhello\n.\n"]


@pytest.mark.asyncio
async def test_deposit_leaves_nothing_when_content_breaks_off(tmp_path: Path) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"Subject: x\r\n"
        raise PostreeveError("damaged")

    writer = MaildirWriter(lambda: 0.0)
    (outcome,) = await writer.deposit(template(tmp_path), [mailbox("bob@example.org")], None, breaks())
    assert outcome == LocalProblem(LocalKind.STORE, "damaged")
    assert found(tmp_path) == []


@pytest.mark.asyncio
async def test_deposit_reports_what_the_disk_says(tmp_path: Path) -> None:
    blocked = tmp_path / "example.org"
    blocked.write_text("a file where a directory should be")
    writer = MaildirWriter(lambda: 0.0)
    (outcome,) = await writer.deposit(template(tmp_path), [mailbox("bob@example.org")], None, CONTENT)
    assert isinstance(outcome, LocalProblem)
    assert outcome.kind is LocalKind.DISK
    (outcome,) = await writer.deposit("/dev/full/{local}", [mailbox("bob@example.org")], None, CONTENT)
    assert isinstance(outcome, LocalProblem)


@pytest.mark.asyncio
async def test_deposit_syncs_file_and_directories_before_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    writer = MaildirWriter(lambda: 0.0)
    await writer.deposit(template(tmp_path), [mailbox("bob@example.org")], None, CONTENT)
    maildir = tmp_path / "example.org" / "bob"
    assert {str(maildir), str(maildir.parent), str(tmp_path), str(maildir / "new")} <= set(synced)
    assert synced[-1] == str(maildir / "new")
    assert synced[-2].startswith(str(maildir / "tmp"))


@pytest.mark.parametrize(
    "local",
    [
        "..",
        ".",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "ä",
        "a\x00b",
        ".hidden",
        "~root",
        "%2F",
        "a:2,S",
    ],
)
def test_path_never_leaves_its_directory(local: str) -> None:
    path = maildir_path("/var/mail/{domain}/{local}", Mailbox(local, Domain("example.org")))
    assert path.parent == Path("/var/mail/example.org")
    assert os.path.normpath(path) == str(path)
    assert path.name not in ("", ".", "..")
    assert path.name.isascii()
    assert path.name.isprintable()


@pytest.mark.parametrize("domain", ["../x", "a/b", ".", "..", "[192.0.2.1]", "[ipv6:2001:db8::1]"])
def test_domain_never_leaves_its_directory(domain: str) -> None:
    try:
        path = maildir_path("/var/mail/{domain}/{local}", Mailbox("bob", Domain(domain)))
    except ValueError:
        return
    assert path.parent.parent == Path("/var/mail")
    assert ".." not in path.parts


def test_safe_names_differ_where_texts_differ() -> None:
    texts = ["a", "A", "%61", "a/b", "a%2Fb", ".a", "%2Ea", "ä", "%C3%A4"]
    assert len({safe_name(text) for text in texts}) == len(texts)
    with pytest.raises(ValueError, match="file name"):
        safe_name("")
