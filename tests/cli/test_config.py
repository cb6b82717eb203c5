"""`postreeve config`, and the program around the commands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from postreeve import __version__
from postreeve.app.authority import make_certificate

GOOD = """\
hostname = "mail.example.org"
data_dir = "data"
user = ""
[[listener]]
port = 25
role = "relay"
tls = "none"
[[route]]
domains = ["*"]
via = "smarthost"
host = "smtp.example.com"
username = "u"
password = "secret word"
"""


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "postreeve", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(env or {})}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "postreeve.toml"
    path.write_text(GOOD)
    return path


def test_check_of_a_good_file_says_so(file: Path) -> None:
    done = run("config", "check", "--config", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}: fine\n")


def test_check_names_every_mistake_and_fails(file: Path) -> None:
    file.write_text(GOOD.replace("port = 25", 'prt = 25\nport = "x"').replace("hostname", "hostnam"))
    done = run("config", "check", "-c", str(file))
    assert done.returncode == 1
    for words in (
        "line 1: hostnam: unknown setting",
        "line 5: listener[1].prt",
        "line 6: listener[1].port",
        "problems",
    ):
        assert words in done.stdout
    report = json.loads(run("config", "check", "-c", str(file), "--json").stdout)
    assert {"path": "hostnam", "line": 1, "problem": "unknown setting", "hint": 'did you mean "hostname"?'} in report[
        "problems"
    ]


def test_check_looks_at_files_as_the_servers_account(file: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    file.write_text(GOOD.replace('user = ""', 'user = "nobody"'))
    file.chmod(0o600)
    done = run("config", "check", "-c", str(file))
    assert done.returncode == 1
    assert "the server's account cannot read this file" in done.stdout


def test_show_tells_values_and_sources_but_no_password(file: Path) -> None:
    done = run("config", "show", "-c", str(file))
    assert done.returncode == 0
    lines = {line.partition(" = ")[0]: line.partition(" = ")[2] for line in done.stdout.splitlines()}
    assert lines["hostname"].split() == ['"mail.example.org"', "#", "postreeve.toml:1"]
    assert lines["limits.max_message"].split() == ['"50MiB"', "#", "default"]
    assert lines["listener[1].port"].split() == ["25", "#", "postreeve.toml:5"]
    assert "secret word" not in done.stdout
    assert "route[1].password" in lines


def test_show_changed_has_only_what_is_in_the_file(file: Path) -> None:
    report = json.loads(run("config", "show", "-c", str(file), "--changed", "--json").stdout)
    assert {one["source"] for one in report["settings"]} == {"file"}
    assert [one["path"] for one in report["settings"]][:3] == ["hostname", "data_dir", "user"]


def test_default_prints_a_file_that_passes_the_check(tmp_path: Path) -> None:
    text = run("config", "default").stdout
    path = tmp_path / "postreeve.toml"
    path.write_text(text.replace("/etc/postreeve", str(tmp_path)).replace('#user = "postreeve"', 'user = ""'))
    done = run("config", "check", "-c", str(path))
    assert "certificate.pem: cannot be read" in done.stdout
    assert done.stdout.rstrip().endswith("1 problem")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "quickstart"),
        (["--version"], 0, __version__),
        (["-V"], 0, __version__),
        (["--version", "--verbose"], 0, "core: "),
        (["serve", "--help"], 0, "--dev"),
        (["dance"], 2, "No such command"),
        (["config", "check", "--wrong"], 2, "No such option"),
        (["config", "show", "--config", "/nowhere.toml"], 1, "cannot be read"),
        ([], 2, "Usage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_program_exits_as_promised(arguments: list[str], status: int, words: str) -> None:
    done = run(*arguments)
    assert words in done.stdout + done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_version_is_quick() -> None:
    """In processor time: how long it takes by the clock depends on what else the machine does."""
    seconds = []
    for _ in range(5):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "postreeve", "--version"], os.environ)
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.15


def test_commands_import_only_what_they_need() -> None:
    code = (
        "import sys; sys.argv[1:] = ['config', 'default']; from postreeve.cli import main; main(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert not {"uvloop", "uvicorn", "postreeve.inbound", "postreeve.outbound", "postreeve.cli.serve"} & modules


def test_reader_that_leaves_early_gets_no_traceback(file: Path) -> None:
    command = f"'{sys.executable}' -m postreeve config default | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


def test_check_warns_of_what_does_not_prevent_a_start(file: Path, tmp_path: Path) -> None:
    """A server with an expired certificate still takes mail; its operator wants to know all the same."""
    issued = make_certificate(["mail.example.org"], time.time() - 40 * 86_400, 30)
    (tmp_path / "c.pem").write_bytes(issued.certificate + issued.key)
    tls = '[tls]\ncertificate = "c.pem"\nkey = "c.pem"\n[[listener]]'
    file.write_text(GOOD.replace("[[listener]]", tls))
    done = run("config", "check", "-c", str(file))
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{file}: warning: line 5: tls.certificate: {tmp_path}/c.pem: expired on ")
    assert "renew it" in first
    assert (done.returncode, last) == (0, f"{file}: fine")
    (warning,) = json.loads(run("config", "check", "-c", str(file), "--json").stdout)["warnings"]
    assert (warning["path"], warning["line"]) == ("tls.certificate", 5)
