"""docs/operating.md: every command in it is run, in its order, beside a real server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_running import PASSWORD, run, until
from tests.lab.server import Server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
COMMAND = re.compile(r"^    (postreeve .+)$|`(postreeve [^`]+)`", re.MULTILINE)


def commands() -> list[str]:
    """As they stand in the page."""
    return [block or inline for block, inline in COMMAND.findall(PAGE.read_text())]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with an account jane@example.org, a message of hers that waits, and one from outside."""
    config = {
        "domain": [{"name": "example.org"}],
        "route": [
            {"domains": ["example.org"], "via": "maildir", "path": str(tmp_path / "mail/{local}@{domain}")},
            {"domains": ["*"], "via": "smarthost", "host": "127.0.0.1", "port": 1, "tls": "none"},
        ],
    }
    made = Server(tmp_path, config)
    made.prepare()
    (tmp_path / "password").write_text(PASSWORD)
    run(made, "user", "add", "jane@example.org", "--password-stdin", text=PASSWORD)
    with made:
        yield made


def submit(server: Server) -> str:
    """A message of jane's to a next hop that does not answer; returns its ID."""
    login = ("--user", "jane@example.org", "--password-file", str(server.directory / "password"))
    done = run(server, "send", "--from", "jane@example.org", "--to", "bob@example.net", *login, "--json")
    assert done.status == 0, done
    ident: str = done.json["queue_id"]
    until(lambda: run(server, "queue", "show", ident, "--json").json["attempts"])
    return ident


def test_every_command_of_the_page_works(server: Server) -> None:
    ident = submit(server)
    found = commands()
    assert len(found) > 12
    for command in found:
        words = [
            {"ID": ident, "FILE": str(server.directory / "password")}.get(word, word) for word in shlex.split(command)
        ]
        if "send" in words:
            assert run(server, "user", "passwd", "jane@example.org", "--password-stdin", text=PASSWORD).status == 0
            assert run(server, "user", "enable", "jane@example.org").status == 0
        done = run(server, *words[1:])
        assert (done.status, done.err) == (0, ""), (command, done)
    assert run(server, "queue", "list").out == "the queue is empty\n"


def test_page_shows_what_show_prints(server: Server) -> None:
    printed = run(server, "queue", "show", submit(server)).out
    sample = PAGE.read_text().partition("## Reading `queue show`")[2].partition("Read it from below")[0]
    labels = re.findall(r"^ +([A-Z][a-z]+(?: up)?)(?=[ :\n])", sample, re.MULTILINE)
    assert labels == ["Sender", "Accepted", "Came", "Gives up", "Recipients", "Attempts"]
    assert [label for label in labels if not re.search(rf"^{label}\b", printed, re.MULTILINE)] == []
    for phrase in ("queued for smarthost:", "next try in ", "2nd attempt of the schedule: +5m", "1. "):
        assert phrase in sample
        assert phrase in printed
