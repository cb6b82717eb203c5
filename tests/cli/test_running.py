"""The operator's commands beside a server that runs: two workers, a metrics endpoint, a next hop that refuses."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from postreeve import cli
from postreeve.app.build import describe_core
from postreeve.telemetry.family import FAMILIES
from tests.cli.conftest import Done
from tests.lab.server import Server

PASSWORD = "hunter2-hunter2"  # a test credential


class Grumpy(socketserver.StreamRequestHandler):
    """A next hop that is always busy."""

    def handle(self) -> None:
        self.wfile.write(b"220 grumpy.example.net ESMTP\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 bye\r\n")
                return
            if verb == b"RCPT":
                self.wfile.write(b"450 4.2.1 mailbox busy\r\n")
            else:
                self.wfile.write(b"503 5.5.1 no\r\n" if verb == b"DATA" else b"250 2.0.0 OK\r\n")


@pytest.fixture(scope="module")
def hop() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Grumpy) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hop: int, metrics_port: int) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    config: dict[str, Any] = {
        "domain": [{"name": "example.org"}],
        "route": [
            {"domains": ["example.org"], "via": "maildir", "path": str(directory / "mail/{local}@{domain}")},
            {"name": "grumpy", "domains": ["example.net"], "via": "smarthost", "host": "127.0.0.1", "port": hop}
            | {"tls": "none"},
            {"name": "later", "domains": ["*"], "via": "hold"},
        ],
        "metrics": {"listen": f"127.0.0.1:{metrics_port}"},
    }
    running = Server(directory, config, workers=2)
    running.prepare()
    run(running, "user", "add", "alice", "--send-as", "*@example.org", "--password-stdin", text=PASSWORD + "\n")
    (directory / "password").write_text(PASSWORD + "\n")
    with running:
        yield running


def run(server: Server, *words: str, text: str = "") -> Done:
    """A command as an operator types it, in this process: a start of Python for each would take a minute."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli._run(cli._program([words[0]]), [*words, "--config", str(server.config_file)])
    finally:
        sys.stdin = before
    return Done(status, out.getvalue(), err.getvalue())


def send(server: Server, to: str = "bob@example.org", *words: str) -> Done:
    login = ("--user", "alice", "--password-file", str(server.directory / "password"))
    return run(server, "send", "--from", "alice@example.org", "--to", to, *login, *words)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


# --- send -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_send_submits_a_test_message_through_both_ports(server: Server, tls: str) -> None:
    mailbox = f"{tls}@example.org"
    done = send(server, mailbox, "--tls", tls)
    assert (done.status, done.err) == (0, "")
    found = re.search(r"250 2\.0\.0 queued as (\S+)\nqueue ID: (\S+)\n", done.out)
    assert found
    assert found[1] == found[2]
    (message,) = server.wait_for_messages(mailbox)
    assert b"Subject: test message" in message
    assert b"with ESMTPSA" in message


def test_send_takes_a_file_with_the_line_ends_of_unix(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "mail"
    file.write_bytes(b"From: alice@example.org\nSubject: file\n\n.\n..dots\n.\nend")
    done = send(server, "file@example.org", str(file), "--json")
    assert done.status == 0
    assert done.json["accepted"] is True
    assert re.fullmatch("[0-9a-z]{13}", done.json["queue_id"])
    assert done.json["tls"].endswith("verified")
    (message,) = server.wait_for_messages("file@example.org")
    assert re.search(rb"\n\r?\n\.\r?\n\.\.dots\r?\n\.\r?\nend\r?\n$", message)


def test_send_takes_standard_input(server: Server) -> None:
    login = ("--user", "alice", "--password-file", str(server.directory / "password"))
    words = ("send", "-", "--from", "alice@example.org", "--to", "stdin@example.org", *login)
    done = run(server, *words, text="From: alice@example.org\nSubject: piped\n\nhello\n")
    assert done.status == 0
    assert b"Subject: piped" in server.wait_for_messages("stdin@example.org")[0]


def test_send_carries_what_dsn_and_scheduling_need(server: Server) -> None:
    options = ("--notify", "success,delay", "--ret", "hdrs", "--envid", "E=1+2", "--priority", "-3", "--by", "3h;R")
    done = send(server, "later@example.com", "--hold-for", "2h", *options, "--json")
    assert done.status == 0
    told = run(server, "queue", "show", done.json["queue_id"], "--json").json
    given = told["parameters"]
    assert (given["ret"], given["envid"], given["priority"], given["deliver_by"]["mode"]) == ("HDRS", "E=1+2", -3, "R")
    assert "hold_until" in given
    assert told["recipients"][0]["parameters"] == {"notify": ["DELAY", "SUCCESS"]}
    assert told["origin"]["account"] == "alice"


REFUSALS = {
    "wrong password": (
        ("--user", "alice", "--password-stdin"), "wrong-password\n", 1,
        "535 5.7.8 authentication credentials invalid (check name and password; `postreeve user list` knows the names)",
    ),
    "nobody listens": (
        ("--server", "127.0.0.1", "--port", "1"), "", 1,
        "postreeve: 127.0.0.1:1: connection refused (check host, port and firewall)\n",
    ),
    "no such host": (("--server", "host.invalid"), "", 1, "postreeve: host.invalid: no address found: "),
    "password without TLS": (
        ("--server", "127.0.0.1", "--tls", "none", "--user", "alice", "--password-stdin"), "x\n", 2,
        "never sent without",
    ),
    "no login": ((), "", 2, "submission needs a login"),
    "no user": (("--password-stdin",), "x\n", 2, "whose password?"),
    "bad notify": (("--notify", "never,delay"), "", 2, '"never" stands alone'),
    "bad ret": (("--ret", "some"), "", 2, "neither"),
    "bad time": (("--by", "soon"), "", 2, "must be a time"),
    "bad priority": (("--priority", "10"), "", 2, "less than or equal to 9"),
    "bad envid": (("--envid", "two words"), "", 2, "US-ASCII"),
    "no such file": (
        ("/does/not/exist", "--user", "alice", "--password-stdin"), "x\n", 1,
        "postreeve: /does/not/exist cannot be read: No such file or directory\n",
    ),
    "bad CA file": (
        ("--ca", "/dev/null", "--user", "alice", "--password-stdin"), "x\n", 1, "/dev/null cannot be used: it holds no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "text", "status", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
def test_send_says_what_is_wrong(server: Server, words: tuple[str, ...], text: str, status: int, expected: str) -> None:
    done = run(server, "send", "--from", "alice@example.org", "--to", "bob@example.org", *words, text=text)
    assert (done.status, done.out) == (status, "")
    assert expected in " ".join(done.err.replace("│", " ").split()) + ("\n" if done.err.endswith("\n") else "")


def test_send_says_that_the_account_may_not_use_the_address(server: Server) -> None:
    login = ("--user", "alice", "--password-file", str(server.directory / "password"))
    done = run(server, "send", "--from", "mallory@example.com", "--to", "bob@example.org", *login)
    assert done.status == 1
    assert "may the account send as this address?" in done.err


def test_send_without_trust_names_the_way_out(server: Server) -> None:
    port = str(server.port("submissions"))
    words = ("send", "--from", "alice@example.org", "--to", "x@example.org", "--server", "localhost", "--port", port)
    login = ("--tls", "implicit", "--user", "alice", "--password-file", str(server.directory / "password"))
    done = run(server, *words, *login)
    assert done.status == 1
    assert "(name its authority with --ca, or take any certificate with --insecure)" in done.err
    assert run(server, *words, *login, "--ca", str(server.ca_file)).status == 0
    assert run(server, *words, *login, "--insecure").status == 0


def test_send_to_several_reports_each_refusal(server: Server) -> None:
    port = str(server.port("mx"))
    words = (
        "send",
        "--from",
        "a@example.com",
        "--to",
        "both@example.org",
        "--to",
        "stranger@example.com",
        "--port",
        port,
    )
    done = run(server, *words)
    assert done.status == 1
    assert "queued as" in done.out
    assert "stranger@example.com refused by 127.0.0.1" in done.err
    reported = run(server, *words, "--json").json
    assert [one["accepted"] for one in reported["recipients"]] == [True, False]
    assert reported["accepted"] is False


# --- queue beside the server ----------------------------------------------------------------------------------------


def test_show_tells_of_attempts_and_retry_wakes_the_server(server: Server) -> None:
    ident = send(server, "busy@example.net", "--json").json["queue_id"]

    def told() -> Any:
        story = run(server, "queue", "show", ident, "--json").json
        return story if story["attempts"] else None

    story = until(told)
    (attempt,) = story["attempts"]
    assert attempt["reply"] == "450 4.2.1 mailbox busy"
    assert any("RCPT TO:<busy@example.net>" in line for line in attempt["conversation"])
    assert story["recipients"][0]["prospect"].endswith("2nd attempt of the schedule: +5m")
    done = run(server, "queue", "retry", ident)
    assert (done.status, done.out) == (0, "1 recipient to be tried now\n")
    until(lambda: len(run(server, "queue", "show", ident, "--json").json["attempts"]) == 2)
    server.wait_for_log("event=queue_changed change=retry recipients=1")


def test_bounce_makes_a_failure_report(server: Server) -> None:
    ident = send(server, "wrong@example.net", "--json").json["queue_id"]
    until(lambda: run(server, "queue", "show", ident, "--json").json["attempts"])
    assert run(server, "queue", "bounce", ident).status == 0
    until(lambda: run(server, "queue", "show", ident, "--json").json["finished_at"])
    shown = run(server, "queue", "show", ident)
    assert "returned to the sender as undeliverable" in shown.out
    (report,) = server.wait_for_messages("alice@example.org")
    assert b"wrong@example.net" in report


# --- status ---------------------------------------------------------------------------------------------------------


def test_status_tells_of_everything_that_runs(server: Server) -> None:
    done = run(server, "status", "--json")
    assert (done.status, done.json["problems"]) == (0, [])
    told = done.json
    assert told["running"] is told["healthy"] is True
    assert told["pid"] == server.facts()["pid"]
    assert told["core"] == describe_core()
    assert [worker["worker"] for worker in told["workers"]] == [0, 1]
    assert {worker["pid"] for worker in told["workers"]} == set(server.worker_pids())
    listeners = {one["name"]: (one["role"], one["tls"], one["port"]) for one in told["listeners"]}
    assert listeners["submissions"] == ("submission", "implicit", server.port("submissions"))
    assert listeners["mx"] == ("relay", "starttls", server.port("mx"))
    (certificate,) = told["certificates"]
    assert "mail.example.org" in certificate["names"]
    assert certificate["not_after"].endswith("Z")
    text = run(server, "status")
    assert text.status == 0
    assert f" ({told['core']} core) is running, process {told['pid']}" in text.out
    assert "queue: " in text.out


def test_status_counts_the_sessions_that_are_open(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port("mx"))) as one:
        assert one.recv(3) == b"220"
        listeners = {one["name"]: one["sessions"] for one in run(server, "status", "--json").json["listeners"]}
        assert listeners["mx"] == 1


def test_status_reports_a_refused_reload(server: Server) -> None:
    good = server.config_file.read_text()
    try:
        server.config_file.write_text(good + "nonsense = true\n")
        server.reload()
        server.config_file.write_text(good)
        done = run(server, "status")
        assert done.status == 1
        assert re.search(r"problem: the last reload: .*nonsense: unknown setting", done.out)
    finally:
        server.config_file.write_text(good)
        server.reload()
    assert run(server, "status").status == 0


def test_status_tells_what_a_reload_left_for_the_next_start(server: Server) -> None:
    good = server.config_file.read_text()
    try:
        server.config_file.write_text(good.replace("workers = 2", "workers = 3"))
        server.reload()
        done, told = run(server, "status"), run(server, "status", "--json").json
    finally:
        server.config_file.write_text(good)
        server.reload()
    assert done.status == 0
    assert "note: the last reload: workers takes effect at the next start" in done.out
    assert told["last_reload"]["note"] == "workers takes effect at the next start"


def test_status_reports_a_worker_that_hangs(server: Server, metrics_port: int) -> None:
    pid = server.worker_pids()[1]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = run(server, "status")
        health = httpx.get(f"http://127.0.0.1:{metrics_port}/healthz", timeout=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.status == 1
    assert "problem: 1 of 2 workers do not answer" in done.out
    assert (health.status_code, health.text) == (503, "1 of 2 workers do not answer\n")
    assert run(server, "status").status == 0


# --- metrics --------------------------------------------------------------------------------------------------------


def scrape(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    return {
        name: {tuple(sample.labels.values()): sample.value for sample in family.samples if "_bucket" not in sample.name}
        for name, family in families.items()
    }


def test_metrics_parse_and_count_what_happened(server: Server, metrics_port: int) -> None:
    before = scrape(metrics_port).get("postreeve_messages_accepted", {}).get(("submissions",), 0)
    for _ in range(4):
        assert send(server, "counted@example.org").status == 0
    assert send(server, "waits@example.net").status == 0  # the hop there takes nothing
    server.wait_for_messages("counted@example.org", 4)
    after = until(
        lambda: (
            scraped
            if (scraped := scrape(metrics_port))["postreeve_messages_accepted"].get(("submissions",), 0) == before + 5
            else None
        )
    )
    assert after["postreeve_workers"] == {("configured",): 2, ("answering",): 2}
    assert set(after["postreeve_process_resident_octets"]) == {("0",), ("1",)}
    assert all(octets > 10_000_000 for octets in after["postreeve_process_resident_octets"].values())
    assert all(count > 5 for count in after["postreeve_process_descriptors"].values())
    assert after["postreeve_store_healthy"] == {(): 1}

    def agrees() -> bool:
        # A Maildir has a message a moment before the queue has it no more.
        waiting = run(server, "queue", "stats", "--json").json["messages"]
        return scrape(metrics_port)["postreeve_queue_messages"] == {(): waiting}

    until(agrees)
    assert after["postreeve_queue_destination_recipients"][("smarthost:grumpy",)] >= 1
    assert after["postreeve_queue_oldest_age_seconds"][()] > 0


def test_metrics_are_all_in_the_catalogue(metrics_port: int, server: Server) -> None:
    known = {family.name.removesuffix("_total") for family in FAMILIES}
    assert set(scrape(metrics_port)) <= known


def test_healthz_is_ok_and_other_paths_are_not_found(metrics_port: int, server: Server) -> None:
    base = f"http://127.0.0.1:{metrics_port}"
    assert httpx.get(f"{base}/healthz").text == "ok\n"
    assert httpx.get(f"{base}/").status_code == 404
    assert httpx.post(f"{base}/metrics").status_code == 405


# --- user beside the server -----------------------------------------------------------------------------------------


def test_disabled_account_is_refused_at_once(server: Server) -> None:
    assert send(server).status == 0
    assert run(server, "user", "disable", "alice").status == 0
    try:
        done = send(server)
        assert done.status == 1
        assert "535" in done.err
    finally:
        assert run(server, "user", "enable", "alice").status == 0
    assert send(server).status == 0


def test_status_without_a_server(tmp_path: Path) -> None:
    stopped = Server(tmp_path)
    stopped.prepare()
    stopped.data_dir.mkdir()
    done = run(stopped, "status")
    assert done.status == 1
    assert done.out.startswith("postreeve is not running")
    told = json.loads(run(stopped, "status", "--json").out)
    assert (told["running"], told["healthy"], told["queue"]["messages"]) == (False, False, 0)
