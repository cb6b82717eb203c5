"""`postreeve ports`, against real servers on loopback."""

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postreeve import cli
from tests.cli.conftest import Done
from tests.lab.blackhole import full_backlog
from tests.lab.certificates import Authority
from tests.lab.dovecot import Dovecot
from tests.lab.postfix import Postfix, free_ports
from tests.lab.server import Server

PROGRAM = [sys.executable, "-m", "postreeve"]


@pytest.fixture(autouse=True)
def nobody_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks hosts of the Internet."""
    monkeypatch.setenv("POSTREEVE_KNOWN_GOOD", "none")
    for name in list(os.environ):
        if name.startswith("RAILWAY_") or name in ("GITHUB_ACTIONS", "RENDER", "DYNO", "K_SERVICE"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def do(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["postreeve", "ports", *map(str, arguments)])
        status = cli.main()
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return do


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


def ports_of(server: Server, *names: str) -> list[str]:
    return [word for name in names for word in ("--port", str(server.port(name)))]


def test_ports_shows_the_table(run: Any) -> None:
    done = run("--not-from-here")
    assert done.status == 0
    assert "465 TLS at once yes message submission over TLS (RFC 8314)" in done.words
    assert "could not be tested: not asked for" in done.out


def test_ports_tells_the_ways_out(run: Any, server: Server) -> None:
    (closed,) = free_ports(1)
    good = server.port("mx")
    done = run("--known-good", f"127.0.0.1:{good}", "--known-good", f"127.0.0.1:{closed}")
    assert done.status == 0
    assert f"{good} open 127.0.0.1 answers" in done.words
    assert f"{closed} refused" in done.words
    document = run("--known-good", f"127.0.0.1:{good} 127.0.0.1:{closed}", "--from-here", "--json").json
    assert document["ways_out"]["tested"] is True
    assert document["ways_out"]["ports"] == {str(good): "open", str(closed): "refused"}
    assert {one["port"] for one in document["ports"]} >= {25, 465, 587, 2525}


def test_ports_exits_1_when_nothing_leads_out(run: Any) -> None:
    (closed,) = free_ports(1)
    assert run("--known-good", f"127.0.0.1:{closed}").status == 1


def test_ports_says_when_the_network_could_not_be_tested(run: Any) -> None:
    quick = run("--known-good", "nobody.invalid:25")
    assert quick.status == 0
    assert "could not be tested: no such name, or no address (nobody.invalid)" in quick.out
    assert run("--known-good", "nobody.invalid:25", "--from-here").status == 1
    assert "no hosts that are known to answer" in run().out


def test_ports_takes_the_known_hosts_from_the_environment(
    run: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTREEVE_KNOWN_GOOD", f"127.0.0.1:{server.port('mx')}")
    assert run("--json").json["ways_out"]["ports"] == {str(server.port("mx")): "open"}
    monkeypatch.setenv("POSTREEVE_KNOWN_GOOD", "nonsense")
    done = run()
    assert done.status == 2
    assert done.err == "postreeve: $POSTREEVE_KNOWN_GOOD: 'nonsense' is not HOST:PORT or HOST:PORT/MODE\n"


def test_ports_measures_our_own_server(run: Any, server: Server) -> None:
    names = ports_of(server, "mx", "submission", "submissions")
    done = run("localhost", "-4", "--ca-file", server.ca_file, *names, "--json")
    assert done.status == 0
    document = done.json
    assert document["choice"]["port"] == server.port("submissions")
    assert document["choice"]["mode"] == "implicit"
    assert document["choice"]["settings"]["host"] == "localhost"
    assert [one["lost"] != "" for one in document["ranking"]] == [False, True, True]
    assert all(one["connections"] <= 3 for one in document["measured"])
    assert document["ways_out"]["tested"] is False


def test_ports_prints_choice_reasons_and_settings(run: Any, server: Server) -> None:
    names = ports_of(server, "submission", "submissions")
    done = run("localhost", "-4", "--ca-file", server.ca_file, *names)
    chosen = server.port("submissions")
    assert done.out.startswith(f"localhost: use port {chosen} with TLS from the first octet\n")
    assert "begins in the clear: RFC 8314, section 3.3" in done.out
    assert f"\nSMTP_HOST=localhost\nSMTP_PORT={chosen}\nSMTP_ENCRYPTION=ssl\n" in done.out


def test_ports_prints_settings_of_the_named_program(run: Any, server: Server) -> None:
    names = ports_of(server, "submission", "submissions")
    done = run("localhost", "-4", "--ca-file", server.ca_file, "--app", "django", *names)
    assert done.status == 0
    lines = done.out.splitlines()
    assert 'EMAIL_HOST = "localhost"' in lines
    assert f"EMAIL_PORT = {server.port('submissions')}" in lines
    assert "EMAIL_USE_SSL = True" in lines


def test_ports_warns_of_a_program_that_falls_back_to_plaintext(run: Any, server: Server) -> None:
    names = ports_of(server, "submission")
    done = run("localhost", "-4", "--ca-file", server.ca_file, "--app", "gitea", *names)
    assert done.status == 0
    assert "takes STARTTLS out" in done.out
    assert f"SMTP_PORT = {server.port('submission')}" in done.words


def test_ports_chooses_for_a_server(run: Any, server: Server) -> None:
    names = ports_of(server, "mx", "submissions")
    document = run("localhost", "-4", "--ca-file", server.ca_file, "--app", "server", *names, "--json").json
    assert document["choice"]["port"] == server.port("mx")
    assert document["choice"]["settings"]["username"] == ""


def test_ports_distrusts_a_strange_certificate(run: Any, server: Server) -> None:
    done = run("localhost", "-4", *ports_of(server, "submission"), "--json")
    assert done.status == 1
    assert done.json["choice"] is None
    assert done.json["nearest"] == server.port("submission")
    assert done.json["measured"][0]["certificate_trusted"] is False


def test_ports_takes_the_port_of_host_colon_port(run: Any) -> None:
    (closed,) = free_ports(1)
    document = run(f"127.0.0.1:{closed}", "--not-from-here", "--timeout", 1, "--json").json
    assert {one["port"] for one in document["measured"]} == {25, 465, 587, 2525, 2587, 2465, closed}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param(["localhost:nope"], "is no port", id="port"),
        pytest.param([""], "name a host", id="empty"),
        pytest.param(["two words"], "", id="space"),
        pytest.param(["--port", "25"], "need a HOST", id="port-without-host"),
        pytest.param(["localhost", "--app", "fortran"], "is none of: ", id="unknown-program"),
        pytest.param(["--known-good", "foo"], "is not HOST:PORT", id="known-good"),
        pytest.param(["localhost", "--ca-file", "/nonexistent"], "is no file", id="ca-file"),
        pytest.param(["localhost", *(f"--port={port}" for port in range(1, 23))], "no port scanner", id="too-many"),
        pytest.param(["\x1b[31m\x07"], "", id="controls"),
    ],
)
def test_ports_refuses_in_one_line(run: Any, arguments: list[str], problem: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert problem in done.err
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_ports_knows_what_host_was_meant(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    done = run("smtp.gmial.com")
    assert done.status == 1
    assert done.out == "smtp.gmial.com: no such name, or no address\n  did you mean smtp.gmail.com?\n"
    done = run("gmail.com")
    assert done.out.startswith("gmail.com is a mail domain of Gmail, whose host is smtp.gmail.com\n")


def test_ports_of_a_black_hole_takes_twelve_seconds_at_most_and_shows_progress() -> None:
    held = [full_backlog() for _ in range(6)]
    names = [word for one in held for word in ("--port", str(one[0].getsockname()[1]))]
    ours, theirs = pty.openpty()
    try:
        began = time.monotonic()
        done = subprocess.run(
            [*PROGRAM, "ports", "127.0.0.1", *names], stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False
        )
        took = time.monotonic() - began
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
        for listener in held:
            for one in listener:
                one.close()
    assert done.returncode == 1
    assert took <= 12
    assert done.stdout.decode().count("timed out") >= 6
    assert "measuring 127.0.0.1: 0 of 6" in shown
    assert shown.endswith("\r\x1b[K")


@pytest.mark.peer("postfix", "dovecot")
def test_ports_measures_a_real_postfix(run: Any, tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue("localhost").write(tmp_path, "localhost")
    ca_file = authority.write(tmp_path / "ca.pem")
    with (
        Dovecot(tmp_path / "dovecot", {"jane": "secret"}) as dovecot,
        Postfix(tmp_path / "postfix", chain, key, sasl=dovecot.sasl) as postfix,
    ):
        ports = (postfix.port, postfix.submission_port, postfix.submissions_port, dovecot.port)
        names = [word for port in ports for word in ("--port", str(port))]
        done = run("localhost", "-4", "--ca-file", ca_file, "--not-from-here", "--json", *names)
    document = json.loads(done.out)
    assert [one["port"] for one in document["ranking"]] == [
        postfix.submissions_port, postfix.submission_port, postfix.port, dovecot.port,
    ]  # fmt: skip
    assert "offers no login" in document["ranking"][2]["lost"]
    assert "refuses EHLO" in document["ranking"][3]["lost"]


def at_terminal(*arguments: str) -> list[str]:
    """The lines at a terminal of 80 columns, without colour."""
    pid, screen = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execv(sys.executable, [*PROGRAM, "ports", *arguments])
    said = b""
    while True:
        try:
            said += os.read(screen, 65_536) or b""
        except OSError:
            break
    os.waitpid(pid, 0)
    os.close(screen)
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", said.decode()).replace("\r\n", "\n").split("\n")


def test_ports_cuts_nothing_off_at_80_columns(server: Server) -> None:
    overview = at_terminal("--not-from-here")
    assert "  465  TLS at once" in overview
    measured = at_terminal("127.0.0.1", *ports_of(server, "submission", "submissions"))
    numbers = [str(server.port(name)) for name in ("submission", "submissions")]
    assert [line.split()[0] for line in measured if " SMTP " in line] == numbers, measured
    for lines in (overview, measured):
        assert max(len(line.rpartition("\r")[2]) for line in lines) <= 80, max(lines, key=len)
        assert not any("\u2026" in line for line in lines)
