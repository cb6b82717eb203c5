"""`postreeve doctor` beside a real server: silent when it is well, and naming what was broken on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from postreeve.app.authority import Issued, make_certificate
from tests.lab.dns_server import DnsServer, Fault, ThreadedDnsServer
from tests.lab.server import Server
from tests.lab.waiting import until

HOST = "mail.example.org"
ZONE = {HOST: {"A": ["192.0.2.25"]}, "1.0.0.127.in-addr.arpa": {"PTR": ["localhost."]}}
TOKEN = "example-token-of-the-tests"
ALWAYS = {"clock-unsynchronised"}  # says something of the machine that the tests run on, whatever the server does


@contextlib.contextmanager
def running(
    directory: Path, config: Mapping[str, Any] | None = None, faults: Mapping[str, Fault] | None = None
) -> Iterator[Server]:
    """A server that asks a name server of the test's."""
    with ThreadedDnsServer(DnsServer(ZONE, faults or {})) as names:
        servers = {"servers": [f"127.0.0.1:{names.port}"], "timeout": "1s", "total": "2s"}
        checks = {"enabled": False, "known_good": [], "block_lists": []}
        with Server(directory, {"dns": servers, "doctor": checks, **(config or {})}) as server:
            yield server


def doctor(server: Server, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status and the JSON document."""
    command = [sys.executable, "-m", "postreeve", "doctor", "--config", str(server.config_file), "--json", *words]
    done = subprocess.run(
        [*command, "--ca-file", str(server.ca_file), "--timeout", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def found(server: Server, *words: str) -> dict[str, dict[str, Any]]:
    """Findings by check, those of the machine around left out."""
    status, document = doctor(server, *words)
    findings = {one["check"]: one for one in document["findings"] if one["check"] not in ALWAYS}
    assert status == (1 if any(one["level"] != "note" for one in findings.values()) else 0)
    return findings


def test_healthy_server_has_no_findings(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert found(server) == {}
        command = [sys.executable, "-m", "postreeve", "doctor", "--config", str(server.config_file)]
        done = subprocess.run(
            [*command, "--ca-file", str(server.ca_file)], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0
    assert "checks are fine" in done.stdout or "1 note" in done.stdout


def test_server_that_does_not_run_and_who_has_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listener = {"name": "mx", "role": "relay", "addresses": ["127.0.0.1"], "port": port}
        server = Server(tmp_path, {"listener": [listener], "doctor": {"enabled": False, "known_good": []}})
        server.prepare()
        server.data_dir.mkdir()
        findings = found(server, "--offline")
    assert {"server-not-running", "port-taken"} <= findings.keys()
    assert f"pid {os.getpid()}" in findings["port-taken"]["because"][0]


def test_expired_certificate_is_seen_on_the_port_and_not_in_the_file(tmp_path: Path) -> None:
    """What counts is what clients are shown: the file was renewed, and the server was kept from taking it up."""
    with running(tmp_path) as server:
        authority = Issued(server.ca_file.read_bytes(), (server.directory / "ca.key").read_bytes())
        long_ago = time.time() - 60 * 86_400
        old = make_certificate((HOST, "127.0.0.1"), long_ago, 30, authority)
        for path, data in ((server.key_file, old.key), (server.certificate_file, old.certificate)):
            path.write_bytes(data)
        server.signal(signal.SIGHUP)
        server.wait_for_log("event=config_reloaded")
        findings = found(server)
        assert "certificate-expired" in findings
        assert "30 days ago" in findings["certificate-expired"]["because"][0]
        server.renew_certificate()
        until(lambda: "certificate-expired" not in found(server), "the renewed certificate", 60)


def test_wrong_name_and_missing_trust_are_told_apart(tmp_path: Path) -> None:
    with running(tmp_path, {"hostname": "other.example.net"}) as server:
        findings = found(server)
    assert findings["certificate-name"]["because"][0] == "clients connect to other.example.net"
    assert "certificate-untrusted" not in findings


def test_dead_resolver(tmp_path: Path) -> None:
    faults = {"1.0.0.127.in-addr.arpa": Fault.SILENCE}
    with running(tmp_path, faults=faults) as server:
        findings = found(server)
    assert "dig @127.0.0.1" in findings["resolver-dead"]["fix"]


def test_blocked_port_25_and_silent_smarthost(tmp_path: Path) -> None:
    with socket.socket() as bound, socket.create_server(("127.0.0.1", 0)) as answering:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: refused for as long as this test runs
        good = answering.getsockname()[1]
        config = {
            "route": [
                {"domains": ["example.org"], "via": "smarthost", "host": "127.0.0.1", "port": bound.getsockname()[1]},
                {"domains": ["*"], "via": "mx"},
            ],
            "doctor": {"enabled": False, "known_good": ["localhost:25", f"localhost:{good}"], "block_lists": []},
        }
        with running(tmp_path, config) as server:
            findings = found(server)
    assert "refused" in findings["smarthost-unreachable"]["because"][0]
    blocked = findings["outbound-25-blocked"]
    assert any(f":{good} answers" in line for line in blocked["because"])
    assert 'via = "smarthost"' in blocked["fix"]


def test_offline_asks_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as watched:
        watched.setblocking(False)
        port = watched.getsockname()[1]
        checks = {"enabled": False, "known_good": [f"localhost:{port}"], "block_lists": ["list.example.net"]}
        with running(tmp_path, {"doctor": checks}) as server:
            assert found(server, "--offline") == {}
        with pytest.raises(BlockingIOError):
            watched.accept()


def test_fix_tightens_what_others_could_read(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.key_file.chmod(0o644)
        findings = found(server)
        assert findings["secret-readable"]["fix"] == f"chmod 0640 {server.key_file}"
        _, document = doctor(server, "--fix")
        assert document["fixed"] == [f"{server.key_file}: mode 0640"]
        assert found(server) == {}


@pytest.fixture
def probe_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a `postreeve probe-server` on loopback."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# a comment\n{TOKEN}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "postreeve", "probe-server", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, "--token-file", str(tokens), "--hostname", "probe.example.com"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def answers() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
            return True

        until(answers, "the probe-server")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_view_from_outside(tmp_path: Path, probe_server: str) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    words = ("--outside", probe_server, "--outside-token-file", str(token))
    with running(tmp_path / "server") as server:
        status, document = doctor(server, *words)
        # The submission ports show a certificate that the world does not trust; port 25's does not matter to it.
        assert status == 1
        told = [one["because"][0] for one in document["findings"] if one["check"] == "closed-from-outside"]
        assert len(told) == 2
        assert all("not trusted" in line for line in told)
        assert not any(f"port {server.port('mx')} " in one["subject"] for one in document["findings"])
        assert document["unseen"] == []
        token.write_text("wrong-token-of-the-tests\n")
        _, document = doctor(server, *words)
        assert any("the token is wrong" in line for line in document["unseen"])


def test_view_from_outside_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    with running(tmp_path / "server") as server:
        _, document = doctor(server, "--outside", "http://127.0.0.1:1", "--outside-token-file", str(token))
    assert any("view from outside" in line for line in document["unseen"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--listen", "nonsense"), "no address and port"),
        (("--listen", "192.0.2.1:80"), "in the clear"),
        (("--listen", "127.0.0.1:8080", "--certificate", "x.pem"), "belong together"),
        (("--listen", "127.0.0.1:8080", "--proxy-from", "banana"), "--proxy-from"),
    ],
    ids=["address", "clear", "half", "network"],
)
def test_probe_server_refuses_what_makes_no_sense(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    command = [sys.executable, "-m", "postreeve", "probe-server", *words, "--token-file", str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
