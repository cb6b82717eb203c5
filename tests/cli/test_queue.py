"""`postreeve queue` on real queue files."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from postreeve.mail.envelope import DeliverBy, MailParameters, Notify, RecipientParameters, Return
from postreeve.mail.ident import to_text
from postreeve.queue.backoff import next_due, spread
from postreeve.queue.model import Attempt, NewMessage, RecipientState, Result, Settlement
from postreeve.queue.settings import Schedule
from postreeve.store.face import LeaseTerms
from postreeve.store.sqlite import SqliteStore
from tests.cli.conftest import Desk
from tests.cli.mail import NOW, message

SCHEDULE = Schedule()


def fail_once(desk: Desk, new: NewMessage, reply: str = "450 4.2.1 mailbox busy", attempts: int = 1) -> None:
    """Deliver all recipients of `new` without success, and settle as the server would."""

    async def work(store: SqliteStore) -> None:
        for number in range(1, attempts + 1):
            destination = new.recipients[0].destination
            (claim,) = await store.claim(destination, new.priority, NOW + 10**6 * number, 10, LeaseTerms(NOW + 10**7))
            due = next_due(SCHEDULE, NOW, number, spread(new.ident, number))
            results = tuple(Result(index, RecipientState.QUEUED, due, reply) for index in claim.lease.recipients)
            attempt = Attempt(
                at=NOW - 0.25, duration_seconds=0.25, recipients=claim.lease.recipients, destination=destination,
                host="mx1.example.com", address="203.0.113.1", tls="TLSv1.3 TLS_AES_256_GCM_SHA384 unverified",
                stage="rcpt", outcome="deferred", reply=reply, conversation="S: 220 mx1\nC: EHLO mail.example.org\n",
            )  # fmt: skip
            await store.settle(Settlement(claim.lease, results, (attempt,), settled_at=NOW))

    desk.with_store(work)


def finish(desk: Desk, new: NewMessage, state: RecipientState) -> None:
    async def work(store: SqliteStore) -> None:
        (claim,) = await store.claim(new.recipients[0].destination, 0, NOW + 1, 1, LeaseTerms(NOW + 60))
        results = tuple(Result(index, state) for index in claim.lease.recipients)
        attempt = Attempt(
            NOW - 1, 1.0, claim.lease.recipients, "mx:example.com", "mx1.example.com", outcome="delivered"
        )
        await store.settle(Settlement(claim.lease, results, (attempt,), settled_at=NOW))

    desk.with_store(work)


# --- list -----------------------------------------------------------------------------------------------------------


def test_list_says_that_the_queue_is_empty(desk: Desk) -> None:
    done = desk.run("queue", "list")
    assert (done.status, done.out) == (0, "the queue is empty\n")


def test_list_shows_messages_of_all_workers_the_oldest_first(desk: Desk) -> None:
    (young,) = desk.accept(message(age=60))
    (old,) = desk.accept(message(age=7200, recipients=("bob@example.com", "carol@example.com"), node=1), node=1)
    done = desk.run("queue", "list")
    header, first, second = done.out.splitlines()
    assert header.split()[:5] == ["ID", "Age", "Size", "Sender", "Recipients"]
    assert first.split()[:2] == [old, "2h"]
    assert second.split()[0] == young
    assert second.split()[1].endswith("m")
    assert "bob@example.com +1" in first
    assert " queued " in second


FILTERS = {
    "older": (("--older", "2h"), {"old"}),
    "younger": (("--younger", "2h"), {"young", "dsn", "held"}),
    "destination by name": (("--destination", "example.net"), {"old"}),
    "destination by key": (("--destination", "mx:example.net"), {"old"}),
    "destination by pattern": (("--destination", "mx:*.net"), {"old"}),
    "destination literal": (("--destination", "mx:[192.0.2.1]"), {"held"}),
    "null sender": (("--sender", "<>"), {"dsn"}),
    "sender domain": (("--sender", "example.org"), {"young", "old", "held"}),
    "sender address": (("--sender", "ALICE@example.org"), {"young"}),
    "recipient": (("--recipient", "bob@*"), {"young"}),
    "state": (("--state", "held"), {"held"}),
    "account": (("--account", "oscar"), {"old"}),
    "two conditions": (("--sender", "@example.org", "--older", "1h"), {"old"}),
    "nothing": (("--sender", "nobody.example"), set()),
}


@pytest.mark.parametrize(("options", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_list_filters(desk: Desk, options: tuple[str, ...], expected: set[str]) -> None:
    names = desk.accept(
        message(),
        message("oscar@example.org", ("dave@example.net",), age=3 * 3600, account="oscar"),
        message("<>", ("erin@example.com",), account=""),
        message("frank@example.org", ("g@[192.0.2.1]",), state=RecipientState.HELD),
    )
    named = dict(zip(names, ("young", "old", "dsn", "held"), strict=True))
    done = desk.run("queue", "list", "--json", *options)
    assert {named[one["id"]] for one in done.json["messages"]} == expected


def test_list_filters_by_part_of_the_reason(desk: Desk) -> None:
    busy, other = message(), message(recipients=("dave@example.net",))
    names = desk.accept(busy, other)
    fail_once(desk, busy)
    done = desk.run("queue", "list", "--reason", "Mailbox BUSY", "--json")
    assert [one["id"] for one in done.json["messages"]] == names[:1]


def test_list_stops_at_the_limit_and_says_so(desk: Desk) -> None:
    desk.accept(*(message(age=100 - n) for n in range(5)))
    done = desk.run("queue", "list", "--limit", "2")
    assert len(done.out.splitlines()) == 4
    assert done.out.splitlines()[-1] == "… and more: these are the 2 oldest, see --limit"
    assert desk.run("queue", "list", "--limit", "2", "--json").json["more"] is True
    assert desk.run("queue", "list", "--limit", "5", "--json").json["more"] is False


def test_list_as_json_has_times_in_utc_and_sizes_in_octets(desk: Desk) -> None:
    new = message(parameters=MailParameters(envid="e1"))
    desk.accept(new)
    (one,) = desk.run("queue", "list", "--json").json["messages"]
    assert one["accepted_at"].endswith("Z")
    assert one["size_octets"] == new.size_octets
    assert one["recipients"][0] | {"due": ""} == {
        "index": 0, "address": "bob@example.com", "destination": "mx:example.com", "state": "queued", "due": "",
        "attempts": 0, "first_attempt_at": None, "last_problem": "", "delay_reported": False, "leased_until": None,
        "to_be_bounced": False,
    }  # fmt: skip


def test_list_keeps_a_hostile_reply_from_steering_the_terminal(desk: Desk) -> None:
    new = message()
    desk.accept(new)
    fail_once(desk, new, "450 \x1b]0;owned\x07\x9b2J")
    assert not set("\x1b\x07\x9b") & set(desk.run("queue", "list").out)
    assert not set("\x1b\x07\x9b") & set(desk.run("queue", "show", to_text(new.ident)).out)


# --- show -----------------------------------------------------------------------------------------------------------


def test_show_tells_the_whole_story(desk: Desk) -> None:
    given = MailParameters(ret=Return.HEADERS, envid="QQ314159", deliver_by=DeliverBy(NOW + 9999, False))
    new = message(
        parameters=given,
        recipient_parameters=RecipientParameters(frozenset({Notify.DELAY, Notify.FAILURE})),
        priority=3,
    )
    (name,) = desk.accept(new)
    fail_once(desk, new, attempts=2)
    done = desk.run("queue", "show", name)
    assert done.status == 0
    for expected in (
        f"Message {name}", "alice@example.org RET=HDRS ENVID=QQ314159 BY=", "Priority +3 (MT-PRIORITY)",
        "from 192.0.2.7 (client.example.org) with ESMTPSA on listener submissions as account alice in session s1",
        "bob@example.com NOTIFY=DELAY,FAILURE", "queued for mx:example.com, 2 attempts", "last: 450 4.2.1 mailbox busy",
        "3rd attempt of the schedule: +10m", "Attempts: 2", "mx1.example.com [203.0.113.1]",
        "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified, deferred at rcpt, 0.25s", "S: 220 mx1 C: EHLO mail.example.org",
        "(lifetime 5d)",
    ):  # fmt: skip
        assert expected in done.words


def test_show_as_json_has_the_same(desk: Desk) -> None:
    new = message(parameters=MailParameters(envid="e1"))
    (name,) = desk.accept(new)
    fail_once(desk, new)
    told = desk.run("queue", "show", name, "--json").json
    assert told["parameters"] == {"envid": "e1"}
    assert told["recipients"][0]["prospect"].startswith("next try 20")
    assert told["recipients"][0]["prospect"].endswith("2nd attempt of the schedule: +5m")
    assert told["attempts"][0]["conversation"] == ["S: 220 mx1", "C: EHLO mail.example.org"]


PROSPECTS = {
    "not running": ({}, (), "but the server is not running"),
    "held by operator": ({}, ("hold",), "held by an operator, until `postreeve queue release`"),
    "held by route": (
        {"state": RecipientState.HELD, "destination": "hold:quarantine"}, (), 'held by route quarantine (via = "hold")',
    ),
    "future release": (
        {"parameters": MailParameters(hold_until=NOW + 7200), "due": NOW + 7200}, (),
        "held until then as the sender asked (FUTURERELEASE)",
    ),
    "to be bounced": ({}, ("bounce",), "an operator wants it returned: the sender gets a"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "changes", "expected"), PROSPECTS.values(), ids=PROSPECTS.keys())
def test_show_says_why_a_message_waits(
    desk: Desk, given: dict[str, object], changes: tuple[str, ...], expected: str
) -> None:
    (name,) = desk.accept(message(**given))  # type: ignore[arg-type]
    for change in changes:
        assert desk.run("queue", change, name).status == 0
    assert expected in desk.run("queue", "show", name).words


def test_show_knows_a_retry_asked_for_by_an_operator(desk: Desk) -> None:
    new = message()
    (name,) = desk.accept(new)
    fail_once(desk, new)
    assert desk.run("queue", "retry", name).out.startswith("1 recipient to be tried now")
    told = desk.run("queue", "show", name, "--json").json
    assert told["recipients"][0]["prospect"].startswith("due since")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RecipientState.DELIVERED, "delivered to mx1.example.com"),
        (RecipientState.RELAYED, "relayed to mx1.example.com"),
        (RecipientState.BOUNCED, "returned to the sender as undeliverable"),
        (RecipientState.EXPIRED, "given up: its lifetime ended"),
    ],
    ids=lambda one: getattr(one, "value", "words"),
)
def test_show_still_knows_a_finished_message(desk: Desk, state: RecipientState, expected: str) -> None:
    new = message()
    (name,) = desk.accept(new)
    finish(desk, new, state)
    done = desk.run("queue", "show", name)
    assert done.status == 0
    assert expected in done.words
    assert "Finished" in done.out
    refused = desk.run("queue", "show", name, "--content")
    assert (refused.status, refused.err) == (1, f"postreeve: message {name} has left the queue, its content is gone\n")


def test_show_prints_content_octet_for_octet(desk: Desk) -> None:
    content = b"Subject: x\r\nX-Bin: \xff\r\n\r\n\x00\x1b[2J\xfe\r\n" + b"." * 5000
    (name,) = desk.accept(message(content=content))
    for option, expected in (("--content", content), ("--headers", b"Subject: x\r\nX-Bin: \xff\r\n")):
        done = subprocess.run(
            [sys.executable, "-m", "postreeve", "queue", "show", name, option, "--config", str(desk.config)],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout == expected


def test_show_refuses_what_it_does_not_know(desk: Desk) -> None:
    desk.accept(message())
    done = desk.run("queue", "show", "0000000000000")
    assert done.status == 1
    assert done.err == (
        "postreeve: no message 0000000000000 "
        "(finished messages are known for 3d (setting queue.history); see `postreeve queue list`)\n"
    )
    done = desk.run("queue", "show", "nonsense")
    assert done.status == 2
    assert "is no message ID" in done.err


# --- changes --------------------------------------------------------------------------------------------------------


def states(desk: Desk) -> list[str]:
    found = desk.run("queue", "list", "--json").json["messages"]
    return sorted(recipient["state"] for one in found for recipient in one["recipients"])


def test_hold_and_release_change_what_matches(desk: Desk) -> None:
    desk.accept(message(), message(recipients=("dave@example.net", "erin@example.com")))
    done = desk.run("queue", "hold", "--destination", "example.com")
    assert (done.status, done.out) == (0, "2 recipients held\n")
    assert states(desk) == ["held", "held", "queued"]
    done = desk.run("queue", "release", "--all", "--json")
    assert done.json == {"change": "release", "recipients": 2}
    assert states(desk) == ["queued"] * 3


def test_change_works_on_the_files_of_all_workers(desk: Desk) -> None:
    desk.accept(message())
    desk.accept(message(node=1), node=1)
    assert desk.run("queue", "drop", "--all", "--yes").out == "2 recipients dropped\n"
    assert desk.run("queue", "list").out == "the queue is empty\n"


@pytest.mark.parametrize("change", ["retry", "hold", "release", "bounce", "drop"])
def test_change_without_any_filter_is_wrong_usage(desk: Desk, change: str) -> None:
    desk.accept(message())
    done = desk.run("queue", change)
    assert done.status == 2
    assert "--all for the whole queue" in done.err
    assert states(desk) == ["queued"]


@pytest.mark.parametrize("change", ["bounce", "drop"])
def test_change_that_ends_many_messages_asks_first(desk: Desk, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.accept(message(), message())
    done = desk.run("queue", change, "--all")
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        f"postreeve: this would {change} 2 messages; nothing was changed (if that is meant, say --yes)\n"
    )
    for answer, status in (("n\n", 1), ("", 1), ("y\n", 0)):
        terminal = io.StringIO(answer)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        assert states(desk) == ["queued", "queued"]
        done = desk.run("queue", change, "--all")
        assert done.status == status
        assert done.err.startswith(f"{change} 2 messages? [y/N] ")


def test_change_shows_progress_on_a_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.accept(*(message() for _ in range(7)))
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("postreeve.cli.progress.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("postreeve.cli.progress.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("postreeve.cli.queue._SLICE", 3)
    monkeypatch.setattr("sys.stderr", screen)
    assert desk.run("queue", "drop", "--all", "--yes").out == "7 recipients dropped\n"
    seen = [line.strip() for line in screen.getvalue().split("\r") if line.strip()]
    assert [line.split(",")[0] for line in seen] == [f"drop: {count} messages" for count in (3, 6)] + [
        "drop: 7 messages"
    ]


def test_drop_of_one_message_does_not_ask(desk: Desk) -> None:
    (name, _) = desk.accept(message(), message())
    assert desk.run("queue", "drop", name).status == 0
    assert states(desk) == ["queued"]


def test_change_with_an_unknown_id_changes_nothing(desk: Desk) -> None:
    new = message()
    (gone,) = desk.accept(new)
    finish(desk, new, RecipientState.DELIVERED)
    (name,) = desk.accept(message())
    for wrong, what in ((gone, "has left the queue"), ("0000000000000", "is not in the queue")):
        done = desk.run("queue", "drop", name, wrong, "--yes")
        assert done.status == 1
        assert done.err == f"postreeve: message {wrong} {what}; nothing was changed (see `postreeve queue list`)\n"
    assert states(desk) == ["queued"]


def test_change_says_when_there_was_nothing_to_do(desk: Desk) -> None:
    (name,) = desk.accept(message())
    done = desk.run("queue", "release", name)
    assert (done.status, done.out.partition(":")[0]) == (0, "nothing to release")


# --- stats ----------------------------------------------------------------------------------------------------------


def test_stats_count_the_queue(desk: Desk) -> None:
    busy = message(age=7200)
    desk.accept(busy, message(recipients=("dave@example.net",)), message(state=RecipientState.HELD))
    fail_once(desk, busy)
    done = desk.run("queue", "stats")
    assert "3 messages" in done.words
    assert "recipients: 1 held, 2 queued; due now: 1; oldest: 2h" in done.words
    assert "1 450 4.2.1 mailbox busy" in done.words
    counted = desk.run("queue", "stats", "--json").json
    assert counted["destinations"] == {"mx:example.com": 1, "mx:example.net": 1}
    assert counted["reasons"] == {"450 4.2.1 mailbox busy": 1}


def test_stats_with_a_filter_count_what_matches(desk: Desk) -> None:
    desk.accept(message(recipients=("bob@example.com", "dave@example.net")), message())
    counted = desk.run("queue", "stats", "--json", "--destination", "example.net").json
    assert (counted["messages"], counted["recipients"], counted["destinations"]) == (
        1, {"queued": 1}, {"mx:example.net": 1},
    )  # fmt: skip


# --- trouble --------------------------------------------------------------------------------------------------------


def test_queue_without_a_data_directory_says_what_to_do(desk: Desk) -> None:
    desk.data.rmdir()
    done = desk.run("queue", "list")
    assert done.status == 1
    assert done.err == (
        f"postreeve: data directory {desk.data} does not exist "
        f"(it is made when the server starts: postreeve serve --config {desk.config})\n"
    )


def test_queue_with_a_broken_configuration_names_the_line(desk: Desk) -> None:
    desk.config.write_text('hostname = "mail.example.org"\ndata_dri = "x"\n')
    done = desk.run("queue", "list")
    assert done.status == 1
    assert f"{desk.config}: line 2: data_dri: unknown setting" in done.err


def test_queue_file_that_is_none_is_named(desk: Desk) -> None:
    (desk.data / "queue-0.db").write_bytes(b"this is no database" * 400)
    done = desk.run("queue", "list")
    assert done.status == 1
    assert str(desk.data / "queue-0.db") in done.err
    assert len(done.err.splitlines()) == 1


def test_queue_locked_by_another_program_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postreeve.store.sqlite.schema.BUSY_SECONDS", 0.1)
    desk.accept(message())
    holder = sqlite3.connect(desk.data / "queue-0.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    done = desk.run("queue", "hold", "--all")
    holder.close()
    assert done.status == 1
    assert "locked" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [("--older", "soon"), ("--state", "bounced"), ("--limit", "0"), ("--limit", "many"), ("--sneder", "x"), ("short",)],
    ids=" ".join,
)
def test_list_refuses_wrong_usage(desk: Desk, words: tuple[str, ...]) -> None:
    done = desk.run("queue", "list", *words)
    assert (done.status, done.out) == (2, "")


def test_output_has_no_colour_when_it_is_no_terminal(desk: Desk) -> None:
    desk.accept(message())
    assert "\x1b" not in desk.run("queue", "list").out


def test_config_path_may_come_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from postreeve import cli

    monkeypatch.setenv("POSTREEVE_CONFIG", str(desk.config))
    assert cli._run(cli._program(["queue"]), ["queue", "stats"]) == 0
