"""What the embedded store promises when processes are killed, syncs fail, the disk fills and files rot."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import Envelope, EnvelopeRecipient
from postreeve.queue.model import (
    Claim,
    NewMessage,
    NewRecipient,
    Origin,
    QueueFilter,
    RecipientState,
    Result,
    Settlement,
)
from postreeve.store.face import LeaseTerms, StoreError
from postreeve.store.sqlite import SqliteStore
from postreeve.telemetry.event import RecordQuarantined
from tests.store import ledger_child

CHILD = Path(ledger_child.__file__)
ROOT = CHILD.parent.parent.parent
ANY = QueueFilter()


def message(store: SqliteStore, content: bytes = b"x\r\n", destination: str = "mx:example.com") -> NewMessage:
    now = time.time()
    mailbox = parse_mailbox("user@example.com")
    assert mailbox is not None
    to = EnvelopeRecipient(mailbox)
    return NewMessage(
        store.new_ident(now),
        now,
        Envelope(None, (to,)),
        (NewRecipient(to, destination, now),),
        Origin("relay"),
        len(content),
        content,
    )


async def take(store: SqliteStore, limit: int = 100) -> tuple[Claim, ...]:
    now = time.time()
    return await store.claim("mx:example.com", 0, now, limit, LeaseTerms(now + 600))


def delivered(claim: Claim) -> Settlement:
    return Settlement(claim.lease, (Result(0, RecipientState.DELIVERED),), settled_at=time.time())


async def content_of(store: SqliteStore, ident: int) -> bytes:
    return b"".join([piece async for piece in store.content(ident)])


def read_ledger(output: bytes) -> dict[str, set[int]]:
    ledger: dict[str, set[int]] = defaultdict(set)
    for line in output.decode().splitlines():
        word, _, ident = line.partition(" ")
        ledger[word].add(int(ident))
    return ledger


def child_command(directory: Path, seconds: float) -> list[str]:
    return [sys.executable, "-m", "tests.store.ledger_child", str(directory), str(seconds)]


def run_and_kill(directory: Path, lines: int) -> dict[str, set[int]]:
    """The ledger of a child that was killed after about so many lines."""
    child = subprocess.Popen(child_command(directory, 30), stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    with child.stdout as stdout:
        output = b""
        while output.count(b"\n") < lines:
            output += os.read(stdout.fileno(), 65536)
        child.send_signal(signal.SIGKILL)
        output += stdout.read()
    child.wait()
    return read_ledger(output.rpartition(b"\n")[0])


def run_with_failing_sync(directory: Path) -> tuple[dict[str, set[int]], int]:
    """The ledger of a child whose syncs fail from the sixtieth on, and how many failed."""
    trace = directory.with_name(directory.name + "-trace")
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fsync,fdatasync"]
    inject = ["-e", "inject=fsync,fdatasync:error=EIO:when=60+"]
    command = [*strace, *inject, *child_command(directory, 5)]
    run = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    return read_ledger(run.stdout), sum("EIO" in line for line in trace.read_text().splitlines())


def set_aside_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("queue-0.db.damaged-*") if not path.name.endswith(("-wal", "-shm")))


async def queued_idents(store: SqliteStore) -> set[int]:
    found: set[int] = set()
    after = 0
    while part := await store.find(ANY, 1000, after):
        found |= {summary.ident for summary in part}
        after = part[-1].ident
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(4))
async def test_kill_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    ledger = run_and_kill(tmp_path, random.Random(seed).randrange(500, 4000))
    store = SqliteStore(tmp_path)
    begun = time.monotonic()
    await store.open()
    assert time.monotonic() - begun < 2
    queued = await queued_idents(store)
    missing = ledger["accepted"] - ledger["settled"] - queued
    # A settlement may be durable although its caller was killed before it could write so: at most one per client.
    assert len(missing) <= ledger_child.CLIENTS
    assert queued <= ledger["offered"]
    assert not queued & ledger["settled"]
    for ident in sorted(queued)[:: max(1, len(queued) // 50)]:
        assert await content_of(store, ident) == ledger_child.content_for(ident)
    claims: list[Claim] = []
    while len(claims) < len(queued):
        claims += await take(store, 1000)
        await asyncio.sleep(0)
    assert {claim.lease.ident for claim in claims} == queued
    await store.close()


@pytest.mark.asyncio
@pytest.mark.peer("strace")
async def test_failed_sync_is_never_acknowledged_nor_retried(tmp_path: Path) -> None:
    ledger, failures = run_with_failing_sync(tmp_path)
    assert "unavailable" in ledger
    assert "full" not in ledger
    assert ledger["accepted"]
    # The commit's own sync, and at most those of the checkpoint and of closing: never the same commit again.
    assert 1 <= failures <= 4
    store = SqliteStore(tmp_path)
    await store.open()
    queued = await queued_idents(store)
    assert len(ledger["accepted"] - ledger["settled"] - queued) <= ledger_child.CLIENTS
    await store.close()


@pytest.mark.peer("namespaces")
def test_full_disk_refuses_new_mail_and_lets_queued_mail_leave(tmp_path: Path) -> None:
    script = f"mount -t tmpfs -o size=160m none {tmp_path} && exec {sys.executable} -m tests.store.full_disk {tmp_path}"
    command = ["unshare", "--mount", "sh", "-c", script]
    run = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=90, check=False, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines() == ["full", "settled", "recovered"]


@pytest.mark.asyncio
async def test_second_owner_is_refused_with_the_first_named(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path), SqliteStore(tmp_path)
    await first.open()
    with pytest.raises(StoreError, match=rf"queue-0\.db is in use by process {os.getpid()}"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


@pytest.mark.asyncio
async def test_newer_schema_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    await store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"version 99.*version 1"):
        await store.open()
    assert set_aside_files(tmp_path) == []


def spoil(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


DAMAGE = {
    "envelope": "UPDATE message SET envelope = 'no json' WHERE id = {0}",
    "envelope of other shape": "UPDATE message SET envelope = '[1,2,3]' WHERE id = {0}",
    "origin": "UPDATE message SET origin = '{{}}' WHERE id = {0}",
    "content": "UPDATE content SET data = x'00' WHERE id = {0}",
    "content gone": "DELETE FROM content WHERE id = {0}",
    "digest": "UPDATE message SET digest = NULL WHERE id = {0}",
    "recipient state": "UPDATE recipient SET attempts = 'x', n = 7 WHERE message_id = {0}",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE)
async def test_damaged_message_is_set_aside_and_the_others_flow(tmp_path: Path, sql: str) -> None:
    told: list[object] = []
    store = SqliteStore(tmp_path, tell=told.append)
    await store.open()
    messages = [message(store) for _ in range(3)]
    for one in messages:
        await store.accept(one)
    await store.close()
    bad = messages[1].ident
    spoil(store.path, sql.format(bad))
    await store.open()
    claims = await take(store)
    assert {claim.lease.ident for claim in claims} == {messages[0].ident, messages[2].ident}
    (record,) = await store.quarantined()
    assert record.ident == bad
    assert [type(event) for event in told] == [RecordQuarantined]
    for claim in claims:
        await store.settle(delivered(claim))
    stats = await store.stats(time.time())
    assert (stats.messages, stats.quarantined) == (0, 1)
    await store.close()


@pytest.mark.asyncio
async def test_damaged_chunk_is_noticed_before_the_last_piece(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    one = message(store, b"y" * 1_000_000)
    await store.accept(one)
    await store.close()
    spoil(store.path, "UPDATE chunk SET data = zeroblob(length(data)) WHERE seq = 1")
    await store.open()
    pieces = store.content(one.ident)
    for _ in range(3):
        assert len(await anext(pieces)) == 256 * 1024
    with pytest.raises(StoreError, match="damaged"):
        await anext(pieces)
    assert [record.ident for record in await store.quarantined()] == [one.ident]
    await store.close()


@pytest.mark.asyncio
async def test_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    told: list[object] = []
    store = SqliteStore(tmp_path, tell=told.append)
    store.path.write_bytes(b"not a database at all" * 1000)
    await store.open()
    await store.accept(message(store))
    (aside,) = set_aside_files(tmp_path)
    assert aside.read_bytes().startswith(b"not a database")
    (record,) = await store.quarantined()
    assert aside.name in record.problem
    await store.close()


@pytest.mark.asyncio
async def test_damaged_file_is_set_aside_and_what_can_be_read_is_carried_over(tmp_path: Path) -> None:
    carried_over = asyncio.Event()
    store = SqliteStore(tmp_path, tell=lambda _: carried_over.set())
    await store.open()
    messages = [message(store, b"%d" % n * 3000) for n in range(300)]
    for one in messages:
        await store.accept(one)
    await store.close()
    octets = bytearray(store.path.read_bytes())
    # The schema's page is damaged beyond use for meta, whose root is page 2; some pages of content with it.
    for page in (1, *range(150, 160)):
        octets[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    store.path.write_bytes(octets)
    await store.open()
    assert set_aside_files(tmp_path)
    await asyncio.wait_for(carried_over.wait(), 20)
    queued = await queued_idents(store)
    assert 200 < len(queued) < 300
    by_ident = {one.ident: one for one in messages}
    for ident in queued:
        assert await content_of(store, ident) == by_ident[ident].content
    await store.close()


@pytest.mark.asyncio
async def test_damaged_page_costs_one_message(tmp_path: Path) -> None:
    told: list[object] = []
    store = SqliteStore(tmp_path, tell=told.append)
    await store.open()
    messages = [message(store, b"<%d>" % n * 7000) for n in range(3)]
    for one in messages:
        await store.accept(one)
    await store.close()
    octets = bytearray(store.path.read_bytes())
    # The pages of one message's content point to pages that do not exist.
    for start in range(0, len(octets), 4096):
        if b"<1><1>" in octets[start + 4 : start + 12]:
            octets[start : start + 4] = b"\x7f\xff\xff\x00"
    store.path.write_bytes(octets)
    await store.open()
    claims = await take(store)
    assert {claim.lease.ident for claim in claims} == {messages[0].ident, messages[2].ident}
    assert [record.ident for record in await store.quarantined()] == [messages[1].ident]
    for claim in claims:
        await store.settle(delivered(claim))
    assert await store.upcoming() == ()
    await store.close()


@pytest.mark.asyncio
async def test_damaged_page_met_in_settling_stops_that_message_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    messages = [message(store, b"<%d>" % n * 7000) for n in range(3)]
    for one in messages:
        await store.accept(one)
    claims = await take(store)
    await store.close()
    octets = bytearray(store.path.read_bytes())
    for start in range(0, len(octets), 4096):
        if b"<1><1>" in octets[start + 4 : start + 12]:
            octets[start : start + 4] = b"\x7f\xff\xff\x00"
    store.path.write_bytes(octets)
    spoil(store.path, "UPDATE recipient SET lease = 2000000000000")
    await store.open()
    held = [replace(claim, lease=replace(claim.lease, number=2000000000000)) for claim in claims]
    outcomes = await asyncio.gather(*(store.settle(delivered(claim)) for claim in held), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "Damaged", "NoneType"]
    assert await store.upcoming() == ()
    assert [record.ident for record in await store.quarantined()] == [messages[1].ident]
    assert store.path.with_suffix(".suspect").exists()
    await store.close()


@pytest.mark.asyncio
async def test_suspect_file_is_rebuilt_when_opened(tmp_path: Path) -> None:
    carried_over, came_back = asyncio.Event(), asyncio.Event()
    store = SqliteStore(tmp_path, tell=lambda _: carried_over.set())
    store.watch(came_back.set)
    await store.open()
    small, large = message(store), message(store, b"L" * 700_000)
    await store.accept(small, LeaseTerms(time.time() + 600))
    await store.accept(large)
    await store.close()
    store.path.with_suffix(".suspect").touch()
    came_back.clear()
    await store.open()
    await asyncio.wait_for(carried_over.wait(), 20)
    await asyncio.wait_for(came_back.wait(), 20)
    assert await queued_idents(store) == {small.ident, large.ident}
    assert await content_of(store, large.ident) == large.content
    assert len(set_aside_files(tmp_path)) == 1
    await store.close()
    await store.open()
    assert len(set_aside_files(tmp_path)) == 1
    await store.close()
