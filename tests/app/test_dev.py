"""`serve --dev`: what it prints can be pasted, and does what it says."""

import fcntl
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postreeve.app.authority import holds_until
from postreeve.app.dev import PORTS, make_certificates


@dataclass(slots=True)
class Dev:
    """A running development server and what it printed."""

    process: subprocess.Popen[str]
    directory: Path
    printed: str

    def line(self, beginning: str) -> str:
        return next(line for line in self.printed.splitlines() if line.startswith(beginning))


def start(directory: Path, prefix: tuple[str, ...] = ()) -> Dev:
    command = [*prefix, sys.executable, "-m", "postreeve", "serve", "--dev", "--data", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = ""
    while "Ctrl-C" not in printed:
        line = process.stdout.readline()
        if not line:
            process.wait(10)
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        printed += line
    return Dev(process, directory, printed)


def stop(dev: Dev) -> int:
    if dev.process.poll() is None:
        dev.process.send_signal(signal.SIGINT)
    dev.process.communicate(timeout=40)
    return dev.process.returncode


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    # The ports are fixed: tests that run side by side take turns.
    with (Path(tempfile.gettempdir()) / "postreeve-dev-ports.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for port in PORTS.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    pytest.skip(f"somebody listens on port {port} of this machine")
        one = start(tmp_path_factory.mktemp("dev with a space"))
        yield one
        assert stop(one) == 0


def paste(line: str) -> None:
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for(directory: Path, subject: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in (directory / "mail" / "new").glob("*"):
            if f"Subject: {subject}\n" in (text := path.read_text()):
                return text
        time.sleep(0.02)
    raise AssertionError(f"no message {subject!r}")


@pytest.mark.parametrize(
    ("beginning", "subject"),
    [
        pytest.param("swaks ", "hello from swaks", marks=pytest.mark.peer("swaks")),
        pytest.param("printf ", "hello from curl", marks=pytest.mark.peer("curl")),
        pytest.param("python3 ", "hello from Python"),
    ],
    ids=["swaks", "curl", "python"],
)
def test_dev_lines_can_be_pasted(dev: Dev, beginning: str, subject: str) -> None:
    paste(dev.line(beginning))
    text = wait_for(dev.directory, subject)
    assert "\nTo: you@example.com\n" in text
    where = dev.line("The mail is then in ").removeprefix("The mail is then in ")
    assert Path(where) == dev.directory / "mail" / "new"


def test_dev_line_about_the_queue_can_be_pasted(dev: Dev) -> None:
    command = dev.line("What is still on its way: ").partition(": ")[2]
    paste(command)


def test_dev_listens_on_loopback_only(dev: Dev) -> None:
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and int(port, 16) in PORTS.values():
                listening.add((address, int(port, 16)))
    addresses = {address for address, _ in listening}
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}
    assert {port for _, port in listening} == set(PORTS.values())


def test_dev_refuses_a_second_one_in_one_line(dev: Dev, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "postreeve", "serve", "--dev", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.search(r"cannot listen on 127\.0\.0\.1 port 2525: in use by process \d+ \(.*serve --dev", line)


@pytest.mark.peer("namespaces", "ip")
def test_dev_goes_on_without_ipv6(tmp_path: Path) -> None:
    script = 'ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && exec "$@"'
    one = start(tmp_path, ("unshare", "--net", "--mount", "sh", "-c", script, "sh"))
    try:
        assert "::1 is not there" in one.printed
    finally:
        assert stop(one) == 0


def test_dev_certificates_are_reused_until_they_are_about_to_end(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    make_certificates(tmp_path, now)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"ca.pem", "ca-key.pem", "certificate.pem", "key.pem"}
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    make_certificates(tmp_path, now + 300 * 86_400)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    later = now + 340 * 86_400
    make_certificates(tmp_path, later)
    assert holds_until((tmp_path / "certificate.pem").read_bytes()) > later + 360 * 86_400


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "key.pem"])
def test_dev_certificates_are_made_anew_when_one_is_damaged(tmp_path: Path, name: str) -> None:
    make_certificates(tmp_path, 1_800_000_000.0)
    (tmp_path / name).write_bytes(b"")
    make_certificates(tmp_path, 1_800_000_000.0)
    assert (tmp_path / name).read_bytes().startswith(b"-----BEGIN ")


@pytest.mark.parametrize(
    "options", [["--data", "x"], ["--dev", "--config", "x"]], ids=["data without dev", "dev with config"]
)
def test_serve_refuses_options_that_do_not_go_together(options: list[str]) -> None:
    command = [sys.executable, "-m", "postreeve", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--dev" in done.stderr
