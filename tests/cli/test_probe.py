"""`postreeve probe` as somebody in trouble uses it: what it prints, saves and exits with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postreeve import cli
from tests.cli.conftest import Done
from tests.lab.misbehaving import PASSWORD, USERNAME, Lab, Manner, Misbehaving

Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*words: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["postreeve", "probe", *words])
        status = cli.main()
        printed = capsys.readouterr()
        return Done(status, printed.out, printed.err)

    return call


@contextlib.contextmanager
def serving(manner: Manner, directory: Path) -> Iterator[tuple[int, Misbehaving]]:
    """A misbehaving server in a thread of its own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    server = Misbehaving(manner, Lab(directory))

    async def keep() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(keep(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield server.port, server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def test_probe_says_the_verdict_first(run: Run, tmp_path: Path) -> None:
    with serving(Manner(greeting=b"554 5.7.1 No SMTP service here\r\n"), tmp_path) as (port, _):
        done = run(f"localhost:{port}", "--quiet-network", "--timeout", "1")
    lines = done.out.splitlines()
    assert done.status == 30
    assert lines[0].startswith(f"localhost:{port}: ")
    assert lines[1].split()[:2] == ["cause", "banner-554"]
    assert any(line.strip().startswith("fix") for line in lines[:8])
    assert "554 5.7.1 No SMTP service here" in done.out
    assert done.err == ""


def test_probe_answers_in_json_as_agreed(run: Run, tmp_path: Path) -> None:
    with serving(Manner(tls=""), tmp_path) as (port, _):
        done = run(f"127.0.0.1:{port}", "--tls", "implicit", "--json", "--timeout", "1", "--quiet-network")
    assert done.status == 50
    assert set(done.json) == {"verdict", "others", "findings", "refusers", "facts"}
    verdict = done.json["verdict"]
    assert (verdict["cause"], verdict["confidence"], verdict["stage"]) == ("tls-to-plain", "high", "tls")
    assert verdict["evidence"]
    assert verdict["fix"]


def test_probe_judges_saved_facts_without_a_network(run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "facts.json"
    with serving(Manner(greeting=b"* OK IMAP4rev1 ready\r\n"), tmp_path) as (port, _):
        live = run(f"127.0.0.1:{port}", "--save", str(saved), "--json", "--quiet-network", "--timeout", "1")
    again = run("--facts", str(saved), "--json")
    assert (again.status, again.json) == (live.status, live.json)
    assert live.json["verdict"]["cause"] == "banner-not-smtp"
    whole = tmp_path / "whole.json"
    whole.write_text(live.out)
    assert run("--facts", str(whole), "--json").json == live.json


def test_probe_shows_the_conversation_and_no_secret(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_PASSWORD", PASSWORD)
    options = ("--user", USERNAME, "--password-env", "THE_PASSWORD", "--transcript", "--quiet-network")
    with serving(Manner(), tmp_path) as (port, server):
        trusted = str(tmp_path / "trusted.pem")
        done = run(f"localhost:{port}", *options, "--ca-file", trusted, "--tls", "starttls", "--timeout", "2")
        assert len(server.connections) == 2
    assert ", without SNI: quit" in done.out
    assert "-> EHLO" in done.out
    assert "=== TLS" in done.out
    assert PASSWORD not in done.out


def test_probe_reads_a_settings_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    with serving(Manner(), tmp_path) as (port, server):
        file.write_text(
            f"MAIL_MAILER=smtp\nMAIL_HOST=127.0.0.1\nMAIL_PORT={port}\nMAIL_ENCRYPTION=ssl\n"
            "MAIL_USERNAME=alice@example.com\nMAIL_PASSWORD=geheim\nMAIL_FROM_ADDRESS=alice@example.com\n"
        )
        done = run(str(file), "--json", "--timeout", "1", "--quiet-network")
        assert len(server.connections) <= 3
    assert done.json["verdict"]["cause"] == "tls-to-plain"
    assert done.json["facts"]["asked"]["kind"] == "settings"
    assert done.json["facts"]["asked"]["has_credentials"]
    assert "geheim" not in done.out


def test_probe_of_a_healthy_server_exits_with_0(run: Run, tmp_path: Path) -> None:
    with serving(Manner(), tmp_path) as (port, _):
        done = run(f"127.0.0.1:{port}", "--tls", "none", "--stop-after", "ehlo", "--quiet-network", "--timeout", "2")
    assert done.status == 0
    assert done.out.splitlines()[0].endswith("mail flows; nothing is wrong as far as was walked")


def test_probe_sends_only_when_told(run: Run, tmp_path: Path) -> None:
    options = ("--tls", "none", "--mail-from", "a@example.com", "--to", "b@example.net", "--quiet-network")
    with serving(Manner(), tmp_path) as (port, server):
        assert run(f"127.0.0.1:{port}", *options).status == 0
        assert b"DATA" not in server.connections[0].received
        assert run(f"127.0.0.1:{port}", *options, "--send").status == 0
        assert b"Subject: Test by postreeve probe" in b"".join(server.connections[1].contents)


def test_probe_warns_of_a_password_in_the_target(run: Run, tmp_path: Path) -> None:
    with serving(Manner(), tmp_path) as (port, _):
        done = run(f"smtp://alice:geheim@127.0.0.1:{port}", "--quiet-network", "--timeout", "1", "--stop-after", "ehlo")
    assert "was not used" in done.err
    assert "geheim" not in done.out + done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param((), "nothing to probe", id="nothing"),
        pytest.param(("not a host",), "a name has no spaces", id="spaces"),
        pytest.param(("smtp.example.com:99999",), "must be a number from 1 to 65535", id="port"),
        pytest.param(("./missing.env",), "neither a file that is there nor a host name", id="missing file"),
        pytest.param(("--facts", "/nowhere/facts.json"), "cannot be read", id="missing facts"),
        pytest.param(("--facts", "/proc/self/exe"), "no JSON", id="binary facts"),
        pytest.param(("localhost:9", "--tls", "maybe"), "--tls is auto, starttls, implicit or none", id="mode"),
        pytest.param(("localhost:9", "--send"), "--send needs --to", id="send to nobody"),
        pytest.param(("localhost:9", "--known-good", "nonsense"), "is not HOST:PORT", id="known good"),
        pytest.param(("localhost:9", "--source", "here"), "is no IP address", id="source"),
        pytest.param(("localhost:9", "--resolver", "ns.example.com"), "is no IP address", id="resolver"),
        pytest.param(("localhost:9", "--mail-from", "a b"), "is no address", id="mail from"),
        pytest.param(("localhost:9", "--password-env", "X"), "a password needs --user", id="password of nobody"),
        pytest.param(("localhost:9", "--ca-file", "/nowhere.pem"), "is no file", id="authorities"),
        pytest.param(("-4", "-6", "localhost:9"), "--ipv4 and --ipv6 exclude each other", id="families"),
    ],
)
def test_probe_refuses_wrong_usage_with_status_2(run: Run, words: tuple[str, ...], problem: str) -> None:
    done = run(*words)
    assert done.status == 2
    assert problem in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""


def test_probe_refuses_facts_of_another_version_in_one_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({"asked": {"target": "a.example", "kind": "host"}, "at": 1, "version": 9}))
    done = run("--facts", str(file))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "version" in done.err


def test_probe_that_cannot_write_its_facts_says_so(run: Run) -> None:
    done = run("127.0.0.1:9", "--save", "/nowhere/facts.json", "--quiet-network")
    assert done.status == 1
    assert "cannot be written" in done.err
